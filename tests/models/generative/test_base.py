"""What all models with a training step of their own keep to."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import models
from kapps.errors import UserError

SHAPE, CLASSES = (4, 4, 1), 3
X = np.random.default_rng(0).integers(0, 256, (6, *SHAPE)).astype("float32")
CODES = np.random.default_rng(0).integers(0, 4, (6, 2, 2))
LABELS = np.arange(6) % CLASSES
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]


def dense_gan(**settings):
    return models.gan(
        SHAPE, 3, architecture="dense", units=6, generator_normalization=None, **settings
    )


# Name: the model, a batch that it trains on.
MODELS = {
    "autoencoder": (
        lambda: models.residual_autoencoder(
            SHAPE, 2, units=5, hidden=4, depth=1, dropout=0.5, corruption="gaussian"
        ),
        X,
    ),
    "vae": (lambda: models.dense_vae(SHAPE, 2, units=(5,)), X),
    "vq_vae": (lambda: models.vq_vae(SHAPE, codes=4, code_dim=2, filters=(3,)), X),
    "code_prior": (
        lambda: models.code_prior((2, 2), 4, filters=3, depth=1, dropout=0.5),
        CODES,
    ),
    "gan": (dense_gan, X),
}
CONDITIONAL = {
    "vae": (lambda: models.dense_vae(SHAPE, 2, units=(5,), classes=CLASSES), X),
    "code_prior": (
        lambda: models.code_prior((2, 2), 4, filters=3, depth=1, classes=CLASSES),
        CODES,
    ),
    "gan": (lambda: dense_gan(classes=CLASSES, conditioning="auxiliary"), X),
}


def made(build, rate=0.01):
    """Compiled without graphs, which take seconds: each model here makes a step or two."""
    keras.utils.set_random_seed(0)
    model = build()
    model.compile(keras.optimizers.SGD(rate), run_eagerly=True)
    return model


def weights(model):
    return [np.array(w) for w in model.weights]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_regularizer_of_a_kernel_is_part_of_the_loss_and_of_the_step(name):
    """L2 of 3: the loss is 3 |w|^2 higher, and a step of rate r moves w by -6 r w besides."""
    build, x = MODELS[name]
    rate, found = 0.01, []
    for strength in (0.0, 3.0):
        model = made(build, rate)
        (kernel, *_) = [w for w in model.trainable_variables if w.name == "kernel"]
        start = np.array(kernel)
        kernel.regularizer = keras.regularizers.L2(strength) if strength else None
        tested = model.test_on_batch(x, return_dict=True)["loss"]
        model.reset_metrics()
        trained = model.train_on_batch(x, return_dict=True)["loss"]
        found.append((start, np.array(kernel), tested, trained))
    (start, free, *plain), (_, held, *higher) = found
    expected = 3.0 * np.sum(np.square(start, dtype="float64"))
    np.testing.assert_allclose(held - free, -6.0 * rate * start, rtol=1e-4, atol=1e-6)
    assert higher[1] - plain[1] == pytest.approx(expected, rel=1e-3)
    # Of a GAN's test no penalty is a part.
    assert higher[0] - plain[0] == pytest.approx(0 if name == "gan" else expected, rel=1e-3)


@pytest.mark.slow
def test_a_regularizer_of_one_player_leaves_the_other_alone():
    """Losses of W: its gradient does not depend on the critic's other weights' sizes."""
    moved = []
    for strength in (0.0, 3.0):
        model = made(lambda: dense_gan(loss="wasserstein"))
        if strength:
            model.generator.layers[1].kernel.regularizer = keras.regularizers.L2(strength)
        model.train_step(tf.constant(X))
        moved.append((weights(model.discriminator), weights(model.generator)))
    for one, other in zip(*(part[0] for part in moved), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.allclose(moved[0][1][0], moved[1][1][0], atol=1e-6)


@pytest.mark.slow
def test_an_activity_regularizer_counts_the_codes():
    """L1 of 2 on the posterior's mean: 2 |mean|, summed over the latents of an image."""
    plain, held = (made(MODELS["vae"][0]) for _ in range(2))
    layer = held.encoder.get_layer("mean")
    layer.activity_regularizer = keras.regularizers.L1(2.0)
    # One image: whether Keras sums over a batch or averages depends on its version. Of zeros and
    # ones nothing is drawn.
    x = np.where(X[:1] < 128, 0.0, 255.0)
    losses = [model.test_on_batch(x, return_dict=True)["loss"] for model in (plain, held)]
    mean, _ = plain.encode(x)
    expected = 2.0 * np.abs(mean).sum()
    assert losses[1] - losses[0] == pytest.approx(expected, rel=1e-3)


def test_an_activity_regularizer_of_a_discriminator_is_refused():
    image = keras.Input(SHAPE)
    flat = keras.layers.Flatten()(image)
    judge = keras.Model(image, keras.layers.Dense(1, activity_regularizer="l2")(flat))
    with pytest.raises(UserError, match="activity_regularizer"):
        models.GAN(models.gan_dense_generator(SHAPE, 3), judge)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "ignored",
    [{"loss": "mse"}, {"metrics": ["mae"]}, {"weighted_metrics": ["mae"]}, {"loss_weights": [2.0]}],
)
def test_losses_and_metrics_that_the_step_would_ignore_are_refused(name, ignored):
    (argument,) = ignored
    with pytest.raises(UserError, match=rf"compile\({argument}=.*its own"):
        MODELS[name][0]().compile(optimizer="sgd", **ignored)


@pytest.mark.parametrize("name", MODELS)
def test_sample_weights_are_refused(name):
    build, x = MODELS[name]
    model = made(build)
    ones = np.ones(len(x), "float32")
    for step in (model.train_step, model.test_step):
        with pytest.raises(UserError, match="sample_weight"):
            step((tf.constant(x), tf.constant(ones), tf.constant(ones)))


@pytest.mark.slow
@pytest.mark.parametrize("name", CONDITIONAL)
def test_labels_may_be_integers_or_one_hot(name):
    build, x = CONDITIONAL[name]
    found = []
    for labels in (ONE_HOT, LABELS, LABELS[:, None].astype("float32")):
        model = made(build)
        model.train_on_batch(x, labels)
        tested = model.test_on_batch(x, labels, return_dict=True)
        found.append((weights(model), model.sample(6, 1, labels), tested))
    for moved, drawn, tested in found[1:]:
        for one, other in zip(moved, found[0][0], strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(drawn, found[0][1])
        assert tested == found[0][2]
    for wrong in (np.zeros((6, 4), "float32"), np.zeros((6, CLASSES, 1), "float32")):
        with pytest.raises(UserError, match=r"labels of shape .*\[batch, 3\]"):
            model.train_step((tf.constant(x), tf.constant(wrong)))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_goes_on_with_the_noise_where_it_was(name, tmp_path):
    """Draws of posteriors, corruption, dropout: the next steps of both are the same, bit by bit."""
    build, x = MODELS[name]
    keras.utils.set_random_seed(0)
    model = build()
    # Outside a graph the last bit of a GAN's step depends on where its arrays lie in memory.
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=name != "gan")
    for _ in range(2):
        model.train_on_batch(x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == len(model.weights)
    for one, other in zip(weights(loaded), weights(model), strict=True):
        np.testing.assert_array_equal(one, other)
    for each in (model, loaded):
        for _ in range(2):
            each.train_on_batch(x)
    for one, other in zip(loaded.variables, model.variables, strict=True):
        if one.path.split("/")[-1] not in ("total", "count", "sum", "squares", "counts"):
            np.testing.assert_array_equal(one, other)


def test_a_file_without_noise_loads_too(tmp_path):
    """As kapps wrote them before it kept the states."""
    model = made(MODELS["vae"][0])
    model._noise_states = list
    model.save_weights(tmp_path / "model.weights.h5")
    del model._noise_states
    before = np.array(model.seed_generator.state)
    model.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(model.seed_generator.state, before)


@pytest.mark.slow
def test_a_vq_vae_with_a_prior_is_saved_whole(tmp_path):
    whole = MODELS["vq_vae"][0]().with_prior(MODELS["code_prior"][0]())
    parts = (whole.encoder, whole.codebook, whole.decoder, whole.prior)
    assert len(whole.weights) == sum(len(part.weights) for part in parts)
    whole.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one, other in zip(weights(loaded), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(loaded.sample(3, seed=1), whole.sample(3, seed=1))
