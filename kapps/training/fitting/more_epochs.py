"""`--more-epochs`: a finished run is trained longer, and goes on after a kill as any other.

What is added is a stage of its own: from the weights that were kept so far, with a new optimizer
and a schedule over the epochs that are added (that of the run has ended, with a rate near zero).
The batches go on where they stopped. Asked for more again, a run gets a further stage; config.json
has the list. The best epoch of all stages is kept.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kapps import files
from kapps.training.fitting.kept_epoch import kept_by
from kapps.training.fitting.phases import Phase, better_phase, join_histories, joined, read_rows
from kapps.training.fitting.resumable import History, fit
from kapps.training.flags.groups import CommonFlags
from kapps.training.run_directory import run as runs
from kapps.training.setup import optimizer_from

FIRST = "training"


def fit_with_more(
    model: keras.Model,
    train: Any,
    validation: tf.data.Dataset,
    *,
    config: CommonFlags,
    run: runs.Run,
    **settings: Any,
) -> History:
    """`fit`, and after it what `--more-epochs` asks for.

    Args:
        model: compiled with `optimizer_from(config, ...)`, and built.
        train: batches that can begin at any step.
        validation: batches measured after every epoch.
        config: a recipe's flags.
        run: the run.
        **settings: further arguments of `fit`.

    Raises:
        UserError: as `fit`.
    """
    history = fit(model, train, validation, config=config, run=run, **settings)
    stages = more_stages(config, run, FIRST)
    if not stages:
        return history
    judged = kept_by(config)
    if settings.get("monitor"):
        judged = settings["monitor"], settings.get("mode", "min")
    histories, weights = {FIRST: history}, {FIRST: model.get_weights()}
    for number, (name, epochs) in enumerate(stages.items(), start=1):
        print(f"phase     {name}: {epochs} epochs")  # noqa: T201
        before = [each.rows for each in histories.values()]
        phase = Phase(run, number, name, epochs_before=sum(map(len, before)))
        model.set_weights(weights[better_phase(histories, *judged)])
        with model.distribute_strategy.scope():
            optimizer = optimizer_from(config, epochs * train.steps, run)
            _give_optimizer(model, optimizer)
        further = [*settings.get("callbacks", ()), _AllRows(run, before, phase)]
        histories[name] = fit(
            model,
            later(train, config.epochs + sum(list(stages.values())[: number - 1])),
            validation,
            config=config,
            run=phase,
            epochs=epochs,
            **{**settings, "callbacks": further},
        )
        weights[name] = model.get_weights()
    kept = better_phase(histories, *judged)
    model.set_weights(weights[kept])
    return join_histories(histories, kept)


def more_stages(config: Any, run: runs.Run, name: str) -> dict[str, int]:
    """The stages that were added to a run, and the one that `--more-epochs` adds now.

    A stage that is new is noted in config.json, and what the run has published no longer counts as
    its result.

    Args:
        config: a recipe's flags.
        run: the run.
        name: of what is continued, for the names of the stages.

    Returns:
        Epochs by name: NAME-2, NAME-3 and so on.
    """
    asked = getattr(config, "more_epochs", 0)
    facts = run.facts() if (run.path / "config.json").exists() else {}
    stages = list(facts.get("more_epochs", []))
    if asked > sum(stages):
        stages.append(asked - sum(stages))
        facts.pop("exported", None)
        files.write_json(run.path / "config.json", facts | {"more_epochs": stages})
    if stages:
        run.figures["more_epochs"] = sum(stages)
    return {f"{name}-{number}": epochs for number, epochs in enumerate(stages, start=2)}


def later(train: Any, epochs: int) -> Any:
    """The same batches, whose first epoch is that after so many.

    Args:
        train: batches that can begin at any step of any epoch.
        epochs: how many come before.
    """
    return _Later(train, epochs)


class _Later:
    by_part = False  # each of several machines makes all rows, and keeps its own

    def __init__(self, train: Any, before: int):
        self._train, self._before = train, before
        self.batch_size, self.steps = train.batch_size, train.steps

    def dataset(self, first: int, last: int, start: int = 0) -> tf.data.Dataset:
        """As that of `data.IndexedBatches`."""
        return self._train.dataset(first + self._before, last + self._before, start)


def _give_optimizer(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
    """Another optimizer for a compiled model; its loss and metrics stay."""
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)  # as `compile` does for float16
    model.optimizer = optimizer
    model.train_function = None  # it moves weights by the old one


class _AllRows(keras.callbacks.Callback):
    """Keeps metrics.csv of the run: the rows of the stages before, and of the one at work."""

    def __init__(self, run: runs.Run, before: list[list[dict[str, Any]]], phase: Phase):
        super().__init__()
        self._run, self._before, self._phase = run, before, phase

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """The epoch before has its row by now."""
        self.on_train_end()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Write."""
        rows = joined([*self._before, read_rows(self._phase.path)])
        runs.write_rows(self._run.path / "metrics.csv", rows)
