"""Several workers on this machine: `kapps launch`, as a cluster would start them.

Each worker is a process with a `TF_CONFIG` of its own; they find each other on free ports of the
loopback interface. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import TextIO

from kapps.errors import UserError

# A worker that is left alone finds that out, and says so, within a minute; then it is stopped.
GRACE_SECONDS = 75.0
STOP_SECONDS = 10.0


def launch(
    command: Sequence[str],
    workers: int,
    *,
    out: TextIO | None = None,
    grace_seconds: float = GRACE_SECONDS,
) -> int:
    """Run a command as several workers, and wait for all of them.

    Their lines are joined, each behind the number of its worker. When one fails the others get
    some time to notice, and are stopped then.

    Args:
        command: the program and its arguments.
        workers: how many.
        out: where lines go; standard output when None.
        grace_seconds: time for the others after one has failed.

    Returns:
        0 if all succeed, or else the exit code of the first that failed, as shells give it: 128
        and the number of the signal for one that was killed.

    Raises:
        UserError: less than one worker, no command, or one that cannot be started.
    """
    if workers < 1:
        raise UserError(f"--workers {workers}: at least one is needed")
    if not command:
        raise UserError("no command: kapps launch --workers 2 -- kapps train gan")
    out = out or sys.stdout
    processes, readers, lock = [], [], threading.Lock()
    try:
        for config in cluster_configs(workers):
            processes.append(_start(command, config))
            reader = threading.Thread(
                target=_copy, args=(processes[-1].stdout, f"[{len(readers)}] ", out, lock)
            )
            reader.start()
            readers.append(reader)
        return _wait(processes, grace_seconds)
    finally:
        _stop(processes)
        for reader in readers:
            reader.join()


def cluster_configs(workers: int) -> list[str]:
    """A `TF_CONFIG` for each worker, all on free ports of this machine."""
    with contextlib.ExitStack() as stack:  # all are held until the last is found
        sockets = [stack.enter_context(socket.socket()) for _ in range(workers)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    cluster = {"worker": addresses}
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(workers)
    ]


def _start(command: Sequence[str], config: str) -> subprocess.Popen:
    try:
        return subprocess.Popen(
            command,
            env={**os.environ, "TF_CONFIG": config, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except OSError as error:
        raise UserError(f"{command[0]}: cannot be started: {error.strerror}") from None


def _copy(lines, prefix: str, out: TextIO, lock: threading.Lock) -> None:
    with lines:
        for line in lines:
            text = line.decode(errors="backslashreplace").rstrip("\r\n").rpartition("\r")[2]
            with lock, contextlib.suppress(BrokenPipeError, ValueError):
                out.write(f"{prefix}{text}\n")
                out.flush()


def _wait(processes: list[subprocess.Popen], grace_seconds: float) -> int:
    failed, deadline = 0, None
    while True:
        codes = [process.poll() for process in processes]
        if deadline is None and any(codes):
            failed = next(code for code in codes if code)
            deadline = time.monotonic() + grace_seconds
        over = deadline is not None and time.monotonic() > deadline
        if over or None not in codes:
            return 128 - failed if failed < 0 else failed
        time.sleep(0.1)


def _stop(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
