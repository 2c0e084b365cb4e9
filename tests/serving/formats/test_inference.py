"""Versions for answering alone: no variables, no batch normalization, ONNX files that agree."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kapps import layers, models, serving
from kapps.errors import UserError
from kapps.serving.formats import conversion, inference
from kapps.serving.savedmodel import onnx_files
from kapps.serving.savedmodel.warmup import read_warmup
from serving.server import plain_models
from serving.small_classifier import CLASS_NAMES
from serving.small_families import FAMILIES

# Their graphs have nothing that those of "image classifier" and "several labels" have not.
AS_OTHERS = ("images as points", "number of an image")


def operations(version):
    """How often which operation stands in a SavedModel, its functions included."""
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    names = [node.op for node in nodes]
    return {name: names.count(name) for name in set(names)}


def variables(version):
    """Names of what is in the files of the variables."""
    held = [name for name, _ in tf.train.list_variables(str(version / "variables" / "variables"))]
    return [name for name in held if name != "_CHECKPOINTABLE_OBJECT_GRAPH"]


@pytest.fixture(scope="module")
def frozen(published, tmp_path_factory):
    root = tmp_path_factory.mktemp("frozen") / "clothes"
    version, left = serving.publish_for_inference(published.version, root, freeze=True)
    assert left == {} and version == root / "1"
    return version


@pytest.mark.slow
def test_a_frozen_classifier_answers_as_the_model_does(published, frozen, images):
    assert len(variables(published.version)) > 3 and variables(frozen) == []
    assert "Rsqrt" in operations(published.version) and "Rsqrt" not in operations(frozen)
    signatures = tf.saved_model.load(str(frozen)).signatures
    said = signatures["serving_default"](image=tf.constant(images))
    np.testing.assert_allclose(said["probabilities"], published.expected, atol=1e-5)
    labels = [CLASS_NAMES[index].encode() for index in published.expected.argmax(-1)]
    assert said["label"].numpy().tolist() == labels
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    from_bytes = signatures["from_bytes"](image_bytes=encoded)["probabilities"]
    np.testing.assert_allclose(from_bytes, published.expected, atol=1e-5)
    # What stands in the graph against aborts of the process stays there.
    with pytest.raises(Exception, match="[Ss]hape"):
        signatures["serving_default"](image=tf.zeros((8, 8), tf.uint8))
    assert signatures["serving_default"](image=tf.zeros((0, 12, 10, 3), tf.uint8))[
        "probabilities"
    ].shape == (0, 4)


@pytest.mark.slow
def test_what_comes_with_a_version_comes_with_the_next(published, frozen):
    for name in ("model_card.md", "assets/labels.txt", "assets.extra/tf_serving_warmup_requests"):
        assert (frozen / name).read_bytes() == (published.version / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("layer", [keras.layers.BatchNormalization, layers.BatchNormalization])
def test_batch_normalization_goes_into_the_convolution(tmp_path, layer):
    keras.utils.set_random_seed(2)
    image = keras.Input((8, 8, 2), name="image")  # of two channels no files are read
    normalization = layer()
    x = normalization(keras.layers.Conv2D(4, 3, use_bias=False)(image / 255.0))
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    normalization.set_weights([np.float32(range(1, 5)) * value for value in (1, 0.1, 0.2, 0.5)])
    version = serving.export(model, tmp_path / "plain", ["a", "b"])
    after, _ = serving.publish_for_inference(version, tmp_path / "frozen", freeze=True)
    left = operations(after).keys() & {"FusedBatchNormV3", "FusedBatchNorm", "Rsqrt"}
    assert not left
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 2), np.uint8)
    said = tf.saved_model.load(str(after)).signatures["serving_default"](image=pixels)
    expected = keras.ops.softmax(model.predict(pixels.astype("f4"), verbose=0))
    np.testing.assert_allclose(said["probabilities"], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in AS_OTHERS])
def test_every_family_can_be_frozen(family, family_version, tmp_path):
    after, _ = serving.publish_for_inference(family_version(family), tmp_path, freeze=True)
    assert variables(after) == []
    assert set(tf.saved_model.load(str(after)).signatures) == FAMILIES[family][2]


@pytest.mark.slow
def test_onnx_files_answer_what_the_savedmodel_answers(published, images, tmp_path):
    pytest.importorskip("tf2onnx")
    version, left = serving.publish_for_inference(published.version, tmp_path, onnx=True)
    assert list(left) == ["from_bytes"] and "takes texts" in left["from_bytes"]
    loaded = tf.saved_model.load(str(version)).signatures["serving_default"]
    file = onnx_files.onnx_file(version, "serving_default")
    ask = inference.ask_onnx(file, loaded, onnx_files.read_labels(version))
    said = ask({"image": images})
    np.testing.assert_allclose(said["probabilities"], published.expected, atol=1e-5)
    labels = [CLASS_NAMES[index].encode() for index in published.expected.argmax(-1)]
    assert said["label"].tolist() == labels


@pytest.mark.slow
def test_an_lstm_that_reads_the_padding_has_no_file(tmp_path):
    """What tf2onnx makes of a masked one; the warm-up requests alone have no padding."""
    pytest.importorskip("tf2onnx")
    keras.utils.set_random_seed(0)
    model = models.rnn(2, 3, units=4, cell="lstm", bidirectional=True)
    version = serving.export_sequences(model, tmp_path, ("a", "b", "c"))
    with pytest.raises(UserError, match="no signature can be had as ONNX: serving_default"):
        serving.publish_for_inference(version, onnx=True)
    assert list(serving.versions(tmp_path)) == [1]


@pytest.mark.slow
def test_a_frozen_loop_can_be_had_as_onnx(tmp_path):
    pytest.importorskip("tf2onnx")
    keras.utils.set_random_seed(0)
    model = models.rnn(2, 3, units=4, cell="gru")
    version = serving.export_sequences(model, tmp_path, ("a", "b", "c"))
    after, left = serving.publish_for_inference(version, freeze=True, onnx=True)
    assert not left and not variables(after)
    requests = onnx_files.stated_inputs(read_warmup(version), "serving_default")
    before, frozen = (tf.saved_model.load(str(path)) for path in (version, after))
    ask = inference.ask_onnx(
        onnx_files.onnx_file(after, "serving_default"),
        before.signatures["serving_default"],
        onnx_files.read_labels(version),
    )
    for inputs in requests:
        wanted = inference.ask_tensorflow(before.signatures["serving_default"], inputs)
        said = inference.ask_tensorflow(frozen.signatures["serving_default"], inputs)
        assert onnx_files.difference(wanted, said) <= 1e-5
        assert onnx_files.difference(wanted, ask(inputs)) <= 1e-5


@pytest.mark.slow
def test_a_graph_that_answers_otherwise_is_not_published(published, tmp_path, monkeypatch):
    def other(signature, asked):
        specs = inference.specs_of(signature)

        def wrong(*arguments):
            said = signature(**{s.name: a for s, a in zip(specs, arguments, strict=True)})
            return {**said, "probabilities": said["probabilities"] + 2e-5}

        return tf.function(wrong, autograph=False, input_signature=specs)

    monkeypatch.setattr(inference, "frozen", other)
    with pytest.raises(RuntimeError, match="serving_default of the new version: .* differs by"):
        serving.publish_for_inference(published.version, tmp_path / "root", freeze=True)
    assert serving.versions(tmp_path / "root") == {}


@pytest.mark.parametrize(
    ("wanted", "said", "words"),
    [
        ({"y": np.float32([1])}, {"y": np.float32([1.00002])}, "differs by 2.0e-05"),
        ({"y": np.float32([100])}, {"y": np.float32([100.002])}, "differs by 2.0e-05"),
        ({"y": np.float32([1])}, {"y": np.float32([np.nan])}, "differs by nan"),
        ({"y": np.float32([1])}, {"y": np.float32([[1]])}, "not float32"),
        ({"y": np.float32([1])}, {"z": np.float32([1])}, "answers z, not y"),
        ({"y": np.int32([1])}, {"y": np.int32([2])}, "another one"),
        ({"y": np.array([b"a"], object)}, {"y": np.array([b"b"], object)}, "another one"),
    ],
)
def test_what_differs(wanted, said, words):
    with pytest.raises(onnx_files.Differs, match=words):
        onnx_files.difference(wanted, said)


def test_what_is_equal():
    wanted = {"y": np.float32([100, 0]), "n": np.int32([3]), "t": np.array([b"a"], object)}
    said = {**wanted, "y": np.float32([100.0008, 0])}
    assert onnx_files.difference(wanted, said) == pytest.approx(8e-6, rel=0.05)


def test_scores_and_heat_maps_may_differ_by_more():
    wanted = {name: np.float32([10]) for name in onnx_files.DERIVED}
    assert onnx_files.difference(wanted, {n: x + 5e-3 for n, x in wanted.items()}) == 0
    for name in wanted:
        with pytest.raises(onnx_files.Differs, match=f"{name} differs by 2.0e-03; 1e-03"):
            onnx_files.difference(wanted, {**wanted, name: wanted[name] + 0.02})


def test_a_version_without_requests_cannot_be_checked(published, tmp_path):
    plain = tmp_path / "1"
    tf.saved_model.save(tf.Module(), str(plain))
    with pytest.raises(UserError, match="no warm-up requests"):
        serving.publish_for_inference(plain, freeze=True)
    assert read_warmup(published.version)


@pytest.mark.slow
def test_a_convolution_that_others_read_is_left_alone(tmp_path):
    """Batch normalization in its weights would change what they read."""
    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 2), name="image")  # of two channels no files are read
    convolved = keras.layers.Conv2D(4, 3, use_bias=False)(image / 255.0)
    normalization = layers.BatchNormalization()
    x = normalization(convolved) + convolved
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    normalization.set_weights([np.float32(range(1, 5)) * value for value in (1, 0.1, 0.2, 0.5)])
    version = serving.export(model, tmp_path / "plain", ["a", "b"])
    after, _ = serving.publish_for_inference(version, tmp_path / "frozen", freeze=True)
    assert variables(after) == []
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 2), np.uint8)
    said = tf.saved_model.load(str(after)).signatures["serving_default"](image=pixels)
    expected = keras.ops.softmax(model.predict(pixels.astype("f4"), verbose=0))
    np.testing.assert_allclose(said["probabilities"], expected, atol=1e-5)


def test_why_a_signature_has_no_onnx_file(tmp_path):
    def sample(seed):
        return {"z": tf.random.stateless_normal((2,), tf.stack([seed, 0]))}

    functions = {"serving_default": (sample, [plain_models.spec((), tf.int32, "seed")])}
    model = tf.saved_model.load(plain_models.write(tmp_path, 1, functions))
    with pytest.raises(UserError, match="draws random numbers from a seed.*draw z outside"):
        inference.onnx_of(model.signatures["serving_default"])


def test_a_converter_that_fails_says_nothing(caplog):
    logger = logging.getLogger("tf2onnx.tfonnx")
    with conversion.quietly():
        logger.error("Unsupported ops")
    assert not caplog.records
    logger.error("of somebody else")
    assert [record.message for record in caplog.records] == ["of somebody else"]
