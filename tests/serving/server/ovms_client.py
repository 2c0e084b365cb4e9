"""OpenVINO Model Server's Python client against a server: ovms_client.py HTTP GRPC.

It talks TensorFlow Serving's protocols. In a process of its own: it brings TensorFlow's messages
under TensorFlow's names.
"""

import json
import sys

import numpy as np
import ovmsclient

said = {}
for kind, make, address in (
    ("http", ovmsclient.make_http_client, sys.argv[1]),
    ("grpc", ovmsclient.make_grpc_client, sys.argv[2]),
):
    client = make(address)
    x = np.float32([1, 2, 5])
    said[kind] = {
        "status": client.get_model_status("half_plus_two")[123]["state"],
        "inputs": client.get_model_metadata("half_plus_two")["inputs"],
        "y": client.predict({"x": x}, "half_plus_two", 123).tolist(),
    }
    try:
        client.predict({"x": x}, "nobody")
    except ovmsclient.tfs_compat.base.errors.ModelServerError as error:
        said[kind]["error"] = type(error).__name__
print(json.dumps(said))
