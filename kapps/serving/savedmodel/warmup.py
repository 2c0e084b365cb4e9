"""Warm-up requests: a server plays them before it takes traffic to a new version.

The file is a TFRecord of `PredictionLog` messages. The field numbers are those of
tensorflow_serving/apis/{prediction_log,predict,model}.proto.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from kapps.serving.savedmodel.protobuf import field, messages, text

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
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            writer.write(prediction_log(model_name, signature, inputs))
    return path


def prediction_log(
    model_name: str, signature: str, inputs: Mapping[str, np.ndarray | np.generic]
) -> bytes:
    """One `PredictionLog` that holds a `PredictRequest`, as bytes."""
    predict_log = field(1, request_to_predict(model_name, signature, inputs))
    return field(6, predict_log)


def request_to_predict(
    model_name: str, signature: str, inputs: Mapping[str, np.ndarray | np.generic]
) -> bytes:
    """A `PredictRequest`, as bytes."""
    model_spec = field(1, model_name.encode()) + field(3, signature.encode())
    request = field(1, model_spec)
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += field(2, field(1, name.encode()) + field(2, tensor))  # an entry of the map
    return request


def read_warmup(directory: Path, most: int = 1000) -> list[Request]:
    """The requests that a SavedModel directory brings; none where it has no such file.

    Args:
        directory: The SavedModel.
        most: TensorFlow Serving refuses more than a thousand.

    Raises:
        ValueError: the file holds something else.
    """
    path = directory / "assets.extra" / "tf_serving_warmup_requests"
    if not path.is_file():
        return []
    records = tf.data.TFRecordDataset(str(path)).take(most)
    return [_request(record) for record in records.as_numpy_iterator()]


def _request(log: bytes) -> Request:
    for predict_log in messages(log, 6):
        for request in messages(predict_log, 1):
            inputs = {}
            for entry in messages(request, 2):
                for tensor in messages(entry, 2):
                    proto = tensor_pb2.TensorProto.FromString(tensor)
                    inputs[text(entry, 1)] = tf.make_ndarray(proto)
            spec = messages(request, 1)
            return (text(spec[-1], 3) if spec else "") or "serving_default", inputs
    raise ValueError("a warm-up request is no request to predict")
