"""What `export` publishes, and what it refuses to publish."""

import io
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps import serving
from kapps.errors import UserError
from serving.small_classifier import CLASS_NAMES, build, probabilities


def encoded(image, format):
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, format)
    return file.getvalue()


@pytest.mark.slow
def test_serving_default_is_predict_with_softmax_and_temperature(published, images):
    signature = serving.load(published.version).signatures["serving_default"]
    assert signature.structured_input_signature == (
        (),
        {"image": tf.TensorSpec((None, 12, 10, 3), tf.uint8, name="image")},
    )
    for size in (1, 6):
        answer = signature(image=tf.constant(images[:size]))
        assert sorted(answer) == ["label", "probabilities"]
        assert answer["probabilities"].dtype == tf.float32
        np.testing.assert_allclose(
            answer["probabilities"], published.expected[:size], rtol=0, atol=1e-5
        )
        labels = [CLASS_NAMES[i] for i in published.expected[:size].argmax(-1)]
        assert [label.decode() for label in answer["label"].numpy()] == labels
    # The comparison says something: neither one class always nor the same answer for all.
    assert np.ptp(published.expected, axis=0).max() > 0.05


@pytest.mark.slow
def test_from_bytes_reads_png_files_exactly(published, images):
    signature = serving.load(published.version).signatures["from_bytes"]
    assert list(signature.structured_input_signature[1]) == ["image_bytes"]
    for size in (1, 6):
        files = tf.constant([encoded(image, "PNG") for image in images[:size]])
        answer = signature(image_bytes=files)
        np.testing.assert_allclose(
            answer["probabilities"], published.expected[:size], rtol=0, atol=1e-5
        )
        assert answer["label"].shape == (size,)


@pytest.mark.slow
def test_from_bytes_reads_jpeg_files_of_any_size(published):
    signature = serving.load(published.version).signatures["from_bytes"]
    grey = np.full((50, 31, 3), 130, np.uint8)  # one grey level survives JPEG and resizing
    answer = signature(image_bytes=tf.constant([encoded(grey, "JPEG")]))
    expected = probabilities(published.model, np.full((1, 12, 10, 3), 130, np.uint8))
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-5)


def test_every_file_of_a_version(published):
    files = {
        os.path.relpath(os.path.join(parent, name), published.version)
        for parent, _, names in os.walk(published.version)
        for name in names
    }
    assert files >= {
        "saved_model.pb",
        "assets/labels.txt",
        "assets.extra/tf_serving_warmup_requests",
        "model_card.md",
        "variables/variables.index",
    }
    labels = (published.version / "assets" / "labels.txt").read_text(encoding="utf-8")
    assert labels == "T-shirt/top\nTrouser\nPullover\nCafé\n"
    card = (published.version / "model_card.md").read_text(encoding="utf-8")
    assert card.startswith("# Clothes\n\nTrained on noise.\n")
    for words in ("`image`: uint8 [N, 12, 10, 3]", "`from_bytes`", "/v1/models/clothes:predict"):
        assert words in card


@pytest.mark.slow
def test_the_program_on_the_card_runs(published, images, tmp_path, monkeypatch):
    card = (published.version / "model_card.md").read_text(encoding="utf-8")
    program = card.split("```python\n")[1].split("```")[0]
    assert "DIRECTORY OF THIS FILE" in program
    (tmp_path / "image.png").write_bytes(encoded(images[0], "PNG"))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(program.replace("DIRECTORY OF THIS FILE", str(published.version)), names)  # noqa: S102
    np.testing.assert_allclose(
        names["answer"]["probabilities"], published.expected[:1], rtol=0, atol=1e-5
    )


@pytest.mark.slow
def test_a_second_export_is_a_second_version(tmp_path, images):
    model = build()
    first = serving.export(model, tmp_path, CLASS_NAMES)
    before = {p: p.read_bytes() for p in first.rglob("*") if p.is_file()}
    model.get_layer("logits").bias.assign([5.0, 0.0, 0.0, 0.0])
    second = serving.export(model, tmp_path, CLASS_NAMES)
    assert (first.name, second.name) == ("1", "2")
    assert {p: p.read_bytes() for p in first.rglob("*") if p.is_file()} == before
    newest = serving.load(tmp_path).signatures["serving_default"](image=tf.constant(images))
    np.testing.assert_allclose(
        newest["probabilities"], probabilities(model, images, 1.0), rtol=0, atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2])
def test_other_numbers_of_channels(tmp_path, channels):
    version = serving.export(build(channels=channels), tmp_path, CLASS_NAMES)
    names = sorted(serving.load(version).signatures)
    assert names == (["serving_default"] if channels == 2 else ["from_bytes", "serving_default"])
    if channels == 2:
        with pytest.raises(UserError, match="from_bytes"):
            serving.predict(version, [])


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_answers_in_float32_and_as_evaluated(tmp_path, images, policy):
    model = build(policy)
    assert policy.removeprefix("mixed_") in {layer.compute_dtype for layer in model.layers}
    signature = serving.load(serving.export(model, tmp_path, CLASS_NAMES)).signatures
    answer = signature["serving_default"](image=tf.constant(images))["probabilities"]
    assert answer.dtype == tf.float32
    np.testing.assert_allclose(answer, probabilities(model, images, 1.0), rtol=0, atol=1e-5)


class AlwaysNoise(keras.layers.Layer):
    """Ignores `training`."""

    def call(self, x):
        return x + tf.random.stateless_uniform(tf.shape(x), (1, 2), dtype=x.dtype)


class AlwaysTraining(keras.layers.Layer):
    """Updates its moving statistics whatever it is told."""

    def __init__(self):
        super().__init__()
        self.inner = keras.layers.BatchNormalization()

    def call(self, x):
        return self.inner(x, training=True)


class Branch(keras.layers.Layer):
    """Hides its noise in a function that is called under a condition."""

    def call(self, x):
        bright = tf.reduce_mean(x) > 1e9
        return tf.cond(bright, lambda: x + tf.random.uniform(tf.shape(x)), lambda: x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (AlwaysNoise, "draws random numbers: op StatelessRandom"),
        (Branch, "draws random numbers: op RandomUniform"),
        (AlwaysTraining, "changes the model's variables: op Assign"),
    ],
)
def test_a_layer_that_ignores_training_false_is_refused_by_name(tmp_path, layer, words):
    with pytest.raises(UserError, match=words):
        serving.export(build(extra=layer()), tmp_path, CLASS_NAMES)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_savedmodel_that_disagrees_is_not_published(tmp_path, monkeypatch):
    from kapps.serving.savedmodel import graph

    model, save = build(), graph.save

    def save_other_weights(*args):
        model.get_layer("logits").bias.assign([0.0, 0.01, 0.0, 0.0])
        save(*args)
        model.get_layer("logits").bias.assign([0.0, 0.0, 0.0, 0.0])

    monkeypatch.setattr(graph, "save", save_other_weights)
    with pytest.raises(RuntimeError, match="differs from the model by"):
        serving.export(model, tmp_path, CLASS_NAMES)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"class_names": CLASS_NAMES[:3]}, "3 class names"),
        ({"class_names": ("a", "b", "c", "c")}, "same name"),
        ({"class_names": ("a", "b", "c", "d\ne")}, "does not fit on one line"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
    ],
)
def test_what_cannot_be_served_is_refused(tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        serving.export(build(), tmp_path / "out", **({"class_names": CLASS_NAMES} | arguments))
    assert not (tmp_path / "out").exists()
