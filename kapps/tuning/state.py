"""What a search knows: its oracle, its journal and a record of every trial."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import keras_tuner as kt

from kapps import files
from kapps.errors import UserError
from kapps.tuning import oracles, results
from kapps.tuning.oracles.pruning import Pruner
from kapps.tuning.spaces.points import changes, hyperparameters
from kapps.tuning.workers.journal import Journal

JOURNAL = "search.journal"


@dataclasses.dataclass(frozen=True)
class Budget:
    """When a search ends. It may be larger when the same search goes on.

    Attributes:
        trials: how many may be created; None: until the oracle has no more.
        minutes: of searching, those of earlier processes included; trials that run then are
            stopped, and continued if there is more time another day.
        epochs: of all trials together.
    """

    trials: int | None = None
    minutes: float | None = None
    epochs: int | None = None


class SearchState:
    """Oracle, journal and records: all that is remembered. Arguments as in `run_search`."""

    def __init__(self, oracle, directory, budget, epochs, executions, cost, stop_early, progress):
        self.oracle, self.directory, self.budget = oracle, directory, budget
        self.epochs, self.executions, self.cost = epochs, executions, cost
        self.stop_early, self.progress = stop_early, progress
        self.pruner = Pruner(stop_early, oracle.objective.direction, epochs)
        self.records: dict[str, results.Record] = {}
        self.queue: list[str] = []  # created, with no worker
        self.exhausted = False
        self._before, self._clock = 0.0, time.monotonic()
        self.journal = Journal(directory / JOURNAL)

    @property
    def seconds(self) -> float:
        """Spent, those of earlier processes included."""
        return self._before + time.monotonic() - self._clock

    @property
    def out_of_time(self) -> bool:
        """Whether the budget of minutes is used up."""
        return self.budget.minutes is not None and self.seconds >= 60.0 * self.budget.minutes

    def seconds_left(self) -> float | None:
        """Of the budget; None if there is no limit."""
        if self.budget.minutes is None:
            return None
        return max(0.0, 60.0 * self.budget.minutes - self.seconds)

    def most_further(self) -> int:
        """How many trials could be given to workers that are free now."""
        limits = [n for n in (self.budget.trials, self.oracle.limit) if n is not None]
        further = max(0, min(limits) - len(self.records)) if limits else 1 << 30
        return len(self.queue) + (0 if self.exhausted else further)

    @property
    def _may_create(self) -> bool:
        if self.most_further() <= len(self.queue):
            return False
        if self.budget.epochs is None:
            return True
        # Promoted trials do not train again what they came with.
        spent = sum(record.epochs - self._epochs_before(record) for record in self.records.values())
        return spent < self.budget.epochs

    def _epochs_before(self, record: results.Record) -> int:
        return 0 if record.past is None else self.records[f"{record.past:04d}"].epochs

    def begin(
        self,
        identity: dict[str, Any],
        canonical: Callable[[dict], dict] | None,
        declare: Callable[[dict[str, Any]], dict[str, Any]] | None,
    ) -> None:
        """Take up the journal, or begin one.

        Args:
            identity: what else may not change.
            canonical: as in `run_search`.
            declare: gives the whole space, from what the oracle has of it.

        Raises:
            UserError: the journal is of another search.
        """
        entries, oracle = self.journal.entries, self.oracle
        if declare is not None:
            # All of it before the first trial: Hyperband and a second worker would find it empty.
            given = {
                "space": oracle.hyperparameters.get_config(),
                "tune_new": oracle.tune_new_entries,
                "allow_new": oracle.allow_new_entries,
            }
            oracle.hyperparameters = hyperparameters(declare(given))
        else:
            given = None
        if isinstance(oracle, oracles.HyperbandOracle) and not oracle.hyperparameters.space:
            raise UserError("Hyperband has to know the space before its first trial: declare it")
        if canonical is not None:
            oracle.canonical = canonical
        if self.cost is not None:
            oracle.cost_of = lambda trial: _number(self.records[trial].cost(self.cost))
        if entries:
            oracle.adopt(entries[0]["identity"])
        now = {
            "event": "begin",
            "identity": {
                "algorithm": type(oracle).__name__.removesuffix("Oracle").lower(),
                "objective": oracle.objective.name,
                "direction": oracle.objective.direction,
                "cost": self.cost,
                "epochs": self.epochs,
                "executions": self.executions,
                "stop_early": self.stop_early,
                **oracle.settings(),
                **identity,
            },
            "space": oracle.hyperparameters.get_config(),
            "given": given,
        }
        if not entries:
            self.journal.append(now)
            return
        self._check_same(entries[0], now)
        for entry in entries[1:]:
            self._replay(entry)
        self._before, self._clock = max(e.get("clock", 0.0) for e in entries), time.monotonic()
        for trial, record in self.records.items():
            if record.status in results.OPEN:
                record.status = "queued"
                answer = self.kept(trial)
                if answer is None:
                    self.queue.append(trial)
                else:
                    self.end(trial, answer)

    def _check_same(self, was: dict, now: dict) -> None:
        older, newer = was["identity"], _plain(now["identity"])
        names = [name for name in {**older, **newer} if older.get(name) != newer.get(name)]
        told = [f"{n} (was {older.get(n)!r}, now {newer.get(n)!r})" for n in names]
        told += changes(was["space"], _plain(now["space"]))
        if told:
            raise UserError(
                f"{self.directory} holds another search: {'; '.join(told)}. "
                "Use another --run-dir, or --overwrite to start afresh."
            )

    def _replay(self, entry: dict[str, Any]) -> None:
        if entry["event"] == "created":
            self.oracle.recorded = entry["values"]
            trial = self._ask()
            self.oracle.recorded = None
            values = trial and _plain(trial.hyperparameters.values)
            if trial is None or trial.trial_id != entry["trial"] or values != entry["values"]:
                raise UserError(
                    f"{self.directory}: trial {entry['trial']} was {entry['values']}, and the same "
                    f"oracle now says {values}. Use another --run-dir, or --overwrite to start "
                    "afresh."
                )
            self.records[entry["trial"]] = results.created(entry)
        elif entry["event"] == "ended":
            trial, executions = entry["trial"], entry["answer"].get("executions", ())
            for row in executions[0]["rows"] if executions else ():
                self._is_poor(trial, row)
            self._tell(trial, entry["answer"])

    def has_next(self) -> bool:
        """Whether there is a trial for a worker; if one can be created, it is."""
        if self.queue:
            return True
        trial = self._ask() if self._may_create else None
        if trial is None:
            return False
        number, values = int(trial.trial_id), trial.hyperparameters.values
        if "tuner/trial_id" in values:  # it goes on with what it had
            seeds = self.records[values["tuner/trial_id"]].seeds
        else:
            # The second part keeps them away from the seeds that points are drawn with.
            seeds = [
                oracles.draw_seed(self.oracle.seed, (number + 1) * 1_000_003 + i)
                for i in range(self.executions)
            ]
        entry = {
            "event": "created",
            "trial": trial.trial_id,
            "values": values,
            "seeds": seeds,
            "clock": self.seconds,
        }
        self.journal.append(entry)
        self.records[trial.trial_id] = results.created(entry)
        self.queue.append(trial.trial_id)
        return True

    def next(self) -> dict[str, Any] | None:
        """What a worker is to do; None if there is nothing before other trials end."""
        return self._job(self.queue.pop(0)) if self.has_next() else None

    def requeue(self, trial: str) -> None:
        """The worker of a trial is gone."""
        self.records[trial].status = "queued"
        self.queue.insert(0, trial)

    def _ask(self) -> kt.engine.trial.Trial | None:
        # KerasTuner gives a tuner that asks twice the same trial: each gets a name of its own.
        with oracles.asking():
            trial = self.oracle.create_trial(f"trial-{len(self.oracle.trials)}")
        if trial.status == "RUNNING":
            return trial
        # What runs may still find hyperparameters that were not declared.
        runs = any(record.status == "running" for record in self.records.values())
        self.exhausted = trial.status == "STOPPED" and not runs
        return None

    def _job(self, trial: str) -> dict[str, Any]:
        values = self.oracle.trials[trial].hyperparameters.values
        past = values.get("tuner/trial_id")
        self.records[trial].status = "running"
        return {
            "id": trial,
            "number": int(trial),
            "values": values,
            "space": self.oracle.hyperparameters.get_config()["space"],
            "seeds": self.records[trial].seeds,
            "epochs": values.get("tuner/epochs", self.epochs),
            "directory": str(self._directory(trial)),
            "past": None if past is None else str(self._directory(past)),
            "objective": self.oracle.objective.name,
            "direction": self.oracle.objective.direction,
        }

    def heard(self, trial: str, message: dict[str, Any]) -> bool:
        """Take up the rows of a running trial: is it worth going on?"""
        curve = self.records[trial].curves.setdefault(message["execution"], [])
        known = {row["epoch"] for row in message["rows"]}
        curve[:] = [row for row in curve if row["epoch"] not in known] + message["rows"]
        if message["execution"]:
            return True
        poor = [self._is_poor(trial, row) for row in message["rows"]]
        return not any(poor)

    def _is_poor(self, trial: str, row: dict[str, Any]) -> bool:
        goal = self.oracle.objective.name
        return goal in row and self.pruner.is_poor(trial, row["epoch"], row[goal])

    def end(self, trial: str, answer: dict[str, Any]) -> None:
        """A trial has ended: remember that, then tell the oracle."""
        answer = {key: value for key, value in answer.items() if key != "detail"}
        self.journal.append(
            {"event": "ended", "trial": trial, "answer": answer, "clock": self.seconds}
        )
        self._tell(trial, answer)
        if not isinstance(self.oracle, oracles.HyperbandOracle):
            for kept in self._directory(trial).glob("seed-*/checkpoints"):
                shutil.rmtree(kept, ignore_errors=True)
        found = self.results()
        results.write_table(self.directory / "search.csv", found)
        if self.progress is not None:
            self.progress(self.records[trial], found)

    def _tell(self, trial: str, answer: dict[str, Any]) -> None:
        record = self.records[trial]
        record.end(answer)
        self.pruner.end(trial, record.status, record.score)
        told = self.oracle.trials[trial]
        told.message = record.reason
        told.status = "COMPLETED" if record.ended_well else "FAILED"
        if answer.get("grown"):
            told.hyperparameters = hyperparameters(answer["grown"])
            record.values = results.own_values(told.hyperparameters.values)
        with oracles.asking():
            if record.ended_well:
                metrics = {self.oracle.objective.name: record.score}
                self.oracle.update_trial(trial, metrics, step=record.best_epoch or 0)
            self.oracle.end_trial(told)

    def kept(self, trial: str) -> dict[str, Any] | None:
        """The result of a trial that had ended when it, or this process, was killed."""
        try:
            return files.from_json((self._directory(trial) / "result.json").read_text())
        except (OSError, ValueError):
            return None

    def pause(self, trials: list[str]) -> None:
        """The time is over, and these trials are left for another day."""
        if trials:
            self.journal.append({"event": "paused", "trials": trials, "clock": self.seconds})
        for trial in trials:
            self.records[trial].status = "stopped"
        if self.records:
            results.write_table(self.directory / "search.csv", self.results())

    def results(self) -> results.Results:
        """What was found so far."""
        return results.Results(
            records=list(self.records.values()),
            objective=self.oracle.objective.name,
            direction=self.oracle.objective.direction,
            cost=self.cost,
            space=self.oracle.hyperparameters.get_config(),
            seconds=self.seconds,
            complete=all(record.status not in results.OPEN for record in self.records.values()),
        )

    def _directory(self, trial: str) -> pathlib.Path:
        return self.directory / "trials" / trial


def _number(value: float | None) -> float:
    return float("inf") if value is None else value


def _plain(value: Any) -> Any:
    return files.from_json(files.to_json(value))
