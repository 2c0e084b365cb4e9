"""The parent's side of worker processes on this machine."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import pathlib
import pickle
import signal
from typing import Any

from kapps.errors import UserError
from kapps.tuning.workers import worker

PATIENCE = 3.0  # seconds for a process to end before it is made to


class LocalWorker:
    """A process that runs trials, and the connection to it.

    Attributes:
        connection: to wait on; messages and the end of the process both show there.
        number: of its place, from 0: which devices it has.
        trials: how many it has run.
        busy: the trial that it runs, or None.
    """

    remote = False

    def __init__(self, number: int, blob: bytes, environment: dict[str, str], log: pathlib.Path):
        self.number, self.trials, self.busy, self.ready = number, 0, None, False
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._process = context.Process(
            target=worker.main,
            args=(other, blob, environment, str(log)),
            name=f"kapps-worker-{number}",
            daemon=True,
        )
        self._process.start()
        other.close()

    @property
    def pid(self) -> int | None:
        """Its process number."""
        return self._process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Tell it something; whether it has died shows when it is listened to."""
        with contextlib.suppress(OSError):
            self.connection.send_bytes(json.dumps(message).encode())

    def receive(self) -> dict[str, Any] | None:
        """What it says, or None if it is gone."""
        try:
            return json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            return None

    def obituary(self) -> str:
        """Why it is gone."""
        self._process.join(PATIENCE)
        code = self._process.exitcode
        if code == -9:
            return "killed by SIGKILL, as the system does when memory runs out"
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"

    def close(self) -> None:
        """End it at once: all that it has finished is on the disk."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self.connection.close()
        self._process.close()


def pickled(target: Any) -> bytes:
    """A target as it is sent to a worker.

    Raises:
        UserError: it holds what cannot be sent.
    """
    try:
        return pickle.dumps(target)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UserError(
            f"what is to be tried cannot be sent to a worker process ({error}). Define functions "
            "and classes at the top of a module, or use workers=0, which runs all trials in this "
            "process."
        ) from None


def environments(workers: int, gpus: list[str], cores: int | None = None) -> list[dict[str, str]]:
    """What is set in the environment of each worker: a fair share of the machine.

    GPUs are dealt out one after the other; workers that have to share one take only the memory
    they need. Threads are divided, since N processes with a thread per core are in each other's
    way.

    Args:
        workers: how many.
        gpus: identifiers of all GPUs, as in CUDA_VISIBLE_DEVICES.
        cores: of the processor; default: all.
    """
    threads = str(max(1, (cores or os.cpu_count() or 1) // max(1, workers)))
    found = []
    for number in range(workers):
        share: dict[str, str] = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
        if workers > 1:
            share["TF_NUM_INTRAOP_THREADS"] = share["OMP_NUM_THREADS"] = threads
        if gpus:
            own = gpus[number::workers] or [gpus[number % len(gpus)]]
            share["CUDA_VISIBLE_DEVICES"] = ",".join(own)
            if len(gpus) < workers:
                share["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        found.append(share)
    return found


def visible_gpus() -> list[str]:
    """Identifiers of the GPUs that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() and name.strip() != "-1"]
    import tensorflow as tf

    return [str(i) for i in range(len(tf.config.list_physical_devices("GPU")))]
