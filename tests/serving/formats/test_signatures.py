"""What is special in files of other runtimes; every family in each: `serving/test_runtimes.py`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import models, serving
from kapps.errors import UserError
from kapps.models.text.char_rnn import UNKNOWN
from serving.small_families import SHAPE


@pytest.mark.slow
def test_an_output_named_like_an_input_is_told_from_it(tmp_path):
    """tf2onnx returned the input as the output."""
    runtime = pytest.importorskip("onnxruntime")
    model = models.linear_autoencoder(SHAPE, 2)
    made, _ = serving.convert_signatures(model, tmp_path, "onnx")
    images = np.random.default_rng(1).integers(0, 256, (2, *SHAPE), np.uint8)
    session = runtime.InferenceSession(made["reconstruct"], providers=["CPUExecutionProvider"])
    image, pixels = session.run(["image_output", "pixels"], {"image": images})
    expected = np.asarray(model.reconstruct(images)).clip(0, 1)
    np.testing.assert_allclose(pixels, expected, atol=1e-5)
    assert np.abs(image - np.rint(255 * expected)).max() <= 1


@pytest.mark.slow
def test_a_file_that_answers_otherwise_is_not_written(tmp_path):
    """tf2onnx makes of a masked LSTM one that reads the padding."""
    pytest.importorskip("tf2onnx")
    model = models.rnn(2, 3, units=4, cell="lstm", bidirectional=True)
    with pytest.raises(UserError, match="differs from the model.*where series are padded"):
        serving.convert_signatures(model, tmp_path / "no", "onnx", ("a", "b", "c"))
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_texts_of_a_table_are_places_in_its_vocabulary(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    columns = {
        "colour": {"kind": "string", "vocabulary": ["red", "green"], "missing": [""]},
        "size": {"kind": "number", "median": 1.0, "mean": 1.0, "std": 2.0},
    }
    model = models.tabular_mlp(columns, 3, units=(4,))
    made, _ = serving.convert_signatures(model, tmp_path, "onnx", ("a", "b", "c"))
    text = (tmp_path / "columns.json").read_text()
    assert '"red"' in text and '"size"' not in text
    words = {0: "red", 1: "green", 2: "", -1: "never seen"}
    sizes = np.array([[3.0], [np.nan], [1.0], [-2.0]], "f4")
    session = runtime.InferenceSession(made["serving_default"], providers=["CPUExecutionProvider"])
    places = np.array([[place] for place in words], np.int32)
    (said,) = session.run(["probabilities"], {"colour": places, "size": sizes})
    texts = tf.constant([[word] for word in words.values()])
    logits = model({"colour": texts, "size": tf.constant(sizes)})
    np.testing.assert_allclose(said, tf.nn.softmax(logits), atol=1e-5)


@pytest.mark.slow
def test_a_text_is_written_by_another_runtime(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    model = models.char_rnn(UNKNOWN + "\n ab", units=5, embedding=3, lanes=2, cell="gru")
    made, _ = serving.convert_signatures(model, tmp_path, "onnx")
    session = runtime.InferenceSession(made["serving_default"], providers=["CPUExecutionProvider"])
    # The most probable characters, one at a time, the state carried on.
    state, token, written = np.zeros((1, 5), "f4"), 1, []
    for _ in range(6):
        given = {"tokens": np.array([[token]], np.int32), "state_0": state}
        logits, state = session.run(["logits", "next_state_0"], given)
        token = int(logits[0, 0, 1:].argmax()) + 1
        written.append((UNKNOWN + "\n ab")[token])
    expected = models.generate_text(model, [""], 6, temperature=0.0)["continuation"].numpy()[0]
    assert "".join(written) == expected.decode()


@pytest.mark.slow
def test_several_labels_of_an_image(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    keras.utils.set_random_seed(0)
    image = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    images = np.random.default_rng(1).integers(0, 256, (4, *SHAPE), np.uint8)
    said = model.predict(images.astype(np.float32), verbose=0)
    thresholds = np.median(1 / (1 + np.exp(-said)), axis=0)
    names = ("cat", "dog", "eel")
    made, left = serving.convert_signatures(
        model, tmp_path, "onnx", names, target_kind="labels", thresholds=tuple(thresholds)
    )
    assert set(made) == {"serving_default"} and not left
    session = runtime.InferenceSession(made["serving_default"], providers=["CPUExecutionProvider"])
    outputs = ["probabilities", "given"]
    probabilities, given = session.run(outputs, {"image": images})
    assert (tmp_path / "labels.txt").read_text().split() == list(names)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-said)), atol=1e-4)
    np.testing.assert_array_equal(given.sum(axis=0), [2, 2, 2])  # above the median of 4
