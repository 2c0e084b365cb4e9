"""The warm-up file against the wire format written out by hand, and against the real messages."""

import numpy as np
import pytest
import tensorflow as tf

from kapps.serving.savedmodel.warmup import prediction_log, read_warmup, write_warmup


def test_the_bytes_of_a_small_request():
    # PredictionLog.predict_log = 6, PredictLog.request = 1, PredictRequest.model_spec = 1 and
    # .inputs = 2, ModelSpec.name = 1 and .signature_name = 3, map entry key = 1 and value = 2,
    # TensorProto.dtype = 1 (uint8 is 4), .tensor_shape = 2 (dim = 2, size = 1), tensor_content = 4.
    tensor = b"\x08\x04" + b"\x12\x04" + b"\x12\x02\x08\x02" + b"\x22\x02" + b"\x07\x09"
    entry = b"\x0a\x01x" + b"\x12" + bytes([len(tensor)]) + tensor
    model_spec = b"\x0a\x01m" + b"\x1a\x01s"
    request = b"\x0a\x06" + model_spec + b"\x12" + bytes([len(entry)]) + entry
    predict_log = b"\x0a" + bytes([len(request)]) + request
    expected = b"\x32" + bytes([len(predict_log)]) + predict_log
    assert prediction_log("m", "s", {"x": np.array([7, 9], np.uint8)}) == expected


def test_lengths_over_127_take_two_bytes():
    log = prediction_log("m", "s", {"x": np.zeros(300, np.uint8)})
    # Seven bits at a time from the low end; the high bit says that more follow.
    assert log[0] == 0x32 and log[1] & 0x80 and not log[2] & 0x80
    assert (log[1] & 0x7F) + (log[2] << 7) == len(log) - 3 > 300


def test_the_published_file_as_tensorflow_serving_reads_it(published):
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    path = published.version / "assets.extra" / "tf_serving_warmup_requests"
    seen = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = apis.PredictionLog.FromString(record).predict_log.request
        arrays = {name: tf.make_ndarray(tensor).shape for name, tensor in request.inputs.items()}
        seen.append((request.model_spec.name, request.model_spec.signature_name, arrays))
    assert seen == [
        ("clothes", "serving_default", {"image": (1, 12, 10, 3)}),
        ("clothes", "from_bytes", {"image_bytes": (1,)}),
        ("clothes", "serving_default", {"image": (8, 12, 10, 3)}),
        ("clothes", "from_bytes", {"image_bytes": (8,)}),
    ]


def test_requests_are_read_as_they_were_written(tmp_path):
    asked = [
        (
            "serving_default",
            {"x": np.float32([[1, 2]]), "name_bytes": np.array([b"\xff", b""], object)},
        ),
        ("sample", {"count": np.int32(3)}),
    ]
    write_warmup(tmp_path, "m", asked)
    read = read_warmup(tmp_path)
    assert [name for name, _ in read] == ["serving_default", "sample"]
    for (_, inputs), (_, expected) in zip(read, asked, strict=True):
        assert inputs.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(inputs[name], value)
    assert len(read_warmup(tmp_path, most=1)) == 1
    assert read_warmup(tmp_path / "nowhere") == []
