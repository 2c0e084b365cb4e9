"""PredictionService and ModelService of TensorFlow Serving, over gRPC.

Messages are handed to the workers as they come; what has to be known of them here are model,
version and signature.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import grpc
import grpc.aio

from kapps.serving.savedmodel import protobuf
from kapps.serving.server import http_app, served
from kapps.serving.server.catalogue import Model
from kapps.serving.server.refusals import Refused, invalid
from kapps.serving.server.served import Version

_PREDICTION = "tensorflow.serving.PredictionService"
_MODEL = "tensorflow.serving.ModelService"
_STATES = {"START": 10, served.LOADING: 20, served.AVAILABLE: 30, served.UNLOADING: 40, "END": 50}
_SIGNATURE_DEFS = b"type.googleapis.com/tensorflow.serving.SignatureDefMap"
_UNKNOWN = 2  # google.rpc.Code
_Method = Callable[[str, bytes, "_Asked"], Awaitable[bytes]]
_CODES = {code.name: code for code in grpc.StatusCode}


class _Spec(NamedTuple):
    """What a `ModelSpec` says."""

    name: str
    number: int | None
    label: str | None
    signature: str


def _read_spec(message: bytes) -> _Spec:
    versions = protobuf.messages(message, 2)
    return _Spec(
        protobuf.text(message, 1),
        protobuf.number(versions[-1], 1) if versions else None,
        protobuf.text(message, 4) or None,
        protobuf.text(message, 3) or "serving_default",
    )


_SHORT = 256  # bytes of a spec that is kept
_kept_spec = functools.lru_cache(256)(_read_spec)  # clients send the same one again and again


class _Asked:
    """A `ModelSpec`: model, and signature; `find` gives the version that it means."""

    def __init__(self, server: http_app.Server, message: bytes):
        spec = (_kept_spec if len(message) <= _SHORT else _read_spec)(message)
        if not spec.name:
            raise invalid("Missing ModelSpec")
        self.model: Model = server.catalogue.find(spec.name)
        self.number, self.label, self.signature = spec.number, spec.label, spec.signature

    def find(self) -> Version:
        return self.model.find(self.number, self.label)


class Services(grpc.GenericRpcHandler):
    """The handlers of both services."""

    def __init__(self, server: http_app.Server):
        self._server = server
        methods: dict[str, _Method] = {
            f"/{_PREDICTION}/Predict": self._ask,
            f"/{_PREDICTION}/Classify": self._ask,
            f"/{_PREDICTION}/Regress": self._ask,
            f"/{_PREDICTION}/GetModelMetadata": self._metadata,
            f"/{_MODEL}/GetModelStatus": self._status,
        }
        self._handlers = {
            path: self._handler(path.rpartition("/")[2], answer) for path, answer in methods.items()
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a call; None of what is not offered."""
        return self._handlers.get(details.method)

    def _handler(self, method: str, answer: _Method) -> grpc.RpcMethodHandler:
        async def handle(request: bytes, context: Any) -> bytes:
            began, code, named = time.perf_counter(), "OK", ""
            try:
                if self._server.key is not None:
                    shown = dict(context.invocation_metadata() or ())
                    key = shown.get("authorization") or shown.get("x-api-key", "")
                    if not self._server.allows(key if isinstance(key, str) else ""):
                        raise Refused("UNAUTHENTICATED", "an API key is needed: authorization")
                specs = protobuf.messages(request, 1)
                if not specs:
                    raise invalid("Missing ModelSpec")
                asked = _Asked(self._server, b"".join(specs))
                named = asked.model.name
                return await answer(method, request, asked)
            except Refused as refused:
                code = refused.code
                await context.abort(_CODES[code], refused.message)
                raise
            except ValueError as error:
                code = "INVALID_ARGUMENT"
                await context.abort(_CODES[code], f"the message cannot be read: {error}")
                raise
            finally:
                self._server.metrics.request(
                    named, f"grpc {method}", code, time.perf_counter() - began
                )

        return grpc.unary_unary_rpc_method_handler(handle)

    async def _ask(self, method: str, request: bytes, asked: _Asked) -> bytes:
        version = asked.find()
        about = {
            "protocol": "grpc",
            "method": method,
            "signature": asked.signature,
            "model": asked.model.name,
            "version": version.number,
        }
        _, answer = await version.ask(about, request)
        return answer

    async def _metadata(self, method: str, request: bytes, asked: _Asked) -> bytes:
        fields = [name.decode() for name in protobuf.messages(request, 2)]
        if fields != ["signature_def"]:
            raise invalid("Metadata field signature_def is the one that there is")
        version = asked.find()
        entries = b"".join(
            protobuf.field(
                1, protobuf.field(1, name.encode()) + protobuf.field(2, bytes.fromhex(definition))
            )
            for name, definition in version.about["definitions"].items()
        )
        spec = protobuf.field(1, version.model.encode())
        spec += protobuf.field(2, protobuf.integer(1, version.number))
        whole = protobuf.field(1, _SIGNATURE_DEFS) + protobuf.field(2, entries)
        entry = protobuf.field(1, b"signature_def") + protobuf.field(2, whole)
        return protobuf.field(1, spec) + protobuf.field(2, entry)

    async def _status(self, method: str, request: bytes, asked: _Asked) -> bytes:
        said = http_app.status(asked.model, asked.number, asked.label)
        answer = b""
        for version in said["model_version_status"]:
            error = version["status"]["error_message"]
            words = b""
            if error:
                words = protobuf.integer(1, _UNKNOWN) + protobuf.field(2, error.encode())
            answer += protobuf.field(
                1,
                protobuf.integer(1, int(version["version"]))
                + protobuf.integer(2, _STATES[version["state"]])
                + protobuf.field(3, words),
            )
        return answer


async def start(server: http_app.Server, host: str, port: int) -> tuple[grpc.aio.Server, int]:
    """A running gRPC server and its port.

    Raises:
        OSError: the port cannot be had.
    """
    limits = server.limits
    service = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limits.body),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
        maximum_concurrent_rpcs=limits.connections,
    )
    service.add_generic_rpc_handlers((Services(server),))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        bound = service.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"{address}: {error}") from error
    if not bound:
        raise OSError(f"{address} cannot be had")
    await service.start()
    await asyncio.sleep(0)
    return service, bound
