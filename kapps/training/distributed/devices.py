"""From `--devices` to where a training runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kapps.errors import UserError

if TYPE_CHECKING:
    import numpy as np

JOIN_SECONDS = float(os.environ.get("KAPPS_JOIN_SECONDS", "600"))  # a cluster may start slowly
# The strategy of several machines, by what it was asked for: a second one would number its messages
# from the beginning, and mix them up.
_ONLY: dict[tuple, Any] = {}
DEVICES = re.compile(r"(auto|cpu|gpu)|(cpu|gpu):([1-9][0-9]*)")


class Cluster(NamedTuple):
    """The machines, or processes, that train together.

    Attributes:
        addresses: "host:port" of each worker, the chief first.
        index: which of them this is; 0 is the chief.
    """

    addresses: tuple[str, ...]
    index: int


def cluster() -> Cluster | None:
    """What `TF_CONFIG` says, None without it or if there is but one worker; no TensorFlow needed.

    Raises:
        UserError: it cannot be understood, or asks for roles that there are not.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return None
    form = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        kind, index = task["type"], int(task["index"])
        unknown = [name for name in (*jobs, kind) if name not in ("chief", "worker")]
        chiefs, workers = list(jobs.get("chief", ())), list(jobs.get("worker", ()))
        place = index + (len(chiefs) if kind == "worker" else 0)
        address = [*chiefs, *workers][place] if index >= 0 else None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise UserError(f"TF_CONFIG cannot be understood: {text!r}; it is like {form}") from None
    if unknown or len(chiefs) > 1 or address is None:
        raise UserError(
            f"TF_CONFIG has {', '.join(unknown) or 'several chiefs'}: all tasks are workers, one "
            f"of which may be called chief, as in {form}"
        )
    everybody = (*chiefs, *workers)
    return Cluster(everybody, place) if len(everybody) > 1 else None


def check_devices(devices: str) -> None:
    """Refuse what cannot be meant, before TensorFlow is imported.

    Raises:
        UserError: not auto, cpu, cpu:N, gpu or gpu:N, or a TF_CONFIG that does not fit.
    """
    if not DEVICES.fullmatch(devices):
        raise UserError(f"devices {devices!r}: it is auto, cpu, cpu:N, gpu or gpu:N")
    if cluster() and devices.startswith("cpu:") and devices != "cpu:1":
        raise UserError(
            f"--devices {devices} divides the CPU of one machine, and TF_CONFIG names several "
            "workers, each of which is one device already: use --devices cpu"
        )


def named_devices(devices: str) -> int:
    """How many devices share a batch, as far as it is known before TensorFlow is imported.

    Args:
        devices: see `strategy`; where it gives no number, each worker counts as one device.

    Raises:
        UserError: a `TF_CONFIG` that cannot be understood.
    """
    workers = cluster()
    return int(devices.partition(":")[2] or 1) * (len(workers.addresses) if workers else 1)


def strategy(devices: str = "auto") -> Any:
    """The `tf.distribute` strategy for the devices that are asked for.

    Args:
        devices: `auto` (every GPU there is, or else the CPU), `cpu`, `cpu:N` (N logical CPU
            devices, which check distribution on a machine without GPUs), `gpu`, `gpu:N`. With a
            `TF_CONFIG` they are those of each worker.

    Returns:
        A strategy with `scope()`, of several machines the same one each time; a context that does
        nothing on a single device.

    Raises:
        UserError: more devices than there are, logical devices asked for too late, workers that
            do not answer, or on several machines other devices than before.
    """
    check_devices(devices)
    import tensorflow as tf  # only now: `check_devices` has to be quick

    kind, _, count = devices.partition(":")
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "gpu" and len(gpus) < int(count or 1):
        raise UserError(
            f"--devices {devices}: TensorFlow sees {len(gpus)} GPUs. Use --devices auto, or "
            "install TensorFlow with CUDA (pip install 'tensorflow[and-cuda]')."
        )
    workers = cluster()
    if workers is not None:
        used = () if kind == "cpu" else tuple(gpus[: int(count or len(gpus))])
        return _several_machines(workers, used)
    if kind == "cpu":
        return _cpus(int(count or 1))
    names = [f"gpu:{i}" for i in range(int(count or len(gpus)))]
    if len(names) > 1:
        return tf.distribute.MirroredStrategy(names)
    return SingleDevice("gpu:0" if names else "cpu:0")


def arrays_of_chief(strategy: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays as the first worker has them, on every worker; to the bit.

    What each worker computes by itself may differ in last bits from machine to machine, and copies
    of weights that begin unequal stay so.

    Args:
        strategy: what `strategy` returned.
        arrays: float, of the same shapes everywhere.
    """
    if cluster() is None:
        return list(arrays)
    import tensorflow as tf

    def each(values):
        context = tf.distribute.get_replica_context()
        first = tf.equal(context.replica_id_in_sync_group, 0)
        own = [tf.where(first, value, tf.zeros_like(value)) for value in values]
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

    values = [tf.constant(array) for array in arrays]
    found = tf.function(lambda: strategy.run(each, args=(values,)))()
    return [strategy.experimental_local_results(value)[0].numpy() for value in found]


def scaled_learning_rate(rate: float, rule: str, strategy: Any) -> float:
    """A learning rate for a batch that has grown with the number of devices.

    Args:
        rate: that of one device.
        rule: `none`; `linear`, times the number of devices (arXiv:1706.02677, section 2.1), with
            a warm-up as a rule; `sqrt`, times its root (arXiv:1404.5997, section 5.1).
        strategy: as `strategy` gives it.

    Raises:
        UserError: an unknown rule.
    """
    powers = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}
    if rule not in powers:
        raise UserError(f"unknown rule {rule!r}: it is one of {', '.join(powers)}")
    return rate * strategy.num_replicas_in_sync ** powers[rule]


class SingleDevice:
    """Stands for a strategy where there is one device: Keras needs none then."""

    num_replicas_in_sync = 1

    def __init__(self, device: str):
        self.device = device

    def scope(self) -> contextlib.AbstractContextManager:
        """A context in which variables go to the device."""
        import tensorflow as tf

        return tf.device(self.device) if self.device != "gpu:0" else contextlib.nullcontext()


def _cpus(count: int) -> Any:
    import tensorflow as tf

    # A machine with GPUs that was told to use the CPU.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    if count == 1:
        return SingleDevice("cpu:0")
    physical = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.list_logical_devices("CPU") if _initialized() else []) < count:
        try:
            tf.config.set_logical_device_configuration(
                physical, [tf.config.LogicalDeviceConfiguration()] * count
            )
        except RuntimeError:
            raise UserError(
                f"--devices cpu:{count}: TensorFlow has made its devices already, so the CPU "
                "cannot be divided any more. Ask for them before anything else is computed."
            ) from None
    return tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(count)])


def _several_machines(workers: Cluster, gpus: tuple) -> Any:
    import tensorflow as tf

    if (workers, gpus) in _ONLY:
        return _ONLY[workers, gpus]
    for before, had in _ONLY:
        raise UserError(
            f"this process is worker {before.index} of {len(before.addresses)} and trains on "
            f"{_told(had)}: worker {workers.index} of {len(workers.addresses)}, on {_told(gpus)}, "
            "has to be another process"
        )
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices(list(gpus), "GPU")
    _wait_for_chief(workers)
    try:
        return _ONLY.setdefault((workers, gpus), tf.distribute.MultiWorkerMirroredStrategy())
    except RuntimeError:
        raise UserError(
            "TF_CONFIG: TensorFlow has made its devices already, so it cannot reach other workers "
            "any more. Ask for a strategy before anything else is computed."
        ) from None
    except tf.errors.OpError as error:
        raise UserError(f"worker {workers.index}: {error.message.splitlines()[0]}") from None


def _told(gpus: tuple) -> str:
    return ", ".join(gpu.name.removeprefix("/physical_device:") for gpu in gpus) or "its CPU"


def _wait_for_chief(workers: Cluster) -> None:
    """Wait until worker 0 listens; TensorFlow itself would wait for an hour, without a word.

    Raises:
        UserError: it does not answer within `JOIN_SECONDS`.
    """
    if workers.index == 0:
        return
    host, _, port = workers.addresses[0].rpartition(":")
    begin, told = time.monotonic(), False
    while time.monotonic() - begin < JOIN_SECONDS:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
            return
        except (OSError, ValueError):
            time.sleep(0.5)
        if not told and time.monotonic() - begin > 10.0:
            told = True
            sys.stdout.write(f"waiting for worker 0 at {workers.addresses[0]}\n")
    raise UserError(
        f"worker 0 at {workers.addresses[0]} did not answer for {JOIN_SECONDS:.0f} s. If its run "
        "has finished, there is nothing left to do; otherwise start it, then this one again."
    )


def _initialized() -> bool:
    from tensorflow.python.eager import context  # TensorFlow has no public way to ask

    return context.context()._initialized


def check_batch(batch_size: int, replicas: int) -> None:
    """Refuse a global batch that the replicas cannot share evenly.

    Raises:
        UserError: naming the nearest batch sizes that work.
    """
    if batch_size % replicas:
        below = batch_size // replicas * replicas
        near = " or ".join(str(size) for size in (below, below + replicas) if size)
        raise UserError(
            f"batch size {batch_size} cannot be divided by {replicas} devices: use {near}"
        )
