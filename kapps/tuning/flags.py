"""What the recipes that search have in common: their flags, the search, and when it is done.

Read before TensorFlow is imported.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from kapps import training
from kapps.errors import UserError
from kapps.tuning.oracles.brackets import rounds_for
from kapps.tuning.oracles.pruning import can_prune, check_rule
from kapps.tuning.results import Record, Results
from kapps.tuning.workers.wire import remote_role

# Why TF_CONFIG is refused, and what to do instead.
DIVIDES_TRIALS = (
    "a search divides its trials over machines, not their batches: unset TF_CONFIG, and start this "
    "command on each machine with KERASTUNER_TUNER_ID (chief, or a name of its own), "
    "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT (the chief's), and KAPPS_TUNER_KEY (a secret)"
)


@dataclasses.dataclass(frozen=True)
class SearchFlags:
    """Search algorithm and budget."""

    algorithm: Literal["random", "grid", "bayesian", "hyperband", "tpe", "tpe_local"] = "random"
    """search algorithm; tpe, and tpe_local (which also tries neighbours), need optuna"""
    max_trials: training.PositiveInt = 20
    """budget in trials, including those of earlier processes"""
    max_minutes: training.Positive | None = None
    """budget in minutes; trials cut off by it continue if you raise it later"""
    workers: training.NonNegativeInt = 1
    """worker processes that run trials in parallel; 0 runs them in this process"""
    recycle: training.PositiveInt = 50
    """trials after which a worker process is replaced, to keep its memory small"""
    seeds_per_point: training.PositiveInt = 1
    """runs per point, with consecutive seeds; their mean counts"""
    stop_early: Literal["auto", "none", "median", "asha"] = "auto"
    """how poor trials are stopped; auto: by the median rule, except under Hyperband"""

    EXCLUSIONS: ClassVar[training.Exclusions] = (
        (
            lambda c: c.algorithm == "hyperband" and c.stop_early not in ("auto", "none"),
            "--stop-early: Hyperband stops poor trials itself",
        ),
    )


@dataclasses.dataclass(frozen=True)
class RefitFlags:
    """How the winner is retrained."""

    refit: Literal["validation", "all"] = "validation"
    """retrain the winner with validation held out (best epoch, calibration), or on training and
    validation data for the best number of epochs"""
    winner_epochs: training.NonNegativeInt = 0
    """epochs of the winner; 0: three times those of a trial, or with --refit all the trial's own"""

    def epochs_of(self, winner: Record, epochs: int) -> tuple[int, int]:
        """Epochs of the winner's schedule, and how many of them are trained.

        A trial only has to be told from others. On all data nothing says when to stop, so there
        the schedule is that of the trial, and ends where the trial was best.

        Args:
            winner: the trial.
            epochs: those of a trial.
        """
        everything = self.refit == "all"
        epochs = self.winner_epochs or epochs * (1 if everything else 3)
        return epochs, min(epochs, winner.best_epoch or epochs) if everything else epochs

    def told(self, epochs: int) -> str:
        """How the winner is trained, in words.

        Args:
            epochs: that are trained.
        """
        if self.refit == "all":
            return f"retrained on train and validation, {epochs} epochs (the best number)"
        return f"retrained on train, {epochs} epochs, the best one chosen on validation"


def check_search(config: SearchFlags) -> None:
    """Refuse a `TF_CONFIG` of several workers, and flags that make no search.

    Raises:
        UserError: naming the flag.
    """
    if workers := training.cluster():
        raise UserError(f"TF_CONFIG names {len(workers.addresses)} workers; {DIVIDES_TRIALS}")
    training.check_ranges(config)
    training.check_directories(config)
    training.check_exclusions(config)
    check_rule(stop_rule(config))
    remote_role()


def check_hyperband(config: Any, epochs: int) -> None:
    """Refuse a budget that Hyperband can do nothing with.

    Args:
        config: with algorithm and max_trials.
        epochs: of a trial that is promoted to the end; 0: the data will say.

    Raises:
        UserError: not even one bracket of two rounds fits into it; says what would. Or nobody says
            how many epochs there are to divide.
    """
    if config.algorithm != "hyperband":
        return
    if not epochs:
        raise UserError(
            "--algorithm hyperband divides a number of epochs, and this recipe chooses its own by "
            "the data: give one, --fix epochs=27 for example"
        )
    rounds_for(config.max_trials, epochs)


def epochs_of_trial(made: Any) -> int:
    """Epochs of a trial that is trained to the end; 0 where the data will say.

    Args:
        made: configuration of the recipe that is tuned.
    """
    return getattr(made, "epochs_by_flags", made.epochs) or 0


def search_is_done(config: Any, run: training.Run) -> bool:
    """Whether there is a winner, and no more budget than it was found with."""
    if not run.finished:
        return False
    found = run.metrics()
    return config.max_trials <= found["max_trials"] and (config.max_minutes or math.inf) <= (
        found["max_minutes"] or math.inf
    )


def stop_rule(config: Any) -> str:
    """How poor trials end: what `--stop-early auto` stands for.

    The median rule where there is Optuna, but not under Hyperband, which stops trials itself.
    """
    if config.stop_early != "auto":
        return config.stop_early
    return "median" if config.algorithm != "hyperband" and can_prune() else "none"


def serve_instead(
    recipe: str, config: Any, trials: Callable[[str], Any], identity: dict[str, Any]
) -> dict[str, object] | None:
    """Run trials for the same command on another machine, if this is a worker (see `wire`).

    Args:
        recipe: name of the recipe.
        config: of the search.
        trials: directory of this worker -> the target of `run_search`.
        identity: as in `run_search`.

    Returns:
        None if this process is to search itself.
    """
    if remote_role() != "worker":
        return None
    from kapps.tuning.workers.agent import serve_chief

    name = os.environ["KERASTUNER_TUNER_ID"]
    directory = f"{config.run_dir or f'runs/{recipe}/search'}-worker-{name}"
    print(f"worker    {name}, own files in {directory}")  # noqa: T201
    count = serve_chief(trials(directory), directory, identity=identity, recycle=config.recycle)
    print(f"the search is over; {count} trials were run here")  # noqa: T201
    return {"trials": count}


def search_with_flags(
    config: Any,
    run: training.Run,
    target: Any,
    space: Any,
    objective: Any,
    *,
    identity: dict[str, Any],
    most_epochs: int,
    **options: Any,
) -> Results:
    """`run_search` with the flags of a recipe, for as long as its budget lasts.

    Args:
        config: with `SearchFlags`, and seed.
        run: where to.
        target: as in `run_search`.
        space: all hyperparameters.
        objective: as in `oracle`.
        identity: as in `run_search`.
        most_epochs: of a trial that Hyperband promotes to the end.
        options: further ones of `run_search`.

    Raises:
        UserError: as in `run_search`, or no trial has ended well: says why they failed and where
            to look.
    """
    from kapps.tuning.hparams import write_hparams
    from kapps.tuning.oracles.factory import oracle
    from kapps.tuning.progress import print_trial
    from kapps.tuning.search import run_search
    from kapps.tuning.state import Budget

    results = run_search(
        target,
        oracle(
            config.algorithm,
            objective,
            space,
            seed=config.seed,
            epochs=most_epochs,
            trials=config.max_trials,
        ),
        run.path,
        identity=identity,
        budget=Budget(trials=config.max_trials, minutes=config.max_minutes),
        executions=config.seeds_per_point,
        stop_early=stop_rule(config),
        workers=config.workers,
        recycle=config.recycle,
        progress=print_trial,
        **options,
    )
    if not results.ended_well:
        told = "; ".join(f"{len(n)} times {why}" for why, n in results.failures().items())
        raise UserError(
            f"no trial succeeded ({told or 'there was no time'}). Their output is in "
            f"{run.path / 'trials'}; raise --max-trials or --max-minutes to continue."
        )
    write_hparams(run.tensorboard / "hparams", results)
    return results


def winner_notes(results: Results, how: str) -> tuple[str, str]:
    """Two sentences on the winner for the report.

    Args:
        results: of the search.
        how: sentence on how it was trained.
    """
    winner = results.best_first()[0]
    return (
        f"The winner is trial {winner.number}: {winner.told}. {how}",
        f"Its objective is the best of {len(results.ended_well)} trials on validation data: "
        "expect less on new data, as on the test split.",
    )


def search_metrics(results: Results, config: Any) -> dict[str, object]:
    """The figures of a search, for metrics.json."""
    winner = results.best_first()[0]
    return {
        "winner": winner.number,
        f"search_{results.objective}": winner.score,
        "trials": len(results.records),
        "trials_failed": sum(record.status == "failed" for record in results.records),
        "trials_pruned": sum(record.status == "pruned" for record in results.records),
        "search_seconds": results.seconds,
        "max_trials": config.max_trials,
        "max_minutes": config.max_minutes,
    }
