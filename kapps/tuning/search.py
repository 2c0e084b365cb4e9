"""The search: an oracle that says what comes next, workers that try it, a journal that remembers.

This process holds the oracle and the journal and trains nothing, so its memory stays flat. Every
decision goes into the journal before it is acted on. A search that comes back to its journal gives
the oracle the same answers in the same order, and so has it where it was.
"""

from __future__ import annotations

import copy
import pathlib
from collections.abc import Callable
from typing import Any

import filelock
import keras_tuner as kt

from kapps.errors import UserError
from kapps.tuning import oracles, results
from kapps.tuning.dispatch import Dispatcher
from kapps.tuning.oracles.pruning import check_rule
from kapps.tuning.state import Budget, SearchState
from kapps.tuning.workers.chief import Machines
from kapps.tuning.workers.inline import InThisProcess
from kapps.tuning.workers.pool import Processes, pickled
from kapps.tuning.workers.wire import remote_role


def run_search(
    target: Any,
    oracle: kt.Oracle,
    directory: str | pathlib.Path,
    *,
    identity: dict[str, Any] | None = None,
    canonical: Callable[[dict], dict] | None = None,
    budget: Budget = Budget(trials=20),  # noqa: B008 (frozen)
    epochs: int | None = None,
    executions: int = 1,
    cost: str | None = None,
    stop_early: str = "none",
    workers: int = 1,
    recycle: int = 50,
    environment: dict[str, str] | None = None,
    progress: Callable[[results.Record, results.Results], None] | None = None,
) -> results.Results:
    """Try points until the budget is used up. The same call goes on where a killed one was.

    Args:
        target: called with a `Trial` for every seed of every point, in a worker process; returns
            the objective, a dictionary with it, or None if `Trial.report` has been told. With
            `workers` it is pickled. If it has a method `declare`, that gives the space: it is
            called with the oracle.
        oracle: KerasTuner's, or one of `kapps.tuning.oracle`. It stays as it is.
        directory: the journal, and a directory per trial.
        identity: what else may not change under a search: the fingerprint of the data, say.
        canonical: brings the values of a point into the form that they are tried in.
        budget: when to end.
        epochs: of each trial; Hyperband decides for itself.
        executions: how many seeds each point is tried with; their mean counts.
        cost: with the objective a Pareto pair: "parameters", "multiply_adds", "seconds" or
            "peak_memory_mb", the smaller the better. TPE looks for both (Optuna's sampler of two
            objectives); random and grid search note it.
        stop_early: "none", "median" or "asha" (`kapps.tuning.oracles.pruning`).
        workers: processes on this machine; 0: none, trials run in this one.
        recycle: trials after which a worker is replaced, so that what TensorFlow keeps goes away.
        environment: for the workers, in addition.
        progress: called after every trial.

    Raises:
        UserError: the directory belongs to another search (what differs is named) or is in use;
            the target cannot be sent to a worker, or no worker starts.
    """
    oracle = copy.deepcopy(oracles.adopted(oracle))
    _check(oracle, cost, stop_early, executions, workers)
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(directory / ".search.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(f"{directory} is in use by another search. Wait for it to end.") from None
    state = None
    try:
        state = SearchState(
            oracle, directory, budget, epochs, executions, cost, stop_early, progress
        )
        if remote_role() == "chief":
            crew = Machines(target, identity or {})
        elif workers == 0:
            crew = InThisProcess(target)
        else:
            crew = Processes(pickled(target), workers, recycle, environment or {}, directory)
        with crew:
            declare = crew.declared if hasattr(target, "declare") else None
            state.begin(identity or {}, canonical, declare)
            Dispatcher(state, crew).run()
        return state.results()
    finally:
        if state is not None:
            state.journal.close()
        lock.release()


def _check(oracle, cost, stop_early, executions, workers) -> None:
    check_rule(stop_early)
    if isinstance(oracle, oracles.HyperbandOracle) and stop_early != "none":
        raise UserError("Hyperband stops poor trials itself: no early stop with it")
    if cost is not None and cost not in results.COSTS:
        raise UserError(f"cost {cost!r}: it is one of {', '.join(results.COSTS)}")
    if cost is not None and not oracle.takes_cost:
        raise UserError("that algorithm looks for one objective: with a cost use tpe, random, grid")
    if executions < 1 or workers < 0:
        raise UserError("at least one seed per point, and 0 workers or more")
