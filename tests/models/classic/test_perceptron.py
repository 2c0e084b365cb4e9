"""The rules of one layer against NumPy, their bounds, and one device against two."""

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data, evaluation, models
from kapps.errors import UserError
from kapps.models.classic import perceptron

RNG = np.random.default_rng(0)
ONES = {"mean": 0.0, "std": 1.0}
AND = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)


def by_numpy(x, classes, units, passes=1):
    """The rule as the books have it: weights [features + 1, units], and the number of updates."""
    x = np.column_stack([x, np.ones(len(x))])
    w, updates = np.zeros((x.shape[1], units)), 0
    for _ in range(passes):
        for row, c in zip(x, classes, strict=True):
            scores = row @ w
            if units == 1:
                sign = 1 if c else -1
                if sign * scores[0] <= 0:
                    w[:, 0] += sign * row
                    updates += 1
                continue
            others = np.where(np.arange(units) == c, -np.inf, scores)
            if scores[c] <= others.max():
                w[:, c] += row
                w[:, others.argmax()] -= row
                updates += 1
    return w, updates


def targets(classes, units):
    y = np.asarray(classes)
    return y[:, None].astype("f4") if units == 1 else np.eye(units, dtype="f4")[y]


def weights(model):
    return np.vstack([np.asarray(w) for w in (model.scores.kernel, model.scores.bias)])


def fit(model, x, y, epochs=1, batch_size=None):
    model.compile()
    history = model.fit(x, y, batch_size or len(x), epochs, verbose=0, shuffle=False)
    return history.history


def test_and_by_hand():
    """x~ = (x1, x2, 1); the first example is always wrong, since a score of 0 is no decision."""
    model = models.perceptron((2,), **ONES)
    logs = fit(model, AND, targets([0, 0, 0, 1], 1))
    # (0,0): w = (0,0,-1). (0,1) and (1,0): score -1, right. (1,1): score -1, wrong: + (1,1,1).
    np.testing.assert_array_equal(weights(model)[:, 0], [1, 1, 0])
    assert logs["updates"] == [2] and logs["error"] == [0.5]
    assert logs["loss"] == [0.25]  # the criterion of the last example, 1, over four


@pytest.mark.slow
@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_the_rule_is_that_of_the_books_whatever_the_batch(units, batch_size):
    x = RNG.normal(size=(40, 5)).astype("f4")
    classes = RNG.integers(0, max(2, units), 40)
    model = models.perceptron((5,), max(2, units), **ONES)
    logs = fit(model, x, targets(classes, units), epochs=3, batch_size=batch_size)
    expected, updates = by_numpy(x, classes, units, passes=3)
    np.testing.assert_allclose(weights(model), expected, atol=1e-4)
    assert sum(logs["updates"]) == updates and 0 < updates < 120
    said = model.predict(x, verbose=0)
    right = said.argmax(1) == classes if units > 1 else (said[:, 0] > 0) == classes
    error = model.evaluate(x, targets(classes, units), verbose=0, return_dict=True)["error"]
    assert float(error) == pytest.approx(1 - right.mean())


def separable(rng, count=12, features=3):
    """Points of two classes with a gap between them, labelled by a random plane."""
    while True:
        plane = rng.normal(size=features + 1)
        x = rng.normal(size=(4 * count, features)).astype("f4")
        scores = x @ plane[:-1] + plane[-1]
        kept = np.abs(scores) > 0.3
        x, classes = x[kept][:count], (scores[kept] > 0)[:count].astype("i4")
        if len(x) == count and 0 < classes.sum() < count:
            return x, classes


def updates_until_right(step, x, classes, most):
    """Passes over the examples until none is wrong; stops once there were too many updates."""
    x = np.column_stack([x, np.ones(len(x), "f4")])
    w, total, updates = tf.zeros([x.shape[1], 1]), 0, 1
    while updates and total <= most:
        w, updates, *_ = step(w, tf.constant(x), tf.constant(classes))
        total += int(updates)
    return total


@pytest.mark.slow
def test_hundreds_of_separable_problems_never_exceed_the_bound():
    step = tf.function(perceptron.walk)
    rng, shares = np.random.default_rng(1), []
    for _ in range(300):
        x, classes = separable(rng)
        bound = evaluation.separation(x, classes).bound
        updates = updates_until_right(step, x, classes, bound)
        assert updates <= bound
        shares.append(updates / bound)
    assert max(shares) > 0.2  # the bound says something


@pytest.mark.slow
def test_a_rule_that_updates_on_every_example_would_exceed_it(monkeypatch):
    def always(scores, classes):
        return tf.ones(tf.shape(scores)[:1])

    monkeypatch.setattr(perceptron, "misclassified", always)
    step = tf.function(perceptron.walk)
    rng = np.random.default_rng(1)
    problems = [separable(rng) for _ in range(5)]
    bounds = [evaluation.separation(*problem).bound for problem in problems]
    found = [updates_until_right(step, *p, b) > b for p, b in zip(problems, bounds, strict=True)]
    assert all(found)


@pytest.mark.slow
def test_three_classes_keep_to_their_bound():
    rng = np.random.default_rng(2)
    for _ in range(4):
        centres = 4.0 * rng.normal(size=(3, 4))
        classes = np.arange(30) % 3
        x = (centres[classes] + 0.2 * rng.normal(size=(30, 4))).astype("f4")
        bound = evaluation.separation(x, classes).bound
        assert bound is not None
        model = models.perceptron((4,), 3, **ONES)
        logs = fit(model, np.tile(x, (60, 1)), np.tile(targets(classes, 3), (60, 1)))
        assert logs["updates"][0] <= bound
        assert model.evaluate(x, targets(classes, 3), verbose=0, return_dict=True)["error"] == 0


def pocket_by_numpy(x, classes, passes, ratchet=True):
    """Gallant's pocket, with its ratchet or without, 1990, for two classes."""
    x = np.column_stack([x, np.ones(len(x))])
    signs = np.where(classes, 1, -1)
    w, kept, run, longest = np.zeros(x.shape[1]), np.zeros(x.shape[1]), 0, 0
    for _ in range(passes):
        for row, sign in zip(x, signs, strict=True):
            if sign * (row @ w) <= 0:
                w, run = w + sign * row, 0
                continue
            run += 1
            if run > longest:
                if np.array_equal(w, kept):
                    longest = run
                elif not ratchet or (signs * (x @ w) > 0).sum() > (signs * (x @ kept) > 0).sum():
                    kept, longest = w.copy(), run
    return kept


@pytest.mark.slow
def test_the_pocket_is_gallants_and_outlives_batches():
    x = RNG.normal(size=(60, 2)).astype("f4")
    classes = (x[:, 0] + 0.8 * RNG.normal(size=60) > 0).astype(int)
    model = models.perceptron((2,), pocket=True, **ONES)
    model.keep_for(x, targets(classes, 1))
    logs = fit(model, x, targets(classes, 1), epochs=6, batch_size=15)
    np.testing.assert_allclose(weights(model)[:, 0], pocket_by_numpy(x, classes, 6), atol=1e-4)
    kept = round(60 * float(model.evaluate(x, targets(classes, 1), verbose=0)[1])) / 60
    walking = by_numpy(x, classes, 1, passes=6)[0]
    walked = 1 - (((np.c_[x, np.ones(60)] @ walking)[:, 0] > 0) == classes).mean()
    np.testing.assert_allclose(model.walking, walking, atol=1e-4)
    assert kept <= walked and kept < np.mean(logs["error"])


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 15, 60])
def test_without_examples_to_judge_by_the_longest_run_decides_whatever_the_batch(batch_size):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(60, 2)).astype("f4")
    classes = (x[:, 0] + 0.8 * rng.normal(size=60) > 0).astype(int)
    model = models.perceptron((2,), pocket=True, **ONES)
    fit(model, x, targets(classes, 1), epochs=3, batch_size=batch_size)
    expected = pocket_by_numpy(x, classes, 3, ratchet=False)
    np.testing.assert_allclose(weights(model)[:, 0], expected, atol=1e-4)


@pytest.mark.slow
def test_examples_to_judge_by_may_be_set_again_after_training():
    """Keras keeps the function that it has traced, and with it the examples of then."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 2)).astype("f4")
    classes = (x[:, 0] + 0.8 * rng.normal(size=60) > 0).astype(int)
    model = models.perceptron((2,), pocket=True, **ONES)
    model.compile()
    model.keep_for(x[:1], targets(classes[:1], 1))
    model.fit(x, targets(classes, 1), 15, verbose=0, shuffle=False)
    for variable in (*model.scores.variables, model.walking, model.runs):
        variable.assign(np.zeros(variable.shape))
    model.keep_for(x, targets(classes, 1))
    model.fit(x, targets(classes, 1), 15, 6, verbose=0, shuffle=False)
    np.testing.assert_allclose(weights(model)[:, 0], pocket_by_numpy(x, classes, 6), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("build", [models.perceptron, models.delta_rule])
@pytest.mark.parametrize("classes", [2, 3])
def test_labels_are_numbers_or_one_hot(build, classes):
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(30, 4)).astype("f4"), rng.integers(0, classes, 30)
    found = []
    for labels in (y, y[:, None], y[:, None].astype("f4"), np.eye(classes, dtype="f4")[y]):
        model = build((4,), classes)
        model.compile(keras.optimizers.SGD(0.1))
        model.fit(x, labels, 10, 2, verbose=0, shuffle=False)
        error = float(model.evaluate(x, labels, verbose=0, return_dict=True)["error"])
        found.append((weights(model), error))
    for one, error in found[1:]:
        np.testing.assert_array_equal(one, found[0][0])
        assert error == found[0][1]
    assert np.any(found[0][0])


@pytest.mark.slow
def test_weights_of_examples():
    """A weight of 2 is the example twice, over as many examples as were given (Keras' mean)."""
    x, y = np.float32([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 0])
    model = models.delta_rule((2,), **ONES)
    model.compile(keras.optimizers.SGD(0.1))
    weight = np.float32([2.0, 0.0])
    logs = model.fit(x, y, 2, sample_weight=weight, verbose=0).history
    # t = 1, x~ = (1, 0, 1): 0.1 * (2 * 1 * x~ + 0) / 2
    np.testing.assert_allclose(weights(model)[:, 0], [0.1, 0.0, 0.1], atol=1e-7)
    assert logs["error"] == [1.0] and logs["loss"] == [0.5]
    rule = models.perceptron((2,), **ONES)
    rule.compile()
    with pytest.raises(UserError, match="no sample_weight"):
        rule.fit(x, y, sample_weight=weight, verbose=0)


def test_a_regularizer_of_the_features_is_part_of_the_delta_rule():
    """Half a squared distance of 0.5 per example, and 0.3 * 2^2 of the weight that is squared."""
    inputs = keras.Input((1,))
    layer = keras.layers.Dense(1, use_bias=False, kernel_regularizer=keras.regularizers.L2(0.3))
    features = keras.Model(inputs, layer(inputs))
    layer.kernel.assign([[2.0]])
    model = models.DeltaRule(features)
    model.compile(keras.optimizers.SGD(0.1))
    batch = np.float32([[1.0], [3.0]]), np.array([0, 1])
    assert float(model.training_loss(batch)) == pytest.approx(0.5 + 1.2)
    model.train_on_batch(*batch)
    # The scores' weights are 0, so nothing but the penalty has a slope: 2 - 0.1 * 2 * 0.3 * 2.
    assert layer.kernel.numpy().item() == pytest.approx(1.88)


@pytest.mark.parametrize("build", [models.perceptron, models.delta_rule])
@pytest.mark.parametrize("given", [{"loss": "mse"}, {"metrics": ["accuracy"]}])
def test_losses_and_metrics_that_nothing_would_look_at_are_refused(build, given):
    with pytest.raises(UserError, match=f"{next(iter(given))}=.*of its own"):
        build((2,)).compile(keras.optimizers.SGD(0.1), **given)


@pytest.mark.slow
def test_the_pocket_has_three_of_four_points_of_xor():
    y, corners = targets([0, 1, 1, 0], 1), 0.31 + 0.83 * AND
    model = models.perceptron((2,), pocket=True, **ONES)
    model.keep_for(corners, y)
    order = np.random.default_rng(0).integers(0, 4, 2000)  # any, at any time, as the proof has it
    logs = fit(model, corners[order], y[order])
    assert model.evaluate(corners, y, verbose=0, return_dict=True)["error"] == 0.25
    assert logs["updates"][0] > 500  # the walk has no end


def test_a_perceptron_without_a_pocket_keeps_nothing():
    with pytest.raises(UserError, match="pocket=True"):
        models.perceptron((2,)).keep_for(AND, targets([0, 1, 1, 0], 1))


def descend(model, x, y, rate, steps):
    """Batch gradient descent; the losses before and after."""
    model.compile(keras.optimizers.SGD(rate), steps_per_execution=50)
    before = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    model.fit(data.FullBatches(x, y, steps).dataset(0, 1), verbose=0, shuffle=False)
    return before, model.evaluate(x, y, verbose=0, return_dict=True)["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("units", [1, 3])
def test_the_delta_rule_ends_at_least_squares(units):
    x = RNG.normal(size=(50, 4)).astype("f4") + 0.5
    classes = RNG.integers(0, max(2, units), 50)
    y = targets(classes, units)
    model = models.delta_rule((4,), max(2, units), **ONES)
    descend(model, x, y, 0.9 * evaluation.highest_learning_rate(x), 600)
    augmented = np.column_stack([x, np.ones(50)])
    expected = np.linalg.lstsq(augmented, 2 * y - 1, rcond=None)[0]
    np.testing.assert_allclose(weights(model), expected, atol=2e-4)


def test_one_step_of_the_delta_rule_by_hand():
    """W <- w - eta mean((w.x~ - t) x~): from 0 it is eta mean(t x~)."""
    model = models.delta_rule((2,), **ONES)
    model.compile(keras.optimizers.SGD(0.1))
    logs = model.fit(AND, targets([0, 0, 0, 1], 1), 4, verbose=0).history
    # t = -1, -1, -1, 1; sum of t x~ = (0, 0, -2).
    np.testing.assert_allclose(weights(model)[:, 0], [0.0, 0.0, -0.05], atol=1e-7)
    assert logs["loss"] == [0.5] and logs["error"] == [1.0]


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "grows"), [(0.97, False), (1.03, True)])
@pytest.mark.parametrize("shape", [(3,), (4, 5, 1)])
def test_the_step_size_condition_is_sharp(factor, grows, shape):
    rng = np.random.default_rng(3)
    x = rng.uniform(0, 255 if len(shape) == 3 else 2, (30, *shape)).astype("f4")
    y = targets(rng.integers(0, 2, 30), 1)
    model = models.delta_rule(shape, mean=0.2, std=0.7)
    seen = model.features.predict(x, verbose=0)
    rate = factor * evaluation.highest_learning_rate(seen)
    before, after = descend(model, x, y, rate, 200)
    assert (after > 10 * before) == grows and (after < before) != grows


@pytest.mark.slow
def test_online_steps_below_their_condition_stay_bounded():
    x = RNG.normal(size=(40, 6)).astype("f4") * np.array([5, 1, 1, 1, 1, 0.2], "f4")
    y = targets(RNG.integers(0, 2, 40), 1)
    of_one, of_all = (evaluation.highest_learning_rate(x, size) for size in (1, None))
    assert of_one < of_all
    losses = {}
    for rate in (0.9 * of_one, 0.9 * of_all):
        model = models.delta_rule((6,), **ONES)
        model.compile(keras.optimizers.SGD(rate), steps_per_execution=40)
        losses[rate] = model.fit(x, y, 1, 5, verbose=0).history["loss"][-1]
    assert losses[0.9 * of_one] < 1.0 < losses[0.9 * of_all] / 1e3


def test_logits_of_two_classes_are_0_and_the_score():
    model = models.perceptron((2,), **ONES)
    model.scores.set_weights([np.array([[1.0], [2.0]]), np.array([-0.5])])
    logits = models.class_logits(model).predict(AND, verbose=0)
    np.testing.assert_allclose(logits, np.column_stack([np.zeros(4), [-0.5, 1.5, 0.5, 2.5]]))
    three = models.perceptron((2,), 3)
    assert models.class_logits(three).output_shape == (None, 3)


@pytest.mark.slow
def test_a_saved_pocket_goes_on(tmp_path):
    model = models.perceptron((2,), pocket=True)
    fit(model, AND, targets([0, 1, 1, 0], 1), epochs=3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: models.perceptron((2,), 1),
        lambda: models.perceptron((2, 2)),
        lambda: models.delta_rule((2,), std=0.0),
        lambda: models.delta_rule((2,), mean=(1.0, 2.0, 3.0)),
    ],
)
def test_mistakes(wrong):
    with pytest.raises(UserError):
        wrong()


PROGRAM = """
    import sys
    sys.path[:0] = {path!r}
    import keras
    import numpy as np
    import tensorflow as tf
    from kapps import models, training
    from kapps.errors import UserError

    two, one = training.strategy("cpu:2"), tf.distribute.get_strategy()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 3)).astype("f4"), rng.integers(0, 2, (24, 1)).astype("f4")

    def delta(strategy):
        with strategy.scope():
            model = models.delta_rule((3,))
            model.compile(keras.optimizers.SGD(0.2))
        logs = model.fit(x, y, 8, 3, shuffle=False, verbose=0).history
        return model.get_weights(), logs

    (a, logs_a), (b, logs_b) = delta(one), delta(two)
    for u, v in zip(a, b, strict=True):
        np.testing.assert_allclose(u, v, rtol=1e-5, atol=1e-6)
    for name in logs_a:
        np.testing.assert_allclose(logs_a[name], logs_b[name], rtol=1e-5)
    for pocket in (False, True):
        with two.scope():
            model = models.perceptron((3,), pocket=pocket)
            try:
                model.compile()
            except UserError as error:
                print("refused" if "one example after another" in str(error) else error)
"""


@pytest.mark.slow
def test_two_replicas_share_the_delta_rule_and_no_perceptron():
    program = textwrap.dedent(PROGRAM).format(path=sys.path)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.stdout.split() == ["refused", "refused"], answer.stderr
