"""What the recipes that search have in common: their flags, and when there is nothing left to do.

Read before TensorFlow is imported.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from typing import Any, ClassVar, Literal

from kapps import training
from kapps.errors import UserError
from kapps.tuning.oracles.brackets import rounds_for
from kapps.tuning.oracles.pruning import can_prune, check_rule
from kapps.tuning.results import Results
from kapps.tuning.workers.wire import remote_role

# Why TF_CONFIG is refused, and what to do instead.
DIVIDES_TRIALS = (
    "a search divides its trials over machines, not their batches: unset TF_CONFIG, and start this "
    "command on each machine with KERASTUNER_TUNER_ID (chief, or a name of its own), "
    "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT (the chief's), and KAPPS_TUNER_KEY (a secret)"
)


@dataclasses.dataclass(frozen=True)
class SearchFlags:
    """How points are sought, and for how long."""

    algorithm: Literal["random", "grid", "bayesian", "hyperband", "tpe", "tpe_local"] = "random"
    """what says which point comes next; tpe, and tpe_local (neighbours, too), need optuna"""
    max_trials: training.PositiveInt = 20
    """budget in trials, those of earlier processes included"""
    max_minutes: training.Positive | None = None
    """budget in minutes of searching; trials that run then go on if there is more another day"""
    workers: training.NonNegativeInt = 1
    """processes that try points at the same time; 0 tries them in this one"""
    recycle: training.PositiveInt = 50
    """trials after which a worker process gives way to a new one, so that its memory stays small"""
    seeds_per_point: training.PositiveInt = 1
    """how often each point is tried, with seeds one after the other; the mean counts"""
    stop_early: Literal["auto", "none", "median", "asha"] = "auto"
    """how poor trials end; auto: by the median rule, but not under Hyperband"""

    EXCLUSIONS: ClassVar[training.Exclusions] = (
        (
            lambda c: c.algorithm == "hyperband" and c.stop_early not in ("auto", "none"),
            "--stop-early: Hyperband stops poor trials itself",
        ),
    )


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
        epochs: of a trial that is promoted to the end.

    Raises:
        UserError: not even one bracket of two rounds fits into it; says what would.
    """
    if config.algorithm == "hyperband":
        rounds_for(config.max_trials, epochs)


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


def check_found(results: Results, directory: pathlib.Path) -> None:
    """There has to be a trial that can win.

    Raises:
        UserError: none has ended well; says why they failed and where to look.
    """
    if results.ended_well:
        return
    told = "; ".join(f"{len(n)} times {why}" for why, n in results.failures().items())
    raise UserError(
        f"no trial has ended well ({told or 'there was no time'}). Their output is in "
        f"{directory / 'trials'}; more --max-trials or --max-minutes go on."
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
