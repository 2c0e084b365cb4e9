"""A converter and a runtime that know nothing of kapps read what it published."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

ONNX_PROGRAM = """
import sys
import numpy as np
import onnxruntime

graph, arrays, answers = sys.argv[1:]
session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
label, probabilities = session.run(["label", "probabilities"], {"image": np.load(arrays)})
np.savez(answers, pixels=probabilities, labels=label.astype(str))
"""


def run(*command):
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def labels(expected):
    names = np.array(["T-shirt/top", "Trouser", "Pullover", "Café"])
    return names[expected.argmax(-1)].tolist()


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnxruntime", "tf2onnx")),
    reason="onnxruntime and tf2onnx come with the dev extra",
)
def test_onnx_runtime(published, images, tmp_path):
    graph = tmp_path / "model.onnx"
    np.save(tmp_path / "images.npy", images)
    run("-m", "tf2onnx.convert", "--saved-model", published.version, "--signature_def",
        "serving_default", "--opset", 18, "--output", graph)  # fmt: skip
    run("-c", ONNX_PROGRAM, graph, tmp_path / "images.npy", tmp_path / "answers.npz")
    with np.load(tmp_path / "answers.npz") as answers:
        np.testing.assert_allclose(answers["pixels"], published.expected, rtol=0, atol=1e-4)
        assert answers["labels"].tolist() == labels(published.expected)
