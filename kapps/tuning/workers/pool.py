"""Trials in worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import pickle
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from kapps.errors import UserError
from kapps.tuning.workers import wire, worker

PATIENCE = 3.0  # seconds for a process to end before it is made to
STARTS = 3  # attempts to have a worker that says which space there is


class LocalWorker(wire.Worker):
    """A process that runs trials.

    Attributes:
        number: of its place, from 0: which devices it has.
        trials: how many it has run.
        log: where its output goes between trials.
    """

    remote = False

    def __init__(self, number: int, blob: bytes, environment: dict[str, str], log: pathlib.Path):
        context = multiprocessing.get_context("spawn")
        here, other = context.Pipe()
        super().__init__(here, f"kapps-worker-{number}")
        self.number, self.trials, self.log = number, 0, log
        self._process = context.Process(
            target=worker.main,
            args=(other, blob, environment, str(log)),
            name=self.name,
            daemon=True,
        )
        self._process.start()
        other.close()

    def why_gone(self) -> str:
        """How its process ended."""
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


class Processes:
    """The worker processes of a search: a crew for `kapps.tuning.dispatch`.

    Args:
        blob: the pickled target.
        count: of processes.
        recycle: trials after which one is replaced.
        environment: for all of them, in addition.
        directory: for their output.
    """

    def __init__(
        self,
        blob: bytes,
        count: int,
        recycle: int,
        environment: dict[str, str],
        directory: pathlib.Path,
    ):
        self.blob, self.recycle, self.directory = blob, recycle, directory
        self.environments = [
            {**share, **environment} for share in environments(count, visible_gpus())
        ]
        self.workers: list[LocalWorker] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *exception: object) -> None:
        for one in self.workers:
            one.close()

    def declared(self, given: dict[str, Any]) -> dict[str, Any]:
        """The space of the target, from the first worker."""
        for attempt in range(1, STARTS + 1):
            self.fill(1)
            one = self.workers[0]
            message = one.receive()
            if message is not None and message["is"] == "ready":
                one.ready = True
                one.send({"do": "declare", "given": given})
                message = one.receive()
            if message is not None:
                return worker.space(message)
            why = one.why_gone()
            self.remove(one)
            if attempt == STARTS:
                raise UserError(f"the space could not be found: {why}. Its output: {one.log}")
        raise AssertionError  # never comes here

    def fill(self, most: int) -> None:
        """Start processes in empty places until there are `most`."""
        taken = {one.number for one in self.workers}
        for number in range(min(most, len(self.environments))):
            if number not in taken and len(self.workers) < most:
                log = self.directory / f"worker-{number}.log"
                own = self.environments[number]
                self.workers.append(LocalWorker(number, self.blob, own, log))

    def listen(self, hear: Callable[[Any, dict | None], None], timeout: float | None) -> None:
        """Wait for messages, or for the end of a process, and pass them on."""
        ready = wait([one.connection for one in self.workers], timeout)
        for one in [one for one in self.workers if one.connection in ready]:
            hear(one, one.receive())

    def released(self, one: LocalWorker) -> None:
        """It has ended a trial: is it old?"""
        one.trials += 1
        if one.trials >= self.recycle:
            self.remove(one)

    def remove(self, one: LocalWorker) -> None:
        """End one; `fill` starts another if there is work."""
        self.workers.remove(one)
        one.close()


def pickled(target: Any) -> bytes:
    """A target as it is sent to a worker.

    Raises:
        UserError: it cannot be sent, or a worker could not find it again.
    """
    try:
        blob = pickle.dumps(target)
    except Exception as error:  # TensorFlow's datasets raise errors of their own
        raise UserError(
            f"what is to be tried cannot be sent to a worker process ({error}). Define functions "
            "and classes at the top of a module, give arrays and no tf.data.Dataset, or use "
            "workers=0, which runs all trials in this process."
        ) from None
    main = sys.modules.get("__main__")
    if b"__main__" in blob and not os.path.isfile(getattr(main, "__file__", None) or ""):
        raise UserError(
            "what is to be tried is defined in a notebook or on standard input, where a worker "
            "process cannot find it. Put it into a module, or use workers=0, which runs all "
            "trials in this process."
        )
    return blob


def environments(workers: int, gpus: list[str], cores: int | None = None) -> list[dict[str, str]]:
    """What is set in the environment of each worker: a fair share of the machine.

    GPUs are dealt out one after the other; workers that have to share one take only the memory
    they need. Threads are divided, since N processes with a thread per core are in each other's
    way. What is set in this environment already stays as it is, but for the GPUs.

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
        share = {name: value for name, value in share.items() if name not in os.environ}
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
