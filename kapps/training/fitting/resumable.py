"""`fit` that a killed process can go on with, to the same bits.

What a step of training depends on is: weights, optimizer slots, the states of the random layers,
the place in the data, and the memory of the callbacks. All of it goes into one checkpoint file
(`kapps.training.fitting.state`), at the end of every epoch and every few minutes inside one. The
data needs no replay, because its order is a function of (seed, epoch) (`kapps.data.pipeline`).
Keras' `BackupAndRestore` keeps weights, optimizer and epoch; it forgets the place inside the epoch,
patience counters, running metrics and the best weights.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
import tensorflow as tf

from kapps.data.pipeline import TrainingBatches, without_autotune
from kapps.errors import UserError
from kapps.training import setup
from kapps.training.distributed import agreement
from kapps.training.distributed.devices import check_batch
from kapps.training.distributed.patch import patch_for_replicas, several_machines
from kapps.training.fitting import state as states, stateful_callbacks as kept
from kapps.training.fitting.kept_epoch import kept_by
from kapps.training.flags.groups import CommonFlags
from kapps.training.jit import compiled_by_xla, steps_by_xla
from kapps.training.run_directory.run import Run
from kapps.training.watching.gradients import GradientFlow, gradient_flow
from kapps.training.watching.profiling import StepProfile, step_profile
from kapps.training.watching.progress import EpochLines

if TYPE_CHECKING:
    from kapps.training.fitting.phases import Phase


@dataclasses.dataclass
class History:
    """What a training left.

    Attributes:
        rows: a dictionary per epoch, the rows of metrics.csv.
        best_epoch: 1-based; the model's weights are that epoch's.
        train_seconds: time spent training and validating, over all processes of the run; what a
            kill threw away is not in it.
        examples_per_second: training examples, over the same time.
        notes: what the user should know, a damaged checkpoint for one.
        gradient_flow: the callback that has measured it, or none.
        profile: the callback that has profiled some steps, or none.
        phases: of a training in phases, their histories by name, in order.
        kept: the phase whose weights are kept.
    """

    rows: list[dict[str, Any]]
    best_epoch: int
    train_seconds: float
    examples_per_second: float
    notes: tuple[str, ...] = ()
    gradient_flow: tuple[GradientFlow, ...] = ()
    profile: tuple[StepProfile, ...] = ()
    phases: Mapping[str, History] = dataclasses.field(default_factory=dict)
    kept: str = ""


def fit(
    model: keras.Model,
    train: TrainingBatches,
    validation: tf.data.Dataset,
    *,
    config: CommonFlags | None = None,
    run: Run | Phase | None = None,
    epochs: int | None = None,
    clean_train: tf.data.Dataset | None = None,
    ema: float | None = None,
    monitor: str | None = None,
    mode: Literal["min", "max"] = "min",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    save_minutes: float = 5.0,
    save_steps: int | None = None,
    sync_batch_norm: bool | None = None,
    verbose: str | int | None = None,
) -> History:
    """Train a compiled model; with a run directory, go on where a killed process was.

    The weights of the best epoch on validation are in the model afterwards.

    Args:
        model: compiled, and built. One that moves its weights by several optimizers names those
            beside `model.optimizer` in `model.further_optimizers`, a dictionary, and builds all.
        train: batches that can begin at any step.
        validation: batches measured after every epoch.
        config: a recipe's flags. They say epochs, ema and sync_batch_norm where these arguments
            do not, and add `training.callbacks` and what `--jit`, `--gradient-flow` and
            `--profile` ask for.
        run: where checkpoints and metrics.csv go; None writes nothing.
        epochs: how many in all, those of earlier processes included.
        clean_train: training examples without augmentation, measured after every epoch as
            `train_*`.
        ema: decay of the weight average that is validated and kept; 0 keeps none.
        monitor: the figure that says which epoch is best; among equals the loss after a
            temperature does (`CalibratedLoss`), or the loss. By default what `--best-by` of
            `config` says, the validation loss without that.
        mode: "min" or "max": where `monitor` is best.
        callbacks: further Keras callbacks; the memory of EarlyStopping and ReduceLROnPlateau, and
            of those with `get_state` and `set_state`, is resumed too.
        save_minutes: time between checkpoints inside an epoch.
        save_steps: steps between them instead.
        sync_batch_norm: on several devices, whether batch normalization has the statistics of the
            whole batch, as on one; see `kapps.training.patch_for_replicas`.
        verbose: as in `keras.Model.fit`; by default a line per epoch (`EpochLines`).

    Raises:
        UserError: no epochs, an unbuilt model, batches or a model that the devices cannot share,
            or the run's checkpoints belong to another model or are all damaged.
    """
    asked = {name: getattr(config, name, None) for name in ("epochs", "ema", "sync_batch_norm")}
    if epochs is None:
        epochs = int(asked["epochs"] or 0)
    if ema is None:
        ema = float(asked["ema"] or 0.0)
    if sync_batch_norm is None:
        sync_batch_norm = asked["sync_batch_norm"] is not False
    if monitor is None:
        monitor, mode = kept_by(config)
    if not model.built:
        raise UserError("the model has no weights yet: call it on a batch, or give it an Input")
    if epochs < 1:
        raise UserError(f"epochs {epochs}: at least one is needed")
    strategy = model.distribute_strategy
    check_batch(train.batch_size, strategy.num_replicas_in_sync)
    patch_for_replicas(model, sync_batch_norm)

    def ready(batches: tf.data.Dataset) -> tf.data.Dataset:
        return without_autotune(agreement.shared_by_all(batches, strategy))

    validation = ready(validation)
    if clean_train is not None:
        clean_train = ready(clean_train)
    if not model.optimizer.built:  # a model with several optimizers has built them on their parts
        with strategy.scope():
            model.optimizer.build(model.trainable_variables)
    if strategy.num_replicas_in_sync == 1:  # several have it done by `patch_for_replicas`
        with strategy.scope():
            _make_metrics(model, validation)
    flow = gradient_flow(config, run, train) if config else []
    profile = step_profile(config, run) if config else []
    average = kept.WeightAverage(ema) if ema else None
    best_path = run.checkpoints / "best.npz" if run else None
    best = kept.BestWeights(monitor, mode, best_path, average)
    table = kept.MetricsFile(run.path / "metrics.csv" if run else None)
    phase = getattr(run, "name", "")  # a training in phases numbers the epochs of each
    lines = [EpochLines(epochs, train.steps, best, phase)] if verbose is None else []
    chain = [
        *([average] if average else []),
        *([kept.CleanTrainMetrics(clean_train, average)] if clean_train is not None else []),
        *callbacks,
        *flow,
        *profile,
        *(setup.callbacks(config, run, monitor, mode) if config and run else []),
        *filter(None, (make(run) for make in getattr(run, "callbacks", ()))),
        best,
        table,
        *lines,
    ]
    checkpoints = _Checkpoints(train, chain, run, save_minutes * 60.0, save_steps)
    by_xla = steps_by_xla(
        model,
        train,
        validation,
        epochs * train.steps,
        config=config,
        run=run,
        variables=[variable for _, variable in _variables(model)],
    )
    place = checkpoints.load(model)
    if place.epoch and best_path and states.read(best_path) is None:
        # Now, and not after all epochs.
        raise UserError(f"{best_path} cannot be read. Start the run afresh with --overwrite.")

    def train_epochs(first: int, last: int, start: int) -> None:
        checkpoints.begin(start)
        try:
            model.fit(
                agreement.own_parts(train, strategy, first, last, start),
                steps_per_epoch=train.steps - start,
                validation_data=validation,
                initial_epoch=first,
                epochs=last,
                callbacks=[*chain, checkpoints],
                shuffle=False,  # the batches are shuffled already
                verbose=verbose or 0,
            )
        finally:
            for line in lines:
                line.close()

    if not place.stopped and place.epoch < epochs:
        with agreement.losses_of_workers(strategy), compiled_by_xla(model, by_xla):
            if place.step:  # the rest of the epoch in which the process was killed
                # Keras makes the variables of metrics when they are first used.
                restored = [(variable, _copies(model, variable)) for variable in model.variables]
                model.evaluate(validation.take(1), verbose=0)
                for variable, values in restored:  # a test step may have drawn random numbers
                    _assign_copies(model, variable, values)
                train_epochs(place.epoch, place.epoch + 1, place.step)
                place = checkpoints.place
            if not place.stopped and place.epoch < epochs:
                train_epochs(place.epoch, epochs, 0)
    else:  # nothing to train: give the callbacks their memory all the same
        for callback in [*chain, checkpoints]:
            callback.set_model(model)
        checkpoints.on_train_begin()
    best.restore()
    if not np.isfinite(table.rows[-1]["loss"]):
        checkpoints.notes.append(
            f"the training loss was not finite in epoch {len(table.rows)}; the weights of epoch "
            f"{best.best_epoch} are kept. A lower learning rate may help."
        )
    seconds = checkpoints.seconds
    examples = len(table.rows) * train.steps * train.batch_size
    rate = examples / seconds if seconds else 0.0
    notes = tuple(checkpoints.notes)
    return History(table.rows, best.best_epoch, seconds, rate, notes, tuple(flow), tuple(profile))


def _make_metrics(model: keras.Model, batches: tf.data.Dataset) -> None:
    """Makes the compiled metrics by the shapes of a batch, of one output.

    Keras makes them while it traces the first step; TensorFlow then throws that graph away, for the
    variables made in it, and traces the step again.
    """
    metrics, outputs = model._compile_metrics, getattr(model, "outputs", None) or ()
    spec = batches.element_spec
    if metrics is None or metrics.built or len(outputs) != 1:
        return
    target: Any = spec[1] if isinstance(spec, tuple) and len(spec) > 1 else None
    if isinstance(target, tf.TensorSpec) and target.shape.rank is not None:
        metrics.build(keras.KerasTensor(tuple(target.shape), target.dtype.name), outputs[0])


@dataclasses.dataclass(frozen=True)
class _Place:
    epoch: int = 0  # epochs that are complete
    step: int = 0  # steps of the next one that are
    stopped: bool = False  # early stopping has spoken


class _Checkpoints(keras.callbacks.Callback):
    """Saves and restores everything; last in the chain, so that it has the last word."""

    def __init__(self, train, chain, run, save_seconds, save_steps):
        super().__init__()
        self.train, self.chain, self.run = train, chain, run
        self.save_seconds, self.save_steps = save_seconds, save_steps
        self.place, self.seconds, self.notes = _Place(), 0.0, []
        self._memory: dict[str, dict] = {}  # callback states to give back, by name
        self._metrics: list[np.ndarray] | None = None  # running means inside an epoch
        self._start, self._clock = 0, time.monotonic()

    def load(self, model: keras.Model) -> _Place:
        if self.run is None:
            return self.place
        if several_machines(model.distribute_strategy):
            return self._load_common(model)
        state, damaged = states.load_newest(self.run.checkpoints)
        if state is None and damaged:
            raise UserError(
                f"no checkpoint in {self.run.checkpoints} can be read ({', '.join(damaged)}). "
                "Start afresh with --overwrite."
            )
        if damaged:
            self.notes.append(f"damaged checkpoint {', '.join(damaged)}: the one before was used")
        if state is not None:
            self._restore(model, state)
        return self.place

    def _load_common(self, model: keras.Model) -> _Place:
        with agreement.losses_of_workers(model.distribute_strategy):
            found = states.numbers(self.run.checkpoints)
            number = agreement.newest_of_all(model.distribute_strategy, found, states.KEPT)
        if number is not None:
            state = states.load(self.run.checkpoints, number)
            if state is None:
                raise UserError(
                    f"the checkpoint of step {number} in {self.run.checkpoints} can no longer "
                    "be read. Start afresh with --overwrite."
                )
            self._restore(model, state)
        return self.place

    def begin(self, start: int) -> None:
        """The next `fit` call begins at that step of its first epoch."""
        self._start = start

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Undo what the other callbacks forgot in their own `on_train_begin`."""
        for name, callback in _named_callbacks(self.chain):
            if name in self._memory:
                kept.set_state(callback, self._memory[name])
        self._clock = self._saved = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch
        if self._metrics is not None:  # Keras has just reset them
            for variable, value in zip(_metric_variables(self.model), self._metrics, strict=True):
                _assign_copies(self.model, variable, value)
            self._metrics = None

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.run is None:
            return
        done = self._start + batch + 1
        if self.save_steps:
            due = done % self.save_steps == 0
        else:
            due = time.monotonic() - self._saved > self.save_seconds
            strategy = self.model.distribute_strategy
            if several_machines(strategy):  # clocks differ: all or nobody
                ask = done % agreement.ASK_EVERY == 0
                due = agreement.anybody(strategy, due) if ask else False
        if due and done < self.train.steps and not self.model.stop_training:
            metrics = [_copies(self.model, v) for v in _metric_variables(self.model)]
            self._save(_Place(self._epoch, done), metrics)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._start = 0
        stop = agreement.anybody(self.model.distribute_strategy, bool(self.model.stop_training))
        self.model.stop_training = stop
        self._save(_Place(epoch + 1, 0, bool(self.model.stop_training)), [])

    def _save(self, place: _Place, metrics: list[np.ndarray]) -> None:
        now = time.monotonic()
        self.seconds += now - self._clock
        self._clock = now
        self.place = place
        states_now = {name: kept.get_state(c) for name, c in _named_callbacks(self.chain)}
        self._memory = {name: state for name, state in states_now.items() if state is not None}
        if self.run is None:
            return
        arrays = {name: np.asarray(v) for name, v in _variables(self.model)}
        for name, variable in _variables(self.model):
            copies = _copies(self.model, variable)
            # Moving averages that are each replica's own.
            if copies.ndim > len(variable.shape) and (copies != copies[:1]).any():
                arrays[f"copies/{name}"] = copies
        arrays.update({f"metric/{i:04d}": value for i, value in enumerate(metrics)})
        memory = {}
        for name, state in self._memory.items():
            big = {k: v for k, v in state.items() if isinstance(v, np.ndarray)}
            arrays.update({f"callback/{name}/{k}": v for k, v in big.items()})
            memory[name] = {k: v for k, v in state.items() if k not in big}
        meta = {**dataclasses.asdict(place), "seconds": self.seconds, "callbacks": memory}
        number = place.epoch * self.train.steps + place.step
        states.save(self.run.checkpoints, number, states.State(arrays, meta))
        self._saved = time.monotonic()

    def _restore(self, model: keras.Model, state: states.State) -> None:
        meta, arrays = state.meta, state.arrays
        variables = _variables(model)
        for name, variable in variables:
            if name not in arrays or arrays[name].shape != tuple(variable.shape):
                raise UserError(
                    f"the checkpoints in {self.run.checkpoints} belong to another model (no "
                    f"{name} of shape {tuple(variable.shape)}). Use another --run-dir, or "
                    "--overwrite."
                )
        for name, variable in variables:
            variable.assign(arrays[name])
            if f"copies/{name}" in arrays:
                _assign_copies(model, variable, arrays[f"copies/{name}"])
        self.place = _Place(meta["epoch"], meta["step"], meta["stopped"])
        self.seconds = meta["seconds"]
        metrics = sorted(name for name in arrays if name.startswith("metric/"))
        self._metrics = [arrays[name] for name in metrics] or None
        self._memory = {}
        for name, memory in meta["callbacks"].items():
            prefix = f"callback/{name}/"
            big = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            self._memory[name] = {**memory, **big}


def _variables(model: keras.Model) -> list[tuple[str, Any]]:
    """All that a step may change, under names that do not depend on the process.

    Weights and states of the model carry their position and kind ("0003:kernel"): Keras numbers
    layers anew in every process, and the optimizer's names repeat those numbers.
    """
    own = [(f"model/{i:04d}:{v.path.rsplit('/', 1)[-1]}", v) for i, v in enumerate(model.variables)]
    slots = [(f"optimizer/{i:04d}", v) for i, v in enumerate(model.optimizer.variables)]
    for name, optimizer in kept.further_optimizers(model).items():
        slots += [(f"{name}_optimizer/{i:04d}", v) for i, v in enumerate(optimizer.variables)]
    return own + slots


def _copies(model: keras.Model, variable: keras.Variable) -> np.ndarray:
    """The value of a variable; on several replicas of this machine theirs, [replicas, ...]."""
    copies = model.distribute_strategy.experimental_local_results(variable.value)
    if len(copies) == 1:
        return np.asarray(copies[0])
    return np.stack([np.asarray(copy) for copy in copies])


def _assign_copies(model: keras.Model, variable: keras.Variable, values: np.ndarray) -> None:
    """Give a variable the value that `_copies` has found, if the replicas are as many."""
    copies = model.distribute_strategy.experimental_local_results(variable.value)
    if len(copies) == 1 and tuple(copies[0].shape) == values.shape:
        copies[0].assign(values)
    elif values.shape == (len(copies), *copies[0].shape):
        for copy, value in zip(copies, values, strict=True):
            copy.assign(value)
    else:
        raise UserError(
            f"the last checkpoint is from another number of devices ({len(copies)} now). Resume on "
            "as many as it was begun with, or use another --run-dir."
        )


def _named_callbacks(
    chain: Sequence[keras.callbacks.Callback],
) -> Iterator[tuple[str, keras.callbacks.Callback]]:
    """Callbacks under the name of their class, numbered where there are several."""
    seen: collections.Counter[str] = collections.Counter()
    for callback in chain:
        kind = type(callback).__name__
        yield f"{kind}-{seen[kind]}", callback
        seen[kind] += 1


def _metric_variables(model: keras.Model) -> list[Any]:
    return [variable for metric in model.metrics for variable in metric.variables]
