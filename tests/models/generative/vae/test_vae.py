import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from kapps import models
from kapps.errors import UserError
from kapps.models.generative.vae.active_units import ActiveUnits

SHAPE, DIMS = (2, 2, 1), 4
SCALE = 0.3  # of the pixels of the linear model
SEED = tf.constant([1, 2])
# Single steps are taken eagerly: tracing costs more. Graphs: test_vae_networks.


def pictures(count, shape=(4, 3, 1), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def binary(count, shape=(4, 3, 1), seed=0):
    return np.where(pictures(count, shape, seed) < 128, np.uint8(0), np.uint8(255))


def small(**settings):
    return models.dense_vae((4, 3, 1), 2, **{"units": (6,), **settings})


def affine(x, units, weights, bias, name=None):
    layer = keras.layers.Dense(units, name=name)
    y = layer(x)
    layer.set_weights([np.asarray(weights, np.float32), np.asarray(bias, np.float32)])
    return y


A = np.array([[0.9, 0.1], [-0.4, 0.8], [0.3, 0.3], [0.2, -0.5]])
B = np.array([-0.2, 0.3])
LOG_VAR = np.array([-0.8, -0.3])
W = np.array([[0.5, -0.2, 0.1, 0.3], [0.1, 0.4, -0.3, 0.2]])
C = np.array([0.5, 0.4, 0.6, 0.3])


def linear(**settings):
    """x = z W + C + noise: everything about it is known in closed form."""
    x = keras.Input(SHAPE)
    flat = keras.layers.Flatten()(x)
    encoder = keras.Model(x, [affine(flat, 2, A, B), affine(flat, 2, 0 * A, LOG_VAR)])
    z = keras.Input((2,))
    decoder = keras.Model(z, keras.layers.Reshape(SHAPE)(affine(z, DIMS, W, C)))
    return models.VAE(encoder, decoder, **{"likelihood": "gaussian", "scale": SCALE, **settings})


def fix(model, noise):
    """Let a model draw this, [samples, batch, dims] or what broadcasts to it."""
    noise = tf.constant(noise, tf.float32)
    model.noise = lambda shape, seed: tf.broadcast_to(noise, shape)
    return model


def log_joint_over_posterior(x, z):
    """log p(x, z) - log q(z | x) of the linear model, x [batch, 4], z [samples, batch, 2]."""
    log_p = stats.norm.logpdf(x, z @ W + C, SCALE).sum(-1) + stats.norm.logpdf(z).sum(-1)
    return log_p - stats.norm.logpdf(z, x @ A + B, np.exp(LOG_VAR / 2)).sum(-1)


def of_batch(count, seed=3):
    return np.random.default_rng(seed).uniform(size=(count, *SHAPE)).astype("float32")


# The bounds


@pytest.mark.slow
def test_an_undecided_decoder_costs_784_ln_2_nats():
    """Summed over pixels; a mean over pixels or over colours would be something else."""
    for channels in (1, 3):
        model = models.dense_vae((28, 28, channels), 2, units=(1,))
        model.decoder.layers[-2].set_weights(
            [np.zeros_like(w) for w in model.decoder.get_weights()[-2:]]
        )
        model.compile("sgd", run_eagerly=True)
        found = model.test_on_batch(binary(3, (28, 28, channels)), return_dict=True)
        assert found["reconstruction"] == pytest.approx(543.427 * channels, abs=0.001)
        assert found["loss"] == pytest.approx(found["reconstruction"] + found["kl"], rel=1e-6)


@pytest.mark.slow
def test_kl_is_summed_over_latents_and_averaged_over_the_batch():
    """A posterior N(1, 1) in two dimensions is one nat from the prior."""
    model = linear()
    model.encoder.layers[-2].set_weights([0 * A, np.ones(2)])
    model.encoder.layers[-1].set_weights([0 * A, np.zeros(2)])
    model.compile("sgd", run_eagerly=True)
    for count in (1, 5):
        found = model.test_on_batch(255 * of_batch(count), return_dict=True)
        assert found["kl"] == pytest.approx(1.0, abs=1e-6)


def test_log_weights_are_those_of_numpy():
    noise = np.random.default_rng(0).normal(size=(3, 5, 2))
    x = of_batch(5)
    value = fix(linear(), noise).log_weights(x, 3, SEED)
    flat = x.reshape(5, DIMS)
    z = flat @ A + B + np.exp(LOG_VAR / 2) * noise
    assert value.shape == (3, 5)
    np.testing.assert_allclose(value, log_joint_over_posterior(flat, z), rtol=1e-4, atol=1e-4)


def test_draws_of_log_weights_differ_by_sample_and_picture_and_come_back():
    model, x = linear(), np.repeat(of_batch(1), 3, axis=0)
    value = model.log_weights(x, 4, SEED).numpy()
    assert len(np.unique(value)) == 12
    np.testing.assert_array_equal(model.log_weights(x, 4, SEED), value)
    assert not np.array_equal(model.log_weights(x, 4, SEED + 1), value)


@pytest.mark.parametrize("samples", [1, 7])
def test_the_iwae_loss_is_a_log_mean_of_weights(samples):
    noise = np.random.default_rng(1).normal(size=(samples, 5, 2))
    x = of_batch(5)
    model = fix(linear(objective="iwae", samples=samples), noise)
    model.compile("sgd", run_eagerly=True)
    found = model.test_on_batch(255 * x, return_dict=True)
    flat = x.reshape(5, DIMS)
    log_w = log_joint_over_posterior(flat, flat @ A + B + np.exp(LOG_VAR / 2) * noise)
    expected = -np.mean(special.logsumexp(log_w, axis=0) - np.log(samples))
    assert found["loss"] == pytest.approx(expected, abs=1e-4)
    if samples == 1:  # one sample is the ELBO, its KL by Monte Carlo
        assert found["loss"] == pytest.approx(-np.mean(log_w), abs=1e-4)


def test_more_samples_come_nearer_to_the_marginal_likelihood():
    """p(x) = N(C, W'W + scale^2); the ELBO is its KL to the true posterior away."""
    x = of_batch(4)
    flat = x.reshape(4, DIMS)
    marginal = stats.multivariate_normal.logpdf(flat, C, W.T @ W + SCALE**2 * np.eye(DIMS))
    log_w = linear().log_weights(x, 20_000, SEED).numpy().astype(float)
    bounds = [log_w.mean(0), special.logsumexp(log_w.reshape(400, 50, 4), axis=1).mean(0)]
    bounds[1] -= np.log(50)
    whole = special.logsumexp(log_w, axis=0) - np.log(20_000)
    assert np.all(bounds[0] < bounds[1]) and np.all(bounds[1] < marginal + 0.01)
    np.testing.assert_allclose(whole, marginal, atol=0.05)
    precision = np.eye(2) + W @ W.T / SCALE**2  # of the true posterior
    gap = np.array([_kl_to_true_posterior(row, np.linalg.inv(precision)) for row in flat])
    np.testing.assert_allclose(bounds[0], marginal - gap, atol=0.1)


def _kl_to_true_posterior(x, covariance):
    mean, true = x @ A + B, covariance @ W @ (x - C) / SCALE**2
    precision, variance = np.linalg.inv(covariance), np.exp(LOG_VAR)
    shift = (mean - true) @ precision @ (mean - true)
    trace = np.sum(np.diag(precision) * variance)
    return 0.5 * (trace + shift - 2 + np.log(np.linalg.det(covariance)) - LOG_VAR.sum())


# Gradients: what a step of gradient descent with rate 1 takes away


def gradients(model, x):
    before = [np.array(w) for w in model.trainable_variables]
    model.train_on_batch(255 * x)
    moved = [
        old - np.array(new) for old, new in zip(before, model.trainable_variables, strict=True)
    ]
    for variable, value in zip(model.trainable_variables, before, strict=True):
        variable.assign(value)
    return moved


def compiled(model):
    model.compile(keras.optimizers.SGD(1.0), run_eagerly=True)
    return model


@pytest.mark.slow
def test_the_iwae_gradient_weighs_each_sample_by_its_weight():
    noise = np.random.default_rng(2).normal(size=(5, 1, 2))
    x = of_batch(1)
    found = gradients(compiled(fix(linear(objective="iwae", samples=5), noise)), x)
    model = linear()
    parts, log_w = [], []
    for row in noise:
        fix(model, row[None])
        with tf.GradientTape() as tape:
            value = model.log_weights(x, 1, SEED)
        parts.append(tape.gradient(value, [w.value for w in model.trainable_variables]))
        log_w.append(float(tf.squeeze(value)))
    weights = special.softmax(log_w)
    assert weights.max() < 0.99  # or there would be nothing to weigh
    for i, gradient in enumerate(found):
        expected = -sum(w * part[i].numpy() for w, part in zip(weights, parts, strict=True))
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_doubly_reparameterized_gradients_are_right_and_vary_less():
    x = np.repeat(of_batch(1), 60, axis=0)  # the mean of many draws at once
    found = {}
    for objective in ("iwae", "dreg"):
        model = compiled(linear(objective=objective, samples=64))
        drawn = [gradients(model, x) for _ in range(15)]
        found[objective] = [np.stack(parts) for parts in zip(*drawn, strict=True)]
    encoder = slice(0, 4)
    for one, other in zip(found["iwae"][encoder], found["dreg"][encoder], strict=True):
        error = np.sqrt((one.var(0) + other.var(0)) / 15)
        assert np.all(abs(one.mean(0) - other.mean(0)) < 4.5 * error + 1e-6)
    spread = {name: sum(g.var(0).sum() for g in v[encoder]) for name, v in found.items()}
    assert spread["dreg"] < 0.5 * spread["iwae"]


@pytest.mark.slow
def test_doubly_reparameterized_gradients_of_the_decoder_and_values_are_those_of_iwae():
    noise = np.random.default_rng(4).normal(size=(6, 3, 2))
    x, found, values = of_batch(3), [], []
    for objective in ("iwae", "dreg"):
        model = compiled(fix(linear(objective=objective, samples=6), noise))
        found.append(gradients(model, x))
        values.append(model.test_on_batch(255 * x))
    for one, other in zip(found[0][4:], found[1][4:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert not np.allclose(found[0][0], found[1][0], rtol=1e-2)
    assert values[0][0] == pytest.approx(values[1][0], abs=1e-5)


# Free bits, the weight of the KL


def constant_posterior(**settings):
    """Means 0.2 and 2 with variance 1, that is 0.02 and 2 nats; a decoder that ignores them."""
    model = linear(**settings)
    model.encoder.layers[-2].set_weights([0 * A, np.array([0.2, 2.0])])
    model.encoder.layers[-1].set_weights([0 * A, np.zeros(2)])
    model.decoder.layers[1].set_weights([0 * W, C])
    return compiled(model)


@pytest.mark.parametrize(("free", "cost"), [(0.0, 2.02), (0.1, 2.1), (3.0, 6.0)])
def test_free_bits_by_hand(free, cost):
    model = constant_posterior(free_bits=free)
    x = of_batch(3)
    moved = gradients(model, x)
    found = model.train_on_batch(255 * x, return_dict=True)
    assert found["loss"] - found["reconstruction"] == pytest.approx(cost, abs=1e-4)
    assert found["kl"] == pytest.approx(2.02, abs=1e-4)
    # d KL / d mean = mean, unless the dimension is free.
    expected = [0.2 * (free < 0.02), 2.0 * (free < 2.0)]
    np.testing.assert_allclose(moved[1], expected, atol=1e-5)
    checked = constant_posterior(free_bits=free).test_on_batch(255 * x, return_dict=True)
    assert checked["loss"] == pytest.approx(checked["negative_elbo"])


def test_free_bits_look_at_the_mean_over_the_batch():
    """KLs of 0 and 0.5 nats: the mean is above 0.1, so both examples pay."""
    model = linear(free_bits=0.1)
    model.encoder.layers[-2].set_weights([np.eye(4, 2), np.zeros(2)])
    model.encoder.layers[-1].set_weights([0 * A, np.zeros(2)])
    x = np.zeros((2, *SHAPE), np.float32)
    x[1, 0, 0] = 1.0
    found = compiled(model).train_on_batch(255 * x, return_dict=True)
    # First dimension (0 + 0.5) / 2, second one 0, which is free up to 0.1.
    assert found["loss"] - found["reconstruction"] == pytest.approx(0.35, abs=1e-5)


@pytest.mark.slow
def test_the_weight_of_the_kl_is_that_of_the_step_and_validation_has_one():
    model = linear(beta=models.KLWarmup(4, beta=2.0))
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    x = 255 * of_batch(6)
    for weight in (0.0, 0.5, 1.0, 1.5, 2.0, 2.0):
        checked = model.test_on_batch(x, return_dict=True)
        model.reset_metrics()
        assert checked["loss"] == pytest.approx(checked["reconstruction"] + checked["kl"])
        assert checked["loss"] == checked["negative_elbo"]
        found = model.train_on_batch(x, return_dict=True)
        expected = found["reconstruction"] + weight * found["kl"]
        assert found["loss"] == pytest.approx(expected, rel=1e-5)
        assert found["negative_elbo"] == pytest.approx(found["reconstruction"] + found["kl"])
        model.reset_metrics()


@keras.saving.register_keras_serializable("tests")
class Half(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.5

    def get_config(self):
        return {}


@pytest.mark.slow
def test_a_schedule_that_could_not_be_loaded_is_refused(tmp_path):
    with pytest.raises(UserError, match="KLWarmup.*register_keras_serializable"):
        small(beta=lambda step: 0.5)
    for beta in (Half(), models.CyclicKL(4), keras.optimizers.schedules.CosineDecay(1.0, 3)):
        model = small(beta=beta)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert float(loaded.beta(1)) == float(beta(1))


@pytest.mark.slow
def test_metrics_are_means_over_examples_not_over_batches():
    model, x = fix(linear(), np.zeros((1, 1, 2))), 255 * of_batch(5)
    model.compile("sgd", run_eagerly=True)
    whole = model.evaluate(x, batch_size=5, verbose=0)
    np.testing.assert_allclose(model.evaluate(x, batch_size=2, verbose=0), whole, rtol=1e-5)


# What is drawn, and when


@pytest.mark.slow
def test_validation_draws_the_same_twice_and_leaves_the_training_alone():
    model = small()
    model.compile("sgd", run_eagerly=True)
    state = np.array(model.seed_generator.state)
    found = [model.evaluate(pictures(10), batch_size=4, verbose=0) for _ in range(2)]
    assert found[0] == found[1]
    np.testing.assert_array_equal(model.seed_generator.state, state)
    assert model.evaluate(pictures(10, seed=1), batch_size=4, verbose=0) != found[0]


@pytest.mark.slow
def test_another_seed_is_another_draw_in_training_and_in_validation():
    found = []
    for seed in (0, 1, 1):
        model = linear(seed=seed)
        model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
        x = 255 * of_batch(3)
        steps = (model.train_on_batch, model.test_on_batch)
        found.append([step(x, return_dict=True)["reconstruction"] for step in steps])
    assert found[1] == found[2]
    assert found[0][0] != found[1][0] and found[0][1] != found[1][1]


def seen(model):
    """The list of what the likelihood is asked about, step by step."""
    inner, asked = model.pixels.negative_log, []

    def spy(x, parameters):
        asked.append(x.numpy())
        return inner(x, parameters)

    model.pixels = model.pixels._replace(negative_log=spy)
    model.compile("sgd", run_eagerly=True)
    return asked


def test_greys_are_drawn_anew_in_every_step():
    model = small()
    asked = seen(model)
    grey = np.full((500, 4, 3, 1), 51, np.uint8)
    for _ in range(2):
        model.train_on_batch(grey)
    assert set(np.unique(asked)) == {0.0, 1.0}
    assert not np.array_equal(*asked)
    assert abs(np.mean(asked[0]) - 0.2) < 0.02  # of 6000 draws: four standard deviations
    assert abs(np.mean(asked[0] * asked[1]) - 0.04) < 0.012


def test_binary_pictures_stay_as_they_are():
    model = small()
    asked = seen(model)
    model.train_on_batch(binary(50))
    model.test_on_batch(binary(50))
    for x in asked:
        np.testing.assert_array_equal(255 * x, binary(50))


@pytest.mark.parametrize("name", ["gaussian", "continuous_bernoulli", "discretized_logistic"])
def test_other_likelihoods_see_the_greys(name):
    model = small(likelihood=name)
    asked = seen(model)
    model.train_on_batch(pictures(5))
    np.testing.assert_allclose(asked[0], pictures(5) / 255, rtol=1e-6)


def test_every_training_step_has_noise_of_its_own():
    model = linear()
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    x = 255 * of_batch(3)
    found = []
    for _ in range(3):
        found.append(float(model.train_on_batch(x, return_dict=True)["reconstruction"]))
        model.reset_metrics()
    assert len(set(found)) == 3


# Two levels


def two_levels():
    """q(z2|x) q(z1|x,z2) p(z2) p(z1|z2) p(x|z1,z2), all linear; returns the model."""
    x = keras.Input((2, 1, 1))
    flat = keras.layers.Flatten()(x)
    encoder = keras.Model(
        x, [affine(flat, 1, [[1.0], [0.5]], [0.1]), affine(flat, 1, [[0], [0]], [-1.0]), flat]
    )
    features, z2 = keras.Input((2,)), keras.Input((1,))
    both = keras.layers.Concatenate()([features, z2])
    posterior = keras.Model(
        [features, z2],
        [affine(both, 1, [[0.3], [-0.2], [0.7]], [0.0]), affine(both, 1, np.zeros((3, 1)), [-0.5])],
    )
    above = keras.Input((1,))
    prior = keras.Model(above, [affine(above, 1, [[0.8]], [0.2]), affine(above, 1, [[0]], [-0.7])])
    tops, z1 = keras.Input((1,)), keras.Input((1,))
    latents = keras.layers.Concatenate()([tops, z1])
    pixels = affine(latents, 2, [[0.02, 0.05], [0.06, -0.03]], [0.5, 0.4])
    decoder = keras.Model([tops, z1], keras.layers.Reshape((2, 1, 1))(pixels))
    return models.VAE(
        encoder, decoder, levels=[(posterior, prior)], likelihood="gaussian", scale=SCALE
    )


def test_log_weights_of_two_levels_are_those_of_numpy():
    noise = np.random.default_rng(5).normal(size=(3, 4, 1))
    x = np.random.default_rng(6).uniform(size=(4, 2, 1, 1)).astype("float32")
    value = fix(two_levels(), noise).log_weights(x, 3, SEED)
    flat = x.reshape(4, 2)
    q2 = stats.norm(flat @ [1.0, 0.5] + 0.1, np.exp(-0.5))
    z2 = q2.mean() + q2.std() * noise[..., 0]
    q1 = stats.norm(flat @ [0.3, -0.2] + 0.7 * z2, np.exp(-0.25))
    z1 = q1.mean() + q1.std() * noise[..., 0]
    p1 = stats.norm(0.8 * z2 + 0.2, np.exp(-0.35))
    means = np.stack([0.02 * z2 + 0.06 * z1 + 0.5, 0.05 * z2 - 0.03 * z1 + 0.4], axis=-1)
    expected = stats.norm.logpdf(flat, means, SCALE).sum(-1)
    expected += stats.norm.logpdf(z2) - q2.logpdf(z2) + p1.logpdf(z1) - q1.logpdf(z1)
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)


def test_the_two_levels_draw_noise_of_their_own():
    model = two_levels()
    asked = []
    model.noise = lambda shape, seed: asked.append(seed.numpy()) or tf.zeros(shape)
    model.log_weights(np.zeros((1, 2, 1, 1), np.float32), 2, SEED)
    assert len(asked) == 2 and not np.array_equal(*asked)


@pytest.mark.slow
def test_the_bound_of_two_levels_uses_the_exact_kl_of_each():
    model, x = two_levels(), np.zeros((3, 2, 1, 1), np.float32)
    found = compiled(model).test_on_batch(x, return_dict=True)
    log_w = model.log_weights(x, 20_000, SEED)
    assert found["loss"] == pytest.approx(found["reconstruction"] + found["kl"], rel=1e-5)
    many = tf.repeat(x, 20_000, axis=0)
    exact = compiled(two_levels()).test_on_batch(many, return_dict=True)
    assert exact["loss"] == pytest.approx(-np.mean(log_w), abs=0.05)


def test_ancestral_sampling_of_two_levels():
    """z2 ~ N(0, 1), z1 = 0.8 z2 + 0.2 + e^-0.35 noise: mean and covariance of the pixels."""
    pixels = two_levels().generate(4000, SEED).numpy().reshape(4000, 2)
    loading = np.array([[0.02 + 0.06 * 0.8, 0.06], [0.05 - 0.03 * 0.8, -0.03]])
    covariance = loading @ np.diag([1, np.exp(-0.7)]) @ loading.T
    np.testing.assert_allclose(pixels.mean(0), [0.5 + 0.012, 0.4 - 0.006], atol=0.006)
    np.testing.assert_allclose(np.cov(pixels.T), covariance, rtol=0.1, atol=2e-4)


def test_decode_takes_the_means_of_the_lower_priors():
    pixels = two_levels().decode([[1.5]]).numpy().ravel()
    z1 = 0.8 * 1.5 + 0.2
    np.testing.assert_allclose(pixels, [0.53 + 0.06 * z1, 0.475 - 0.03 * z1], rtol=1e-5)


# What users call


@pytest.mark.slow
def test_reconstruct_call_and_predict_are_one():
    model, image = small(), pictures(5)
    pixels = model.reconstruct(image)
    assert pixels.shape == (5, 4, 3, 1) and pixels.dtype == "float32"
    assert float(tf.reduce_min(pixels)) >= 0 and float(tf.reduce_max(pixels)) <= 1
    np.testing.assert_array_equal(model(image), pixels)
    np.testing.assert_allclose(model.predict(image, verbose=0), pixels, atol=1e-6)
    mean, log_var = model.encode(image)
    assert mean.shape == log_var.shape == (5, 2) and mean.dtype == log_var.dtype == "float32"
    np.testing.assert_allclose(model.decode(mean), pixels, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"pseudo_inputs": 3}, {"classes": 3}])
def test_samples_depend_on_the_seed_and_on_nothing_else(settings, monkeypatch):
    model = small(**settings)
    drawn = model.sample(7, seed=4)
    assert drawn.shape == (7, 4, 3, 1) and drawn.dtype == np.uint8
    keras.utils.set_random_seed(8)
    np.testing.assert_array_equal(model.sample(7, seed=4), drawn)
    assert not np.array_equal(model.sample(7, seed=5), drawn)
    if not settings.get("classes"):  # a model that draws classes draws others
        np.testing.assert_array_equal(model.sample(300, seed=4)[:7], drawn)
    many = model.sample(600, seed=4)
    assert len(many) == 600 and len(np.unique(many[::256].reshape(3, -1), axis=0)) == 3
    assert model.sample(0).shape == (0, 4, 3, 1)


@pytest.mark.slow
def test_a_conditional_model_uses_its_labels():
    model = small(classes=3)
    assert (model.classes, small().classes) == (3, 0)
    image, labels = pictures(4), np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    others = np.roll(labels, 1, axis=1)
    assert not np.allclose(model.encode(image, labels)[0], model.encode(image, others)[0])
    z = np.zeros((4, 2), np.float32)
    assert not np.allclose(model.decode(z, labels), model.decode(z, others))
    x = binary(4) / 255
    weights = [model.log_weights(x, 3, SEED, labels=given) for given in (labels, others)]
    assert not np.allclose(*weights)
    assert not np.array_equal(model.sample(4, labels=labels), model.sample(4, labels=others))
    np.testing.assert_array_equal(model([image, labels]), model.reconstruct(image, labels))
    model.compile("adam", run_eagerly=True)
    model.fit(image, labels, verbose=0)
    with pytest.raises(UserError, match="one-hot labels of 3"):
        model.encode(image)


def test_labels_reach_the_decoder_picture_by_picture():
    """With several samples per picture the labels have to stay with their pictures."""
    model = small(classes=2)
    x, labels = binary(2) / 255, np.eye(2, dtype=np.float32)
    fixed = fix(model, np.zeros((1, 1, 2)))
    both = fixed.log_weights(x, 3, SEED, labels=labels).numpy()
    for i in range(2):
        alone = fixed.log_weights(x[i : i + 1], 3, SEED, labels=labels[i : i + 1])
        np.testing.assert_allclose(both[:, i], alone[:, 0], rtol=1e-5)


def test_active_units_by_hand():
    """Variances of the means: 1, 0.0025 and 0.25."""
    metric = ActiveUnits(3)
    assert float(metric.result()) == 0
    metric.update_state([[1.0, 5.05, 0.5], [-1.0, 4.95, -0.5]])
    assert float(metric.result()) == 2
    metric.update_state([[1.0, 5.05, 0.5], [-1.0, 4.95, -0.5]])
    assert float(metric.result()) == 2
    metric.update_state([[0.0, 7.0, 0.0]])  # now the second one moves
    assert float(metric.result()) == 3
    metric.reset_state()
    metric.update_state([[5.0, 5.0, 5.0]])
    assert float(metric.result()) == 0


def test_a_collapsed_posterior_has_no_active_unit():
    model = compiled(constant_posterior())
    assert model.test_on_batch(255 * of_batch(50), return_dict=True)["active_units"] == 0
    assert (
        compiled(linear()).test_on_batch(255 * of_batch(50), return_dict=True)["active_units"] == 2
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"objective": "vae"}, "elbo, iwae, dreg"),
        ({"samples": 0}, "at least one"),
        ({"beta": -1.0}, "negative"),
        ({"free_bits": -0.1}, "negative"),
        ({"free_bits": 0.1, "objective": "iwae"}, "elbo"),
        ({"free_bits": 0.1, "pseudo_inputs": 3}, "mixture"),
        ({"objective": "dreg", "pseudo_inputs": 3}, "dreg"),
        ({"likelihood": "poisson"}, "bernoulli"),
        ({"scale": 0.1}, "gaussian"),
        ({"latent_dim": 0}, "latent_dim"),
    ],
)
def test_what_has_no_meaning_is_refused(settings, words):
    with pytest.raises(UserError, match=words):
        models.dense_vae((4, 3, 1), **{"latent_dim": 2, "units": (3,), **settings})
