import keras
import numpy as np
import pytest

from kapps import models
from kapps.errors import UserError
from kapps.layers import BatchNormalization, SpectralNormalization
from models.generative.small_gans import one_hot


def maps(model, kind=(keras.layers.Conv2D, keras.layers.Conv2DTranspose)):
    return [tuple(layer.output.shape[1:]) for layer in model.layers if isinstance(layer, kind)]


def first(model, kind):
    return next(layer for layer in model.layers if isinstance(layer, kind))


def test_maps_are_halved_to_seven_pixels_and_doubled_back():
    assert maps(models.gan_discriminator((28, 28, 1))) == [(28, 28, 24), (14, 14, 48), (7, 7, 96)]
    generator = models.gan_generator((28, 28, 1), 64)
    assert maps(generator) == [(14, 14, 48), (28, 28, 24), (28, 28, 1)]
    assert first(generator, keras.layers.Reshape).output.shape == (None, 7, 7, 96)
    # 33 -> 17 -> 9 -> 5, filters doubled three times at most.
    assert maps(models.gan_discriminator((33, 140, 3), filters=2))[-1] == (5, 18, 16)


def test_transposed_convolutions_keep_the_variance():
    """He et al. 2015: of relu(x) with x standard normal, a layer makes values of variance 1."""
    keras.utils.set_random_seed(0)
    generator = models.gan_generator((28, 28, 1), 8, filters=64, normalization=None)
    layers = [x for x in generator.layers if isinstance(x, keras.layers.Conv2DTranspose)]
    assert [layer.kernel.shape for layer in layers] == [(4, 4, 128, 256), (4, 4, 64, 128)]
    for layer in layers:
        x = np.random.default_rng(0).normal(size=(8, 10, 10, layer.kernel.shape[-1]))
        y = layer(np.maximum(x, 0).astype("float32")).numpy()[:, 2:-2, 2:-2]
        # E relu(x)^2 = 1/2 of four pixels and all channels, each times 2 / fan_in.
        assert y.std() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("shape", [(7, 7, 1), (8, 8, 1), (9, 31, 2), (33, 12, 3), (1, 5, 4)])
@pytest.mark.parametrize("upsampling", ["transposed", "nearest", "bilinear"])
def test_any_size(shape, upsampling):
    generator = models.gan_generator(shape, 3, filters=2, upsampling=upsampling)
    discriminator = models.gan_discriminator(shape, filters=2)
    pictures = generator(np.random.default_rng(0).normal(size=(2, 3)).astype("float32"))
    assert pictures.shape == (2, *shape) and discriminator(pictures).shape == (2, 1)
    assert np.abs(pictures).max() <= 1.0 and np.std(pictures) > 0.0


@pytest.mark.slow
def test_costs_of_the_defaults():
    """Multiply-adds for 28x28x1: dense or first convolution, stages, last layer."""
    generator = models.gan_generator((28, 28, 1), 64)
    stages = 16 * 96 * 48 * 7 * 7 + 16 * 48 * 24 * 14 * 14
    ends = 512 * 7 * 7 * 96 + stages + 9 * 24 * 28 * 28
    assert models.multiply_adds(generator) == 64 * 512 + ends
    for normalization in (None, "spectral"):
        discriminator = models.gan_discriminator((28, 28, 1), normalization=normalization)
        assert models.multiply_adds(discriminator) == ends + 512


@pytest.mark.parametrize(
    "build", [models.gan_discriminator, models.gan_dense_discriminator], ids=["conv", "dense"]
)
def test_spectral_is_every_layer(build):
    model = build((8, 8, 1), classes=3, conditioning="projection", normalization="spectral")
    wrapped = {
        id(weight)
        for layer in model.layers
        if isinstance(layer, SpectralNormalization)
        for weight in layer.weights
    }
    assert wrapped == {id(w) for w in model.weights}


def test_projection_is_an_inner_product_with_a_vector_of_the_class():
    """logit = w . phi + b + e(y) . phi"""
    model = models.gan_dense_discriminator(
        (2, 2, 1), classes=3, conditioning="projection", units=(4,)
    )
    x, labels = np.random.default_rng(0).normal(size=(6, 2, 2, 1)), one_hot(6, 3)
    phi = keras.Model(model.inputs[0], model.get_layer("judgement").input)(x).numpy()
    w, b = model.get_layer("judgement").get_weights()
    (vectors,) = model.get_layer("class_vectors").get_weights()
    expected = phi @ w[:, 0] + b + np.sum(phi * vectors.T[np.arange(6) % 3], axis=-1)
    np.testing.assert_allclose(model([x, labels])[:, 0], expected, rtol=1e-4, atol=1e-6)


def test_concatenated_labels_are_a_map_of_the_class():
    model = models.gan_discriminator((8, 9, 2), classes=3, conditioning="concat", filters=2)
    joined = first(model, keras.layers.Concatenate)
    x, labels = np.random.default_rng(0).normal(size=(3, 8, 9, 2)), one_hot(3, 3)
    y = keras.Model(model.inputs, joined.output)([x, labels]).numpy()
    np.testing.assert_allclose(y[..., :2], x, rtol=1e-6)
    (planes,) = model.get_layer("class_map").get_weights()
    np.testing.assert_allclose(y[..., 2], planes.reshape(3, 8, 9), rtol=1e-6)


def test_auxiliary_has_two_outputs_and_no_labels():
    model = models.gan_discriminator((8, 8, 1), classes=3, conditioning="auxiliary", filters=2)
    assert [i.name for i in model.inputs] == ["image"]
    logits, classes = model(np.zeros((2, 8, 8, 1), "float32"))
    assert logits.shape == (2, 1) and classes.shape == (2, 3)


def test_the_label_weighs_as_much_as_the_latent_vector():
    model = models.gan_generator((8, 8, 1), 400, classes=50, filters=2)
    embedding = model.get_layer("class_embedding")(np.eye(50, dtype="float32")).numpy()
    assert embedding.shape == (50, 400)
    assert embedding.var() == pytest.approx(1.0, abs=5 * np.sqrt(2 / embedding.size))


@pytest.mark.parametrize(
    ("normalization", "kind"),
    [("batch", BatchNormalization), ("layer", keras.layers.GroupNormalization), (None, ())],
)
def test_normalizations(normalization, kind):
    for model, count in (
        (models.gan_generator((8, 8, 1), 3, filters=2, normalization=normalization), 3),
        (models.gan_discriminator((8, 8, 1), filters=2, normalization=normalization), 1),
        (models.gan_dense_generator((4, 4, 1), 3, normalization=normalization), 2),
        (models.gan_dense_discriminator((4, 4, 1), normalization=normalization), 1),
    ):
        assert sum(isinstance(layer, kind) for layer in model.layers) == (count if kind else 0)
        assert model(np.ones((2, *model.input_shape[1:]), "float32")).shape[0] == 2


def test_layer_normalization_is_over_a_whole_picture():
    model = models.gan_discriminator((8, 8, 1), filters=2, normalization="layer")
    norm = first(model, keras.layers.GroupNormalization)
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1))
    y = keras.Model(model.inputs[0], norm.output)(x).numpy()
    np.testing.assert_allclose(y.mean((1, 2, 3)), 0.0, atol=1e-5)
    np.testing.assert_allclose(y.std((1, 2, 3)), 1.0, atol=1e-2)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"conditioning": "projection"}, "give both or neither"),
        ({"classes": 3}, "give both or neither"),
        ({"conditioning": "film", "classes": 3}, "conditioning 'film' is unknown"),
        ({"normalization": "instance"}, "known: spectral, batch, layer, None"),
        ({"filters": (4, 4, 4)}, "3 values.*2 maps: 8x8, 4x4"),
        ({"filters": 0}, "filters must be"),
    ],
)
def test_mistakes_are_named(settings, words):
    with pytest.raises(UserError, match=words):
        models.gan_discriminator((8, 8, 1), **settings)


def test_mistakes_of_generators():
    with pytest.raises(UserError, match="normalization 'spectral' is unknown"):
        models.gan_generator((8, 8, 1), 3, normalization="spectral")
    with pytest.raises(UserError, match="upsampling 'cubic' is unknown"):
        models.gan_generator((8, 8, 1), 3, upsampling="cubic")
    for build in (models.gan_generator, models.gan_dense_generator):
        with pytest.raises(UserError, match="latent_dim must be"):
            build((8, 8, 1), 0)
        with pytest.raises(UserError, match="classes must be"):
            build((8, 8, 1), 3, classes=-1)
