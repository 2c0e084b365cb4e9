"""Which number format to compute in: asked for, or measured."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from kapps import processor
from kapps.errors import UserError
from kapps.models.cost import multiply_adds
from kapps.training.distributed.devices import cluster

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
# Below this, a step is over before the format matters, and measuring costs more than it gives.
WORTH_MEASURING = 20e9  # multiply-adds per training epoch
STEPS = 3


@contextlib.contextmanager
def precision_policy(name: str) -> Iterator[None]:
    """Keras' global dtype policy, for as long as the context lasts.

    Raises:
        UserError: an unknown policy.
    """
    if name not in POLICIES:
        raise UserError(f"unknown precision {name!r}: it is auto or one of {', '.join(POLICIES)}")
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def choose_precision(
    build: Callable[[], keras.Model], batch_size: int, examples: int
) -> tuple[str, str]:
    """The precision in which a training step of this model is fastest on this machine.

    A rule by device would be wrong one way or the other: on a CPU with bfloat16 instructions,
    dense convolutions gain a factor of two and depthwise ones lose one. So where it is in doubt
    it is measured, on random pictures.

    Args:
        build: makes the model under the current policy.
        batch_size: examples per step.
        examples: how many an epoch has; with little work in an epoch nothing is measured.

    Returns:
        The policy, and why.
    """
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
        if capability and capability >= (8, 0):
            return "mixed_bfloat16", f"the GPU has bfloat16 units (compute capability {capability})"
        if capability and capability >= (7, 0):
            return "mixed_float16", f"the GPU has float16 units (compute capability {capability})"
        return "float32", "the GPU has no units for 16-bit numbers"
    if cluster():
        return "float32", "measuring may come out differently on each worker"
    if not _cpu_has_bfloat16():
        return "float32", "the CPU has no bfloat16 instructions"
    if multiply_adds(build()) * examples < WORTH_MEASURING:
        return "float32", "the model is too small for the format to matter"
    seconds = {}
    for name in ("float32", "mixed_bfloat16"):
        with precision_policy(name):
            seconds[name] = _step_seconds(build(), batch_size)
    fastest = min(seconds, key=seconds.__getitem__)
    ratio = seconds["float32"] / seconds["mixed_bfloat16"]
    return fastest, f"measured: a step in bfloat16 is {ratio:.2f} times as fast as in float32"


def _cpu_has_bfloat16() -> bool:
    return bool({"avx512_bf16", "amx_bf16"} & processor.instructions())


def _step_seconds(model: keras.Model, batch_size: int) -> float:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (batch_size, *model.input_shape[1:])).astype(np.float32)
    y = generator.integers(0, model.output_shape[-1], batch_size)
    batch = (x, y)
    if type(model).train_step is keras.Model.train_step:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, jit_compile=False)
    else:  # a step of its own has a loss of its own, and needs no labels
        model.compile("sgd", jit_compile=False)
        batch = (x,)
    model.train_on_batch(*batch)  # traces
    model.train_on_batch(*batch)
    begin = time.perf_counter()
    for _ in range(STEPS):
        model.train_on_batch(*batch)
    return (time.perf_counter() - begin) / STEPS
