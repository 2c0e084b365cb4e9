"""What a search has found: a record per trial, and the table of them. No TensorFlow needed."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from kapps import files
from kapps.tuning.workers import journal

COSTS = ("parameters", "multiply_adds", "seconds", "peak_memory_mb")
RESERVED = "tuner/"  # what Hyperband writes among the values of a point
OPEN = ("queued", "running", "stopped")  # states of trials that are still to end


@dataclasses.dataclass
class Record:
    """A trial.

    Attributes:
        number: from 0, in the order of creation.
        values: active hyperparameters by name, Hyperband's own left out.
        seeds: one per execution.
        status: "queued", "running", "completed", "failed", "stopped" (the time was over) or
            "pruned" (ended early by a rule).
        reason: why it failed.
        score: the objective, averaged over its executions, each at its best epoch.
        deviation: standard deviation of the executions, None if there is one only.
        best_epoch: the median over executions.
        epochs: that it was trained for.
        metrics: further figures of the best epoch, averaged.
        facts: parameters, multiply_adds and others.
        seconds: of training, those of earlier processes included.
        peak_memory_mb: of its worker process.
        curves: rows by execution, a dictionary per epoch.
        past: number of the trial that was promoted to this one, None if it began afresh.
        bracket: of Hyperband, None elsewhere.
        round: of the bracket, from 0.
    """

    number: int
    values: dict[str, Any]
    seeds: list[int]
    status: str = "queued"
    reason: str | None = None
    score: float | None = None
    deviation: float | None = None
    best_epoch: int | None = None
    epochs: int = 0
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float | None = None
    peak_memory_mb: float | None = None
    curves: dict[int, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    past: int | None = None
    bracket: int | None = None
    round: int | None = None

    @property
    def ended_well(self) -> bool:
        """Whether it has a score."""
        return self.score is not None

    @property
    def known_score(self) -> float:
        """The score of a trial that has one; NaN of the others."""
        return math.nan if self.score is None else self.score

    @property
    def told(self) -> str:
        """The point in words."""
        return ", ".join(f"{name} {_short(value)}" for name, value in self.values.items())

    def cost(self, name: str) -> float | None:
        """One of `COSTS`."""
        value = self.facts.get(name, getattr(self, name, None))
        return None if value is None else float(value)

    def end(self, answer: dict[str, Any]) -> None:
        """Take up what a worker said at the end of the trial."""
        if answer["is"] != "ended":
            self.status, self.reason = "failed", answer["reason"]
            return
        done = answer["executions"]
        scores = [d["score"] for d in done]
        self.status = "pruned" if answer["pruned"] else "completed"
        self.score = sum(scores) / len(scores)
        if len(scores) > 1:
            square = sum((score - self.score) ** 2 for score in scores)
            self.deviation = math.sqrt(square / (len(scores) - 1))
        self.best_epoch = sorted(d["best_epoch"] for d in done)[len(done) // 2]
        self.epochs = max(d["epochs"] for d in done)
        names = [n for n in done[0]["metrics"] if all(n in d["metrics"] for d in done)]
        self.metrics = {n: sum(d["metrics"][n] for d in done) / len(done) for n in names}
        self.facts = done[-1]["facts"]
        self.seconds = sum(d["seconds"] for d in done)
        peaks = [d["peak_memory_mb"] for d in done if "peak_memory_mb" in d]
        self.peak_memory_mb = max(peaks, default=None)
        self.curves = {i: d["rows"] for i, d in enumerate(done)}


@dataclasses.dataclass(frozen=True)
class Results:
    """All trials of a search.

    Attributes:
        records: by number.
        objective: name of the figure.
        direction: "min" or "max": where it is best.
        cost: name of the second one, to be small, or None.
        space: `HyperParameters.get_config()`.
        seconds: spent, over all processes.
        complete: whether the budget is used up or the space is exhausted.
    """

    records: list[Record]
    objective: str
    direction: str
    cost: str | None
    space: dict[str, Any]
    seconds: float
    complete: bool

    @property
    def ended_well(self) -> list[Record]:
        """Trials that have a score, in the order of creation."""
        return [record for record in self.records if record.ended_well]

    def best_first(self) -> list[Record]:
        """Trials that have a score, the best one first; of the same point, the longest trained."""
        sign = -1.0 if self.direction == "max" else 1.0
        return sorted(self.ended_well, key=lambda r: (sign * r.known_score, -r.epochs, r.number))

    def front(self, cost: str | None = None) -> list[Record]:
        """The trials that no other beats in both the objective and a cost, the cheapest first."""
        cost = cost or self.cost or "multiply_adds"
        sign = -1.0 if self.direction == "max" else 1.0
        costs = {
            record.number: value
            for record in self.ended_well
            if (value := record.cost(cost)) is not None and math.isfinite(value)
        }
        known = [record for record in self.ended_well if record.number in costs]
        points = {r.number: (costs[r.number], sign * r.known_score) for r in known}
        front: list[Record] = []
        for record in sorted(known, key=lambda r: (points[r.number], r.number)):
            last = points[front[-1].number] if front else (math.inf, math.inf)
            if points[record.number][1] < last[1] or points[record.number] == last:
                front.append(record)
        return front

    def failures(self) -> dict[str, list[int]]:
        """Numbers of failed trials by reason, the most frequent first."""
        found: dict[str, list[int]] = {}
        for record in self.records:
            if record.status == "failed":
                found.setdefault(record.reason or "unknown", []).append(record.number)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    def names(self) -> list[str]:
        """Names of the hyperparameters in the order of their declaration."""
        declared = dict.fromkeys(p["config"]["name"] for p in self.space["space"])
        used = dict.fromkeys(name for record in self.records for name in record.values)
        return list(declared | used)


def write_table(path: str | os.PathLike, results: Results) -> None:
    """Write search.csv: a line per trial, hyperparameters that are not active left empty."""
    names = results.names()
    columns = [
        *("trial", "status", results.objective, "deviation", "best_epoch", "epochs"),
        *COSTS,
        *("seed", "promoted_from", "bracket", "round"),
        *names,
        "reason",
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for r in results.records:
        writer.writerow(
            [
                *(r.number, r.status, _cell(r.score), _cell(r.deviation), _cell(r.best_epoch)),
                r.epochs,
                *(_cell(r.cost(name)) for name in COSTS),
                *(" ".join(map(str, r.seeds)), _cell(r.past), _cell(r.bracket), _cell(r.round)),
                *(_cell(r.values.get(name)) for name in names),
                r.reason or "",
            ]
        )
    files.write_text(path, text.getvalue())


def _short(value: Any) -> str:
    """For a sentence; the table has all digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return "" if value is None else value


def from_entries(entries: Sequence[dict[str, Any]], complete: bool = False) -> Results:
    """Results out of the entries of a journal (`kapps.tuning.journal`)."""
    begin = entries[0]
    records: dict[str, Record] = {}
    space, seconds = begin["space"], 0.0
    for entry in entries[1:]:
        seconds = entry.get("clock", seconds)
        if entry["event"] == "created":
            records[entry["trial"]] = created(entry)
        elif entry["event"] == "paused":
            for trial in entry["trials"]:
                records[trial].status = "stopped"
        elif entry["event"] == "ended":
            records[entry["trial"]].end(entry["answer"])
            space = entry["answer"].get("grown") or space
    return Results(
        records=list(records.values()),
        objective=begin["identity"]["objective"],
        direction=begin["identity"]["direction"],
        cost=begin["identity"]["cost"],
        space=space,
        seconds=seconds,
        complete=complete,
    )


def own_values(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a point without what Hyperband writes among them."""
    return {name: value for name, value in values.items() if not name.startswith(RESERVED)}


def created(entry: dict[str, Any]) -> Record:
    """The record of a trial that has just been created."""
    values = entry["values"]
    past = values.get("tuner/trial_id")
    return Record(
        number=int(entry["trial"]),
        values=own_values(values),
        seeds=entry["seeds"],
        past=None if past is None else int(past),
        bracket=values.get("tuner/bracket"),
        round=values.get("tuner/round"),
    )


def read_results(path: str | os.PathLike) -> Results:
    """The results of a search so far.

    Args:
        path: its directory.
    """
    return from_entries(journal.read(pathlib.Path(path, "search.journal"))[0])
