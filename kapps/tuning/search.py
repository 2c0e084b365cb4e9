"""The search: an oracle that says what comes next, workers that try it, a journal that remembers.

This process holds the oracle and the journal and trains nothing, so its memory stays flat. Every
decision goes into the journal before it is acted on. A search that comes back to its journal gives
the oracle the same answers in the same order, and so has it where it was.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

import filelock
import keras_tuner as kt

from kapps.errors import UserError
from kapps.tuning import oracles, results, stopping
from kapps.tuning.spaces.changes import space_changes
from kapps.tuning.spaces.points import hyperparameters
from kapps.tuning.workers import pool, remote, worker
from kapps.tuning.workers.journal import Journal

JOURNAL = "search.journal"
STILLBORN = 3  # workers in a row that end before they are ready


@dataclasses.dataclass(frozen=True)
class Budget:
    """When a search ends. It may be larger when the same search goes on.

    Attributes:
        trials: how many may be created; None: until the oracle has no more.
        minutes: of searching, those of earlier processes included; trials that run then are cut
            off, and continued if there is more time another day.
        epochs: of all trials together.
    """

    trials: int | None = None
    minutes: float | None = None
    epochs: int | None = None


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
            `workers` it is pickled. If the oracle's space is empty, `target.declare()` gives it.
        oracle: KerasTuner's, or one of `kapps.tuning.oracle`.
        directory: the journal, and a directory per trial.
        identity: what else may not change under a search: the fingerprint of the data, say.
        canonical: brings the values of a point into the form that they are tried in.
        budget: when to end.
        epochs: of each trial; Hyperband decides for itself.
        executions: how many seeds each point is tried with; their mean counts.
        cost: with the objective a Pareto pair: "parameters", "multiply_adds", "seconds" or
            "peak_memory_mb", the smaller the better. Hyperband promotes by fronts, TPE looks for
            both; random and grid search note it.
        stop_early: a name in `kapps.tuning.stopping.RULES`.
        workers: processes on this machine; 0: none, trials run in this one.
        recycle: trials after which a worker is replaced, so that what TensorFlow keeps goes away.
        environment: for the workers, in addition.
        progress: called after every trial.

    Raises:
        UserError: the directory belongs to another search (what differs is named) or is in use;
            the target cannot be sent to a worker, or no worker starts.
    """
    oracle = oracles.adopted(oracle)
    _check(oracle, cost, stop_early, executions, workers)
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(directory / ".search.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(f"{directory} is in use by another search. Wait for it to end.") from None
    running = None
    try:
        running = _Search(
            target, oracle, directory, budget, epochs, executions, cost, stop_early, progress
        )
        hands = _hands(running, target, workers, recycle, environment or {})
        with hands:
            running.begin(identity or {}, canonical, hands)
            hands.work()
        return running.results()
    finally:
        if running is not None:
            running.journal.close()
        lock.release()


def _check(oracle, cost, stop_early, executions, workers) -> None:
    if stop_early not in stopping.RULES:
        raise UserError(f"early stop {stop_early!r}: it is one of {', '.join(stopping.RULES)}")
    if isinstance(oracle, oracles.HyperbandOracle) and stop_early != "none":
        raise UserError("Hyperband stops poor trials itself: no early stop with it")
    if cost is not None and cost not in results.COSTS:
        raise UserError(f"cost {cost!r}: it is one of {', '.join(results.COSTS)}")
    if cost is not None and isinstance(oracle, oracles.BayesianOracle):
        raise UserError(
            "the Gaussian process looks for one objective: use tpe, hyperband, random or grid "
            "with a cost"
        )
    if executions < 1 or workers < 0:
        raise UserError("at least one seed per point, and 0 workers or more")


class _Search:
    """Oracle, journal and records: all that is remembered."""

    def __init__(
        self, target, oracle, directory, budget, epochs, executions, cost, stop_early, progress
    ):
        self.target, self.oracle, self.directory, self.budget = target, oracle, directory, budget
        self.epochs, self.executions, self.cost = epochs, executions, cost
        self.stop_early, self.progress = stop_early, progress
        self.records: dict[str, results.Record] = {}
        self.waiting: list[str] = []  # created, not ended, with nobody
        self.exhausted = False
        self._before, self._clock = 0.0, time.monotonic()
        self.journal = Journal(directory / JOURNAL)

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._clock

    @property
    def out_of_time(self) -> bool:
        return self.budget.minutes is not None and self.seconds >= 60.0 * self.budget.minutes

    def seconds_left(self) -> float | None:
        if self.budget.minutes is None:
            return None
        return max(0.0, 60.0 * self.budget.minutes - self.seconds)

    @property
    def has_more(self) -> bool:
        """Whether the budget and the space may have another trial."""
        if self.waiting:
            return True
        limits = [n for n in (self.budget.trials, self.oracle.limit) if n is not None]
        if self.exhausted or (limits and len(self.records) >= min(limits)):
            return False
        if self.budget.epochs is None:
            return True
        # Promoted trials do not train again what they came with.
        spent = sum(record.epochs - self._epochs_before(record) for record in self.records.values())
        return spent < self.budget.epochs

    def _epochs_before(self, record: results.Record) -> int:
        return 0 if record.past is None else self.records[f"{record.past:04d}"].epochs

    def begin(self, identity, canonical, hands) -> None:
        self.identity = _plain(identity)
        entries = self.journal.entries
        if not self.oracle.hyperparameters.space:
            # Declared now: Hyperband and a second worker would find an empty space.
            known = entries[0]["space"] if entries else hands.declared()
            self.oracle.hyperparameters = hyperparameters(known)
        if canonical is not None:
            self.oracle.canonical = canonical
        if self.cost is not None:
            self.oracle.cost_of = lambda trial: _number(self.records[trial].cost(self.cost))
        now = {
            "event": "begin",
            "identity": {
                "algorithm": type(self.oracle).__name__.removesuffix("Oracle").lower(),
                "objective": self.oracle.objective.name,
                "direction": self.oracle.objective.direction,
                "cost": self.cost,
                "seed": self.oracle.seed,
                "epochs": self.epochs,
                "executions": self.executions,
                "stop_early": self.stop_early,
                **{
                    name: getattr(self.oracle, name)
                    for name in ("max_epochs", "factor", "hyperband_iterations")
                    if hasattr(self.oracle, name)
                },
                **identity,
            },
            "space": self.oracle.hyperparameters.get_config(),
        }
        if not entries:
            self.journal.append(now)
            return
        self._check_same(entries[0], now)
        for entry in entries[1:]:
            self._replay(entry)
        self._before, self._clock = max(e.get("clock", 0.0) for e in entries), time.monotonic()
        for trial in self.records:
            if self.records[trial].status == "running":
                answer = self.kept(trial)
                if answer is None:
                    self.waiting.append(trial)
                else:
                    self.end(trial, answer)

    def _check_same(self, was: dict, now: dict) -> None:
        older, newer = was["identity"], _plain(now["identity"])
        names = [name for name in {**older, **newer} if older.get(name) != newer.get(name)]
        told = [f"{n} (was {older.get(n)!r}, now {newer.get(n)!r})" for n in names]
        changes = space_changes(was["space"], _plain(now["space"]))
        if told or changes:
            raise UserError(
                f"{self.directory} holds another search: {'; '.join([*told, *changes])}. "
                "Use another --run-dir, or --overwrite to start afresh."
            )

    def _replay(self, entry: dict[str, Any]) -> None:
        if entry["event"] == "created":
            self.oracle.recorded = entry["values"]
            trial = self._ask()
            self.oracle.recorded = None
            if trial is None or trial.trial_id != entry["trial"]:
                raise UserError(f"{self.journal.path} does not fit this version of KerasTuner")
            values = trial.hyperparameters.values
            if _plain(values) != entry["values"]:
                raise UserError(
                    f"{self.directory}: trial {entry['trial']} was {entry['values']}, and the same "
                    f"oracle now says {values}. Use another --run-dir, or --overwrite to start "
                    "afresh."
                )
            self.records[entry["trial"]] = results.created(entry)
        elif entry["event"] == "ended":
            self._tell(entry["trial"], entry["answer"])

    def next(self) -> dict[str, Any] | str:
        """What a worker is to do: a job, "wait" for others to end, or "stop"."""
        if self.out_of_time:
            return "stop"
        if self.waiting:
            return self._job(self.waiting.pop(0))
        if not self.has_more:
            return "stop"
        trial = self._ask()
        if trial is None:
            return "stop" if self.exhausted else "wait"
        number = int(trial.trial_id)
        values = trial.hyperparameters.values
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
        return self._job(trial.trial_id)

    def _ask(self) -> kt.engine.trial.Trial | None:
        # KerasTuner gives a tuner that asks twice the same trial: each gets a name of its own.
        with oracles.asking():
            trial = self.oracle.create_trial(f"trial-{len(self.oracle.trials)}")
        if trial.status == "RUNNING":
            return trial
        self.exhausted = trial.status == "STOPPED"
        return None

    def _job(self, trial: str) -> dict[str, Any]:
        values = self.oracle.trials[trial].hyperparameters.values
        past = values.get("tuner/trial_id")
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
        if self.stop_early == "none" or message["execution"]:
            return True
        peers = [
            self._curve(record)
            for other, record in self.records.items()
            if other != trial and (self.stop_early == "asha" or record.ended_well)
        ]
        poor = stopping.rule(self.stop_early, self.epochs)
        return not poor(self._curve(self.records[trial]), peers)

    def _curve(self, record: results.Record) -> list[float]:
        goal = self.oracle.objective
        sign = 1.0 if goal.direction == "max" else -1.0
        return [sign * r[goal.name] for r in record.curves.get(0, ()) if goal.name in r]

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
        results.write_table(self.directory / "search.csv", self.results())
        if self.progress is not None:
            self.progress(self.records[trial], self.results())

    def _tell(self, trial: str, answer: dict[str, Any]) -> None:
        record = self.records[trial]
        record.end(answer)
        told = self.oracle.trials[trial]
        told.message = record.reason
        told.status = "COMPLETED" if record.ended_well else "FAILED"
        if answer.get("grown"):
            told.hyperparameters = hyperparameters(answer["grown"])
            record.values = {
                name: value
                for name, value in told.hyperparameters.values.items()
                if not name.startswith(results.RESERVED)
            }
        with oracles.asking():
            if record.ended_well:
                metrics = {self.oracle.objective.name: record.score}
                self.oracle.update_trial(trial, metrics, step=record.best_epoch or 0)
            self.oracle.end_trial(told)

    def kept(self, trial: str) -> dict[str, Any] | None:
        """The result of a trial that had ended when it, or this process, was killed."""
        try:
            return json.loads((self._directory(trial) / "result.json").read_text())
        except (OSError, ValueError):
            return None

    def pause(self) -> None:
        """The time is over, and trials that run are left for another day."""
        self.journal.append({"event": "paused", "clock": self.seconds})

    def results(self) -> results.Results:
        return results.Results(
            records=list(self.records.values()),
            objective=self.oracle.objective.name,
            direction=self.oracle.objective.direction,
            cost=self.cost,
            space=self.oracle.hyperparameters.get_config(),
            seconds=self.seconds,
            complete=all(record.status != "running" for record in self.records.values()),
        )

    def _directory(self, trial: str) -> pathlib.Path:
        return self.directory / "trials" / trial


def _hands(running: _Search, target, workers: int, recycle: int, environment: dict[str, str]):
    if remote.remote_role() == "chief":
        return _Chief(running, target)
    if workers == 0:
        return _Here(running, target)
    return _Processes(running, pool.pickled(target), workers, recycle, environment)


class _Chief:
    """Trials on other machines, by whoever comes and asks."""

    def __init__(self, running: _Search, target: Any):
        self.running, self.target = running, target
        self.workers: list[remote.RemoteWorker] = []
        self.lost: dict[str, int] = {}  # how many workers went away with a trial

    def __enter__(self) -> _Chief:
        self.door = remote.Door()
        return self

    def __exit__(self, *exception: object) -> None:
        self.door.close()
        for one in self.workers:
            one.close()

    def declared(self) -> dict[str, Any]:
        return _space(worker.declared(self.target))

    def work(self) -> None:
        while True:
            self.workers += self.door.arrivals()
            for one in [one for one in self.workers if one.silent]:
                self._bury(one)
            for one in [one for one in self.workers if one.ready and one.busy is None]:
                job = self.running.next()
                if not isinstance(job, dict):
                    break
                one.busy = job["id"]
                one.send({"do": "run", "trial": job})
            busy = [one for one in self.workers if one.busy is not None]
            if self.running.out_of_time:
                self.running.pause()
                return
            if not busy and not self.running.has_more:
                return
            left = self.running.seconds_left()
            pause = remote.BEAT if left is None else min(left, remote.BEAT)
            ready = wait([self.door.bell, *(one.connection for one in self.workers)], pause)
            for one in [one for one in self.workers if one.connection in ready]:
                self._listen(one)

    def _listen(self, one: remote.RemoteWorker) -> None:
        message = one.receive()
        if message is None:
            self._bury(one)
        elif message["is"] == "hello":
            one.name = f"worker {message['name']}"
            others = [
                f"{name} ({message['identity'].get(name)!r} there, {value!r} here)"
                for name, value in self.running.identity.items()
                if message["identity"].get(name) != value
            ]
            if others:
                one.send({"do": "exit", "why": f"another {', '.join(others)}"})
                self._bury(one)
        elif message["is"] == "ready":
            one.ready = True
        elif message["is"] == "rows" and one.busy is not None:
            go_on = self.running.heard(one.busy, message)
            one.send({"do": "go" if go_on else "stop"})
        elif message["is"] in ("ended", "failed", "fatal") and one.busy is not None:
            _raise_fatal(message)
            trial, one.busy = one.busy, None
            self.running.end(trial, message)

    def _bury(self, one: remote.RemoteWorker) -> None:
        """A worker is gone, which is no fault of its trial: another goes on with that."""
        self.workers.remove(one)
        one.close()
        if one.busy is None:
            return
        self.lost[one.busy] = self.lost.get(one.busy, 0) + 1
        answer = self.running.kept(one.busy)
        if answer is None and self.lost[one.busy] >= STILLBORN:
            answer = {"is": "failed", "reason": f"{one.obituary()}, {STILLBORN} times"}
        if answer is None:
            self.running.waiting.insert(0, one.busy)
        else:
            self.running.end(one.busy, answer)


class _Here:
    """Trials in this process: no isolation, no waiting for processes."""

    def __init__(self, running: _Search, target: Any):
        self.running, self.target = running, target

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def declared(self) -> dict[str, Any]:
        return _space(worker.declared(self.target))

    def work(self) -> None:
        while isinstance(job := self.running.next(), dict):
            trial = job["id"]

            def tell(message: dict[str, Any], trial: str = trial) -> bool:
                if self.running.out_of_time:
                    raise _OutOfTime
                return self.running.heard(trial, message)

            try:
                answer = worker.attempt(self.target, job, tell)
            except _OutOfTime:
                self.running.pause()
                return
            _raise_fatal(answer)
            self.running.end(trial, answer)


class _OutOfTime(BaseException):
    """Nobody catches it by mistake."""


class _Processes:
    """Trials in worker processes."""

    def __init__(self, running, blob, workers, recycle, environment):
        self.running, self.blob, self.recycle = running, blob, recycle
        self.environments = [
            {**share, **environment} for share in pool.environments(workers, pool.visible_gpus())
        ]
        self.workers: list[pool.LocalWorker] = []
        self.stillborn = 0

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *exception: object) -> None:
        for one in self.workers:
            one.close()

    def declared(self) -> dict[str, Any]:
        one = self._start(0)
        while True:
            message = one.receive()
            if message is None:
                raise UserError(f"the space could not be found: {one.obituary()}")
            if message["is"] == "ready":
                one.ready = True
                one.send({"do": "declare"})
                continue
            return _space(message)

    def work(self) -> None:
        number = len(self.workers)
        while number < len(self.environments) and (number == 0 or self._wanted(number)):
            self._start(number)
            number += 1
        while True:
            for one in [one for one in self.workers if one.ready and one.busy is None]:
                job = self.running.next()
                if not isinstance(job, dict):
                    break
                one.busy = job["id"]
                one.send({"do": "run", "trial": job})
            if self.running.out_of_time:
                if any(one.busy for one in self.workers):
                    self.running.pause()
                return
            if not any(one.busy for one in self.workers) and self._nothing_left():
                return
            ready = wait([one.connection for one in self.workers], self.running.seconds_left())
            for one in [one for one in self.workers if one.connection in ready]:
                self._listen(one)

    def _wanted(self, number: int) -> bool:
        """Whether there can be work for one more."""
        trials = self.running.budget.trials
        return trials is None or number < trials

    def _nothing_left(self) -> bool:
        if not any(one.ready for one in self.workers):
            return False
        job = self.running.next()
        if isinstance(job, dict):
            self.running.waiting.insert(0, job["id"])
            return False
        return True

    def _listen(self, one: pool.LocalWorker) -> None:
        message = one.receive()
        if message is None:
            self._bury(one)
        elif message["is"] == "ready":
            one.ready, self.stillborn = True, 0
        elif message["is"] == "broken":
            raise UserError(f"a worker cannot load what is to be tried: {message['reason']}")
        elif message["is"] == "rows":
            go_on = self.running.heard(one.busy, message)
            one.send({"do": "go" if go_on else "stop"})
        else:
            _raise_fatal(message)
            trial, one.busy = one.busy, None
            one.trials += 1
            self.running.end(trial, message)
            if one.trials >= self.recycle and self.running.has_more:
                self.workers.remove(one)
                one.close()
                self._start(one.number)

    def _bury(self, one: pool.LocalWorker) -> None:
        """A worker is gone: its trial has failed, and another takes its place."""
        why = one.obituary()
        self.workers.remove(one)
        self.stillborn += not one.ready
        trial = one.busy
        one.close()
        if self.stillborn >= STILLBORN:
            raise UserError(f"no worker process starts: {why}. Its output: {self._log(one.number)}")
        if trial is not None:
            self.running.end(trial, self.running.kept(trial) or {"is": "failed", "reason": why})
        if self.running.has_more:
            self._start(one.number)

    def _start(self, number: int) -> pool.LocalWorker:
        one = pool.LocalWorker(number, self.blob, self.environments[number], self._log(number))
        self.workers.append(one)
        return one

    def _log(self, number: int) -> pathlib.Path:
        return self.running.directory / f"worker-{number}.log"


def _space(message: dict[str, Any]) -> dict[str, Any]:
    if message["is"] != "declared":
        if message.get("detail"):
            sys.stderr.write(message["detail"])
        raise UserError(f"the space could not be found: {message['reason']}")
    return message["space"]


def _raise_fatal(message: dict[str, Any]) -> None:
    if message["is"] == "fatal":
        raise UserError(f"the search cannot go on: {message['reason']}")


def _number(value: float | None) -> float:
    return float("inf") if value is None else value


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
