import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import losses, models
from kapps.errors import UserError
from kapps.models.generative.gan import diffaugment
from models.generative.small_gans import (
    LATENT,
    PIXELS,
    SHAPE,
    gan,
    linear_game,
    one_hot,
    pictures,
    same,
    weights,
)

WHITE = np.full((8, *SHAPE), 255, "float32")  # 1 for the discriminator
W = np.linspace(-0.5, 0.6, PIXELS).astype("float32")
SQUARED = float(np.sum(np.square(W, dtype="float64")))


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(3)


def compiled(model, rate=0.1, **settings):
    model.compile(keras.optimizers.SGD(rate), **settings)
    return model


def scaled(image):
    return tf.constant(image / 127.5 - 1.0, tf.float32)


def step(model, image=WHITE, labels=None):
    """One `train_step` outside of graphs, which is quick; what it reports."""
    model.reset_metrics()
    image = tf.constant(image)
    logs = model.train_step(image if labels is None else (image, tf.constant(labels)))
    return {name: float(value) for name, value in logs.items()}


def step_in_a_graph(model, image=WHITE, labels=None):
    """The same as `fit` does it."""
    data = tf.data.Dataset.from_tensors(image if labels is None else (image, labels))
    history = model.fit(data, shuffle=False, verbose=0).history
    return {name: float(values[0]) for name, values in history.items()}


# What moves when ----------------------------------------------------------------------------------


def test_a_discriminator_step_moves_the_discriminator_only():
    model = compiled(gan(of_generator="batch", of_discriminator="spectral"))
    before = weights(model.generator), weights(model.generator_ema), weights(model.discriminator)
    model.discriminator_step(scaled(pictures()))
    assert all(same(before[0], weights(model.generator)))  # moving averages, too
    assert all(same(before[1], weights(model.generator_ema)))
    assert not any(same(before[2], weights(model.discriminator)))  # u of spectral norms, too
    assert (model.discriminator_steps.numpy(), model.generator_steps.numpy()) == (1, 0)


@pytest.mark.parametrize("normalization", ["spectral", "batch"])
@pytest.mark.parametrize("loss", ["non_saturating", "relativistic"])
def test_a_generator_step_moves_the_generator_only(normalization, loss):
    model = compiled(gan(of_generator="batch", of_discriminator=normalization, loss=loss))
    before = weights(model.generator), weights(model.discriminator)
    model.generator_step(scaled(pictures()))
    assert not any(same(before[0], weights(model.generator)))
    assert all(same(before[1], weights(model.discriminator)))
    assert (model.discriminator_steps.numpy(), model.generator_steps.numpy()) == (0, 1)


def test_moving_averages_of_the_discriminator_see_real_pictures_then_fakes():
    """moving <- 0.9 moving + 0.1 mean, once for each; never a mixture of both."""
    model = compiled(gan(of_discriminator="batch"), rate=0.0)
    dense, norm = (
        next(layer for layer in model.discriminator.layers[3:] if isinstance(layer, kind))
        for kind in (keras.layers.Dense, keras.layers.BatchNormalization)
    )
    reach = keras.Model(model.discriminator.inputs, dense.output)
    seen = []
    judge = model._judge
    model._judge = lambda x, *rest: seen.append(x) or judge(x, *rest)
    model.discriminator_step(scaled(pictures()))
    real, fake = (reach(x).numpy().mean(0) for x in seen)
    np.testing.assert_allclose(norm.moving_mean, 0.9 * (0.1 * real) + 0.1 * fake, rtol=1e-5)


@pytest.mark.slow
def test_the_spectral_norm_moves_once_a_step():
    model = compiled(gan(of_discriminator="spectral", n_critic=2, r1=1.0), rate=0.0)
    layer = model.discriminator.layers[2]
    twin = type(layer).from_config(layer.get_config())
    twin.build((None, PIXELS))
    twin.set_weights(layer.get_weights())
    step(model)
    twin.update()
    twin.update()
    np.testing.assert_allclose(layer.u, twin.u, rtol=1e-6)


@pytest.mark.slow
def test_every_critic_step_has_real_pictures_of_its_own():
    model = compiled(gan(n_critic=3))
    seen = {"discriminator": [], "generator": []}
    for name in seen:
        method = getattr(model, f"{name}_step")
        setattr(
            model,
            f"{name}_step",
            lambda x, labels, name=name, method=method: seen[name].append(x) or method(x, labels),
        )
    image = pictures(6)
    model.train_step(tf.constant(image))
    expected = scaled(image).numpy()
    for i, part in enumerate(seen["discriminator"]):
        np.testing.assert_allclose(part, expected[2 * i : 2 * i + 2], atol=1e-6)
    assert len(seen["discriminator"]) == 3 and len(seen["generator"]) == 1
    np.testing.assert_allclose(seen["generator"][0], expected[4:], atol=1e-6)


@pytest.mark.parametrize("count", [7, 2, 1])
def test_a_batch_that_the_critic_steps_do_not_divide(count):
    """Seven: parts of two, and one is left over. Fewer than three steps: some are used again."""
    model = compiled(gan(n_critic=3))
    seen = []
    method = model.discriminator_step
    model.discriminator_step = lambda x, labels: seen.append(x.numpy()) or method(x, labels)
    image = pictures(count)
    logs = step(model, image)
    assert np.isfinite(list(logs.values())).all()
    rows = {7: [[0, 1], [2, 3], [4, 5]], 2: [[0], [1], [0]], 1: [[0]] * 3}[count]
    for part, expected in zip(seen, rows, strict=True):
        np.testing.assert_array_equal(part, scaled(image).numpy()[expected])


@pytest.mark.slow
def test_a_last_batch_that_the_critic_steps_do_not_divide():
    model = compiled(gan(n_critic=2))
    history = model.fit(pictures(9), batch_size=4, verbose=0).history  # 4, 4 and 1
    assert all(np.isfinite(values).all() for values in history.values())


@keras.saving.register_keras_serializable("tests")
class Spy(keras.layers.Layer):
    """Notes in which mode it is called, and on what."""

    calls = []

    def call(self, inputs, training=None):
        self.calls.append((training, inputs))
        return inputs


def spied(**settings):
    x = keras.Input(SHAPE)
    y = keras.layers.Dense(1)(keras.layers.Flatten()(Spy()(x)))
    z = keras.Input((LATENT,))
    picture = keras.layers.Dense(PIXELS, kernel_initializer="zeros")(Spy()(z))
    generator = keras.Model(z, keras.layers.Reshape(SHAPE)(picture))
    model = compiled(models.GAN(generator, keras.Model(x, y), **settings))
    Spy.calls.clear()
    return model


def test_steps_train_and_validation_does_not():
    model = spied(loss="relativistic", gradient_penalty=1.0)
    model.train_step(tf.constant(WHITE))
    # D: a fake, real, fake, between. G: a fake, fake, real.
    assert [mode for mode, _ in Spy.calls] == [True] * 7
    Spy.calls.clear()
    model.test_step(tf.constant(WHITE))
    assert [mode for mode, _ in Spy.calls] == [False] * 3


def test_real_pictures_and_fakes_are_augmented_alike(monkeypatch):
    seen = []
    augmentation = diffaugment.differentiable_augmentation

    def noted(x, seed, policy):
        seen.append((tuple(seed.numpy()), tuple(policy)))
        return augmentation(x, seed, policy)

    monkeypatch.setattr(diffaugment, "differentiable_augmentation", noted)
    model = spied(augment=("color", "cutout"), gradient_penalty=1.0)
    model.train_step(tf.constant(WHITE))
    assert [policy for _, policy in seen] == [("color", "cutout")] * 4  # D: 3, G: 1
    assert len({seed for seed, _ in seen}) == 4
    model.test_step(tf.constant(WHITE))
    assert len(seen) == 4


# Regularizers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 0.0),
        ({"r1": 3.0}, 1.5 * SQUARED),
        ({"r2": 5.0}, 2.5 * SQUARED),
        ({"r1": 3.0, "r2": 5.0}, 4.0 * SQUARED),
        ({"gradient_penalty": 10.0}, 10.0 * (np.sqrt(SQUARED + 1e-4) - 1.0) ** 2),
        ({"r1": 3.0, "penalty_interval": 4}, 4 * 1.5 * SQUARED),
    ],
)
def test_penalties_of_a_linear_discriminator(settings, expected):
    """Its slope is w everywhere: gamma / 2 |w|^2, lambda (|w| - 1)^2, times k when lazy."""
    model = compiled(linear_game(W, loss="wasserstein", **settings))
    logs = step(model)
    assert logs["penalty"] == pytest.approx(expected, rel=1e-5)
    assert logs["discriminator_loss"] == pytest.approx(-W.sum(), rel=1e-5)  # of 0 and of 1


@pytest.mark.slow
@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize(("interval", "factor"), [(1, 1.0), (3, 3.0)])
def test_a_step_follows_the_gradient_of_loss_and_penalty(interval, factor, xla):
    """D = w . x, fakes are 0, real pictures 1: w moves by rate (1 - k gamma w)."""
    model = linear_game(W, loss="wasserstein", r1=2.0, penalty_interval=interval)
    step_in_a_graph(compiled(model, jit_compile=xla))
    moved = model.discriminator.layers[-1].kernel.numpy()[:, 0]
    np.testing.assert_allclose(moved, W + 0.1 * (1.0 - factor * 2.0 * W), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_lazy_penalties_come_in_every_kth_step_of_the_counter():
    model = compiled(linear_game(W, r1=2.0, penalty_interval=3), rate=0.0)
    model.discriminator_steps.assign(2)  # as after a restart
    penalties = [step_in_a_graph(model)["penalty"] for _ in range(5)]
    np.testing.assert_allclose(np.array(penalties) / SQUARED, [0, 3, 0, 0, 3], rtol=1e-5)


def test_the_slope_of_a_curved_discriminator():
    """D = (w . x)^2 has the slope 2 (w . x) w; gamma / 2 of its square by hand, per picture."""
    model = linear_game(W, r1=3.0)
    y = keras.layers.Lambda(tf.square)(model.discriminator.outputs[0])
    model = models.GAN(
        model.generator, keras.Model(model.discriminator.inputs, y), loss="wasserstein", r1=3.0
    )
    image = pictures()
    along = scaled(image).numpy().reshape(8, -1) @ W
    expected = 1.5 * np.mean(4 * along**2) * SQUARED
    assert step(compiled(model), image)["penalty"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("xla", [False, True])
def test_gradient_penalty_at_a_slope_of_zero_is_finite(xla):
    """The root's own slope is infinite there: lambda (sqrt(1e-4) - 1)^2."""
    model = linear_game(np.zeros(PIXELS), loss="wasserstein", gradient_penalty=10.0)
    logs = step_in_a_graph(compiled(model, jit_compile=xla))
    assert logs["penalty"] == pytest.approx(10.0 * 0.99**2, rel=1e-5)
    assert np.isfinite(model.discriminator.layers[-1].kernel).all()


def test_gradient_penalty_looks_between_one_fake_and_one_real_picture():
    """Fakes are 0 and real pictures 1, so what lies between is alpha, one for each picture."""
    model = spied(gradient_penalty=1.0)
    model.discriminator_step(tf.ones((2000, *SHAPE)))
    between = Spy.calls[-1][1].numpy().reshape(2000, -1)
    np.testing.assert_array_equal(between, between[:, :1] * np.ones_like(between))
    alpha = between[:, 0]
    assert 0.0 <= alpha.min() < 0.01 and 0.99 < alpha.max() <= 1.0
    # Five standard errors of the mean and the variance of U(0, 1).
    assert alpha.mean() == pytest.approx(0.5, abs=5 / np.sqrt(12 * 2000))
    assert alpha.var() == pytest.approx(1 / 12, abs=5 / np.sqrt(180 * 2000))


def test_weights_are_clipped_after_the_step():
    model = compiled(linear_game(W, bias=3.0, loss="wasserstein", weight_clip=0.2))
    step(model)
    kernel, bias = weights(model.discriminator)
    np.testing.assert_allclose(kernel[:, 0], np.clip(W + 0.1, -0.2, 0.2), rtol=1e-5, atol=1e-7)
    assert bias == pytest.approx(0.2)


# Losses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", losses.ADVERSARIAL)
def test_reported_losses_are_those_of_the_table(name):
    """The generator is judged by the discriminator that has moved; it has not, at a rate of 0."""
    model = compiled(linear_game(W, bias=0.7, loss=name), rate=0.0)
    image = pictures()
    logs = step(model, image)
    real, fake = scaled(image).numpy().reshape(8, -1) @ W + 0.7, np.full(8, 0.7)
    row = losses.ADVERSARIAL[name]
    expected = [np.mean(f(tf.constant(real), tf.constant(fake, tf.float32))) for f in row[:2]]
    found = [logs["discriminator_loss"], logs["generator_loss"]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert logs["loss"] == pytest.approx(sum(found), rel=1e-5)
    assert logs["real_logits"] == pytest.approx(real.mean(), rel=1e-4)
    assert logs["fake_logits"] == pytest.approx(0.7, rel=1e-5)


def test_the_minimax_generator_gets_no_gradient_from_a_sure_discriminator():
    """Fakes at a logit of -20: slopes of 2e-9 and of 1."""
    moves = {}
    for name in ("minimax", "non_saturating"):
        model = compiled(linear_game(W, bias=-20.0, loss=name), rate=1.0)
        model.generator_step(scaled(WHITE))
        moves[name] = model.generator.layers[1].bias.numpy()
    np.testing.assert_allclose(moves["non_saturating"], W, rtol=1e-5)  # tanh' = 1 at 0
    np.testing.assert_allclose(moves["minimax"], 2.0611537e-9 * W, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", losses.ADVERSARIAL)
def test_every_loss_trains(name, digits):
    shape = (8, 8, 1)
    model = models.GAN(
        models.gan_dense_generator(shape, 8, units=(32,)),
        models.gan_dense_discriminator(shape, units=(32,)),
        loss=name,
        **({"weight_clip": 0.05} if name == "wasserstein" else {"r1": 0.1}),
    )
    model.compile(keras.optimizers.Adam(2e-3, beta_1=0.0))
    before = weights(model)
    history = model.fit(digits, epochs=2, verbose=0, shuffle=False).history
    assert all(np.isfinite(values).all() for values in history.values())
    # A bias of the logits cancels where they are subtracted.
    assert sum(same(before, weights(model))) == (name in ("wasserstein", "relativistic"))
    assert model.sample(20).std(axis=0).max() > 0


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    image = load_digits().images[:640, :, :, None] * (255 / 16)
    return tf.data.Dataset.from_tensor_slices(image.astype("float32")).batch(64)


# Conditioning -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("conditioning", ["concat", "projection", "auxiliary"])
def test_conditional_games_train(conditioning):
    model = compiled(gan(classes=3, conditioning=conditioning, r1=1.0, n_critic=2), rate=0.01)
    logs = step(model, pictures(12), one_hot(12, 3))
    assert np.isfinite(list(logs.values())).all()
    assert ("class_loss" in logs) == (conditioning == "auxiliary")


def test_labels_reach_both_players():
    model = compiled(gan(classes=3, conditioning="projection"))
    given = {"generator": [], "discriminator": []}
    for name in given:
        network = getattr(model, name)
        call = network.call
        network.call = lambda x, *a, call=call, name=name, **k: (
            given[name].append(x) or call(x, *a, **k)
        )
    labels = one_hot(8, 3)[::-1]
    model.train_step((tf.constant(pictures()), tf.constant(labels)))
    assert [len(calls) for calls in given.values()] == [2, 3]
    for x in (*given["generator"], *given["discriminator"]):
        np.testing.assert_array_equal(x[1], labels)


@pytest.mark.slow
def test_the_auxiliary_classifier_costs_both_players():
    """A head of zeros guesses: ln 3 for real pictures and ln 3 for fakes."""
    model = gan(classes=3, conditioning="auxiliary", loss="wasserstein", class_weight=2.0)
    head = model.discriminator.get_layer("class_logits")
    head.set_weights([np.zeros_like(w) for w in head.get_weights()])
    compiled(model, rate=0.0)
    x, labels = scaled(pictures()), tf.constant(one_hot(8, 3))
    of_discriminator = np.mean(model.discriminator_step(x, labels))
    of_generator = np.mean(model.generator_step(x, labels))
    logs = {m.name: float(m.result()) for m in model.metrics}
    assert logs["class_loss"] == pytest.approx(2 * np.log(3.0), rel=1e-6)
    costs = of_discriminator - logs["discriminator_loss"], of_generator - logs["generator_loss"]
    np.testing.assert_allclose(costs, [4 * np.log(3.0), 2 * np.log(3.0)], rtol=1e-5)


# The averaged generator ---------------------------------------------------------------------------


@pytest.mark.slow
def test_the_average_by_hand():
    """Decays of 1/10, 2/11, then at most 0.25, over weights and moving averages."""
    model = gan(of_generator="batch", ema=0.25)
    start = weights(model.generator)
    assert all(same(start, weights(model.generator_ema)))  # and not those of a fresh clone
    compiled(model)
    expected = start
    for decay in (1 / 10, 2 / 11, 0.25, 0.25):
        step(model, pictures())
        pairs = zip(expected, weights(model.generator), strict=True)
        expected = [decay * average + (1 - decay) * weight for average, weight in pairs]
        for found, value in zip(weights(model.generator_ema), expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)
    assert not all(same(weights(model.generator), weights(model.generator_ema)))


def test_pictures_are_those_of_the_average():
    model = gan()
    z = np.random.default_rng(0).normal(size=(5, LATENT)).astype("float32")
    expected = 0.5 * (model.generator(z).numpy() + 1.0)
    model.generator.set_weights([0 * w for w in model.generator.get_weights()])
    for pixels in (model.generate(z), model(z), model.predict(z, verbose=0)):
        np.testing.assert_allclose(pixels, expected, atol=1e-6)
    assert (expected.min() >= 0) and (expected.max() <= 1) and expected.std() > 0.01


def test_samples_repeat_and_differ_by_seed():
    model = gan()
    one, again, other = model.sample(300, seed=1), model.sample(300, seed=1), model.sample(300, 2)
    assert one.shape == (300, *SHAPE) and one.dtype == np.uint8
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert len(np.unique(one.reshape(300, -1), axis=0)) > 250  # the second lot is not the first
    z = model.latents(5, tf.constant([1, 0]))
    np.testing.assert_allclose(model.sample(5, 1), 255 * model.generate(z).numpy(), atol=0.51)
    assert model.sample(0).shape == (0, *SHAPE)


def test_samples_of_a_conditional_model():
    model = gan(classes=3, conditioning="concat")
    labels = one_hot(7, 3)
    np.testing.assert_array_equal(model.sample(7, 1), model.sample(7, 1, labels))
    assert not np.array_equal(model.sample(7, 1, labels[::-1]), model.sample(7, 1, labels))
    with pytest.raises(UserError, match="one-hot labels of 3"):
        model.generate(np.zeros((1, LATENT), "float32"))


# Validation ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_validation_moves_nothing_and_repeats():
    model = compiled(gan(of_generator="batch", of_discriminator="spectral", r1=1.0))
    step(model)
    before = [np.array(v) for v in model.variables]
    logs = [model.evaluate(pictures(20), batch_size=8, verbose=0, return_dict=True) for _ in "12"]
    assert all(same(before, [np.array(v) for v in model.variables]))
    assert logs[0] == logs[1]
    assert set(logs[0]) == {
        "loss",
        "discriminator_loss",
        "generator_loss",
        "real_logits",
        "fake_logits",
    }


@pytest.mark.slow
def test_figures_are_means_over_all_pictures():
    """Batches of 8, 8 and 4; the last one counts for 4."""
    model = compiled(linear_game(W), rate=0.0)
    image = pictures(20)
    logits = scaled(image).numpy().reshape(20, -1) @ W
    logs = model.evaluate(image, batch_size=8, verbose=0, return_dict=True)
    assert float(logs["real_logits"]) == pytest.approx(logits.mean(), rel=1e-4)
    history = model.fit(image, batch_size=8, shuffle=False, verbose=0).history
    assert float(history["real_logits"][0]) == pytest.approx(logits.mean(), rel=1e-4)


# Optimizers ---------------------------------------------------------------------------------------


def rates(model):
    return [float(o.learning_rate) for o in (model.optimizer, model.discriminator_optimizer)]


@pytest.mark.slow
def test_callbacks_that_set_the_learning_rate_reach_both():
    model = gan()
    model.compile(keras.optimizers.Adam(0.002), keras.optimizers.Adam(0.006), run_eagerly=True)
    assert rates(model) == pytest.approx([0.002, 0.006])
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.001)
    model.fit(pictures(), verbose=0, callbacks=[schedule])
    assert rates(model) == pytest.approx([0.001, 0.003])
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    model.fit(pictures(), epochs=2, verbose=0, callbacks=[plateau])
    assert rates(model) == pytest.approx([0.0005, 0.0015])


def test_the_followed_rate_is_what_a_step_uses():
    model = linear_game(W, loss="wasserstein")
    model.compile(keras.optimizers.SGD(0.5), keras.optimizers.SGD(1.0))
    model.optimizer.learning_rate = 0.05
    step(model)
    moved = model.discriminator.layers[-1].kernel.numpy()[:, 0]
    np.testing.assert_allclose(moved, W + 0.1, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_schedules_are_independent():
    halving = keras.optimizers.schedules.ExponentialDecay(0.8, 1, 0.5)
    model = gan(n_critic=2)
    model.compile(keras.optimizers.SGD(halving), keras.optimizers.SGD(halving))
    step(model)
    assert rates(model) == pytest.approx([0.4, 0.2])  # one step and two
    model = gan()
    model.compile(keras.optimizers.SGD(halving), keras.optimizers.SGD(0.3))
    step(model)
    assert rates(model) == pytest.approx([0.4, 0.3])


def test_each_optimizer_is_built_on_its_own_weights():
    model = gan()
    model.compile("adam")
    assert list(model.further_optimizers) == ["discriminator"]
    for optimizer, network in (
        (model.optimizer, model.generator),
        (model.further_optimizers["discriminator"], model.discriminator),
    ):
        moments = [tuple(v.shape) for v in optimizer.variables if len(v.shape)]
        shapes = [tuple(w.shape) for w in network.trainable_variables]
        assert sorted(moments) == sorted([*shapes, *shapes])
    assert gan().further_optimizers == {}


@pytest.mark.slow
def test_sixteen_bits_scale_both_losses_and_give_the_steps_of_float32():
    """Slopes of some 1e-6 are under the smallest number of float16; scaled, they are there."""
    tiny = 1e-3 * W
    moves = []
    for policy in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        try:
            model = linear_game(tiny, loss="wasserstein", r1=1e-3, r2=1e-3)
            model.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(1e-2))
        finally:
            keras.config.set_dtype_policy("float32")
        optimizers = [model.optimizer, *model.further_optimizers.values()]
        scales = [isinstance(o, keras.optimizers.LossScaleOptimizer) for o in optimizers]
        assert scales == [policy == "mixed_float16"] * 2
        logs = [step(model, WHITE / 1e3 + 127.5) for _ in range(3)][-1]
        moves.append(([*weights(model.discriminator), *weights(model.generator)], logs["penalty"]))
    for half, full in zip(moves[1][0], moves[0][0], strict=True):
        np.testing.assert_allclose(half, full, rtol=5e-3, atol=1e-6)
    assert moves[1][1] == pytest.approx(moves[0][1], rel=5e-3)


@pytest.mark.slow
def test_a_curved_game_in_sixteen_bits():
    results = []
    for policy in ("float32", "mixed_float16", "mixed_bfloat16"):
        keras.utils.set_random_seed(3)
        keras.config.set_dtype_policy(policy)
        try:
            model = gan(r1=1.0, gradient_penalty=2.0, of_discriminator="spectral")
            model.compile(keras.optimizers.SGD(0.02))
        finally:
            keras.config.set_dtype_policy("float32")
        logs = [step(model, pictures()) for _ in range(3)][-1]
        results.append((weights(model), logs["penalty"]))
    for mixed, tolerance in zip(results[1:], (2e-3, 2e-2), strict=True):
        assert mixed[1] == pytest.approx(results[0][1], rel=10 * tolerance)
        for a, b in zip(mixed[0], results[0][0], strict=True):
            np.testing.assert_allclose(a, b, atol=tolerance)


# Saving -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_saved_model_makes_the_same_pictures_and_goes_on_the_same_way(tmp_path, policy):
    # A critic step less in the graph, which takes seconds to trace.
    one_step, n_critic = {"float32": (step, 2), "mixed_float16": (step_in_a_graph, 1)}[policy]
    keras.config.set_dtype_policy(policy)
    try:
        model = gan(
            classes=3,
            conditioning="projection",
            of_generator="batch",
            of_discriminator="spectral",
            loss="relativistic",
            r1=0.5,
            r2=0.25,
            penalty_interval=2,
            augment=("translation",),
            n_critic=n_critic,
            ema=0.9,
            seed=5,
        )
        model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(4e-3, beta_1=0.0))
        data = pictures(8), one_hot(8, 3)
        one_step(model, *data)
        model.save(tmp_path / "gan.keras")
        loaded = keras.models.load_model(tmp_path / "gan.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(loaded.sample(20, seed=4), model.sample(20, seed=4))
    loaded.optimizer.learning_rate = model.optimizer.learning_rate = 2e-3
    assert rates(loaded) == pytest.approx([2e-3, 8e-3])
    for each in (model, loaded):
        one_step(each, *data)
    states = [
        [
            np.array(v)
            for part in (m, m.optimizer, m.discriminator_optimizer)
            for v in part.variables
        ]
        for m in (model, loaded)
    ]
    assert all(same(*states))


class Stop(Exception):
    pass


class Crash(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise Stop


@pytest.mark.slow
def test_keras_backup_restores_both_optimizers(tmp_path):
    """Two epochs, a crash, two more, in a model that draws other weights: bit for bit the same."""

    def train(*callbacks, seed):
        keras.utils.set_random_seed(seed)
        model = gan(of_generator="batch", of_discriminator="spectral", r1=1.0, penalty_interval=3)
        model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(2e-3))
        model.fit(
            pictures(40),
            batch_size=8,
            epochs=4,
            shuffle=False,
            verbose=0,
            callbacks=[*callbacks],
        )
        parts = (model, model.optimizer, model.discriminator_optimizer)
        return [np.array(v) for part in parts for v in part.variables]

    whole = train(seed=1)

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    with pytest.raises(Stop):
        train(backup(), Crash(), seed=1)
    assert all(same(whole, train(backup(), seed=2)))


# Mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"loss": "gan"}, "unknown loss 'gan'"),
        ({"loss": "hinge", "label_smoothing": 0.1}, "only bce"),
        ({"r1": -1.0}, "r1 -1.0"),
        ({"weight_clip": float("nan")}, "weight_clip nan"),
        ({"ema": 1.0}, "ema must be"),
        ({"n_critic": 0}, "n_critic must be"),
        ({"penalty_interval": 0}, "penalty_interval must be"),
        ({"augment": ("flip",)}, "unknown augmentation 'flip'"),
        ({"of_discriminator": "batch", "r1": 1.0}, "depend on other images"),
        ({"of_discriminator": "batch", "gradient_penalty": 1.0}, "depend on other images"),
    ],
)
def test_mistakes_are_named(settings, words):
    with pytest.raises(UserError, match=words):
        gan(**settings)


def test_players_that_do_not_fit():
    generator = models.gan_dense_generator(SHAPE, LATENT)
    with pytest.raises(UserError, match=r"makes \(4, 3, 1\).*takes \(4, 4, 1\)"):
        models.GAN(generator, models.gan_dense_discriminator((4, 4, 1)))
    labelled = models.gan_dense_discriminator(SHAPE, classes=3, conditioning="concat")
    with pytest.raises(UserError, match=r"no classes, the discriminator on \[3\]"):
        models.GAN(generator, labelled)
    conditional = models.gan_dense_generator(SHAPE, LATENT, classes=3)
    with pytest.raises(UserError, match=r"on \[3\] classes, the discriminator on no"):
        models.GAN(conditional, models.gan_dense_discriminator(SHAPE))
    with pytest.raises(UserError, match="not one for both"):
        adam = keras.optimizers.Adam()
        gan().compile(adam, adam)
