"""The clients that others have written against TensorFlow Serving's own stubs."""

import asyncio
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

grpc = pytest.importorskip("grpc")
pytest.importorskip("tensorflow_serving")

from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from kapps.serving.server import grpc_app  # noqa: E402
from kapps.serving.server.catalogue import Catalogue  # noqa: E402
from kapps.serving.server.http_app import Server  # noqa: E402
from kapps.serving.server.limits import Limits  # noqa: E402
from kapps.serving.server.metrics import Metrics  # noqa: E402
from kapps.serving.server.protocols import grpc_messages  # noqa: E402
from kapps.serving.server.protocols.tensors import Spec  # noqa: E402
from kapps.serving.server.refusals import Refused  # noqa: E402
from kapps.serving.server.served import Version  # noqa: E402


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def predictions(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request(name, inputs, signature="", version=None):
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name, asked.model_spec.signature_name = name, signature
    if version is not None:
        asked.model_spec.version.value = version
    for key, value in inputs.items():
        asked.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return asked


def refusal(call, asked):
    with pytest.raises(grpc.RpcError) as caught:
        call(asked, timeout=30)
    return caught.value.code().name, caught.value.details()


def test_predict(predictions):
    answer = predictions.Predict(
        request("half_plus_two", {"x": np.float32([1, 2, 5])}, version=123), timeout=30
    )
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["y"]), np.float32([2.5, 3, 4.5]))
    assert answer.model_spec.name == "half_plus_two"
    assert answer.model_spec.version.value == 123
    assert answer.model_spec.signature_name == "serving_default"


def test_texts_pictures_and_a_filter(predictions):
    asked = request(
        "mixed",
        {"text": [b"a", b"\xff"], "image": np.ones((2, 2, 3), np.uint8), "name_bytes": [b"", b"x"]},
    )
    asked.output_filter.append("said")
    answer = predictions.Predict(asked, timeout=30)
    assert list(answer.outputs) == ["said"]
    assert tf.make_ndarray(answer.outputs["said"]).tolist() == [b"a=6", b"\xff=6"]


def test_texts_that_are_left_out_are_empty(predictions):
    """A message may say fewer values than its shape: the rest are as the last, or empty."""
    image = np.ones((2, 2, 3), np.uint8)
    asked = request("mixed", {"text": [b"a", b"b"], "image": image, "name_bytes": [b"", b"x"]})
    del asked.inputs["text"].string_val[:]
    answer = predictions.Predict(asked, timeout=30)
    assert tf.make_ndarray(answer.outputs["said"]).tolist() == [b"=6", b"=6"]


def test_examples(predictions):
    example = tf.train.Example()
    example.features.feature["x"].float_list.value.append(2.0)
    asked = regression_pb2.RegressionRequest()
    asked.model_spec.name, asked.model_spec.signature_name = "half_plus_two", "regress_x_to_y"
    asked.input.example_list.examples.append(example)
    assert [r.value for r in predictions.Regress(asked, timeout=30).result.regressions] == [3.0]

    asked = classification_pb2.ClassificationRequest()
    asked.model_spec.name, asked.model_spec.signature_name = "half_plus_two", "classify_x_to_y"
    asked.input.example_list_with_context.context.CopyFrom(example)
    asked.input.example_list_with_context.examples.add()
    [row] = predictions.Classify(asked, timeout=30).result.classifications
    assert [(c.label, c.score) for c in row.classes] == [("0", 3.0)]


def test_metadata_and_status(predictions, channel):
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "half_plus_two"
    answer = predictions.GetModelMetadata(asked, timeout=30)
    held = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(held)
    definitions = held.signature_def
    assert definitions["serving_default"].inputs["x"].dtype == tf.float32.as_datatype_enum
    assert answer.model_spec.version.value == 123

    models = model_service_pb2_grpc.ModelServiceStub(channel)
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "half_plus_two"
    [version] = models.GetModelStatus(asked, timeout=30).model_version_status
    available = get_model_status_pb2.ModelVersionStatus.State.AVAILABLE
    assert (version.version, version.state) == (123, available)
    assert version.status.error_code == 0


def test_what_is_wrong_is_said(predictions):
    ask = predictions.Predict
    assert refusal(ask, request("nobody", {}))[0] == "NOT_FOUND"
    assert refusal(ask, request("half_plus_two", {}, version=9))[0] == "NOT_FOUND"
    assert refusal(ask, predict_pb2.PredictRequest())[0] == "INVALID_ARGUMENT"
    for inputs, words in [
        ({}, "takes x"),
        ({"y": [1.0]}, "unexpected input y"),
        ({"x": [[1.0]]}, "shape [1,1], but [-1] is expected"),
        ({"x": [1]}, "int32, but float32 is expected"),
    ]:
        code, details = refusal(ask, request("half_plus_two", inputs))
        assert code == "INVALID_ARGUMENT" and words in details


def test_a_shape_that_announces_gigabytes(predictions):
    """One value may stand for any number of equal ones."""
    asked = request("half_plus_two", {"x": [1.0]})
    asked.inputs["x"].tensor_shape.dim[0].size = 2**40
    code, details = refusal(predictions.Predict, asked)
    assert code == "INVALID_ARGUMENT" and "too large" in details


def test_a_shape_that_announces_many_texts():
    """Each takes 44 bytes and half a microsecond, and all are equal; what is sent is accepted."""
    read, spec = grpc_messages._array, Spec("string", None)
    proto = tf.make_tensor_proto([b"a"], shape=[2**16])
    assert read(proto.SerializeToString(), "x", spec).tolist() == [b"a"] * 2**16
    proto.tensor_shape.dim[0].size += 1
    with pytest.raises(Refused, match="too large"):
        read(proto.SerializeToString(), "x", spec)
    proto = tf.make_tensor_proto([b"a"] * (2**16 + 1))
    assert read(proto.SerializeToString(), "x", spec).shape == (2**16 + 1,)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("uint8", {"int_val": [300]}), ("uint8", {"int_val": [-1]}), ("int8", {"int_val": [300]}),
        ("half", {"half_val": [70000]}), ("bool", {"tensor_content": b"\x02"}),
    ],
)  # fmt: skip
def test_values_beyond_their_type(name, values):
    dtype = tf.dtypes.as_dtype(name)
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum, **values)
    proto.tensor_shape.dim.add(size=1)
    with pytest.raises(Refused, match="beyond|neither 0 nor 1") as refused:
        grpc_messages._array(proto.SerializeToString(), "x", Spec(dtype.name, None))
    assert refused.value.code == "INVALID_ARGUMENT"


def test_values_that_do_not_fill_a_shape(predictions):
    asked = request("half_plus_two", {"x": np.float32([1, 2])})
    for content in (b"abc", b"\0" * 4, b"\0" * 12):
        asked.inputs["x"].tensor_content = content
        code, details = refusal(predictions.Predict, asked)
        assert code == "INVALID_ARGUMENT" and "values and shape do not fit" in details


@pytest.mark.parametrize(
    "array",
    [
        np.float32(0.5), np.zeros((0, 3), np.int64), np.arange(6.0).reshape(2, 3).T,
        np.array([True, False]), np.uint8([255]), np.float16([[0.1]]), np.uint64([2**63]),
        tf.constant([1.5, 2], tf.bfloat16).numpy(), np.array([b"a", b"\xff"], object),
    ],
)  # fmt: skip
def test_arrays_come_back_from_messages(array):
    array = np.asarray(array)
    proto = tensor_pb2.TensorProto.FromString(grpc_messages._tensor(array))
    said = tf.make_ndarray(proto)
    assert said.dtype == array.dtype and said.shape == array.shape
    assert said.tolist() == array.tolist()
    assert tf.constant(said).dtype == tf.dtypes.as_dtype(proto.dtype)
    name = "string" if array.dtype == object else array.dtype.name
    message = proto.SerializeToString()
    read = grpc_messages._array(message, "x", Spec(name, None))
    assert read.dtype == array.dtype and read.tolist() == array.tolist()


def test_a_long_spec_is_read_as_a_short_one(predictions):
    """Only short ones are kept from one request to the next."""
    asked = request("half_plus_two", {"x": [1.0]}, version=123)
    assert predictions.Predict(asked, timeout=30).model_spec.version.value == 123
    asked.model_spec.signature_name = "x" * 1000
    code, details = refusal(predictions.Predict, asked)
    assert code == "INVALID_ARGUMENT" and "Serving signature name" in details


def test_bytes_that_are_no_message(channel):
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    for junk in (b"\xff", b"\x0a\x05ab", b"\x00", b"\x0a\x03\x0a\x01\xff"):
        assert refusal(call, junk)[0] == "INVALID_ARGUMENT"


METHODS = ("Predict", "Classify", "Regress", "GetModelMetadata")
PATHS = (
    *(f"/tensorflow.serving.PredictionService/{method}" for method in METHODS),
    "/tensorflow.serving.ModelService/GetModelStatus",
)


def test_a_key_is_asked_for(tmp_path):
    """Whoever has none is not even told which models there are."""

    async def code(channel, path, *metadata):
        message = request("m", {}).SerializeToString()
        try:
            await channel.unary_unary(path)(message, metadata=metadata, timeout=30)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    async def run():
        catalogue = Catalogue(tmp_path, Version)
        server = Server(catalogue, Limits(), Metrics(), key="s3cret")
        service, port = await grpc_app.start(server, "127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for path in PATHS:
                for shown in ((), (("authorization", "Bearer wrong"),), (("x-api-key", ""),)):
                    assert await code(channel, path, *shown) == "UNAUTHENTICATED"
                for shown in (("authorization", "Bearer s3cret"), ("x-api-key", "s3cret")):
                    assert await code(channel, path, shown) == "NOT_FOUND"
        await service.stop(0)

    asyncio.run(run())


def test_a_version_is_named_by_a_label(predictions, served_root, server):
    labels = served_root / "half_plus_two" / "version_labels.json"
    labels.write_text('{"stable": 123}')
    asked = request("half_plus_two", {"x": np.float32([1])})
    asked.model_spec.version_label = "canary"
    code, details = refusal(predictions.Predict, asked)
    assert code == "NOT_FOUND" and details == "Unrecognized servable version label: canary"
    asked.model_spec.version_label = "stable"
    until = time.monotonic() + 60
    while True:  # the root is looked at now and then
        try:
            answer = predictions.Predict(asked, timeout=30)
            break
        except grpc.RpcError as error:
            assert error.code().name == "NOT_FOUND" and time.monotonic() < until
            time.sleep(0.1)
    assert answer.model_spec.version.value == 123
    labels.unlink()
