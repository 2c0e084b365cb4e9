"""A classifier on a pretrained backbone: its phases side by side, and what to beware of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from kapps.evaluation import plots
from kapps.evaluation.explanation import Explanation
from kapps.evaluation.images.explain import explain_pictures

if TYPE_CHECKING:
    from kapps.data import ImageData
    from kapps.training import History


def explain_transfer(
    model: keras.Model,
    images: ImageData,
    history: History,
    *,
    look_into: keras.Model,
    moved: Mapping[str, Sequence[str]],
    learning_rates: Mapping[str, float],
    class_weights: bool = False,
) -> Explanation:
    """`explain_pictures`, and the phases side by side.

    Args:
        model: images -> logits.
        images: what it was trained on.
        history: of all phases, as `training.join_histories` gives it.
        look_into: the model with the feature maps.
        moved: by phase what was trained, in words.
        learning_rates: highest one by phase.
        class_weights: whether every class has the same share of the loss.
    """
    found = explain_pictures(
        model,
        images,
        history.phases[history.kept].rows,
        kept=history.phases[history.kept].best_epoch,
        weighted=class_weights,
        batch_size=64,
        look_into=look_into,
    )
    curves = (
        "Learning curves",
        plots.learning_curves(history.rows, kept=history.best_epoch),
        f"{_phases_in_words(history)} Training examples are measured while training, and in "
        "evaluation mode, like validation.",
    )
    return dataclasses.replace(
        found,
        metrics={**found.metrics, **_phase_metrics(history)},
        figures=[curves, *found.figures[1:]],
        tables=[_phase_table(history, moved, learning_rates), *found.tables],
        notes=[*found.notes, *_what_did_not_help(history)],
    )


def _best_rows(history: History) -> dict[str, dict[str, Any]]:
    return {name: each.rows[each.best_epoch - 1] for name, each in history.phases.items()}


def _phase_metrics(history: History) -> dict[str, Any]:
    figures = {
        f"{name.replace('-', '_')}_{figure}": row[figure]
        for name, row in _best_rows(history).items()
        for figure in ("val_accuracy", "val_loss")
        if figure in row
    }
    return {"kept": history.kept, **figures}


def _phases_in_words(history: History) -> str:
    said, first = [], 1
    for name, each in history.phases.items():
        said.append(f"{name}: epochs {first} to {first + len(each.rows) - 1}")
        first += len(each.rows)
    return f"{'; '.join(said)}. The weights of epoch {history.best_epoch} are kept."


def _phase_table(history, moved, learning_rates) -> tuple:
    best = _best_rows(history)
    rows = [
        (
            name,
            ", ".join(moved[name]),
            learning_rates[name],
            len(history.phases[name].rows),
            row["val_loss"],
            row.get("val_accuracy", row.get("val_mae")),
        )
        for name, row in best.items()
    ]
    last = "accuracy" if all("val_accuracy" in row for row in best.values()) else "absolute error"
    columns = ("phase", "what moved", "learning rate", "epochs", "validation loss", last)
    return "Phases, on validation", columns, rows


def _what_did_not_help(history: History) -> list[str]:
    """A sentence if the last phase is not the one that is kept."""
    best = _best_rows(history)
    last = list(best)[-1]
    if history.kept == last:
        return []
    had = [
        (f"{row['val_accuracy']:.2%} right and " if "val_accuracy" in row else "")
        + f"a loss of {row['val_loss']:.4f}"
        for row in (best[last], best[history.kept])
    ]
    return [
        f"{last.capitalize()} did not help: {had[0]} on validation, where the {history.kept} had "
        f"{had[1]}. The weights of the {history.kept} are kept. A lower --fine-tune-learning-rate "
        "or fewer --fine-tune-stages may do better."
    ]
