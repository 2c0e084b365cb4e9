"""The signature `explain`: Grad-CAM in the served graph."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import evaluation, models, serving
from kapps.data import Reading

SHAPE = (9, 8, 1)


def network():
    keras.utils.set_random_seed(3)
    image = keras.Input(SHAPE, name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image / 255.0)
    return keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, *SHAPE), np.uint8)


def explained(version, images):
    png = tf.constant([tf.io.encode_png(image).numpy() for image in images], tf.string)
    said = tf.saved_model.load(str(version)).signatures["explain"](image_bytes=png)
    return {name: value.numpy() for name, value in said.items()}


@pytest.mark.slow
def test_it_answers_what_grad_cam_says(tmp_path, images):
    model = network()
    version = serving.export(model, tmp_path, "abc", explained=True, sample_images=images)
    said = explained(version, images)
    best = model.predict(images.astype("f4"), verbose=0).argmax(-1)
    assert [label.decode() for label in said["label"]] == ["abc"[i] for i in best]
    np.testing.assert_array_equal(said["image"], images)
    expected = evaluation.grad_cam(model, images, best)
    assert expected.max() == 1 and np.ptp(expected) > 0.5
    np.testing.assert_allclose(said["heat_map"], expected, atol=1e-3)
    assert {name: len(value) for name, value in explained(version, images[:0]).items()} == {
        "heat_map": 0, "label": 0, "image": 0
    }  # fmt: skip
    card = (version / "model_card.md").read_text(encoding="utf-8")
    assert "| `explain` | `image_bytes`: the same |" in card and "The first two return" in card


@pytest.mark.slow
def test_of_several_views_it_explains_one_for_the_common_answer(tmp_path, images):
    inner = network()
    around = models.with_views(inner, shift=3)
    reading = Reading(resize="crop")
    version = serving.export(around, tmp_path, "abc", explained=True, reading=reading)
    said = explained(version, images)
    best = around.predict(images.astype("f4"), verbose=0).argmax(-1)
    assert [label.decode() for label in said["label"]] == ["abc"[i] for i in best]
    np.testing.assert_allclose(
        said["heat_map"], evaluation.grad_cam(inner, images, best), atol=1e-3
    )


@pytest.mark.slow
def test_a_network_without_feature_maps_has_no_such_signature(tmp_path):
    model = models.mlp(SHAPE, 3, units=(4,))
    version = serving.export(model, tmp_path, "abc", explained=True)
    loaded = tf.saved_model.load(str(version))
    assert set(loaded.signatures) == {"serving_default", "from_bytes"}
