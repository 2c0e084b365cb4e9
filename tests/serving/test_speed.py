"""Runtimes are timed on the warm-up requests of a version, and compared."""

import importlib.util
import json
import shutil

import numpy as np
import pytest

from kapps import data, serving
from kapps.cli.serving import Bench
from kapps.errors import UserError
from serving.small_classifier import CLASS_NAMES


@pytest.mark.slow
def test_runtimes_and_batches(published, images):
    labels = published.expected.argmax(-1)
    labels[0] = (labels[0] + 1) % len(CLASS_NAMES)  # one of six is wrong
    rows = serving.bench(
        published.version.parent, seconds=0.001, batches=(1, 3), kept=(images, labels)
    )
    asked = {(row["runtime"], row["signature"], row["batch"]) for row in rows}
    assert asked >= {("tensorflow", "serving_default", 1), ("tensorflow", "from_bytes", 3)}
    assert {("litert", "serving_default", 3)} <= asked
    assert ("litert", "from_bytes", 1) not in asked  # it has no decoder
    measured = [row for row in rows if "reason" not in row]
    # TensorFlow does not freeze a graph with branches twice in one process: then it says why.
    refused = {(row["runtime"], row["signature"]) for row in rows if "reason" in row}
    assert refused <= {("tensorflow, frozen", "from_bytes")}, rows
    for row in measured:
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["examples_per_second"] > 0
        if row["runtime"] != "tensorflow":
            assert row["difference"] < 1e-4
        if row["signature"] == "serving_default":
            assert row["accuracy"] == pytest.approx(5 / 6)
        else:
            assert "accuracy" not in row
    runtimes = {row["runtime"] for row in measured if "accuracy" in row}
    assert runtimes >= {"tensorflow", "litert"}
    for package, runtime in (("onnxruntime", "onnx"), ("openvino", "openvino")):
        needed = importlib.util.find_spec(package) and importlib.util.find_spec("tf2onnx")
        assert (runtime in runtimes) == bool(needed)
    table = serving.bench_table(rows)
    assert table.row_count == len(rows) and table.columns[-1].header == "accuracy"
    assert "83.33%" in list(table.columns[-1].cells)
    assert serving.bench_table(rows[-1:]).columns[-1].header == "difference"


def test_a_version_without_requests(tmp_path, published):
    shutil.copytree(published.version, tmp_path / "1")
    shutil.rmtree(tmp_path / "1" / "assets.extra")
    with pytest.raises(UserError, match="no warm-up requests"):
        serving.bench(tmp_path)


def test_of_the_run_of_an_image_classifier_test_images_are_kept(tmp_path, published):
    digits = data.load("digits")
    facts = {
        "image_shape": list(digits.image_shape),
        "config": {"dataset": "digits"},
        "data": {"fingerprint": digits.fingerprint},
    }
    metrics = {"exported": str(published.version), "test_accuracy": 0.9}
    for name, held in (("config", facts), ("metrics", metrics)):
        (tmp_path / f"{name}.json").write_text(json.dumps(held))
    images, labels = Bench(tmp_path)._kept()
    test = digits.splits["test"]
    np.testing.assert_array_equal(images, test.take(range(len(test))))
    np.testing.assert_array_equal(labels, test.labels)
    assert Bench(published.version)._kept() is None
    facts["data"]["fingerprint"] = "another"
    (tmp_path / "config.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="digits is not what .* was trained on any more"):
        Bench(tmp_path)._kept()
    (tmp_path / "metrics.json").write_text(json.dumps({"exported": "somewhere"}))
    assert Bench(tmp_path)._kept() is None
