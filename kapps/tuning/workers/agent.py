"""A worker's side of a search on several machines: it runs trials for a chief."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pathlib
import socket
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection
from typing import Any

import kapps
from kapps.errors import UserError
from kapps.tuning.workers import pool, wire, worker

STARTS = 5  # processes in a row that end before they are ready
RETRIES = 60.0  # seconds for a chief to appear, the first time and after it was killed


def serve_chief(
    target: Any,
    directory: str | os.PathLike,
    *,
    identity: dict[str, Any] | None = None,
    recycle: int = 50,
) -> int:
    """Run trials for a chief until it has no more; what a worker does instead of searching.

    A process of its own talks to the chief and runs the trials, and is replaced when it ends. A
    trial is kept where the chief keeps it if that directory is here, too, so that another can go
    on with it; else below `directory`.

    Args:
        target: as for `run_search`.
        directory: of this worker.
        identity: as for `run_search`; the chief sends a worker with another away.
        recycle: trials after which the process is replaced.

    Returns:
        How many trials it has run.

    Raises:
        UserError: no chief answers, it has another identity, or the target cannot be sent to a
            process.
    """
    blob, own = pool.pickled(target), pathlib.Path(directory)
    own.mkdir(parents=True, exist_ok=True)
    hello = {
        "is": "hello",
        "name": os.environ["KERASTUNER_TUNER_ID"],
        "identity": {"kapps": kapps.__version__, **(identity or {})},
    }
    context, trials, starts = multiprocessing.get_context("spawn"), 0, 0
    while True:
        here, there = context.Pipe(duplex=False)
        process = context.Process(
            target=_life, args=(there, blob, hello, str(own), recycle, RETRIES), daemon=True
        )
        process.start()
        there.close()
        said = None
        with contextlib.suppress(EOFError):
            while True:
                said, starts = here.recv(), 0
                trials += said == "ran"
        process.join()
        if isinstance(said, Exception):
            raise said
        if said == "over":
            return trials
        starts += 1
        if starts == STARTS:
            raise UserError(f"no worker process starts. Its output: {own / 'worker.log'}")


def _life(
    parent: Connection, blob: bytes, hello: dict, directory: str, recycle: int, patience: float
) -> None:
    """The whole life of a process, which says "ready", "ran" after each trial, and how it ends."""
    said = []

    def told(what: str) -> bool:
        said.append(what)
        parent.send(what)
        return said.count("ran") < recycle

    try:
        chief = _connected(patience)
        wire.send(chief, hello)
        environment = pool.environments(1, [])[0]
        log = str(pathlib.Path(directory, "worker.log"))
        over = worker.main(
            chief, blob, environment, log, told, lambda job: _placed(job, pathlib.Path(directory))
        )
        parent.send("over" if over else "gone")
    except UserError as error:
        parent.send(error)


def _connected(patience: float) -> Connection:
    begin = time.monotonic()
    while True:
        try:
            sock = socket.create_connection(wire.address(), timeout=wire.HANDSHAKE)
            return wire.authenticated(sock, chief=False)
        except AuthenticationError:
            raise UserError("the chief has another KAPPS_TUNER_KEY") from None
        except OSError:
            if time.monotonic() - begin > patience:
                where = ":".join(map(str, wire.address()))
                raise UserError(f"no chief answers at {where}. Start it, then this.") from None
            time.sleep(0.2)


def _placed(job: dict[str, Any], own: pathlib.Path) -> dict[str, Any]:
    """A job whose directories are here."""
    if pathlib.Path(job["directory"]).parents[1].is_dir():
        return job
    past = job["past"] and str(own / pathlib.Path(job["past"]).name)
    return job | {"directory": str(own / job["id"]), "past": past}
