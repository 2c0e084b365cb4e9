"""Write benchmarks/peers/lite0.onnx, which OpenVINO reads.

python benchmarks/contestants/onnx_file.py
"""

from __future__ import annotations

import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from benchmarks.contestants.openvino_prediction import FILE  # noqa: E402
from benchmarks.contestants.prediction import network  # noqa: E402
from kapps import serving  # noqa: E402

if __name__ == "__main__":
    model = network()
    with tempfile.TemporaryDirectory() as scratch:
        serving.convert(model, scratch, "onnx", [str(i) for i in range(model.output_shape[-1])])
        shutil.copy(next(pathlib.Path(scratch).rglob("*.onnx")), FILE)
    print(FILE)
