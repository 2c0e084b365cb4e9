"""What workers on several machines have to decide alike, lest one waits for another for ever.

Each decision is a short message that all of them send at the same place of the training: whether
to write a checkpoint now, whether to stop, from which checkpoint to go on.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from kapps.data.pipeline import TrainingBatches, without_autotune
from kapps.errors import UserError
from kapps.training.distributed.patch import several_machines

# Steps between two questions whether anybody's clock says that a checkpoint is due.
ASK_EVERY = 25


def everybodys(strategy: tf.distribute.Strategy, values: list[int]) -> np.ndarray:
    """The values of all workers, int64 [workers, values]; they call this at the same place.

    Args:
        strategy: theirs.
        values: as many on each of them.
    """
    rows = _exchange(strategy)(tf.constant([values], tf.int64))
    local = strategy.num_replicas_in_sync // strategy.extended._num_workers
    return strategy.experimental_local_results(rows)[0].numpy()[::local]  # replicas say the same


@functools.cache  # it is asked often, and traced once
def _exchange(strategy: tf.distribute.Strategy) -> Callable:
    def gather(values):
        return tf.distribute.get_replica_context().all_gather(tf.identity(values), axis=0)

    return tf.function(lambda values: strategy.run(gather, args=(values,)))


def anybody(strategy: tf.distribute.Strategy, yes: bool) -> bool:
    """Whether any worker says yes; on one machine that is asked alone."""
    if not several_machines(strategy):
        return yes
    return bool(everybodys(strategy, [int(yes)]).any())


def newest_of_all(strategy: tf.distribute.Strategy, numbers: list[int], kept: int) -> int | None:
    """The newest checkpoint that every worker has, None if all have to begin at the beginning.

    Whoever has trained for long has `kept` checkpoints. So a worker with a single one and another
    without were stopped while they wrote their first, and have nothing to lose.

    Args:
        strategy: theirs.
        numbers: of the checkpoints that this worker can read.
        kept: how many a worker has at most.

    Raises:
        UserError: they have none in common, though some have trained for long.
    """
    numbers = sorted(numbers)[-kept:]
    rows = everybodys(strategy, numbers + [-1] * (kept - len(numbers)))
    sets = [set(row.tolist()) - {-1} for row in rows]
    common = set.intersection(*sets)
    if common:
        return max(common)
    if max(map(len, sets)) < kept:
        return None
    listed = ", ".join(
        f"worker {i} has {'step ' + str(max(found)) if found else 'none'}"
        for i, found in enumerate(sets)
    )
    raise UserError(
        f"the workers have no checkpoint in common ({listed}). Restore their run directories, or "
        "start all of them afresh with --overwrite."
    )


def shared_by_all(batches: tf.data.Dataset, strategy: tf.distribute.Strategy) -> tf.data.Dataset:
    """Batches of which each worker takes its part, every one of them at every step."""
    if not several_machines(strategy):
        return batches
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(options)


def own_parts(
    batches: TrainingBatches, strategy: tf.distribute.Strategy, first: int, last: int, start: int
) -> Any:
    """Training batches for `fit`, of which each worker makes the rows of its own replicas alone.

    Where that cannot be, it makes all of them, and keeps its own.

    Args:
        batches: of training.
        strategy: of the devices.
        first: epoch to begin with, and so on: as `IndexedBatches.dataset` has it.
        last: likewise.
        start: likewise.
    """
    if not (several_machines(strategy) and getattr(batches, "by_part", False)):
        shared = shared_by_all(batches.dataset(first, last, start), strategy)
        return without_autotune(shared)

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync
        local = replicas // context.num_input_pipelines
        begin = context.input_pipeline_id * local
        own = range(begin, begin + local)
        return without_autotune(batches.parts(first, last, start, replicas=own, of=replicas))

    return strategy.distribute_datasets_from_function(of_worker)


@contextlib.contextmanager
def losses_of_workers(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Turn what TensorFlow says when another worker has died into what to do about it.

    Raises:
        UserError: another worker is gone.
    """
    try:
        yield
    except tf.errors.OpError as error:
        lost = (
            tf.errors.UnavailableError,
            tf.errors.AbortedError,
            tf.errors.CancelledError,
            tf.errors.DeadlineExceededError,
            tf.errors.InternalError,
        )
        if not several_machines(strategy) or not isinstance(error, lost):
            raise
        lines = [line.strip() for line in error.message.splitlines()]
        reason = next((line for line in lines if "abort" in line or "task" in line), lines[0])
        raise UserError(
            "another worker has stopped, so this one cannot go on. The same command on all "
            "workers goes on from the last checkpoint that all have.\n"
            f"TensorFlow says: {reason[:300]}"
        ) from None
