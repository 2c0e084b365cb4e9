"""Truncated back-propagation through time against the whole of it, and against a loop by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import models, replicas
from kapps.errors import UserError
from kapps.models.text.truncated import TruncatedBPTT, _segments

LANES, FEATURES = 3, 2


def network(cell="simple", units=(4,), **kwargs):
    return models.rnn(
        FEATURES,
        1,
        cell=cell,
        units=units,
        return_sequences=True,
        carry_state=True,
        name="network",
        **kwargs,
    )


def stream_model(k1, k2=None, lanes=LANES, optimizer=None, cell="simple", units=(4,), **kwargs):
    keras.utils.set_random_seed(1)
    model = TruncatedBPTT(
        network(cell, units),
        k1=k1,
        k2=k2,
        lanes=lanes,
        loss="squared_error",
        validation_lanes=2,
        **kwargs,
    )
    model.compile(optimizer or keras.optimizers.SGD(0.1))
    model.optimizer.build(model.trainable_variables)
    return model


def series(length, rows=LANES, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, length, FEATURES)).astype("float32")
    return tf.constant(x), tf.constant(rng.normal(size=(rows, length, 1)).astype("float32"))


def batch(x, y, first, lane=None, **more):
    lane = range(len(x)) if lane is None else lane
    return {
        "x": x,
        "y": y,
        "lane": tf.constant(list(lane), tf.int32),
        "first": tf.fill([len(x)], first),
        **more,
    }


def feed(model, x, y, k1):
    """All whole chunks of the streams, one update each; the losses."""
    losses = []
    for start in range(0, x.shape[1] - k1 + 1, k1):
        model.reset_metrics()
        part = slice(start, start + k1)
        losses.append(float(model.train_step(batch(x[:, part], y[:, part], start == 0))["loss"]))
    return losses


def zero_states(model, rows=LANES):
    return [tf.zeros([rows, state.shape[-1]]) for state in model.network.inputs[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_as_long_as_the_sequence_it_is_back_propagation_through_all_of_it(cell):
    x, y = series(12)
    model = stream_model(12, cell=cell, units=(4, 5))
    with tf.GradientTape() as tape:
        outputs = model.network([x, *zero_states(model)])[0]
        loss = tf.reduce_mean(tf.square(outputs - y))
    expected = tape.gradient(loss, [w.value for w in model.trainable_variables])
    before = [w.numpy() for w in model.trainable_variables]
    model.train_step(batch(x, y, True))
    for old, weight, gradient in zip(before, model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(weight.numpy(), old - 0.1 * gradient.numpy(), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("k2", [12, 17])
def test_longer_windows_than_the_stream_so_far_hold_nothing_more(k2):
    """k2 of 12 or more on a stream of 12 steps, in chunks of 4: all that has been."""
    x, y = series(12)
    model = stream_model(4, k2, optimizer=keras.optimizers.SGD(0.0))
    with tf.GradientTape() as tape:
        outputs = model.network([x, *zero_states(model)])[0]
        loss = tf.reduce_mean(tf.square(outputs - y)[:, 8:])
    expected = tape.gradient(loss, [w.value for w in model.trainable_variables])
    feed(model, x[:, :8], y[:, :8], 4)
    found = gradients(model, batch(x[:, 8:], y[:, 8:], False))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)
        assert np.any(b != 0)


def gradients(model, data):
    with tf.GradientTape() as tape:
        loss = model.training_loss(data)
    return tape.gradient(loss, [w.value for w in model.trainable_variables])


def by_hand(model, x, y, k1, k2):
    """The gradient of each update, weights standing still: one step of the network at a time."""
    weights = [w.value for w in model.trainable_variables]
    found = []
    for end in range(k1, x.shape[1] + 1, k1):
        with tf.GradientTape() as tape:
            states, losses = zero_states(model), []
            for t in range(end):
                if t == end - k2:
                    states = [tf.stop_gradient(state) for state in states]
                said, *states = model.network([x[:, t : t + 1], *states])
                if t >= end - min(k1, k2):
                    losses.append(tf.reduce_mean(tf.square(said[:, 0] - y[:, t])))
            loss = tf.add_n(losses) / len(losses)
        found.append(tape.gradient(loss, weights))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("k1", "k2"), [(3, 3), (3, 5), (2, 7), (4, 1), (1, 3)])
def test_every_update_is_the_one_by_hand(k1, k2):
    x, y = series(8)
    model = stream_model(k1, k2, optimizer=keras.optimizers.SGD(0.0))  # weights stand still
    expected = by_hand(model, x, y, k1, k2)
    for i, wanted in enumerate(expected):
        part = slice(i * k1, (i + 1) * k1)
        data = batch(x[:, part], y[:, part], i == 0)
        for a, b in zip(gradients(model, data), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        model.train_step(data)


@pytest.mark.parametrize(("k1", "k2"), [(4, 4), (3, 7), (5, 2), (2, 4)])
def test_nothing_older_than_k2_steps_has_a_gradient(k1, k2):
    """Exactly nothing; and all that is younger has one."""
    x, y = series(4 * k1)
    model = stream_model(k1, k2)
    with tf.GradientTape() as tape:
        tape.watch(x)
        remembered = model.memory.read(tf.range(LANES), tf.fill([LANES], True))
        for start in range(0, 4 * k1, k1):
            outputs, remembered = model.unroll(x[:, start : start + k1], remembered)
        last = tf.reduce_sum(outputs[:, -1])
    gradient = tf.norm(tape.gradient(last, x), axis=-1).numpy()
    assert (gradient[:, : 4 * k1 - k2] == 0).all()
    assert (gradient[:, 4 * k1 - k2 :] > 0).all()


@pytest.mark.slow
def test_outputs_do_not_depend_on_the_chunks():
    """The state is carried: any k1, k2 computes what one pass over the whole computes."""
    x, y = series(12)
    model = stream_model(12)
    whole = model.network([x, *zero_states(model)])[0]
    for k1, k2 in ((3, 3), (4, 6), (2, 9), (6, 2)):
        model = stream_model(k1, k2)
        remembered = model.memory.read(tf.range(LANES), tf.fill([LANES], True))
        parts = []
        for start in range(0, 12, k1):
            outputs, remembered = model.unroll(x[:, start : start + k1], remembered)
            parts.append(outputs)
        np.testing.assert_allclose(tf.concat(parts, 1), whole, atol=1e-6)


def test_windows_are_cut_where_a_stream_may_begin():
    assert _segments(3, 6) == [(0, 3), (3, 6)]
    assert _segments(3, 7) == [(0, 1), (1, 3), (3, 4), (4, 7)]
    assert _segments(4, 6) == [(0, 2), (2, 4), (4, 6)]


@pytest.mark.slow
def test_a_stream_that_begins_again_forgets():
    x, y = series(6)
    model = stream_model(3, 6, optimizer=keras.optimizers.SGD(0.0))
    first = feed(model, x, y, 3)
    assert feed(model, x, y, 3) == first
    goes_on = float(model.train_step(batch(x[:, :3], y[:, :3], False))["loss"])
    assert goes_on != pytest.approx(first[0], abs=1e-6)


@pytest.mark.slow
def test_lanes_are_found_by_their_number():
    x, y = series(6)
    model = stream_model(3, 6, optimizer=keras.optimizers.SGD(0.0))
    expected = feed(model, x, y, 3)
    turned = [2, 0, 1]
    found = []
    for start in (0, 3):
        model.reset_metrics()
        rows = turned if start else [0, 1, 2]
        part = slice(start, start + 3)
        data = batch(tf.gather(x, rows)[:, part], tf.gather(y, rows)[:, part], not start, rows)
        found.append(float(model.train_step(data)["loss"]))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
def test_validation_has_a_memory_of_its_own():
    x, y = series(6)
    model = stream_model(3, 5)
    model.train_step(batch(x[:, :3], y[:, :3], True))
    before = [np.array(weight) for weight in model.memory.weights]
    weights = [w.numpy() for w in model.trainable_variables]
    losses = []
    for _ in range(2):  # the second time begins afresh, too
        model.reset_metrics()
        for start, steps_ in ((0, 4), (4, 2)):  # of any length, and fewer rows than lanes
            part = slice(start, start + steps_)
            model.test_step(batch(x[:2, part], y[:2, part], start == 0))
        losses.append(float(model.trackers[0].result()))
    assert losses[0] == losses[1]
    outputs = model.network([x[:2], *zero_states(model, 2)])[0]
    assert losses[0] == pytest.approx(float(tf.reduce_mean(tf.square(outputs - y[:2]))), rel=1e-5)
    for old, weight in zip(before, model.memory.weights, strict=True):
        np.testing.assert_array_equal(old, weight)
    for old, weight in zip(weights, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, weight)


def test_steps_without_weight_do_not_count():
    x, y = series(4)
    model = stream_model(4, optimizer=keras.optimizers.SGD(0.0))
    weight = np.zeros((LANES, 4), "float32")
    weight[:, 3] = 1.0
    loss = float(model.training_loss(batch(x, y, True, weight=tf.constant(weight))))
    outputs = model.network([x, *zero_states(model)])[0]
    assert loss == pytest.approx(float(tf.reduce_mean(tf.square(outputs - y)[:, 3])), rel=1e-5)
    nothing = batch(x, y, True, weight=tf.zeros([LANES, 4]))
    assert float(model.training_loss(nothing)) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("clip", [1e-3, 1e3])
def test_clipping_by_the_global_norm(clip):
    x, y = series(6)
    moved = []
    for limit in (0.0, clip):
        model = stream_model(6, optimizer=keras.optimizers.SGD(1.0), clip=limit)
        before = [w.numpy() for w in model.trainable_variables]
        model.train_step(batch(x, y, True))
        moved.append(
            [w.numpy() - b for w, b in zip(model.trainable_variables, before, strict=True)]
        )
    norms = [np.sqrt(sum((m**2).sum() for m in moves)) for moves in moved]
    assert norms[1] == pytest.approx(min(norms[0], clip), rel=1e-4)
    for free, clipped in zip(*moved, strict=True):
        np.testing.assert_allclose(clipped * norms[0], free * norms[1], rtol=1e-3, atol=1e-6)


def test_clipping_sees_gradients_without_the_loss_scale():
    variable = keras.Variable(np.float32([3.0, 4.0]))
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=8.0)
    optimizer.build([variable])
    replicas.minimize(
        optimizer, lambda: (tf.reduce_sum(variable.value**2) / 2, None), [variable], clip=1.0
    )
    np.testing.assert_allclose(variable.numpy(), [3.0 - 0.6, 4.0 - 0.8], rtol=1e-6)


@pytest.mark.slow
def test_figures_of_characters():
    """ln 4 nats, 2 bits, for a uniform choice among four."""
    model = models.char_rnn("\ufffdabc", units=3, embedding=2, k1=5, lanes=2)
    model.network.get_layer("logits").kernel.assign(tf.zeros([3, 4]))
    model.compile("sgd")
    tokens = np.int32([[0, 1, 2, 3, 1], [3, 3, 2, 1, 1]])
    found = model.evaluate(tokens, tokens, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(np.log(4), rel=1e-6)
    assert found["bits_per_character"] == pytest.approx(2.0, rel=1e-6)
    assert found["accuracy"] == pytest.approx(0.1)  # of equal logits the first is taken


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(k1=0), "k1"),
        (dict(k1=3, k2=0), "k2"),
        (dict(k1=3, lanes=0), "lanes"),
        (dict(k1=3, clip=-1.0), "clip"),
        (dict(k1=3, vocabulary="abc"), "3 characters for 1"),
        (dict(k1=3, loss="hinge"), "hinge"),
    ],
)
def test_mistakes(settings, words):
    with pytest.raises(UserError, match=words):
        TruncatedBPTT(network(), **{"lanes": 2, **settings})


def test_networks_that_keep_their_state_and_wrong_chunks_are_refused():
    with pytest.raises(UserError, match="carry_state"):
        TruncatedBPTT(models.rnn(2, 1, units=3, return_sequences=True), k1=3, lanes=2)
    x, y = series(4)
    with pytest.raises(UserError, match="4 steps, and k1 is 3"):
        stream_model(3).train_step(batch(x, y, True))


def test_memory_is_among_the_variables():
    """Or a checkpoint would lack it: Keras before 3.15 has functional models forget such layers."""
    model = stream_model(3, 5)
    known = {id(variable) for variable in model.variables}
    remembered = [*model.memory.variables, *model.validation_memory.variables]
    assert len(remembered) == 4 and all(id(variable) in known for variable in remembered)
    assert len(known) == len(model.variables)


@pytest.mark.slow
def test_targets_are_numbers_or_one_hot():
    tokens = np.int32([[0, 1, 2, 3, 1], [3, 3, 2, 1, 1]])
    one_hot = np.eye(4)[tokens]
    found = []
    for y in (tokens, tokens.astype("f4"), one_hot.astype("f4"), one_hot.astype("i4")):
        keras.utils.set_random_seed(0)
        model = models.char_rnn("\ufffdabc", units=3, embedding=2, k1=5, lanes=2)
        model.compile(keras.optimizers.SGD(0.5))
        logs = model.fit(tokens, y, batch_size=2, shuffle=False, verbose=0).history
        found.append([logs[name][0] for name in ("loss", "bits_per_character", "accuracy")])
    for each in found[1:]:
        assert each == pytest.approx(found[0], rel=1e-6)


@pytest.mark.slow
def test_weights_of_rows():
    x, y = series(4)
    weight = np.float32([1.0, 0.0, 2.0])
    model = stream_model(4, optimizer=keras.optimizers.SGD(0.0))
    squares = tf.reduce_mean(tf.square(model.network([x, *zero_states(model)])[0] - y), (1, 2))
    expected = float(np.average(squares, weights=weight))
    assert float(model.training_loss((x, y, tf.constant(weight)))) == pytest.approx(expected, 1e-5)
    logs = model.fit(x, y, batch_size=3, sample_weight=weight, shuffle=False, verbose=0).history
    assert logs["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_regularizers_of_the_network_are_part_of_what_is_minimized():
    x, y = series(4)
    model = stream_model(4)
    plain = float(model.training_loss(batch(x, y, True)))
    layer = model.network.get_layer("logits")
    layer.kernel_regularizer = keras.regularizers.L2(0.3)
    layer.kernel.regularizer = layer.kernel_regularizer
    penalty = 0.3 * float(np.sum(np.square(layer.kernel)))
    assert penalty > 0.01
    assert float(model.training_loss(batch(x, y, True))) == pytest.approx(plain + penalty, rel=1e-5)


@pytest.mark.parametrize("given", [{"loss": "mse"}, {"metrics": ["accuracy"]}])
def test_losses_and_metrics_that_nothing_would_look_at_are_refused(given):
    with pytest.raises(UserError, match=f"{next(iter(given))}=.*of its own"):
        stream_model(3).compile("sgd", **given)
