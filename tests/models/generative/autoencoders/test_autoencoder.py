import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA

from kapps import data, models
from kapps.errors import UserError
from kapps.models.generative.autoencoders.autoencoder import Autoencoder, reconstruction_losses

LN2 = math.log(2)


def by_hand(encoder_kernel, decoder_kernel, **settings):
    """Linear maps without bias on pictures of two pixels."""
    x = keras.Input((1, 2, 1))
    latent_dim = np.shape(encoder_kernel)[1]
    z = keras.layers.Dense(latent_dim, use_bias=False)(keras.layers.Flatten()(x))
    code = keras.Input((latent_dim,))
    y = keras.layers.Reshape((1, 2, 1))(keras.layers.Dense(2, use_bias=False)(code))
    model = Autoencoder(keras.Model(x, z), keras.Model(code, y), **settings)
    model.set_weights([np.asarray(encoder_kernel, "f4"), np.asarray(decoder_kernel, "f4")])
    model.compile(keras.optimizers.SGD(0.0))
    return model


PICTURES = np.array([[255, 0], [51, 102]], np.uint8).reshape(2, 1, 2, 1)  # [1, 0], [0.2, 0.4]


def test_squared_error_by_hand():
    # z = x1 + x2, y = [z / 2, z]: z = 1, 0.6; y = [0.5, 1], [0.3, 0.6].
    model = by_hand([[1], [1]], [[0.5, 1]])
    found = model.evaluate(PICTURES, batch_size=2, verbose=0, return_dict=True)
    sums = 0.5**2 + 1**2, 0.1**2 + 0.2**2
    assert found["loss"] == pytest.approx(np.mean(sums), rel=1e-5)
    assert found["mse"] == pytest.approx(np.mean(sums) / 2, rel=1e-5)
    np.testing.assert_allclose(model.encode(PICTURES)[:, 0], [1, 0.6], rtol=1e-6)
    expected = [[0.5, 1], [0.3, 0.6]]
    np.testing.assert_allclose(np.reshape(model(PICTURES), (2, 2)), expected, rtol=1e-6)
    np.testing.assert_allclose(model.reconstruct(PICTURES), model(PICTURES), rtol=1e-6)
    np.testing.assert_allclose(model.reconstruction_error(PICTURES), np.array(sums) / 2, rtol=1e-5)


def test_bernoulli_loss_of_logits():
    # The same logits: 0.5, 1 for the pixels 1, 0 and 0.3, 0.6 for 0.2, 0.4.
    model = by_hand([[1], [1]], [[0.5, 1]], reconstruction="bernoulli")
    found = model.evaluate(PICTURES, batch_size=2, verbose=0, return_dict=True)

    def nats(logit, x):
        p = 1 / (1 + math.exp(-logit))
        return -x * math.log(p) - (1 - x) * math.log(1 - p)

    sums = nats(0.5, 1) + nats(1, 0), nats(0.3, 0.2) + nats(0.6, 0.4)
    assert found["loss"] == pytest.approx(np.mean(sums), rel=1e-5)
    np.testing.assert_allclose(np.ravel(model(PICTURES))[0], 1 / (1 + math.exp(-0.5)), rtol=1e-6)
    np.testing.assert_allclose(model.decode(model.encode(PICTURES)), model(PICTURES), rtol=1e-6)


def test_the_loss_is_a_sum_over_pixels_and_channels():
    # p = 1/2 everywhere: 28 * 28 * 3 * ln 2 nats, whatever the picture shows.
    x = tf.random.stateless_uniform((2, 28, 28, 3), (0, 1))
    loss, mse = reconstruction_losses("bernoulli", x, tf.zeros_like(x))
    np.testing.assert_allclose(loss, [3 * 784 * LN2] * 2, rtol=1e-5)
    assert mse.shape == (2,)
    # Far logits stay finite: a pixel of 1 that is given the logit -100 costs 100 nats.
    loss, _ = reconstruction_losses("bernoulli", tf.ones((1, 1, 1, 1)), tf.fill((1, 1, 1, 1), -1e2))
    assert loss.numpy()[0] == pytest.approx(100)


def test_l1_by_hand():
    # z = x1 - x2 = 1, -0.2; nothing is reconstructed: 1 and 0.2^2 + 0.4^2.
    model = by_hand([[1], [-1]], [[0, 0]], sparsity="l1", sparsity_weight=3.0)
    found = model.evaluate(PICTURES, batch_size=2, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx((1 + 3 * 1 + 0.2 + 3 * 0.2) / 2, rel=1e-5)


def test_kl_to_a_target_activation_by_hand():
    # z = [x1, x2]; means over the batch 0.6 and 0.2; the target is 0.2.
    settings = dict(sparsity="kl", sparsity_weight=2.0, sparsity_target=0.2)
    model = by_hand(np.eye(2), np.eye(2), **settings)
    found = model.evaluate(PICTURES, batch_size=2, verbose=0, return_dict=True)
    kl = 0.2 * math.log(0.2 / 0.6) + 0.8 * math.log(0.8 / 0.4)
    assert found["loss"] == pytest.approx(2 * kl, rel=1e-4)
    # Gradient of the penalty by the first code of each picture: d KL / d mean / 2.
    z = tf.constant([[1.0, 0.0], [0.2, 0.4]])
    with tf.GradientTape() as tape:
        tape.watch(z)
        penalty = tf.reduce_mean(model._penalty(z))
    slope = -0.2 / 0.6 + 0.8 / 0.4
    expected = [[2 * slope / 2, 0.0]] * 2  # the second is at its target
    np.testing.assert_allclose(tape.gradient(penalty, z), expected, rtol=1e-5, atol=1e-6)


def test_training_sees_noise_and_validation_does_not():
    # Identity maps; all pixels are masked while training, and the target is the clean picture.
    model = by_hand(np.eye(2), np.eye(2), corruption="masking", corruption_amount=1.0)
    trained = model.train_on_batch(PICTURES, return_dict=True)
    assert trained["mse"] == pytest.approx((1 / 2 + (0.04 + 0.16) / 2) / 2, rel=1e-5)
    assert model.evaluate(PICTURES, verbose=0, return_dict=True)["mse"] < 1e-12


@pytest.mark.slow
def test_every_step_draws_other_noise_and_a_seed_draws_the_same():
    def errors(seed):
        model = by_hand(np.eye(2), np.eye(2), corruption="gaussian", seed=seed)
        many = np.repeat(PICTURES, 50, axis=0)
        found = []
        for _ in range(3):
            found.append(float(model.train_on_batch(many, return_dict=True)["mse"]))
            model.reset_metrics()
        return found

    first = errors(0)
    assert len(set(first)) == 3
    np.testing.assert_allclose(first, 0.3**2, rtol=0.4)
    assert errors(0) == first and not set(errors(1)) & set(first)


@pytest.mark.slow
def test_a_linear_one_reaches_pca():
    """Trained to it: the weights begin at random."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    # Pictures with principal components of falling size, and no mean of zero.
    scale = np.diag(1.3 ** -np.arange(16.0))
    x = rng.normal(size=(400, 16)) @ scale @ np.linalg.qr(rng.normal(size=(16, 16)))[0]
    pixels = (128 + 40 * x).clip(0, 255).round().astype(np.uint8)
    flat = pixels / 255.0
    pca = PCA(4, svd_solver="full").fit(flat)
    best = np.mean((pca.inverse_transform(pca.transform(flat)) - flat) ** 2)
    mean = pixels.mean(axis=0).reshape(4, 4, 1)
    model = models.linear_autoencoder((4, 4, 1), 4, mean_picture=mean)
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 600)
    model.compile(keras.optimizers.Adam(schedule))
    batches = tf.data.Dataset.from_tensors(pixels.reshape(-1, 4, 4, 1)).repeat()
    model.fit(batches, steps_per_epoch=600, shuffle=False, verbose=0)
    mse = model.reconstruction_error(pixels.reshape(-1, 4, 4, 1)).mean()
    assert best * (1 - 1e-5) <= mse <= 1.01 * best


def test_the_mean_picture_is_where_a_linear_one_begins():
    mean = np.arange(12.0).reshape(2, 3, 2)
    model = models.linear_autoencoder((2, 3, 2), 2, mean_picture=mean)
    np.testing.assert_allclose(model.encode(mean[None]), [[0, 0]], atol=1e-7)
    np.testing.assert_allclose(model(mean[None])[0], mean / 255, rtol=1e-5, atol=1e-8)
    with pytest.raises(UserError, match="mean_picture"):
        models.linear_autoencoder((3, 2, 2), 2, mean_picture=mean)


def test_anomaly_scores_of_more_pictures_than_are_measured_at_once():
    images = np.random.default_rng(0).integers(0, 256, (600, 3, 3, 1), np.uint8)
    model = models.dense_autoencoder((3, 3, 1), 2, units=5)
    made = model.predict(images, verbose=0)
    expected = ((made - images / 255.0) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(model.reconstruction_error(images), expected, rtol=1e-4)
    assert model.reconstruction_error(images[:0]).shape == (0,)


@pytest.mark.slow
def test_a_strange_picture_has_the_higher_score():
    digits = data.load("digits", seed=0).splits["train"].take(range(300))
    model = models.linear_autoencoder((8, 8, 1), 8)
    model.compile(keras.optimizers.Adam(0.02))
    model.fit(digits, epochs=15, batch_size=50, verbose=0)
    noise = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), np.uint8)
    assert model.reconstruction_error(noise).min() > model.reconstruction_error(digits).max()


@pytest.mark.parametrize("shape", [(5, 7, 1), (8, 8, 3), (1, 3, 2)])
@pytest.mark.parametrize("builder", [models.conv_autoencoder, models.dense_autoencoder])
def test_pictures_of_any_shape(builder, shape):
    model = builder(shape, 3)
    image = np.zeros((2, *shape), np.uint8)
    assert model(image).shape == (2, *shape)
    assert model.encode(image).shape == (2, 3) and model.decode(np.zeros((4, 3))).shape[0] == 4
    assert (model.image_shape, model.latent_dim, model.classes) == (shape, 3, 0)


@pytest.mark.slow
def test_saved_with_its_settings(tmp_path):
    settings = dict(sparsity="kl", reconstruction="bernoulli", seed=3)
    model = models.dense_autoencoder((4, 4, 1), 2, code_activation="sigmoid", **settings)
    model.compile("adam")
    image = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), np.uint8)
    model.train_on_batch(image)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is Autoencoder
    plain = [{k: v for k, v in m.get_config().items() if "coder" not in k} for m in (model, loaded)]
    assert plain[0] == plain[1] and settings.items() <= plain[0].items()
    # It trains on as the other does, with the same slots of the optimizer.
    model.reset_metrics()
    both = [float(m.train_on_batch(image, return_dict=True)["loss"]) for m in (model, loaded)]
    assert both[0] == pytest.approx(both[1], rel=1e-5)
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(reconstruction="poisson"), "squared_error, bernoulli"),
        (dict(corruption="speckle"), "gaussian, masking"),
        (dict(corruption="masking", corruption_amount=1.5), "corruption_amount"),
        (dict(sparsity="l2"), "l1, kl"),
        (dict(sparsity_target=1.0), "sparsity_target"),
        (dict(output="tanh"), "sigmoid, linear"),
        (dict(output="linear", reconstruction="bernoulli"), "sigmoid"),
        (dict(latent_dim=0), "latent_dim"),
    ],
)
def test_mistakes_are_named(settings, words):
    with pytest.raises(UserError, match=words):
        models.dense_autoencoder((4, 4, 1), **{"latent_dim": 2, **settings})
