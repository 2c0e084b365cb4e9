"""Whether XLA compiles the steps of a training: asked for, or measured.

XLA fuses what stands between the large kernels. On GPUs, where each kernel is launched by itself,
that may pay; on CPUs its kernels are slower than oneDNN's (docs/benchmarks.md), and only `on` uses
them.

Keras 3.15 never compiles a step if ops have to be deterministic, as kapps asks of them, since some
cannot be both: the gradient of max pooling is one. Here it is tried. TensorFlow then raises an
error, and does not compute something else.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from kapps.errors import UserError
from kapps.training.flags.groups import CommonFlags

if TYPE_CHECKING:
    from kapps.data import TrainingBatches
    from kapps.training.fitting.phases import Phase
    from kapps.training.run_directory.run import Run

WORTH_MEASURING = 60.0  # seconds of training: to compile takes some of them
CALLS = 3
# Said by errors of XLA at compiling, and not by those of its kernels at work.
_COMPILING = re.compile(r"tf2xla|libdevice|ptxas|nvlink|\b[Cc]ompil(e|ing|ation)\b")
# Lines that tell where an error is, and not what.
_WHERE = re.compile(r'Graph execution error|Detected at|File "|<stack|\d+ root err|\[\[|\[Op:')


def steps_by_xla(
    model: keras.Model,
    train: TrainingBatches,
    validation: tf.data.Dataset,
    steps: int,
    *,
    config: CommonFlags | None,
    run: Run | Phase | None,
    variables: Sequence[Any],
) -> bool | str:
    """What `--jit` comes to for this model on these devices.

    Args:
        model: compiled and built, its metrics too.
        train: a batch of training is taken from it.
        validation: a batch of evaluation is taken from it.
        steps: of the whole training.
        config: a recipe's flags; without them the model's own `jit_compile` holds.
        run: where a choice is noted that was measured; a resumed run holds to it, and so do the
            stages of `--more-epochs`.
        variables: all that a step may change; they are as they were afterwards.

    Returns:
        Whether XLA compiles the steps; where a flag has led to it, that flag.

    Raises:
        UserError: it was asked for, and some layers or the devices rule it out.
    """
    if config is None:
        return bool(model.jit_compile)
    why_not = _ruled_out(model)
    if config.jit == "on":
        if why_not:
            raise UserError(f"--jit on: {why_not}")
        return "--jit on"
    if config.jit == "off" or why_not or not tf.config.get_visible_devices("GPU"):
        return False
    owner: Any = getattr(run, "run", run)
    names = _noted_under(getattr(run, "name", ""))
    facts = owner.facts() if owner is not None else {}
    known = next((facts[name] for name in names if name in facts), None)
    if known is None:
        known, why = choose_jit(model, train, validation, steps, variables)
        print(f"{names[0]} {'on' if known else 'off'}: {why}")  # noqa: T201
        if owner is not None:
            owner.record(**{names[0]: known})
    return known and "--jit auto (XLA was measured to be faster)"


def choose_jit(
    model: keras.Model,
    train: TrainingBatches,
    validation: tf.data.Dataset,
    steps: int,
    variables: Sequence[Any],
) -> tuple[bool, str]:
    """Whether this training ends sooner if XLA compiles its steps, and why.

    Args:
        model: as in `steps_by_xla`.
        train: as in `steps_by_xla`.
        validation: as in `steps_by_xla`.
        steps: as in `steps_by_xla`.
        variables: as in `steps_by_xla`.
    """
    before = [np.array(variable) for variable in variables]
    calls = steps / model.steps_per_execution
    batch = train.dataset(0, 1, 0).take(1).cache().repeat()
    try:
        with compiled_by_xla(model, False):
            _, plain = _seconds(model, batch, validation)
        if calls * plain < WORTH_MEASURING:
            return False, f"a training of {calls * plain:.0f} s is too short for compiling to pay"
        try:
            with compiled_by_xla(model, True):
                first, compiled = _seconds(model, batch, validation)
        except UserError as error:
            return False, str(error)
        except tf.errors.OpError as error:  # memory is short, CUDA is broken
            return False, f"a step by XLA has failed: {_told_by(error)}"
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
    told = f"measured: a step by XLA is {plain / compiled:.2f} times as fast"
    return first + calls * compiled < calls * plain, f"{told}, and takes {first:.0f} s to compile"


@contextlib.contextmanager
def compiled_by_xla(model: keras.Model, on: bool | str) -> Iterator[None]:
    """Inside, `fit`, `evaluate` and `predict` of the model have XLA compile their steps, or not.

    Args:
        model: compiled, and built.
        on: whether; or the flag that has led to it, for the message of the error.

    Raises:
        UserError: XLA cannot compile them.
    """
    before = bool(model.jit_compile)
    if bool(on) == before:  # what is traced stays
        yield
        return
    _set(model, bool(on))
    try:
        yield
    except tf.errors.OpError as error:
        if not on or not _of_compiling(error):
            raise
        told = f"XLA cannot compile this network: {_told_by(error)}"
        if isinstance(on, str):
            told = (
                f"{on}: {told.rstrip('.')}. Use --jit off, with another --run-dir, or with "
                "--overwrite to start afresh."
            )
        raise UserError(told) from None
    finally:
        _set(model, before)


def _of_compiling(error: tf.errors.OpError) -> bool:
    """Whether it is XLA's, from before the first step; other steps may fail as they do without."""
    if isinstance(error, (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError)):
        return any("XLA" in line or _COMPILING.search(line) for line in _lines(error))
    if isinstance(error, (tf.errors.InternalError, tf.errors.ResourceExhaustedError)):
        return any(_COMPILING.search(line) for line in _lines(error))
    return False


def _told_by(error: tf.errors.OpError) -> str:
    return next(iter(_lines(error)), type(error).__name__)


def _lines(error: tf.errors.OpError) -> list[str]:
    lines = [line.strip() for line in str(error.message).splitlines()]
    return [line for line in lines if line and not _WHERE.match(line)]


def _noted_under(phase: str) -> list[str]:
    """Names of the facts that hold for a phase, its own first.

    `--more-epochs` goes on with the same network: "training-3" after "training-2", and that after
    the training, whose phase has no name.
    """
    begun, _, number = phase.rpartition("-")
    phases = [phase]
    if number.isdigit():
        phases = [f"{begun}-{stage}" for stage in range(int(number), 1, -1)] + [begun, ""]
    return ["-".join(filter(None, ("jit", each))) for each in phases]


def _ruled_out(model: keras.Model) -> str:
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return "XLA cannot compile a step that reaches over several devices"
    without = [layer.name for layer in model._flatten_layers() if not layer.supports_jit]
    return f"XLA cannot compile {', '.join(without[:3])}" if without else ""


def _set(model: keras.Model, on: bool) -> None:
    model._jit_compile = on  # the property says no, see above
    model.train_function = model.test_function = model.predict_function = None


def _seconds(
    model: keras.Model, train: tf.data.Dataset, validation: tf.data.Dataset
) -> tuple[float, float]:
    """Of the first calls, those of both kinds; and of one further call that trains."""
    model.make_train_function()
    model.make_test_function()
    batches = iter(train)

    def timed(call: Callable[[Any], Any], data: Any) -> float:
        begin = time.perf_counter()
        for value in keras.tree.flatten(call(data)):
            np.asarray(value)  # GPUs have been asked, and are waited for
        return time.perf_counter() - begin

    first = timed(model.train_function, batches) + timed(model.test_function, iter(validation))
    return first, min(timed(model.train_function, batches) for _ in range(CALLS))
