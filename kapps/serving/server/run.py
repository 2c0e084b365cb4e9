"""The process of `kapps serve`: HTTP and gRPC in one event loop, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn

try:
    from uvloop import run as _run
except ImportError:  # asyncio's own loop takes half as long again for a request
    from asyncio import run as _run

from kapps.errors import UserError
from kapps.serving.server import connections
from kapps.serving.server.catalogue import Catalogue
from kapps.serving.server.http_app import Server
from kapps.serving.server.limits import Limits
from kapps.serving.server.metrics import Metrics
from kapps.serving.server.served import Version
from kapps.serving.server.work.workers import Nursery

_log = logging.getLogger("kapps.serve")
_GRACE_SECONDS = 30


class _Lines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        facts = getattr(record, "facts", None) or {"event": record.getMessage()}
        line = {"time": f"{moment}.{int(record.msecs):03}Z", "level": record.levelname.lower()}
        if record.exc_info:
            facts = {**facts, "traceback": self.formatException(record.exc_info)}
        return json.dumps({**line, **facts}, ensure_ascii=False)


class _Http(uvicorn.Server):
    """uvicorn, which would raise a signal again when it has ended, before workers are drained."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        ends = (signal.SIGINT, signal.SIGTERM)
        for number in ends:
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in ends:
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        self.force_exit = self.should_exit  # told twice: now
        self.should_exit = True


def run(
    root: Path,
    *,
    host: str,
    port: int,
    grpc_port: int | None,
    limits: Limits,
    every: float = 1.0,
    key: str | None = None,
    access_log: bool = False,
    engine: str = "auto",
) -> None:
    """Serves the models under a root until SIGTERM or SIGINT, then answers what has come.

    Args:
        root: Of the models.
        host: The address to listen at.
        port: For HTTP; 0 takes a free one.
        grpc_port: For gRPC; None for no gRPC.
        limits: Of requests.
        every: Seconds between two looks at the root.
        key: What clients have to show.
        access_log: A line for each request.
        engine: What computes, see `kapps.serving.server.work.engines`.

    Raises:
        UserError: a port cannot be had.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for name in ("kapps.serve", "uvicorn", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if name != "uvicorn" else logging.WARNING)
    _run(_serve(root, host, port, grpc_port, limits, every, key, access_log, engine))


async def _serve(root, host, port, grpc_port, limits, every, key, access_log, engine) -> None:
    metrics, nursery = Metrics(), Nursery()

    def make(model: str, number: int, directory: Path) -> Version:
        return Version(model, number, directory, nursery, limits, metrics, engine)

    catalogue = Catalogue(root, make, every)
    server = Server(catalogue, limits, metrics, key)
    listening = _listen(host, port)
    grpc_server, grpc_bound = None, None
    if grpc_port is not None:
        from kapps.serving.server import grpc_app

        try:
            grpc_server, grpc_bound = await grpc_app.start(server, host, grpc_port)
        except OSError as error:
            raise UserError(f"--grpc-port: {error}") from error
    config = uvicorn.Config(
        server.app(),
        http=connections.HTTP,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=access_log,
        server_header=False,
        proxy_headers=False,  # nobody asks where a request came from
        limit_concurrency=limits.connections,
        h11_max_incomplete_event_size=connections.HEAD_BYTES,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    http = _Http(config)
    facts = {
        "event": "listening",
        "url": f"http://{_shown(host)}:{listening.getsockname()[1]}",
        **({"grpc": f"{_shown(host)}:{grpc_bound}"} if grpc_bound else {}),
    }
    _log.info("listening", extra={"facts": facts})
    watching = asyncio.create_task(catalogue.watch())
    try:
        await http.serve(sockets=[listening])
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        if grpc_server is not None:
            await grpc_server.stop(_GRACE_SECONDS)
        await catalogue.close()
        nursery.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        raise UserError(f"cannot listen at {host}, port {port}: {error.strerror}") from error
    return listening


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
