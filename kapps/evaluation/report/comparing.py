"""Runs beside one another: curves, figures, settings, and whether the difference is luck.

TensorFlow is not needed here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kapps import files
from kapps.evaluation.metrics.history import read_history
from kapps.evaluation.report.page import write_report
from kapps.evaluation.report.quantities import HEADLINES, in_words, is_number, quantity, shown
from kapps.evaluation.verdicts.words import minus

if TYPE_CHECKING:
    from kapps.evaluation.explanation import Explanation
    from kapps.evaluation.metrics.comparison import PairedDifference
    from kapps.training import Run

PREDICTIONS = "predictions.npz"
NO_SETTINGS = ("run_dir", "export_dir", "overwrite", "export")
LIKELY = 0.05  # a smaller p is no luck


def keep_predictions(run: Run, found: Explanation) -> None:
    """Keep what a classifier said of the test split, to compare runs example by example.

    Args:
        run: `predictions.npz` goes there: `labels` and `said`, int32 [n], and the fingerprint of
            the data.
        found: nothing is kept without its logits and labels.
    """
    if found.test_logits is None or found.test_labels is None:
        return
    about = run.facts().get("data") or {}
    arrays = {
        "labels": np.asarray(found.test_labels, np.int32),
        "said": np.asarray(found.test_logits).argmax(axis=-1).astype(np.int32),
        "fingerprint": np.array(str(about.get("fingerprint", ""))),
    }
    files.write_atomically(run.path / PREDICTIONS, lambda file: np.savez(file, **arrays))


def paired(first: str | Path, second: str | Path) -> PairedDifference | None:
    """McNemar's test of two runs: accuracy of the first minus that of the second.

    Args:
        first: directory of a run.
        second: of another.

    Returns:
        None unless both have kept what they said of the same test examples.
    """
    from kapps.evaluation.metrics.comparison import mcnemar  # SciPy takes a second

    one, another = _predictions(Path(first)), _predictions(Path(second))
    if one is None or another is None:
        return None
    (ours, right), (theirs, other) = one, another
    return mcnemar(right, other) if ours == theirs and len(right) == len(other) else None


def _predictions(path: Path) -> tuple[str, np.ndarray] | None:
    try:
        with np.load(path / PREDICTIONS, allow_pickle=False) as kept:
            return str(kept["fingerprint"]), kept["labels"] == kept["said"]
    except (OSError, ValueError, KeyError, EOFError):
        return None


def in_a_sentence(names: Sequence[str], pair: PairedDifference) -> str:
    """The test in words.

    Args:
        names: of the two runs.
        pair: of `paired`.
    """
    told = minus(
        f"{100 * pair.difference:+.2f} points (95 % interval {100 * pair.low:+.2f} to "
        f"{100 * pair.high:+.2f}, p = {pair.p:.2g} by McNemar's test)"
    )
    if pair.p is not None and pair.p < LIKELY:
        better, worse = names if pair.difference > 0 else names[::-1]
        return f"{better} is better than {worse} on the same test examples: {told}."
    return f"On the same test examples {names[0]} and {names[1]} cannot be told apart: {told}."


def differing(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """(setting, value in each run) of those that are not the same everywhere."""
    names = dict.fromkeys(name for config in configs for name in config if name not in NO_SETTINGS)
    rows = []
    for name in names:
        values = [str(config.get(name, "–")) for config in configs]
        if len(set(values)) > 1:
            rows.append((name, *values))
    return rows


def side_by_side(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """(figure, value in each run); the best is marked where it is known which way is better."""
    rows = []
    for name in HEADLINES:
        values = [each.get(name) for each in metrics]
        if not any(is_number(value) for value in values):
            continue
        better = quantity(name).better
        known = [float(value) for value in values if value is not None and is_number(value)]
        best = max(known) if better == "higher" else min(known) if better == "lower" else None
        marked = best is not None and len(set(known)) > 1
        rows.append(
            (
                in_words(name),
                *(shown(name, v) + (" ★" if marked and v == best else "") for v in values),
            )
        )
    return rows


def beside_previous(path: Path, metrics: Mapping[str, Any]) -> list[tuple]:
    """A table of a run beside the last finished one of its recipe in the same directory, or none.

    Of the same dataset: figures of others say nothing of what was changed.

    Args:
        path: the run's directory.
        metrics: its final figures.
    """
    ours = _json(path / "config.json")
    others = [
        other.parent
        for other in path.parent.glob("*/metrics.json")
        if other.parent != path and _kind(_json(other.with_name("config.json"))) == _kind(ours)
    ]
    if not others:
        return []
    last = max(others, key=lambda each: (each / "metrics.json").stat().st_mtime)
    before = _json(last / "metrics.json")
    rows = side_by_side([before, metrics])
    pair = paired(path, last)
    if pair is not None:
        told = f"{100 * pair.low:+.2f} to {100 * pair.high:+.2f} points, p = {pair.p:.2g}"
        rows.append(("Accuracy of this run minus the previous", "", told))
    settings = differing([_json(each / "config.json").get("config", {}) for each in (last, path)])
    rows += [(f"--{name.replace('_', '-')}", *values) for name, *values in settings]
    return [("Beside the previous run", ("", last.name, "this run"), rows)]


def _kind(facts: Mapping[str, Any]) -> tuple[Any, Any]:
    """What runs have to share for their figures to be comparable: recipe and dataset."""
    return facts.get("recipe"), facts.get("config", {}).get("dataset")


def comparison_page(paths: Sequence[Path], names: Sequence[str], output: Path) -> Path:
    """A report on several runs: curves over one another, figures, settings, paired tests.

    Args:
        paths: their directories.
        names: what each is called.
        output: the page.
    """
    from kapps.evaluation.plots import compare_runs

    histories = [read_history(path) for path in paths]
    facts = [_json(path / "config.json") for path in paths]
    metrics = [_json(path / "metrics.json") for path in paths]
    sentences = []
    for path, name in zip(paths[1:], names[1:], strict=True):
        pair = paired(paths[0], path)
        if pair is not None:
            sentences.append(in_a_sentence((names[0], name), pair))
    if not sentences:
        sentences = [
            "There is no telling whether the difference is luck: that needs classifiers tested on "
            "the same examples, with their predictions kept (predictions.npz)."
        ]
    columns = ("", *names)
    tables = [
        ("Figures side by side", columns, side_by_side(metrics)),
        (
            "Settings that differ",
            ("setting", *names),
            differing([each.get("config", {}) for each in facts]),
        ),
    ]
    return write_report(
        output,
        title=" beside ".join(names),
        figures=[
            (
                "Learning curves",
                compare_runs(list(zip(names, histories, strict=True))),
                "Each run has a colour. The legend tells its best epoch on validation; which one "
                "was kept stands in the table.",
            )
        ],
        tables=[table for table in tables if table[2]],
        notes=sentences,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
