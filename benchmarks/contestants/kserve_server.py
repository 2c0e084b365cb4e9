"""KServe's server around an ONNX file, over its V1 and V2 protocols.

python kserve_server.py FILE.onnx PORT
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Net(Model):
    """Pixels -> probabilities."""

    def __init__(self, file: str):
        super().__init__("net")
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as ours
        self._session = onnxruntime.InferenceSession(
            file, options, providers=["CPUExecutionProvider"]
        )
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        """V1 gives a dictionary, V2 a request."""
        if isinstance(payload, InferRequest):
            said = self._ask(payload.inputs[0].as_numpy())
            output = InferOutput("probabilities", list(said.shape), "FP32")
            output.set_data_from_numpy(said, binary_data=True)
            return InferResponse(payload.id or "", self.name, [output])
        return {"predictions": self._ask(np.array(payload["instances"], np.uint8)).tolist()}

    def _ask(self, image: np.ndarray) -> np.ndarray:
        return self._session.run(["probabilities"], {"image": image})[0]


settings = {"enable_grpc": False, "workers": 1, "enable_latency_logging": False}
ModelServer(http_port=int(sys.argv[2]), **settings).start([Net(sys.argv[1])])
