"""Warm-up requests: TensorFlow Serving plays them before it takes traffic to a new version.

The file is a TFRecord of `PredictionLog` messages. Their classes come with
`tensorflow-serving-api`, which is not needed for four fields: the wire format is written here,
around the `TensorProto` that TensorFlow brings itself. The field numbers are those of
tensorflow_serving/apis/{prediction_log,predict,model}.proto.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

Request = tuple[str, Mapping[str, np.ndarray | np.generic]]
BATCHES = (1, 8)  # sizes of the requests


def write_warmup(directory: Path, model_name: str, requests: Iterable[Request]) -> Path:
    """Writes `assets.extra/tf_serving_warmup_requests` into a SavedModel directory.

    Args:
        directory: The SavedModel.
        model_name: What the server will call the model.
        requests: Pairs of a signature's name and its inputs, name -> array.
    """
    path = directory / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            writer.write(prediction_log(model_name, signature, inputs))
    return path


def prediction_log(
    model_name: str, signature: str, inputs: Mapping[str, np.ndarray | np.generic]
) -> bytes:
    """One `PredictionLog` that holds a `PredictRequest`, as bytes."""
    model_spec = _field(1, model_name.encode()) + _field(3, signature.encode())
    request = _field(1, model_spec)
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(2, _field(1, name.encode()) + _field(2, tensor))  # an entry of the map
    predict_log = _field(1, request)
    return _field(6, predict_log)


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field (wire type 2): strings, bytes and messages."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
