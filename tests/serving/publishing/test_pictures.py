"""Models that give pictures several labels, or a number, reloaded and asked."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps import models, serving
from kapps.data import Reading
from kapps.errors import UserError

pytestmark = pytest.mark.slow
NAMES, THRESHOLDS = ("cat", "dog", "Café au lait"), (0.3, 0.6, 0.5)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (9, 8, 6, 3), np.uint8)


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    model = models.mlp((8, 6, 3), 3, units=(8,))
    model.get_layer("logits").bias.assign([0.3, 0.1, -0.2])
    return model


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def labelled(network, tmp_path_factory):
    root = tmp_path_factory.mktemp("labels")
    return serving.export_labels(network, root, NAMES, thresholds=THRESHOLDS, card="# Pets\n")


def test_labels_are_those_above_their_thresholds(labelled, network, images):
    signatures = serving.load(labelled).signatures
    said = signatures["serving_default"](image=tf.constant(images))
    chances = 1 / (1 + np.exp(-network.predict(images, verbose=0).astype(float)))
    np.testing.assert_allclose(said["probabilities"], chances, atol=1e-5)
    expected = [
        "|".join(n for n, p, t in zip(NAMES, row, THRESHOLDS, strict=True) if p > t)
        for row in chances
    ]
    assert [text.decode() for text in said["labels"].numpy()] == expected
    assert len(set(expected)) > 1
    files = tf.constant([png(image) for image in images])
    again = signatures["from_bytes"](image_bytes=files)
    assert [text.decode() for text in again["labels"].numpy()] == expected
    assert signatures["from_bytes"](image_bytes=tf.constant([], tf.string))["labels"].shape == (0,)
    card = (labelled / "model_card.md").read_text()
    for words in ("| cat | 0.3 |", "`labels`", 'answer["labels"]', "above their thresholds"):
        assert words in card
    assert 'answer["pixels"]' not in card


def test_none_of_the_labels_is_an_empty_text(network, tmp_path, images):
    version = serving.export_labels(network, tmp_path, NAMES, thresholds=(1.1, 1.1, 1.1))
    said = serving.load(version).signatures["serving_default"](image=tf.constant(images))
    assert set(said["labels"].numpy().tolist()) == {b""}


def test_files_are_answered_with_their_labels(labelled, images, tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.tif"]
    for path, image in zip(paths, images, strict=False):
        Image.fromarray(image).save(path)
    (tmp_path / "c.png").write_text("no picture")
    answers = serving.ask(labelled, [*paths, tmp_path / "c.png"])
    found = [next(answers), next(answers)]
    with pytest.raises(serving.SomeUnreadable, match="c.png: cannot be read as an image"):
        next(answers)
    said = serving.load(labelled).signatures["serving_default"](image=tf.constant(images[:2]))
    for answer, path, chances, names in zip(
        found, paths, said["probabilities"].numpy(), said["labels"].numpy(), strict=True
    ):
        assert answer["file"] == str(path)
        assert "|".join(answer["labels"]) == names.decode()
        np.testing.assert_allclose(list(answer["probabilities"].values()), chances, rtol=1e-5)
        assert tuple(answer["probabilities"]) == NAMES


def test_a_number_in_its_units(tmp_path, images):
    keras.utils.set_random_seed(1)
    network = models.mlp((8, 6, 3), 0, units=(8,))
    assert network.output_shape == (None, 1)
    model = models.in_units(network, mean=40.0, std=7.0)
    version = serving.export_numbers(model, tmp_path / "out", reading=Reading(resize="crop"))
    signatures = serving.load(version).signatures
    said = signatures["serving_default"](image=tf.constant(images))["value"]
    expected = 40 + 7 * network.predict(images, verbose=0)[:, 0]
    np.testing.assert_allclose(said, expected, rtol=1e-5)
    assert said.dtype == tf.float32
    (tmp_path / "a.png").write_bytes(png(images[0]))
    [answer] = serving.ask(version, [tmp_path / "a.png"])
    assert answer["prediction"] == pytest.approx(expected[0], rel=1e-5)


def test_what_does_not_fit_is_refused(network, tmp_path):
    with pytest.raises(UserError, match="2 thresholds for 3 labels"):
        serving.export_labels(network, tmp_path, NAMES, thresholds=(0.5, 0.5))
    with pytest.raises(UserError, match="2 class names"):
        serving.export_labels(network, tmp_path, NAMES[:2], thresholds=(0.5, 0.5))
    with pytest.raises(UserError, match="one number is needed"):
        serving.export_numbers(network, tmp_path)
    assert not list(tmp_path.iterdir())
