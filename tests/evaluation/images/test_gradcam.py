"""Grad-CAM of networks whose maps follow from the paper's equations by hand."""

import keras
import numpy as np
import pytest

from kapps import evaluation
from kapps.errors import UserError
from kapps.evaluation.images import gradcam
from kapps.evaluation.images.gradcam import feature_maps


def pointwise_network(tail=()):
    """Two maps, A_0 = x and A_1 = 255 - x, then their means, then logits W."""
    inputs = keras.Input((4, 4, 1), name="image")
    maps = keras.layers.Conv2D(2, 1, activation="relu", name="maps")
    y = maps(inputs)
    for layer in tail:
        y = layer(y)
    dense = keras.layers.Dense(3, name="logits")
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(y)))
    maps.set_weights([np.array([[[[1.0, -1.0]]]]), np.array([0.0, 255.0])])
    dense.set_weights([np.array([[1.0, -2.0, 1.0], [0.5, 4.0, 2.0]]), np.zeros(3)])
    return model


PICTURE = np.arange(0, 256, 16, dtype=np.uint8)[:16].reshape(1, 4, 4, 1)
X = PICTURE[0, :, :, 0].astype(float)


@pytest.mark.parametrize(
    ("class_index", "expected"),
    [
        # a_k = W[k, class] / 16 for every place; the factor falls out by dividing by the maximum
        (0, X + 0.5 * (255 - X)),
        (1, np.maximum(-2 * X + 4 * (255 - X), 0)),
        (2, X + 2 * (255 - X)),
    ],
)
def test_map_by_hand(class_index, expected):
    heat = evaluation.grad_cam(pointwise_network(), PICTURE, class_index)
    assert heat.shape == (1, 4, 4) and heat.dtype == np.float32
    np.testing.assert_allclose(heat[0], expected / expected.max(), atol=1e-6)


@pytest.mark.slow
def test_predicted_class_is_the_default_and_classes_may_differ():
    model = pointwise_network()
    images = np.concatenate([PICTURE, 255 - PICTURE, np.full_like(PICTURE, 30)])
    predicted = model.predict(images, verbose=0).argmax(-1)
    assert len(set(predicted)) > 1
    np.testing.assert_array_equal(
        evaluation.grad_cam(model, images), evaluation.grad_cam(model, images, predicted)
    )


def test_more_pictures_than_one_batch(monkeypatch):
    monkeypatch.setattr("kapps.evaluation.images.gradcam.BATCH", 2)
    images = np.stack([np.roll(PICTURE[0], i, axis=0) for i in range(5)])
    heat = evaluation.grad_cam(pointwise_network(), images, np.array([0, 1, 2, 0, 1]))
    for i, wanted in enumerate([0, 1, 2, 0, 1]):
        one = evaluation.grad_cam(pointwise_network(), images[i : i + 1], wanted)
        np.testing.assert_allclose(heat[i], one[0], atol=1e-6)


def test_no_evidence_gives_zeros_not_nan():
    model = pointwise_network()
    model.get_layer("logits").set_weights([-np.ones((2, 3)), np.zeros(3)])
    np.testing.assert_array_equal(evaluation.grad_cam(model, PICTURE, 0), np.zeros((1, 4, 4)))
    assert evaluation.grad_cam(model, PICTURE[:0]).shape == (0, 4, 4)


def test_frozen_layers_and_pooling_change_nothing():
    model = pointwise_network(tail=[keras.layers.AveragePooling2D(2)])
    model.trainable = False
    heat = evaluation.grad_cam(model, PICTURE, 0)
    expected = X + 0.5 * (255 - X)
    np.testing.assert_allclose(heat[0], expected / expected.max(), atol=1e-6)


def test_small_maps_are_resized_bilinearly(monkeypatch):
    """A 2 x 2 map: along an axis the weights of the far pixel are 0, 1/4, 3/4, 1."""
    monkeypatch.setattr(gradcam, "FINEST", 2)
    inputs = keras.Input((4, 4, 1))
    conv = keras.layers.Conv2D(1, 2, strides=2)
    dense = keras.layers.Dense(2)
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(conv(inputs))))
    conv.set_weights([np.full((2, 2, 1, 1), 0.25), np.zeros(1)])
    dense.set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    blocks = np.array([[40, 80], [160, 200]])
    images = np.kron(blocks, np.ones((2, 2))).astype(np.uint8)[None, ..., None]
    along = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_allclose(
        evaluation.grad_cam(model, images, 0)[0], along @ blocks @ along.T / 200, atol=1e-6
    )


def test_the_last_feature_maps_are_found():
    inputs = keras.Input((16, 16, 3))
    y = keras.layers.Rescaling(1 / 255)(inputs)
    y = keras.layers.Conv2D(4, 3, padding="same")(y)
    wanted = keras.layers.ReLU()(y)
    y = keras.layers.MaxPooling2D()(wanted)
    y = keras.layers.GlobalAveragePooling2D(keepdims=True)(y)
    y = keras.layers.Flatten()(keras.layers.Conv2D(2, 1)(y))
    assert feature_maps(keras.Model(inputs, y)) is wanted


def test_an_mlp_has_no_feature_maps():
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2)],
        name="mlp",
    )
    with pytest.raises(UserError, match="'mlp' has none.*--model cnn"):
        evaluation.grad_cam(model, PICTURE)


def test_coarse_maps_give_way_to_finer_ones_or_are_refused():
    """Of 2x2 places, resized, heat lies on everything: 32 -> 16 -> 8 -> 4 -> 2 pixels."""
    inputs = y = keras.Input((32, 32, 1))
    for filters in (3, 4, 5, 6):
        y = keras.layers.Conv2D(filters, 3, strides=2, padding="same")(y)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(y)))
    assert feature_maps(model).shape == (None, 8, 8, 4)
    y = keras.layers.Conv2D(2, 8, strides=8)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(y)), name="coarse")
    with pytest.raises(UserError, match="7x7 or more, and the model 'coarse' has none"):
        feature_maps(model)


def test_one_scale_for_all_pictures():
    model = pointwise_network()
    pictures = np.concatenate([PICTURE, PICTURE // 4])
    each, together = (evaluation.grad_cam(model, pictures, 0, one_scale=s) for s in (False, True))
    assert each.max(axis=(1, 2)) == pytest.approx([1, 1])
    heat = together.max(axis=(1, 2))
    assert heat.max() == pytest.approx(1) and heat.min() < 1
    np.testing.assert_allclose(together, each * heat[:, None, None], rtol=1e-5)


def test_a_nested_base_is_looked_at_from_outside(monkeypatch):
    monkeypatch.setattr(gradcam, "FINEST", 6)
    base_in = keras.Input((8, 8, 1))
    base = keras.Model(base_in, keras.layers.Conv2D(2, 3, activation="relu")(base_in), name="base")
    inputs = keras.Input((8, 8, 1))
    y = base(keras.layers.Rescaling(1 / 255)(inputs))
    y = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(y))
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), np.uint8)
    model = keras.Model(inputs, y)
    assert feature_maps(model).shape == (None, 6, 6, 2)
    heat = evaluation.grad_cam(model, images)
    assert heat.shape == (2, 8, 8) and 0 <= heat.min() <= heat.max() <= 1


def test_a_nested_head_is_looked_through():
    head_in = keras.Input((4, 4, 2))
    pooled = keras.layers.GlobalAveragePooling2D()(head_in)
    head = keras.Model(head_in, keras.layers.Dense(2)(pooled))
    inputs = keras.Input((4, 4, 1))
    conv = keras.layers.Conv2D(2, 1, trainable=False)(inputs)
    model = keras.Model(inputs, head(conv))
    assert feature_maps(model) is conv
    assert evaluation.grad_cam(model, PICTURE).shape == (1, 4, 4)


def test_overlay_dims_what_was_not_looked_at():
    picture = np.full((1, 2, 2, 3), 200, np.uint8)
    heat = np.array([[[0.0, 1.0], [0.0, 1.0]]])
    mixed = evaluation.overlay(picture, heat, strength=0.5)
    assert mixed.shape == (1, 2, 2, 3) and mixed.dtype == np.uint8
    # inferno starts at (0.0015, 0.0005, 0.0139) and ends at (0.9884, 0.9984, 0.6449)
    np.testing.assert_array_equal(mixed[0, 0, 0], [100, 100, 102])
    np.testing.assert_array_equal(mixed[0, 0, 1], [226, 227, 182])
    np.testing.assert_array_equal(evaluation.overlay(picture[..., 0] / 255.0, heat, 0.5), mixed)
