"""ONNX files answer where they agree with TensorFlow, and TensorFlow everywhere else."""

import json
import shutil
import time

import numpy as np
import pytest

pytest.importorskip("tf2onnx")

from kapps import serving
from kapps.serving.savedmodel import onnx_files
from kapps.serving.server.work import frames
from kapps.serving.server.work.worker import Loaded
from serving.server import plain_models
from serving.small_classifier import CLASS_NAMES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def version(published, tmp_path_factory):
    root = tmp_path_factory.mktemp("onnx") / "clothes"
    return serving.publish_for_inference(published.version, root, onnx=True)[0]


@pytest.fixture(scope="module")
def file_of_other_weights(version, tmp_path_factory):
    """The ONNX file of another model of the same kind, nearly as sure."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(onnx_files.onnx_file(version, "serving_default"))
    [kernel] = (x for x in model.graph.initializer if x.dims[1:] == [len(CLASS_NAMES)])
    values = 1.01 * onnx.numpy_helper.to_array(kernel)
    kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
    file = tmp_path_factory.mktemp("other") / "other.onnx"
    onnx.save(model, file)
    return file


def ask(loaded, images):
    return loaded.functions["serving_default"]({"image": images})


@pytest.mark.parametrize(("engine", "runtime"), [("auto", "onnx"), ("openvino", "openvino")])
def test_a_file_that_agrees_answers(version, published, images, engine, runtime):
    if engine == "openvino":
        pytest.importorskip("openvino")
    loaded = Loaded(version, engine)
    [note, *others] = sorted(loaded.engines, key=lambda note: note["engine"])
    assert all("kapps publish --onnx" in other["reason"] for other in others)  # of files
    assert (note["signature"], note["engine"]) == ("serving_default", runtime)
    assert 0 <= note["difference"] <= 1e-5
    said = ask(loaded, images)
    np.testing.assert_allclose(said["probabilities"], published.expected, atol=1e-5)
    assert [CLASS_NAMES.index(label.decode()) for label in said["label"]] == list(
        published.expected.argmax(-1)
    )
    assert loaded.warm_up(8) == 4
    turns = [loaded.meant({frames.TURN: turn}, b"")[0] for turn in range(40)]
    assert {head["protocol"] for head in turns} == {"grpc", "v2"}  # of what it has played
    assert loaded.meant({"protocol": "v1"}, b"x") == ({"protocol": "v1"}, b"x")
    assert loaded.about()["played"] > 0
    # It is the file that answers: TensorFlow is not there any more.
    loaded.functions = {}
    again = Loaded(version, engine)
    again._model = None
    assert np.array_equal(ask(again, images)["probabilities"], said["probabilities"])


def test_tensorflow_alone(version):
    loaded = Loaded(version, "tensorflow")
    assert loaded.engines == []


def test_a_version_without_files_says_so_where_they_are_wanted(published):
    assert Loaded(published.version, "auto").engines == []
    notes = Loaded(published.version, "onnx").engines
    assert {note["signature"] for note in notes} == {"serving_default", "from_bytes"}
    assert all("kapps publish --onnx" in note["reason"] for note in notes)


@pytest.mark.parametrize("engine", ["auto", "openvino"])
@pytest.mark.parametrize("spoiled", ["weights", "junk", "labels"])
def test_a_file_that_does_not_agree_is_not_used(
    version, published, images, tmp_path, request, spoiled, engine
):
    if engine == "openvino":
        pytest.importorskip("openvino")
    copy = shutil.copytree(version, tmp_path / "1")
    file = onnx_files.onnx_file(copy, "serving_default")
    words = "differs by"
    if spoiled == "junk":
        file.write_bytes(b"junk")
        words = ""
    elif spoiled == "labels":
        (copy / "assets" / "labels.txt").write_text("x\ny\nz\nw\n")
        words = "label is another one"
    else:
        shutil.copyfile(request.getfixturevalue("file_of_other_weights"), file)
    loaded = Loaded(copy, engine)
    [note] = [note for note in loaded.engines if note["signature"] == "serving_default"]
    assert note["engine"] == "tensorflow" and words in note["reason"]
    np.testing.assert_allclose(ask(loaded, images)["probabilities"], published.expected, atol=1e-5)


def test_the_server_uses_it_and_says_so(server, served_root, version, published, images):
    (served_root / "faster").mkdir()
    plain_models.replace(version, served_root / "faster" / "1")
    until = time.monotonic() + 180
    while server.get("/v1/models/faster/metadata")[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.1)
    said = [e for e in server.events() if e["event"] == "engine" and e["model"] == "faster"]
    assert [(e["engine"], e["signature"]) for e in said] == [("onnx", "serving_default")]
    status, answer = server.post(
        "/v1/models/faster:predict", json.dumps({"instances": images.tolist()}).encode()
    )
    assert status == 200
    rows = answer["predictions"]
    np.testing.assert_allclose(
        [row["probabilities"] for row in rows], published.expected, atol=1e-5
    )
    assert [CLASS_NAMES.index(row["label"]) for row in rows] == list(published.expected.argmax(-1))
