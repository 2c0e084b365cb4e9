"""Simple models beside a trained one, on the same test examples: is the network worth its trouble?

What such a peer is depends on the family: `kapps.evaluation.images.peers`, `series.peers`,
`text.peers`. Here it is compared, by pairs, and said.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kapps.evaluation.explanation import Explanation
from kapps.evaluation.metrics.classification import wilson_interval
from kapps.evaluation.metrics.comparison import PairedDifference, mcnemar, paired_bootstrap
from kapps.evaluation.verdicts.curves import with_better
from kapps.evaluation.verdicts.words import points

RESAMPLES = 200
TITLE = "Compared with simple models, on the same test examples"
COLUMNS = ("model", "accuracy", "95 % interval", "this network is ahead by, points", "p")


class Peer(NamedTuple):
    """A simple model and what it said.

    Attributes:
        words: what it is called.
        said: class numbers int [n], of the test examples asked about.
        rows: which ones these were, int [n]; None: all.
    """

    words: str
    said: np.ndarray
    rows: np.ndarray | None = None


class Measure(NamedTuple):
    """What answers are compared by.

    Attributes:
        name: in metrics.json.
        words: what it is called.
        of: (targets, answers) -> the figure, of which 1 is the best.
    """

    name: str
    words: str
    of: Callable[[np.ndarray, np.ndarray], float]


def beside_peers(found: Explanation, labels: np.ndarray, peers: Mapping[str, Peer]) -> Explanation:
    """An explanation of a classifier, with what simple models say of the same test examples.

    `metrics` get `NAME_accuracy` and `ahead_of_NAME_accuracy` with its interval (`_low`, `_high`)
    and p; a table goes before all others. Where a peer surely wins, the verdict and a note say so.

    Args:
        found: of the network, with its `test_logits`; without them nothing is added.
        labels: class numbers int [n] of the test split.
        peers: by name.
    """
    if not peers or found.test_logits is None:
        return found
    labels, said = np.asarray(labels), np.asarray(found.test_logits).argmax(axis=-1)
    own = _row("this network", said == labels)
    rows, metrics, winners = [(*own, "", "")], dict(found.metrics), []
    for name, peer in peers.items():
        asked = np.arange(len(labels)) if peer.rows is None else peer.rows
        right = peer.said == labels[asked]
        pair = mcnemar((said == labels)[asked], right)
        metrics[f"{name}_accuracy"] = float(right.mean())
        ahead = f"ahead_of_{name}"
        metrics[f"{ahead}_accuracy"] = pair.difference
        metrics[f"{ahead}_low"], metrics[f"{ahead}_high"] = pair.low, pair.high
        metrics[f"{ahead}_p"] = pair.p
        words = peer.words
        if peer.rows is not None and len(peer.rows) < len(labels):
            words += f", of {len(peer.rows):,} examples"
        shown = f"{100 * pair.low:+.1f} to {100 * pair.high:+.1f}"
        rows.append((*_row(words, right), shown, f"{pair.p:.2g}"))
        if pair.high < 0:
            winners.append((peer.words, pair))
    table = (TITLE, COLUMNS, rows)
    found = dataclasses.replace(found, metrics=metrics, tables=[table, *found.tables])
    return beaten(found, winners) if winners else found


def beside_answers(
    found: Explanation,
    truth: np.ndarray,
    own: np.ndarray,
    answers: Mapping[str, tuple[str, np.ndarray]],
    measure: Measure,
) -> Explanation:
    """An explanation of what is no classifier, with what simple models answer on the same examples.

    `metrics` get `NAME_MEASURE` and `ahead_of_NAME_MEASURE` with its interval (`_low`, `_high`) by
    a bootstrap of pairs. Where one surely wins, the verdict and a note say so.

    Args:
        found: of the network.
        truth: targets [n, ...].
        own: answers of the network to the same examples.
        answers: by the name of a simple model, what it is called, and its answers.
        measure: what they are compared by.
    """
    metrics: dict[str, Any] = dict(found.metrics)
    rows, winners = [("this network", measure.of(truth, own), "")], []
    for name, (words, said) in answers.items():
        pair = paired_bootstrap(
            lambda at, said=said: np.asarray(
                measure.of(truth[at], own[at]) - measure.of(truth[at], said[at])
            ),
            len(truth),
            resamples=RESAMPLES,
        )
        score = measure.of(truth, said)
        metrics[f"{name}_{measure.name}"] = score
        ahead = f"ahead_of_{name}"
        metrics[f"{ahead}_{measure.name}"] = pair.difference
        metrics[f"{ahead}_low"], metrics[f"{ahead}_high"] = pair.low, pair.high
        rows.append((words, score, f"{pair.low:+.3f} to {pair.high:+.3f}"))
        if pair.high < 0:
            winners.append((words, pair))
    columns = ("model", measure.words, "this network is ahead by, 95 % interval")
    tables = [(TITLE, columns, rows), *found.tables]
    found = dataclasses.replace(found, metrics=metrics, tables=tables)
    return beaten(found, winners, f"points of {measure.words}") if winners else found


def beaten(
    found: Explanation, winners: Sequence[tuple[str, PairedDifference]], unit: str = "points"
) -> Explanation:
    """The same, with a note and a verdict that tell of the simple model that wins by most.

    Args:
        found: of the network, which is behind.
        winners: what each is called, and how far the network is ahead of it: not at all.
        unit: of the differences, which are shares.
    """
    words, pair = min(winners, key=lambda each: each[1].difference)
    apart = points(-pair.difference, (-pair.high, -pair.low), unit)
    sentence = (
        f"A simple model does better on the same test examples: {words}, by {apart}. Until the "
        "network beats it, that is the one to use."
    )
    verdict, metrics = found.verdict, dict(found.metrics)
    if verdict is not None:
        verdict = with_better(verdict, sentence)
        if "verdict" in metrics:
            metrics["verdict"] = verdict.label
    notes = [*found.notes, sentence]
    return dataclasses.replace(found, metrics=metrics, verdict=verdict, notes=notes)


def _row(words: str, right: np.ndarray) -> tuple[str, float, str]:
    low, high = wilson_interval(int(right.sum()), len(right))
    return words, float(right.mean()), f"{low:.1%} to {high:.1%}"


def _r2(truth: np.ndarray, answers: np.ndarray) -> float:
    variance = np.var(truth, dtype=np.float64)
    if not variance:
        return float("nan")
    return float(1 - np.mean((np.asarray(answers, np.float64) - truth) ** 2) / variance)


R2 = Measure("r2", "R²", _r2)
