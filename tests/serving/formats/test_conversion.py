"""ONNX and LiteRT files, asked by their own runtimes."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data, models, serving
from kapps.errors import UserError
from kapps.serving.formats import conversion
from serving.small_classifier import CLASS_NAMES, TEMPERATURE, build, probabilities


def ask_onnx(path, images):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"image": images})[0]


def ask_litert(path, images):
    import tensorflow as tf

    with pytest.warns(UserWarning, match="tf.lite.Interpreter is deprecated"):
        interpreter = tf.lite.Interpreter(str(path))
    return interpreter.get_signature_runner("serving_default")(image=images)["probabilities"]


LOADING_PROGRAM = """
import sys
from kapps import serving
print(type(serving.load_model(sys.argv[1])).__name__)
"""


@pytest.mark.slow
def test_models_of_every_module_are_loaded_without_importing_it(tmp_path):
    """Not the class alone: also the layers of its networks and the schedule of its loss."""
    beta = models.KLWarmup(10)
    shape = {"filters": (2, 2), "units": 4, "pseudo_inputs": 2}
    models.hierarchical_vae((4, 4, 1), 2, beta=beta, **shape).save(tmp_path / "model.keras")
    command = [sys.executable, "-c", LOADING_PROGRAM, str(tmp_path / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout == "VAE\n", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("format", "name", "ask"),
    [("onnx", "model.onnx", ask_onnx), ("litert", "model.tflite", ask_litert)],
)
def test_another_runtime_agrees(tmp_path, images, policy, format, name, ask):
    if format == "onnx":
        pytest.importorskip("tf2onnx")
    model = build(policy)
    path = serving.convert(model, tmp_path / "export", format, CLASS_NAMES, temperature=TEMPERATURE)
    assert path == tmp_path / "export" / name
    assert (path.parent / "labels.txt").read_text(encoding="utf-8").splitlines()[3] == "Café"
    expected = probabilities(model, images)
    tolerance = 1e-4 if policy == "float32" else 1e-2  # the file is float32, predict was not
    for size in (1, 6):
        answer = ask(path, images[:size])
        np.testing.assert_allclose(answer, expected[:size], rtol=0, atol=tolerance)


@pytest.mark.slow
def test_the_published_savedmodel_converts_too(published, images):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(published.version), signature_keys=["serving_default"]
    )
    with pytest.warns(UserWarning, match="tf.lite.Interpreter is deprecated"):
        interpreter = tf.lite.Interpreter(model_content=converter.convert())
    answer = interpreter.get_signature_runner("serving_default")(image=images)
    np.testing.assert_allclose(answer["probabilities"], published.expected, rtol=0, atol=1e-4)


def test_a_file_that_disagrees_is_not_written(tmp_path, monkeypatch):

    wrong = (b"", lambda images: np.full((3, 4), 0.25))
    monkeypatch.setattr(conversion, "_litert", lambda *arguments: wrong)
    with pytest.raises(RuntimeError, match="litert model differs"):
        serving.convert(build(), tmp_path / "export", "litert", CLASS_NAMES)
    assert not (tmp_path / "export").exists()


def test_an_unknown_format_and_a_missing_package_are_named(monkeypatch):
    from kapps.serving.formats import requirements

    with pytest.raises(UserError, match="onnx, litert"):
        serving.check_format("torch")
    monkeypatch.setitem(requirements.FORMATS, "onnx", ("no_such_package",))
    with pytest.raises(UserError, match="pip install no_such_package"):
        serving.check_format("onnx")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The LiteRT file of the classifier; `build` makes the same one again."""
    return serving.convert(build(), tmp_path_factory.mktemp("whole"), "litert", CLASS_NAMES)


@pytest.mark.slow
def test_float16_is_half_as_large_and_nearly_the_same(whole, tmp_path, images):
    half = serving.convert(build(), tmp_path, "litert", CLASS_NAMES, quantize="float16")
    assert (whole.name, half.name) == ("model.tflite", "model_float16.tflite")
    # Scale of a half: 2^-11 relative, over a few layers.
    np.testing.assert_allclose(ask_litert(half, images), ask_litert(whole, images), atol=5e-3)
    assert not np.array_equal(ask_litert(half, images), ask_litert(whole, images))


@pytest.mark.slow
def test_int8_computes_in_integers_over_the_ranges_it_was_shown(tmp_path, images):
    import tensorflow as tf

    model = build()
    path = serving.convert(
        model, tmp_path, "litert", CLASS_NAMES, quantize="int8", representative=images
    )
    assert path.name == "model_int8.tflite"
    with pytest.warns(UserWarning, match="tf.lite.Interpreter is deprecated"):
        interpreter = tf.lite.Interpreter(str(path))
    details = interpreter.get_tensor_details()
    kernels = [d for d in details if d["dtype"] == np.int8 and len(d["shape"]) == 4]
    assert kernels and interpreter.get_input_details()[0]["dtype"] == np.uint8
    expected = probabilities(model, images, temperature=1.0)
    np.testing.assert_allclose(ask_litert(path, images), expected, rtol=0, atol=0.1)
    with pytest.raises(UserError, match="representative"):
        serving.convert(model, tmp_path, "litert", CLASS_NAMES, quantize="int8")


@pytest.mark.slow
def test_what_a_file_costs_is_counted(whole, images):
    model, path = build(), whole
    said = probabilities(model, images).argmax(axis=-1)
    labels = said.copy()
    labels[0] = (labels[0] + 1) % len(CLASS_NAMES)
    found = conversion.compare(model, path, images, labels, batch_size=4)
    right = 1 - 1 / len(images)
    assert found == {
        "accuracy": pytest.approx(right),
        "model_accuracy": pytest.approx(right),
        "accuracy_drop": 0.0,
        "agreement": 1.0,
        "examples": len(images),
        "bytes": path.stat().st_size,
    }


def test_a_quantization_that_there_is_not():
    with pytest.raises(UserError, match="none, float16, int8"):
        serving.check_quantize("litert", "int4")
    with pytest.raises(UserError, match="for --format litert, not for savedmodel"):
        serving.check_quantize("savedmodel", "int8")


def many_classes(count=1000):
    """A thousand classes, none of which gets much: softmax in steps of 1/256 knows few of them."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(image / 255.0)
    wide = keras.initializers.RandomNormal(stddev=0.05)
    x = keras.layers.Dense(count, kernel_initializer=wide)(keras.layers.Flatten()(x))
    return keras.Model(image, x), [str(i) for i in range(count)]


def patches(count, seed=0):
    blocks = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return blocks.repeat(4, axis=1).repeat(4, axis=2)


@pytest.mark.slow
def test_int8_tells_a_thousand_classes_apart(tmp_path):
    model, names = many_classes()
    images = patches(60)
    path = serving.convert(
        model, tmp_path, "litert", names, quantize="int8", representative=patches(60, seed=1)
    )
    answer, expected = ask_litert(path, images), probabilities(model, images, temperature=1.0)
    np.testing.assert_allclose(answer.sum(axis=1), 1.0, atol=1e-4)
    assert np.mean(answer.argmax(1) == expected.argmax(1)) > 0.9  # a quarter, with softmax in int8


@pytest.mark.slow
def test_int8_is_calibrated_on_all_that_is_shown(tmp_path):
    """The first image is black: a range of nothing, which white would leave."""
    model, names = many_classes(10)
    shown = patches(30)
    shown[0] = 0
    path = serving.convert(model, tmp_path, "litert", names, quantize="int8", representative=shown)
    expected = probabilities(model, shown[1:], temperature=1.0)
    np.testing.assert_allclose(ask_litert(path, shown[1:]), expected, rtol=0, atol=0.05)


@pytest.mark.slow
def test_a_file_that_loses_accuracy_is_refused(tmp_path):
    model, names = many_classes(10)
    images = patches(40)
    labels = np.asarray(model(images.astype("f4"))).argmax(1)
    black = np.zeros((20, 16, 16, 3), np.uint8)  # a wrong calibration
    settings = {"quantize": "int8", "representative": black, "checked": (images, labels)}
    with pytest.raises(UserError, match="40 validation images.*100.0%.*a loss of 2.0% is allowed"):
        serving.convert(model, tmp_path / "no", "litert", names, **settings)
    assert not (tmp_path / "no").exists()
    assert serving.convert(
        model, tmp_path / "yes", "litert", names, accuracy_loss=1.0, **settings
    ).exists()
    # Better than the model is no loss: all that it says is wrong here, not all that the file says.
    wrong = (labels + 1) % 10
    settings["checked"] = (images, wrong)
    assert serving.convert(model, tmp_path / "odd", "litert", names, **settings).exists()


def test_a_run_is_calibrated_on_training_and_judged_on_validation_images(tmp_path, monkeypatch):
    from kapps.serving.formats import quantization

    colours = {"train": 10, "validation": 20, "test": 30}
    splits = {
        name: data.Split(
            np.full(300, colour, np.int32),
            lambda rows, colour=colour: tf.fill([tf.size(rows), 2, 2, 1], np.uint8(colour)),
        )
        for name, colour in colours.items()
    }
    images = data.ImageData("digits", ("a",), (2, 2, 1), splits, "f")
    seen = {}

    def convert(model, directory, format, names, **settings):
        seen.update(settings)
        return tmp_path / "model_int8.tflite"

    def compare(model, path, pixels, labels):
        seen["test"] = (pixels, labels)
        return {"accuracy_drop": 0.0}

    monkeypatch.setattr(quantization.data, "load_as_configured", lambda *args, **settings: images)
    monkeypatch.setattr(quantization, "convert", convert)
    monkeypatch.setattr(quantization, "compare", compare)
    facts = {
        "config": {"dataset": "digits"},
        "image_shape": (2, 2, 1),
        "data": {"fingerprint": "f"},
    }
    quantization.convert_run(tmp_path, None, facts, ("a",), format="litert", quantize="int8")
    shown = seen["representative"]
    assert shown.shape == (200, 2, 2, 1) and set(shown.flat) == {10}
    for (pixels, labels), colour in ((seen["checked"], 20), (seen["test"], 30)):
        assert len(pixels) == 300 and set(pixels.flat) == set(labels) == {colour}
