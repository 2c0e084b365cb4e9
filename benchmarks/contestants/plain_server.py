"""What one writes at first: a starlette handler around a signature, in one process.

python plain_server.py SAVED_MODEL PORT
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

loaded = tf.saved_model.load(sys.argv[1])
signature = loaded.signatures["serving_default"]
shape = signature.structured_input_signature[1]["image"].shape[1:]


async def of_json(request: Request) -> JSONResponse:
    """`instances` -> probabilities, in JSON."""
    image = np.array((await request.json())["instances"], np.uint8)
    said = signature(image=tf.constant(image))
    return JSONResponse({"predictions": said["probabilities"].numpy().tolist()})


async def of_bytes(request: Request) -> Response:
    """Pixels -> probabilities, as bytes."""
    image = np.frombuffer(await request.body(), np.uint8).reshape(-1, *shape)
    said = signature(image=tf.constant(image))
    return Response(said["probabilities"].numpy().tobytes())


app = Starlette(
    routes=[
        Route("/json", of_json, methods=["POST"]),
        Route("/bytes", of_bytes, methods=["POST"]),
    ]
)
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
