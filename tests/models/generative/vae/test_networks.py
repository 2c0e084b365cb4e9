import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import models, training

BUILDERS = {
    "dense": (models.dense_vae, {"units": (6,)}),
    "conv": (models.conv_vae, {"units": 6, "filters": (4, 5)}),
    "hierarchical": (
        models.hierarchical_vae,
        {"units": 6, "filters": (4, 5), "inner_channels": 2},
    ),
}
SEED = tf.constant([1, 2])


def pictures(count, shape=(8, 8, 1), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def small(kind, shape=(8, 8, 1), **settings):
    builder, shaping = BUILDERS[kind]
    return builder(shape, 3, **{**shaping, **settings})


@pytest.fixture(params=BUILDERS)
def kind(request):
    return request.param


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(5, 7, 1), (9, 6, 3), (1, 2, 1)])
def test_any_size_of_picture(kind, shape):
    likelihood = "discretized_logistic" if shape[2] == 3 else "bernoulli"
    model = small(kind, shape, likelihood=likelihood)
    image = pictures(2, shape)
    assert model.image_shape == shape and model.latent_dim == 3
    assert model.reconstruct(image).shape == (2, *shape)
    assert model.sample(3).shape == (3, *shape)
    assert model.log_weights(image / np.float32(255), 4, SEED).shape == (4, 2)


@pytest.mark.slow
def test_a_step_moves_every_weight():
    """The prior of the lower level and pseudo-inputs too, on which no reconstruction depends."""
    model = small("hierarchical", pseudo_inputs=2)
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    for _ in range(2):  # what lies behind zeros moves in the second step
        before = [np.array(w) for w in model.trainable_variables]
        model.train_on_batch(pictures(4))
    for weight, old in zip(model.trainable_variables, before, strict=True):
        assert not np.array_equal(weight, old), weight.path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "objective"),
    [("dense", "iwae"), ("dense", "dreg"), ("hierarchical", "elbo")],  # which is convolutional
)
def test_training_lowers_the_bound(name, objective):
    model = small(name, objective=objective, samples=2)
    model.compile(keras.optimizers.Adam(0.01))
    image = np.where(pictures(32) < 128, np.uint8(0), np.uint8(255))
    image[:, :, :4] = 0
    first = model.evaluate(image, verbose=0)[0]
    model.fit(image, epochs=20, batch_size=16, verbose=0)
    assert model.evaluate(image, verbose=0)[0] < 0.9 * first


@pytest.mark.slow
def test_log_variances_are_bounded(kind):
    model = small(kind)
    for weight in model.encoder.trainable_variables:
        weight.assign(1e3 * np.random.default_rng(0).normal(size=weight.shape))
    _, log_var = model.encode(pictures(30))
    assert np.all(log_var >= -6) and np.all(log_var <= 2) and np.ptp(log_var) > 7
    if kind == "hierarchical":
        for part in (model.posteriors[0], model.inner_priors[0]):
            for weight in part.trainable_variables:
                weight.assign(1e3 * np.random.default_rng(1).normal(size=weight.shape))
            given = [np.ones((2, *x.shape[1:]), np.float32) for x in part.inputs]
            log_var = part(given if len(given) > 1 else given[0])[1]
            assert np.all(log_var >= -6) and np.all(log_var <= 2) and np.ptp(log_var) > 7


def test_the_posterior_is_not_fixed_by_the_bounds_at_the_start(kind):
    """Near a bound the slope is nil; 60 seeds lie between -2.2 and 1.4."""
    _, log_var = small(kind).encode(pictures(4))
    assert np.all(log_var > -5) and np.all(log_var < 1.7)


VAMP = {
    "likelihood": "continuous_bernoulli",
    "pseudo_inputs": 3,
    "beta": models.CyclicKL(6, 2, 0.5),
}
FREE = {"likelihood": "gaussian", "scale": 0.2, "free_bits": 0.1, "beta": models.KLWarmup(9)}
IWAE = {"likelihood": "gaussian", "objective": "iwae", "samples": 3, "seed": 11, "beta": 0.7}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"), [("dense", IWAE), ("conv", VAMP), ("hierarchical", FREE)]
)
def test_a_saved_model_comes_back_with_weights_and_configuration(name, settings, tmp_path):
    model = small(name, **settings)
    model.compile("adam", run_eagerly=True)
    model.train_on_batch(pictures(8))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.sample(5, seed=2), model.sample(5, seed=2))
    image = pictures(4, seed=1)
    np.testing.assert_allclose(loaded.reconstruct(image), model.reconstruct(image), atol=1e-6)
    for known in ("likelihood", "scale", "objective", "samples", "free_bits", "seed", "name"):
        assert getattr(loaded, known) == getattr(model, known)
    if callable(model.beta):
        assert type(loaded.beta) is type(model.beta)
        assert loaded.beta.get_config() == model.beta.get_config()
    else:
        assert loaded.beta == model.beta
    x = image / np.float32(255)
    np.testing.assert_allclose(
        loaded.log_weights(x, 2, SEED), model.log_weights(x, 2, SEED), rtol=1e-5
    )


@pytest.mark.slow
def test_a_loaded_model_goes_on_training(tmp_path):
    """With the state of its optimizer, and so with the weight of the KL of that step."""
    model = small("dense", beta=models.KLWarmup(3), pseudo_inputs=2)
    model.compile("adam", run_eagerly=True)
    model.train_on_batch(pictures(8))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    # Keras does not save the states of seed generators; the checkpoints of `training.fit` do.
    loaded.seed_generator.state.assign(model.seed_generator.state)
    for one in (model, loaded):
        one.train_on_batch(pictures(8, seed=1))
    for one, other in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.slow
def test_a_saved_conditional_model_comes_back(tmp_path):
    model = small("conv", classes=4)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    labels = np.eye(4, dtype=np.float32)[[3, 1]]
    assert loaded.classes == 4
    np.testing.assert_array_equal(loaded.sample(2, 0, labels), model.sample(2, 0, labels))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense", "hierarchical"])
def test_half_precision_keeps_what_overflows_in_float32(name):
    with training.precision_policy("mixed_bfloat16"):
        model = small(name, pseudo_inputs=2)
        model.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
        model.train_on_batch(pictures(4))
    assert any(layer.compute_dtype == "bfloat16" for layer in model.encoder.layers)
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    image = pictures(4)
    assert keras.backend.standardize_dtype(model.decoder.output.dtype) == "float32"
    assert model.reconstruct(image).dtype == "float32"
    assert {part.dtype for part in model.encode(image)} == {tf.float32}
    x = image / np.float32(255)
    exact = small(name, pseudo_inputs=2)
    exact.set_weights(model.get_weights())
    found, expected = (one.log_weights(x, 2, SEED) for one in (model, exact))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, expected, rtol=0.02)
    assert not np.array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["elbo", "dreg"])
def test_float16_scales_its_loss(objective):
    """Small gradients survive, and the step is that of float32."""
    image, moved = np.where(pictures(8) < 128, np.uint8(0), np.uint8(255)), {}
    for policy in ("float32", "mixed_float16"):
        with training.precision_policy(policy):
            model = small("dense", objective=objective, samples=2, seed=5)
        model.set_weights(
            [0.1 * np.random.default_rng(0).normal(size=w.shape) for w in model.weights]
        )
        with training.precision_policy(policy):
            model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
        before = model.get_weights()
        model.train_on_batch(image)
        moved[policy] = [a - b for a, b in zip(before, model.get_weights(), strict=True)]
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    for one, other in zip(moved["float32"], moved["mixed_float16"], strict=True):
        np.testing.assert_allclose(one, other, atol=0.02 * abs(one).max())
