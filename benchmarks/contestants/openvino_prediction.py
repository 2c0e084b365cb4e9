"""EfficientNet-Lite0 in OpenVINO, from the ONNX file: the environment of benchmarks/peers.

    python benchmarks/contestants/openvino_prediction.py BATCH

Speaks the protocol of benchmarks/harness/worker.py. The file, benchmarks/peers/lite0.onnx, is
written by `python benchmarks/contestants/onnx_file.py` in kapps' environment.
"""

from __future__ import annotations

import pathlib
import sys

from benchmarks.harness.worker import serve

FILE = pathlib.Path(__file__).parents[1] / "peers" / "lite0.onnx"


def prepare():
    """The work: so many calls on the same images, each from NumPy to NumPy."""
    import numpy as np
    import openvino

    if not FILE.exists():
        raise SystemExit(f"{FILE} is missing: run python benchmarks/contestants/onnx_file.py")
    batch = int(sys.argv[1])
    model = openvino.Core().compile_model(str(FILE), "CPU")
    images = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), np.uint8)

    def work(units):
        for _ in range(units):
            model([images])

    return work, {"versions": {"openvino": openvino.__version__}}


if __name__ == "__main__":
    serve(prepare)
