"""Figures, tables and sentences of a comparison of optimizers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kapps import training
from kapps.errors import UserError
from kapps.evaluation import plots
from kapps.evaluation.classic import standings
from kapps.evaluation.classic.standings import Standing, judge_standings, standing
from kapps.evaluation.classic.surfaces import SURFACES
from kapps.evaluation.explanation import Explanation
from kapps.evaluation.report.terminal import file_name

Table = tuple[str, Sequence[str], Sequence[Sequence]]
STEPS, PICTURES = "Step", "Pictures seen"
ARRIVED = 1e-6  # distance from a minimum, where float32 ends


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One candidate, measured.

    Attributes:
        groups: comparisons it is part of: "optimizers", "batch sizes", "schedules".
        standing: its figures.
        curves: one per seed at its rate, as `training.Cells.run` returns them.
        tried: validation loss of every seed, [seeds], by the rates that were tried.
    """

    groups: tuple[str, ...]
    standing: Standing
    curves: Sequence[Mapping[str, Any]]
    tried: Mapping[float, np.ndarray]

    @property
    def line(self) -> str:
        """What the terminal says when it has trained."""
        found = self.standing
        return (
            f"{found.label:<24}rate {found.learning_rate:<8.3g} of {len(self.tried)} tried   "
            f"validation loss {found.val_loss.mean():.4f}   "
            f"accuracy {found.val_accuracy.mean():.2%}"
        )


def contestant(
    label: str,
    groups: tuple[str, ...],
    tried: training.TriedRates,
    *,
    batch_size: int,
    measurements: int,
    target: float,
) -> Contestant:
    """A candidate by what it has done at all rates.

    Args:
        label: what it is called.
        groups: comparisons that it is part of.
        tried: what `training.try_rates` returns.
        batch_size: images per step.
        measurements: how many there are in an epoch.
        target: validation accuracy until which steps are counted.
    """
    found = standing(
        label,
        tried.curves[tried.rate],
        batch_size=batch_size,
        learning_rate=tried.rate,
        at_edge=tried.at_edge,
        measurements=measurements,
        target=target,
    )
    losses = {
        rate: training.lowest_losses(curves, measurements) for rate, curves in tried.curves.items()
    }
    return Contestant(groups, found, tried.curves[tried.rate], losses)


def winner_history(
    again: Mapping[str, Any],
    first: Mapping[str, Any],
    measurements: int,
    *,
    images: int,
    seconds: Sequence[float],
    flow: Sequence[Any] = (),
) -> training.History:
    """The history of a winner that was trained again, to keep its model.

    Args:
        again: what `training.Cells.run` has returned this time.
        first: what it had returned in the comparison.
        measurements: how many there are in an epoch.
        images: that a training of the comparison has seen.
        seconds: that each of these trainings took.
        flow: what `--gradient-flow` has added.
    """
    rows, notes = epoch_rows(again, measurements), ()
    if again["val_loss"] != first["val_loss"]:
        notes = ("retraining the winner was not bit-identical: figures differ slightly",)
    return training.History(
        rows,
        best_epoch=1 + min(range(len(rows)), key=lambda i: rows[i]["val_loss"]),
        train_seconds=sum(seconds),
        examples_per_second=len(seconds) * images / sum(seconds),
        notes=notes,
        gradient_flow=tuple(flow),
    )


def explain_comparison(
    contestants: Sequence[Contestant],
    paths: Mapping[str, Mapping[str, np.ndarray]],
    rates: Mapping[str, Mapping[str, float]],
    winner: Explanation,
    *,
    target: float,
    seed: int = 0,
) -> Explanation:
    """All that a comparison of optimizers shows, and its winner by itself.

    Args:
        contestants: the candidates, measured.
        paths: points by optimizer by surface; may be empty.
        rates: learning rates of the paths.
        winner: the candidate of the lowest validation loss, evaluated on the test split.
        target: validation accuracy until which steps are counted.
        seed: the first one of every candidate.
    """
    verdict, best = judge_standings([c.standing for c in contestants]), best_contestant(contestants)
    metrics = {
        **winner.metrics,
        "verdict": verdict.label,
        "winner": best.standing.label,
        "winner_learning_rate": best.standing.learning_rate,
        "winner_seed": seed + int(best.standing.val_loss.argmin()),
        "winner_fit": winner.verdict.label,
        **_flat(contestants),
    }
    notes = [
        *optimizer_findings(contestants, target),
        *surface_findings(paths),
        f"Learning rates, epochs and the winner among {len(contestants)} candidates were chosen "
        "by validation loss, so the winner's is slightly optimistic; its test accuracy is not.",
        f"The winner on its own: {winner.verdict.label}. {winner.verdict.sentence}",
        *winner.notes,
    ]
    figures = [
        *comparison_figures(contestants),
        *surface_figures(paths),
        *((f"Winner: {title}", *rest) for title, *rest in winner.figures),
    ]
    tables = [
        comparison_table(contestants, target),
        *([surface_table(paths, rates)] if paths else []),
        *((f"Winner: {title}", *rest) for title, *rest in winner.tables),
    ]
    return dataclasses.replace(
        winner, metrics=metrics, verdict=verdict, figures=figures, tables=tables, notes=notes
    )


def best_contestant(contestants: Sequence[Contestant]) -> Contestant:
    """The one of the lowest mean validation loss.

    Raises:
        UserError: every candidate diverged.
    """
    best = min(contestants, key=lambda c: float(c.standing.val_loss.mean()))
    if not np.isfinite(best.standing.val_loss.min()):
        raise UserError("every candidate diverged: the network does not learn from these data")
    return best


def epoch_rows(curve: Mapping[str, Any], measurements: int) -> list[dict[str, float]]:
    """A row for each epoch, as metrics.csv has them; the loss is the mean of its steps.

    Args:
        curve: what `training.Cells.run` returns.
        measurements: how many there are in an epoch.
    """
    rows = []
    for end in range(measurements, len(curve["examples"]), measurements):
        row: dict[str, float] = {"epoch": end // measurements}
        row["loss"] = sum(curve["loss"][end - measurements + 1 : end + 1]) / measurements
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate"):
            row[name] = curve[name][end]
        rows.append(row)
    return rows


def comparison_rows(
    contestants: Sequence[Contestant], seed: int, measurements: int
) -> list[dict[str, Any]]:
    """A row for each epoch of each training at the rate of its candidate.

    Args:
        contestants: the candidates, measured.
        seed: the first one of every candidate.
        measurements: how many there are in an epoch.
    """
    return [
        {**row, "candidate": c.standing.label, "rate": c.standing.learning_rate, "seed": number}
        for c in contestants
        for number, curve in enumerate(c.curves, start=seed)
        for row in epoch_rows(curve, measurements)
    ]


def _flat(contestants: Sequence[Contestant]) -> dict[str, float | None]:
    """Figures of every candidate under names of their own, means over the seeds."""
    figures: dict[str, float | None] = {}
    for contestant in contestants:
        standing = contestant.standing
        name = file_name(standing.label)
        values = {
            "val_loss": standing.val_loss.mean(),
            "val_accuracy": standing.val_accuracy.mean(),
            "final_train_loss": standing.train_loss.mean(),
            "steps_to_target": standing.steps_to_target.mean(),
            "learning_rate": standing.learning_rate,
        }
        for figure, value in values.items():
            figures[f"{figure}_{name}"] = float(value) if np.isfinite(value) else None
    return figures


def comparison_figures(contestants: Sequence[Contestant]) -> list[tuple[str, Figure, str]]:
    """Title, picture and caption of the comparisons that have two members or more."""
    figures = []
    optimizers, batches, schedules = (
        [c for c in contestants if group in c.groups]
        for group in ("optimizers", "batch sizes", "schedules")
    )
    if len(optimizers) > 1:
        panels = [
            _panel("Validation loss", STEPS, optimizers, "val_loss", y_scale="log"),
            _panel("Validation accuracy", STEPS, optimizers, "val_accuracy", share=True),
        ]
        figures.append(
            (
                "Optimizers",
                plots.seed_curves(panels),
                "Each at the learning rate in the table, from the same weights, on the same "
                "batches. Lines are means over the seeds; bands span the lowest to the highest.",
            )
        )
    if len(batches) > 1:
        panels = [
            _panel("Validation loss by step", STEPS, batches, "val_loss", y_scale="log"),
            _panel("The same by images seen", PICTURES, batches, "val_loss", y_scale="log"),
        ]
        panels[0] = panels[0]._replace(x_scale="log")
        figures.append(
            (
                "Batch sizes",
                plots.seed_curves(panels),
                "Plain SGD, each batch size at its own learning rate. Steps measure sequential "
                "work, images the total computation.",
            )
        )
    if len(schedules) > 1:
        panels = [
            _panel("Learning rate", STEPS, schedules, "learning_rate", y_scale="log"),
            _panel("Validation loss", STEPS, schedules, "val_loss", y_scale="log"),
        ]
        figures.append(
            (
                "Schedules",
                plots.seed_curves(panels),
                "The same optimizer, with each schedule at its own peak rate, and the resulting "
                "losses. Momentum stays the same.",
            )
        )
    tuned = {
        title: [c for c in members if len(c.tried) > 1]
        for title, members in (
            ("Optimizers", optimizers),
            ("Batch sizes", batches),
            ("Schedules", schedules),
        )
    }
    panels = [_rates(title, members) for title, members in tuned.items() if members]
    if panels:
        figures.append(
            (
                "Learning rates",
                plots.seed_curves(panels),
                "Lowest validation loss by (peak) learning rate. The lowest mean wins; if it lay "
                "at the edge, another rate was tried. Missing points diverged.",
            )
        )
    return figures


def comparison_table(contestants: Sequence[Contestant], target: float) -> Table:
    """A line per candidate, the lowest validation loss first."""
    ranked = sorted(contestants, key=lambda c: float(c.standing.val_loss.mean()))
    title = f"All candidates (target: {100 * target:.4g} % validation accuracy)"
    return title, standings.COLUMNS, [contestant.standing.row() for contestant in ranked]


def optimizer_findings(contestants: Sequence[Contestant], target: float) -> list[str]:
    """One sentence for each thing that the figures say; none where they say nothing."""
    by_label = {c.standing.label: c.standing for c in contestants}
    members = {
        group: [c.standing for c in contestants if group in c.groups]
        for group in ("optimizers", "batch sizes", "schedules")
    }
    found = []
    if len(members["optimizers"]) > 1:
        found += standings.quickest(members["optimizers"], target)
    for one, other in (("momentum", "sgd"), ("nesterov", "momentum"), ("adam", "rmsprop")):
        if one in by_label and other in by_label:
            found.append(standings.steps_between(by_label[one], by_label[other], target))
    for one, other in (("adamw", "adam"), ("adadelta", "adadelta, rate 1")):
        if one in by_label and other in by_label:
            found.append(standings.losses_between(by_label[one], by_label[other]))
    found.append(standings.batch_trade(members["batch sizes"], target))
    constant = [s for s in members["schedules"] if "," not in s.label]
    others = [s for s in members["schedules"] if "," in s.label]
    if constant and others:
        best = min(others, key=lambda s: float(s.val_loss.mean()))
        found.append(standings.losses_between(best, constant[0]))
    found.append(standings.edges([c.standing for c in contestants if len(c.tried) > 1]))
    return [sentence for sentence in found if sentence]


def surface_figures(paths: Mapping[str, Mapping[str, np.ndarray]]) -> list:
    """Contours with the paths, for each surface; `paths` are points by optimizer by surface."""
    return [
        (
            f"Paths on {name}",
            plots.surface_paths(name, SURFACES[name], walks),
            "Square: start. Star: minimum. Dot: where a path ends.",
        )
        for name, walks in paths.items()
    ]


def surface_table(
    paths: Mapping[str, Mapping[str, np.ndarray]], rates: Mapping[str, Mapping[str, float]]
) -> Table:
    """How far from the minimum every path ends, and its learning rate."""
    names = list(next(iter(paths.values())))
    steps = len(next(iter(paths[next(iter(paths))].values()))) - 1
    rows = [
        (name, *(f"{_distance(_end(paths, s, name))} ({rates[s][name]:.2g})" for s in paths))
        for name in names
    ]
    title = f"Distance to the minimum after {steps} steps (learning rate)"
    return title, ("optimizer", *paths), rows


def surface_findings(paths: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    """Who ended nearest to each minimum, and what turning the valley changed."""
    found = []
    for surface, walks in paths.items():
        ends = {name: _end(paths, surface, name) for name in walks}
        near, far = min(ends, key=ends.__getitem__), max(ends, key=ends.__getitem__)
        arrived = [name for name, end in ends.items() if end < ARRIVED]
        told = f"{near} ended nearest to a minimum, at a distance of {ends[near]:.1e}"
        if arrived:
            told = f"{', '.join(arrived)} reached a minimum"
        if len(arrived) < len(ends) and near != far:
            told += f"; {far} ended farthest away, at {ends[far]:.1e}"
        found.append(f"On {surface}, {told}.")
    if {"quadratic", "rotated quadratic"} <= set(paths):
        changed = [
            f"{name} {_distance(_end(paths, 'quadratic', name))} and "
            f"{_distance(_end(paths, 'rotated quadratic', name))}"
            for name in paths["quadratic"]
        ]
        found.append(
            f"Distances in the axis-aligned valley and in the rotated one: {'; '.join(changed)}."
        )
    return found


def _distance(value: float) -> str:
    return f"under {ARRIVED:.0e}" if value < ARRIVED else f"{value:.1e}"


def _end(paths, surface: str, name: str) -> float:
    return float(SURFACES[surface].distance(paths[surface][name][-1]))


def _panel(title: str, x: str, members: Sequence[Contestant], column: str, **options):
    curves = {}
    for member in members:
        values = np.array([curve[column] for curve in member.curves], np.float64)
        seen = np.array(member.curves[0]["examples"], np.float64)
        steps = seen / member.standing.batch_size
        chosen = slice(1, None) if column == "learning_rate" or x == STEPS else slice(None)
        curves[member.standing.label] = (
            (steps if x == STEPS else seen)[chosen],
            values[:, chosen],
        )
    return plots.Panel(title, x, curves, **options)


def _rates(title: str, members: Sequence[Contestant]):
    curves = {
        m.standing.label: (
            np.array(sorted(m.tried)),
            np.stack([m.tried[rate] for rate in sorted(m.tried)], axis=1),
        )
        for m in members
    }
    return plots.Panel(
        title,
        "Learning rate",
        curves,
        x_scale="log",
        y_scale="log",
        marks=True,
    )
