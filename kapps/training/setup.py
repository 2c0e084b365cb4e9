"""From flags to what stands around `fit`: devices and seed, number format, optimizer, callbacks.

In the order in which a recipe calls them; each is an ordinary function and serves alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import keras
import tensorflow as tf

from kapps.data import OwnAugmentation, TrainingBatches
from kapps.training.distributed.devices import check_batch, scaled_learning_rate, strategy
from kapps.training.flags.groups import CommonFlags
from kapps.training.optim.optimizers import (
    optimizer,
    usual_learning_rate,
    usual_weight_decay,
)
from kapps.training.optim.schedules import learning_rate_schedule, momentum_cycle
from kapps.training.precision import choose_precision, precision_policy
from kapps.training.run_directory.run import Run
from kapps.training.seeds import seed_everything

if TYPE_CHECKING:
    from kapps.training.fitting.phases import Phase

FEWEST_CLEAN = 2000


def begin(config: CommonFlags) -> tf.distribute.Strategy:
    """Where to train, and the seed: before TensorFlow computes anything.

    Args:
        config: a recipe's configuration.

    Raises:
        UserError: devices that are not there, or that cannot share a batch.
    """
    devices = strategy(config.devices)
    if config.batch_size:  # what is left open is checked when it is known
        check_batch(config.batch_size, devices.num_replicas_in_sync)
    seed_everything(config.seed)
    return devices


@contextlib.contextmanager
def scope(
    config: CommonFlags,
    run: Run,
    devices: tf.distribute.Strategy,
    network: Callable[[], keras.Model] | None = None,
    batches: TrainingBatches | None = None,
) -> Iterator[str]:
    """Inside, models are built and compiled: on the devices, in the number format, from the seed.

    A resumed run computes in the format that it was begun with.

    Args:
        config: a recipe's configuration.
        run: where the precision is noted.
        devices: what `begin` returned.
        network: builds what is measured for `--precision auto`, pixels to one output; None takes
            float32, for networks too small to gain.
        batches: of training, for their number and size.

    Yields:
        The precision.
    """
    precision = run.facts().get("precision") or config.precision
    if precision == "auto":
        precision = "float32"
        if network is not None and batches is not None:
            size = batches.batch_size
            precision, why = choose_precision(network, size, batches.steps * size)
            print(f"precision {precision}: {why}")  # noqa: T201
    run.record(precision=precision)
    with devices.scope(), precision_policy(precision):
        seed_everything(config.seed)  # whatever measuring has drawn
        yield precision


def optimizer_from(
    config: Any,
    steps: int,
    run: Run | None = None,
    *,
    learning_rate: float | None = None,
    rate_factors: Sequence[float] | None = None,
) -> keras.optimizers.Optimizer:
    """The optimizer that the flags ask for, its rate and momentum on their schedules.

    Call it in `scope`: `--scale-learning-rate` depends on the devices.

    Args:
        config: a recipe's configuration.
        steps: of the whole training.
        run: where the resolved rate and decay are noted, so that a resumed run has the same.
        learning_rate: highest rate; default: `--learning-rate`, or the optimizer's usual one.
        rate_factors: one per trainable variable, on the rate.
    """
    rate = learning_rate or config.learning_rate or usual_learning_rate(config.optimizer)
    rate = scaled_learning_rate(rate, config.scale_learning_rate, tf.distribute.get_strategy())
    decay = config.weight_decay
    if decay is None:
        decay = usual_weight_decay(config.optimizer)
    if run is not None:
        run.record(learning_rate=rate, weight_decay=decay)
    warmup = 0.0 if config.schedule in ("step", "plateau") else config.warmup
    cycle = None
    if config.schedule == "one-cycle":
        cycle = momentum_cycle(steps, warmup=warmup or 0.25)
    return optimizer(
        config.optimizer,
        learning_rate_schedule(config.schedule, rate, steps=steps, warmup=warmup),
        momentum_schedule=cycle,
        weight_decay=decay,
        global_clipnorm=config.clip,
        rate_factors=rate_factors,
    )


def callbacks(
    config: CommonFlags,
    run: Run | Phase,
    monitor: str = "val_loss",
    mode: Literal["min", "max"] = "min",
) -> list[keras.callbacks.Callback]:
    """Keras' own callbacks, as the flags ask for them.

    TensorBoard, an end to a training that is not finite, and with their flags a rate that falls
    on a plateau and early stopping.

    Args:
        config: a recipe's configuration.
        run: the run, or one phase of it.
        monitor: the figure that patience waits for.
        mode: "min" or "max": where it is best.
    """
    chosen = [
        keras.callbacks.TensorBoard(run.tensorboard, write_graph=False),
        keras.callbacks.TerminateOnNaN(),
    ]
    if getattr(config, "schedule", None) == "plateau":
        chosen.append(keras.callbacks.ReduceLROnPlateau(monitor, mode=mode, factor=0.2, patience=3))
    patience = getattr(config, "patience", 0)
    if patience:
        stop = keras.callbacks.EarlyStopping(monitor, patience=patience, mode=mode)
        chosen.append(stop)
    return chosen


def own_augmentation(
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None, run: Run
) -> OwnAugmentation | None:
    """An augmentation of one's own, noted in the run: it goes on with the same, or not at all.

    Args:
        augment: as `data.OwnAugmentation` takes it, or None.
        run: the run.

    Raises:
        UserError: the run was begun with another one, or without.
    """
    own = None if augment is None else OwnAugmentation(augment)
    run.record(own_augmentation=None if own is None else own.name)
    return own


def clean_examples(counts: Mapping[str, int]) -> int:
    """How many training examples are measured as validation examples are, after every epoch.

    As many as those, and 2,000 at least: of fewer, the interval of the gap between the two says
    nothing. A smaller training split is measured whole.

    Args:
        counts: examples in each split, with `train` and `validation`.
    """
    return min(counts["train"], max(FEWEST_CLEAN, counts["validation"]))
