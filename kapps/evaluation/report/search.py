"""What a search for hyperparameters has found, in figures, tables and sentences."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kapps.evaluation import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 12  # trials that it takes to say what mattered
DRAWN = 8  # hyperparameters of which a slice is drawn
MOST = 14  # hyperparameters in other figures
SHOWN = 10  # points in the table
TREES = 60
PARTS, SHUFFLES = 3, 5
# Figures of the winner on the test split, those of what takes a second, and the better direction.
PEERS = (
    ("test_accuracy", "constant_accuracy", "the most frequent class", 1),
    ("test_accuracy", "linear_accuracy", "a linear model", 1),
    ("test_r2", "constant_r2", "a constant", 1),
    ("test_r2", "linear_r2", "a linear model", 1),
    ("test_mse", "trivial_mse", "the best answer without memory", -1),
    ("test_nats_per_step", "trivial_nats_per_step", "the best answer without memory", -1),
)


@dataclasses.dataclass(frozen=True)
class SearchExplanation:
    """What there is to say about a search.

    Attributes:
        figures: (title, Figure, caption).
        tables: (title, column names, rows).
        notes: sentences.
    """

    figures: list[tuple[str, Figure, str]]
    tables: list[tuple[str, Sequence[str], Sequence[Sequence]]]
    notes: list[str]


def explain_search(results: Any, metrics: Mapping[str, Any] | None = None) -> SearchExplanation:
    """Draw and tell what a search has found.

    Args:
        results: a `kapps.tuning.Results` with at least one trial that has a score.
        metrics: of the winner, for metrics.json. If they hold a figure of what takes a second and
            no search, a constant or a linear model, a winner that is no better is told.
    """
    maximize, goal = results.direction == "max", results.objective
    records, best = results.ended_well, results.best_first()
    # A point that was promoted counts once, as it was trained longest.
    promoted = {record.past for record in records}
    points = [record for record in records if record.number not in promoted]
    values, scores = [r.values for r in points], [r.score for r in points]
    figures = [
        (
            "Progress",
            plots.search_progress(
                [r.score for r in results.records],
                [r.status == "failed" for r in results.records],
                goal,
                maximize,
            ),
            "The objective, measured on validation data, of each trial at its best epoch.",
        ),
        (
            "Learning curves of all trials",
            plots.search_curves(
                [_curve(record, goal) for record in records], records.index(best[0]), goal, maximize
            ),
            "The brighter, the better. Curves that end early were pruned, or not promoted.",
        ),
    ]
    notes, tables = against(results, best[0], metrics or {}), [_best_table(results, best)]
    names = [name for name in results.names() if len({str(v.get(name)) for v in values}) > 1]
    names.sort(key=lambda name: -sum(v.get(name) is not None for v in values))  # stable
    if len(points) >= FEWEST and names:
        names, means, spread, known = importance(values, scores, names)
        figures.append(
            (
                "What mattered",
                plots.hyperparameter_importance(names[:MOST], means[:MOST], spread[:MOST]),
                "Permutation importance: how much worse a forest that predicts the ranking of the "
                "points gets when a hyperparameter is shuffled, on unseen points. It explains "
                f"{max(0.0, known):.0%} of their variance.",
            )
        )
        if known < 0.2:
            notes.append(
                f"The forest behind the importances explains {max(0.0, known):.0%} of the variance "
                "of unseen points: the ranking says little. More trials would help."
            )
    elif names:
        notes.append(f"Importances need at least {FEWEST} points.")
    if len(points) >= 3 and names:
        drawn = [name for name in results.names() if name in names[:MOST]]
        chosen = [{name: v[name] for name in drawn if name in v} for v in values]
        figures += [
            (
                "Parallel coordinates",
                plots.parallel_coordinates(chosen, scores, goal, maximize),
                "One line per point, brighter and thicker for better ones. Where a hyperparameter "
                "is not active, the line has a gap.",
            ),
            (
                "Slices",
                plots.search_slices(values, scores, names[:DRAWN], goal),
                "The objective by each hyperparameter; the others vary freely.",
            ),
        ]
    cost = results.cost or "multiply_adds"
    known = [record for record in points if record.cost(cost) is not None]
    if len(known) >= 2:
        front = [known.index(r) for r in results.front(cost) if r in known]
        figures.append(
            (
                "Accuracy and cost" if goal.endswith("accuracy") else "Objective and cost",
                plots.pareto_front(
                    [r.cost(cost) for r in known], [r.score for r in known], front, cost, goal
                ),
                "Points on the front cannot be improved without costing more.",
            )
        )
    failures = results.failures()
    if failures:
        rows = [
            (reason, len(numbers), ", ".join(map(str, numbers[:8])) + (" …" * (len(numbers) > 8)))
            for reason, numbers in failures.items()
        ]
        tables.append(("Failures by reason", ("reason", "trials", "which"), rows))
    return SearchExplanation(figures, tables, notes)


def against(results: Any, winner: Any, metrics: Mapping[str, Any]) -> list[str]:
    """What the winner is no better than, in sentences: the first trial, what takes a second.

    Args:
        results: of the search.
        winner: its best record.
        metrics: as in `explain_search`.
    """
    notes = []
    for own, other, words, sign in PEERS:
        if own in metrics and other in metrics and not sign * metrics[own] > sign * metrics[other]:
            notes.append(
                f"The winner is no better than {words}, which takes a second: {own} "
                f"{metrics[own]:.4g} against {metrics[other]:.4g}. Train longer, or look at the "
                "data and the space."
            )
    return [*notes, *of_the_default(results, winner)]


def of_the_default(results: Any, winner: Any) -> list[str]:
    """What became of the default settings, the first trial, in sentences.

    A search that ends trials early may have ended this one before it could show what it reaches.

    Args:
        results: of the search.
        winner: its best record.
    """
    numbered = {record.number: record for record in results.records}
    first, origin = results.records[0], winner
    while origin.past is not None:
        origin = numbered[origin.past]
    if origin.number == first.number:
        if len({record.told for record in results.ended_well}) > 1:
            return ["No trial was better than the first one, which is the default point."]
        return []
    if first.status == "failed":
        return [f"The default settings (trial {first.number}) failed: {first.reason}."]
    last = first  # the trial that went on with them for longest
    for record in results.ended_well:
        last = record if record.past == last.number else last
    cut_off = last.status == "pruned" or last.bracket is not None and last.epochs < winner.epochs
    if not last.ended_well or not cut_off:
        return []
    how = "stopped early" if last.status == "pruned" else "not promoted"
    return [
        f"The default settings (trial {first.number}) were {how} after {last.epochs} epochs, with "
        f"{results.objective} {last.known_score:.4g}; the winner was trained for {winner.epochs}. "
        "What they reach in as many, the recipe by itself tells."
    ]


def importance(
    values: Sequence[dict[str, Any]], scores: Sequence[float], names: Sequence[str]
) -> tuple[list[str], np.ndarray, np.ndarray, float]:
    """Permutation importance of each hyperparameter (Breiman 2001, section 10).

    A random forest predicts the objective; each of three parts of the points is predicted by one
    that was grown on the others, with one hyperparameter after the other shuffled. Ranks of the
    objective are predicted, so that one trial that diverged does not decide.

    Args:
        values: of each point, by name; inactive ones are not there.
        scores: of each point.
        names: of the hyperparameters.

    Returns:
        Names by importance, the loss of R² for each, its standard deviation over parts, and the R²
        of the whole.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    x = np.stack([_encoded([point.get(name) for point in values]) for name in names], axis=1)
    y = np.argsort(np.argsort(scores)) / len(scores)
    losses, explained = [], []
    for train, unseen in KFold(PARTS, shuffle=True, random_state=0).split(x):
        forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=0)
        forest.fit(x[train], y[train])
        explained.append(forest.score(x[unseen], y[unseen]))
        found = permutation_importance(
            forest, x[unseen], y[unseen], n_repeats=SHUFFLES, random_state=0
        )
        losses.append(found.importances_mean)
    means = np.mean(losses, 0)
    order = np.argsort(-means, kind="stable")
    spread = np.std(losses, 0)
    return [names[int(i)] for i in order], means[order], spread[order], float(np.mean(explained))


def _encoded(values: Sequence[Any]) -> np.ndarray:
    """Numbers as they are, names by their place in the alphabet, what is not active below all."""
    shown = [value for value in values if value is not None]
    if all(isinstance(value, int | float) for value in shown):
        low = min(map(float, shown), default=0.0)
        return np.array([low - 1.0 if value is None else float(value) for value in values])
    kinds = sorted(set(map(str, shown)))
    return np.array([-1.0 if value is None else kinds.index(str(value)) for value in values])


def _best_table(results: Any, best: Sequence[Any]) -> tuple:
    names = [
        name
        for name in results.names()
        if any(record.values.get(name) is not None for record in best[:SHOWN])
    ]
    facts = [name for name in ("parameters", "multiply_adds") if best[0].cost(name) is not None]
    columns = ("trial", results.objective.removeprefix("val_"), "epochs", *facts, *names)
    rows = [
        (r.number, r.score, r.epochs, *(r.cost(f) for f in facts), *(_shown(r, n) for n in names))
        for r in best[:SHOWN]
    ]
    return ("Best points", columns, rows)


def _shown(record: Any, name: str) -> Any:
    value = record.values.get(name)
    return str(value) if isinstance(value, bool) else value


def _curve(record: Any, goal: str) -> list[tuple[float, float]]:
    """The objective by epoch, averaged over executions."""
    sums: dict[int, list[float]] = {}
    for rows in record.curves.values():
        for row in rows:
            if goal in row:
                sums.setdefault(row["epoch"], []).append(row[goal])
    return [(epoch, float(np.mean(sums[epoch]))) for epoch in sorted(sums)]
