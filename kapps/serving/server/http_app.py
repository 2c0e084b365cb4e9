"""Routes of the server: TensorFlow Serving's REST v1, V2, health, metrics, the page."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import importlib.resources
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import anyio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import kapps
from kapps.serving.server import openapi, served
from kapps.serving.server.catalogue import Catalogue, Model
from kapps.serving.server.limits import Limits
from kapps.serving.server.metrics import Metrics
from kapps.serving.server.protocols import v2_metadata
from kapps.serving.server.refusals import Refused, invalid
from kapps.serving.server.served import Version

_V1 = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?::(?P<verb>predict|classify|regress)|(?P<metadata>/metadata))?"
)
_V2 = re.compile(
    r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>\d+))?(?:/(?P<verb>infer|ready))?"
)
_JSON_BYTES = "inference-header-content-length"
_PAGE = {
    "index.html": "text/html",
    "page.js": "text/javascript",
    "page.css": "text/css",
    "api.html": "text/html",
    "api.js": "text/javascript",
}
_SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:",
}
DISCARDED = 2**26  # bytes of a body that is too large
_LONGEST_VERSION = 19  # digits of 2**63


class Server:
    """What the routes need.

    Attributes:
        catalogue: the models.
        limits: of requests.
        metrics: what is counted.
        key: what clients have to show; None where anybody may ask.
    """

    def __init__(
        self, catalogue: Catalogue, limits: Limits, metrics: Metrics, key: str | None = None
    ):
        self.catalogue, self.limits, self.metrics, self.key = catalogue, limits, metrics, key
        self._held = 0  # bytes of bodies
        self._page = {
            name: (importlib.resources.files("kapps.serving.server") / "page" / name).read_bytes()
            for name in _PAGE
        }

    def app(self) -> ASGIApp:
        """The ASGI application."""
        page = [
            Route("/" if name == "index.html" else f"/{name}", self._file(name), methods=["GET"])
            for name in _PAGE
        ]
        others = Starlette(
            routes=[
                Route("/v2", self._guarded("v2", self._v2), methods=["GET"]),
                *page,
                Route("/healthz", self._alive, methods=["GET"]),
                Route("/readyz", self._ready, methods=["GET"]),
                Route("/metrics", self._guarded("metrics", self._metrics), methods=["GET"]),
                Route("/models", self._guarded("models", self._models), methods=["GET"]),
                Route("/openapi.json", self._guarded("openapi", self._openapi), methods=["GET"]),
                Route("/models/{name}/card", self._guarded("card", self._card), methods=["GET"]),
            ]
        )
        models = {
            "/v1/": self._guarded("v1", self._v1),
            "/v2/": self._guarded("v2", self._v2),
        }

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            """What is asked most goes round starlette's router and its layers."""
            endpoint = models.get(scope["path"][:4]) if scope["type"] == "http" else None
            if endpoint is None:
                await others(scope, receive, send)
                return
            if scope["method"] in ("GET", "HEAD", "POST"):
                response = await endpoint(Request(scope, receive, send))
            else:
                allowed = {"allow": "GET, HEAD, POST"}
                response = PlainTextResponse("Method Not Allowed", 405, headers=allowed)
            await response(scope, receive, send)

        return app

    def allows(self, shown: str) -> bool:
        """Whether an `Authorization` or key is the right one."""
        if self.key is None:
            return True
        shown = shown.removeprefix("Bearer ")
        return hmac.compare_digest(shown.encode("utf-8", "replace"), self.key.encode())

    def _guarded(self, method: str, answer: Callable[[Request], Awaitable[Response]]):
        """Counts and times a request, and says why it is refused."""

        async def endpoint(request: Request) -> Response:
            began, code = time.perf_counter(), "OK"
            try:
                shown = request.headers.get("authorization") or request.headers.get("x-api-key", "")
                if not self.allows(shown):
                    raise Refused(
                        "UNAUTHENTICATED", "an API key is needed: Authorization: Bearer KEY"
                    )
                return await answer(request)
            except Refused as refused:
                code = refused.code
                return _json({"error": refused.message}, refused.status)
            except ClientDisconnect:
                code = "CANCELLED"
                return Response(status_code=499)
            finally:
                asked = getattr(request.state, "asked", None)
                if asked is not None or method in ("v1", "v2"):
                    model, verb = asked or ("", method)
                    self.metrics.request(model, verb, code, time.perf_counter() - began)

        return endpoint

    async def _v1(self, request: Request) -> Response:
        path = _raw_path(request)
        match = _V1.fullmatch(path)
        if match is None:
            if path.rstrip("/") == "/v1/models":
                raise invalid("Missing model name in request.")
            raise invalid(f"Malformed request: {request.method} {path}")
        part = match.groupdict()
        if (request.method == "POST") != bool(part["verb"]):
            raise invalid(f"Malformed request: {request.method} {path}")
        model = self.catalogue.find(unquote(part["name"]))
        number = _number(part["version"])
        label = None if part["label"] is None else unquote(part["label"])
        if part["verb"]:
            request.state.asked = (model.name, part["verb"])
            about = {"protocol": "v1", "verb": part["verb"]}
            head, body = await self._ask(request, lambda: model.find(number, label), about)
            return Response(body, media_type=head["type"], headers=_SAFE)
        if part["metadata"]:
            return _json(metadata(model.find(number, label)))
        return _json(status(model, number, label))

    async def _v2(self, request: Request) -> Response:
        path = _raw_path(request).rstrip("/")
        if request.method == "GET":
            if path == "/v2":
                extensions = ["binary_tensor_data"]
                return _json({"name": "kapps", "version": "2", "extensions": extensions})
            if path == "/v2/health/live":
                return _json({"live": True})
            if path == "/v2/health/ready":
                return _json({"ready": self.catalogue.ready}, 200 if self.catalogue.ready else 503)
        match = _V2.fullmatch(path)
        if match is None or (request.method == "POST") != (match["verb"] == "infer"):
            raise Refused("NOT_FOUND", f"no such resource: {request.method} {path}")
        model = self.catalogue.find(unquote(match["name"]))
        number = _number(match["version"])
        version = model.find(number)
        if match["verb"] == "ready":
            return _json({"name": model.name, "ready": True})
        if match["verb"] is None:
            numbers = [n for n, v in model.versions.items() if v.state == served.AVAILABLE]
            return _json(v2_metadata.metadata(model.name, numbers, version.about["signatures"]))
        request.state.asked = (model.name, "infer")

        about: dict[str, Any] = {"protocol": "v2", "model": model.name}
        size = request.headers.get(_JSON_BYTES)
        if size is not None:
            if not (size.isascii() and size.isdigit() and len(size) < 12):
                raise invalid("Inference-Header-Content-Length is no number")
            about["json_bytes"] = int(size)
        said, body = await self._ask(request, lambda: model.find(number), about)
        headers = dict(_SAFE)
        if "json_bytes" in said:
            headers["Inference-Header-Content-Length"] = str(said["json_bytes"])
        return Response(body, media_type=said["type"], headers=headers)

    async def _ask(
        self, request: Request, find: Callable[[], Version], about: dict[str, Any]
    ) -> served.Answer:
        find()  # what is not served is said before the body has come
        announced = request.headers.get("content-length", "0")
        if announced.isdigit() and int(announced[:20]) > self.limits.body:
            await self._discard(request)
            raise self._too_large()
        holding = [0]
        try:
            with anyio.fail_after(self.limits.seconds):
                body = await self._body(request, holding)
            version = find()  # another one, perhaps, than before the body came
            return await version.ask({**about, "version": version.number}, body)
        except TimeoutError as error:
            message = f"the request did not arrive within {self.limits.seconds:g} s"
            raise Refused("DEADLINE_EXCEEDED", message, 408) from error
        finally:
            self._held -= holding[0]

    async def _body(self, request: Request, holding: list[int]) -> bytes:
        """The body; how many bytes of it are held is kept in `holding`, whatever happens."""
        chunks = []
        async for chunk in request.stream():
            holding[0] += len(chunk)
            self._held += len(chunk)
            if holding[0] > self.limits.body:
                chunks.clear()
                await self._discard(request)
                raise self._too_large()
            if self._held > self.limits.bodies:
                raise Refused("RESOURCE_EXHAUSTED", "too many large requests; try again")
            chunks.append(chunk)
        return b"".join(chunks)

    async def _discard(self, request: Request) -> None:
        """Read what a client is still sending: only then does it look at the answer.

        Args:
            request: its body is too large; of more than `DISCARDED` bytes the rest is not read.
        """

        async def read() -> None:
            seen = 0
            async for chunk in request.stream():
                seen += len(chunk)
                if seen > DISCARDED:
                    return

        with contextlib.suppress(asyncio.TimeoutError, ClientDisconnect):
            await asyncio.wait_for(read(), self.limits.seconds)

    def _too_large(self) -> Refused:
        return Refused(
            "INVALID_ARGUMENT", f"a request may have {self.limits.body} bytes at most", 413
        )

    async def _alive(self, request: Request) -> Response:
        return _json({"alive": True})

    async def _ready(self, request: Request) -> Response:
        ready = self.catalogue.ready
        return _json({"ready": ready}, 200 if ready else 503)

    async def _metrics(self, request: Request) -> Response:
        states = [(v.model, v.number, v.state, v.waiting) for v in self.catalogue.states()]
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(self.metrics.text(states), media_type=kind)

    async def _models(self, request: Request) -> Response:
        """What the page shows: models, versions, signatures, labels."""
        return _json({name: described(model) for name, model in self.catalogue.models.items()})

    async def _openapi(self, request: Request) -> Response:
        models = {name: described(model) for name, model in self.catalogue.models.items()}
        return _json(openapi.description(models, kapps.__version__, self.key is not None))

    async def _card(self, request: Request) -> Response:
        version = self.catalogue.find(request.path_params["name"]).find()
        card = version.directory / "model_card.md"
        try:
            text = await asyncio.to_thread(card.read_text, encoding="utf-8", errors="replace")
        except OSError:
            text = "This model has no card."
        return Response(text, media_type="text/plain; charset=utf-8", headers=_SAFE)

    def _file(self, name: str):
        async def endpoint(request: Request) -> Response:
            return Response(self._page[name], media_type=_PAGE[name], headers=_SAFE)

        return endpoint


def status(model: Model, number: int | None = None, label: str | None = None) -> dict[str, Any]:
    """`GetModelStatus` of TensorFlow Serving, in JSON.

    Raises:
        Refused: there is no such version.
    """
    if label is not None:
        number = model.find(label=label).number
    versions = [v for n, v in sorted(model.versions.items(), reverse=True) if number in (None, n)]
    if not versions:
        asked = model.name if number is None else f"{model.name} with version {number}"
        raise Refused("NOT_FOUND", f"Could not find any versions of model {asked}")
    return {
        "model_version_status": [
            {
                "version": str(v.number),
                "state": v.state,
                "status": {
                    "error_code": "UNKNOWN" if v.error else "OK",
                    "error_message": v.error,
                },
            }
            for v in versions
        ]
    }


def metadata(version: Version) -> dict[str, Any]:
    """`GetModelMetadata` of TensorFlow Serving, in JSON."""
    return {
        "model_spec": {
            "name": version.model,
            "signature_name": "",
            "version": str(version.number),
        },
        "metadata": {"signature_def": {"signature_def": version.about["signatures"]}},
    }


def described(model: Model) -> dict[str, Any]:
    """What the page has to know of a model."""
    try:
        version = model.find()
    except Refused as refused:
        return {"error": refused.message, "versions": status(model)["model_version_status"]}
    return {
        "version": version.number,
        "versions": status(model)["model_version_status"],
        "signatures": version.about["signatures"],
        "labels": version.about["labels"],
        "out_of_distribution": version.about["out_of_distribution"],
    }


def _raw_path(request: Request) -> str:
    """The path as it was sent: a name may hold what is quoted."""
    raw = request.scope.get("raw_path")
    path = raw.decode("ascii", "replace") if raw else request.url.path
    return path.partition("?")[0]


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) > _LONGEST_VERSION or int(text) >= 2**63:
        raise invalid(f"Failed to convert version: {text[:40]} to numeric.")
    return int(text)


def _json(value: Any, status_code: int = 200) -> Response:
    body = json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, status_code, media_type="application/json", headers=_SAFE)
