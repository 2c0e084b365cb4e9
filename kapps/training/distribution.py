"""From `--devices` to where a training runs."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any

from kapps.errors import UserError

DEVICES = re.compile(r"(auto|cpu|gpu)|(cpu|gpu):([1-9][0-9]*)")


def check_devices(devices: str) -> None:
    """Refuse what cannot be meant, before TensorFlow is imported.

    Raises:
        UserError: not auto, cpu, cpu:N, gpu or gpu:N, or several machines are asked for.
    """
    if not DEVICES.fullmatch(devices):
        raise UserError(f"devices {devices!r}: it is auto, cpu, cpu:N, gpu or gpu:N")
    if os.environ.get("TF_CONFIG"):
        raise UserError(
            "TF_CONFIG is set, which asks for several machines; this version trains on one. "
            "Unset TF_CONFIG, or use --devices for the devices of this machine."
        )


def strategy(devices: str = "auto") -> Any:
    """The `tf.distribute` strategy for the devices that are asked for.

    Args:
        devices: `auto` (every GPU there is, or else the CPU), `cpu`, `cpu:N` (N logical CPU
            devices, which check distribution on a machine without GPUs), `gpu`, `gpu:N`.

    Returns:
        A strategy with `scope()`; a context that does nothing on a single device.

    Raises:
        UserError: more devices than there are, or logical devices asked for too late.
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
    if kind == "cpu":
        return _cpus(int(count or 1))
    names = [f"gpu:{i}" for i in range(int(count or len(gpus)))]
    if len(names) > 1:
        return tf.distribute.MirroredStrategy(names)
    return SingleDevice("gpu:0" if names else "cpu:0")


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
    if len(tf.config.list_logical_devices("CPU") if _initialised() else []) < count:
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


def _initialised() -> bool:
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
