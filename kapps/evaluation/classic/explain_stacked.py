"""Many small networks trained at once, measured and explained: figures and words for a report."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kapps import data, models
from kapps.evaluation import plots
from kapps.evaluation.classic.separation import best_linear_accuracy
from kapps.evaluation.classic.verdicts import mlp_verdict
from kapps.evaluation.explanation import Explanation, Figures, Tables
from kapps.evaluation.sample_grids import SampleGrids, learning_film

if TYPE_CHECKING:
    from kapps.data import PointData

SHOWN = 8  # networks whose regions are drawn
COLUMNS = 4
SIDE = 64  # pixels of a frame
EQUATIONS = {"W1": "F1-F3, B1, B2, B4", "b1": "F1-F3, B1, B2, B4", "W2": "F1-F3, B1, B3"}
BY_HAND_TABLE = (
    "Back-propagation by hand, before training",
    ("gradient", "equations", "norm", "against the tape", "against differences"),
)
# Of the comparison by width: title, columns, and where a cell has what stands in them.
CLASSES_TABLE = (
    "Seeds that solve exclusive or",
    ("optimizer", "rate", "hidden units", "solved", "seeds", "median loss"),
    ("optimizer", "rate", "units", "solved_count", "seeds", "median"),
)
VALUES_TABLE = (
    "Error on test points by width",
    ("optimizer", "rate", "hidden units", "seeds", "median RMSE", "lowest", "highest"),
    ("optimizer", "rate", "units", "seeds", "median", "lowest", "highest"),
)


def explain_stacked(
    model: keras.Model,
    points: PointData,
    history: Sequence[Mapping[str, Any]],
    *,
    best: int,
    cells: Sequence[Mapping[str, Any]],
    untrained: keras.Model,
    activation: str,
    run: pathlib.Path,
) -> Explanation:
    """Measure all networks, once, on the test points, and draw what explains the best one.

    `back_propagation_error` is the largest difference between gradients by the equations of
    `kapps.models.backprop` and those of a gradient tape or of finite differences, before training.

    Args:
        model: of `models.stacked_mlp`, trained; one hidden layer.
        points: exclusive or, or a function.
        history: rows of metrics.csv.
        best: the network to draw.
        cells: of a comparison by width, as `stacked_cell` measures them; may be empty.
        untrained: the same networks before training.
        activation: of the hidden units.
        run: the run directory, with what `stacked_frames` has drawn after every epoch; the film is
            written to `plots/learning.webp` in it.
    """
    measured = measure_stacked(model, points, "test", "test_")
    by_hand = _back_propagation(models.stacked.copy_of(untrained, 0), points, activation)
    networks, linear = model.output_shape[1], None
    if points.class_names:
        linear = best_linear_accuracy(points.x["train"], points.y["train"])
    verdict = mlp_verdict(
        measured,
        history,
        networks=networks,
        best_linear=linear,
        scale=float(stacked_targets(points, "train").std()),
    )
    metrics = {
        **measured,
        "networks": networks,
        "units": model.get_layer("hidden1").kernel.shape[-1],
        **({"best_linear_accuracy": linear} if points.class_names else {}),
        "back_propagation_error": max(max(row[-2:]) for row in by_hand),
        "best_network": best,
        "verdict": verdict.label,
    }
    one = models.stacked.copy_of(model, best)
    if linear is not None:
        caption = f"The first {SHOWN} networks: the region assigned to each class."
        figures = _class_figures(model, one, points, best, linear)
    else:
        caption = "The best network of each epoch, with the training points."
        figures = _value_figures(one, points)
    curves = plots.training_curves(history)
    *_, film = learning_film(run, caption)
    return Explanation(
        metrics,
        verdict,
        [
            *figures,
            *_comparison_figures(points, cells),
            ("Learning curves", curves, "The loss is the sum over all networks."),
        ],
        [*_comparison_table(points, cells), (*BY_HAND_TABLE, by_hand)],
        animations=[film],
    )


def stacked_kind(points: PointData) -> str:
    """The loss of a network on these points: logistic of classes, squared_error of values."""
    return "logistic" if points.class_names else "squared_error"


def stacked_targets(points: PointData, split: str) -> np.ndarray:
    """Classes or values, the same for every network: float32 [n, 1, 1]."""
    return np.asarray(points.y[split], np.float32).reshape(-1, 1, 1)


def stacked_losses(model: keras.Model, points: PointData, split: str) -> np.ndarray:
    """The mean loss of every network, float32 [networks]."""
    out, y = model(points.x[split]), stacked_targets(points, split)
    return np.asarray(models.losses_of_copies(stacked_kind(points), y, out)).mean(axis=0)


def watch_stacked(
    model: keras.Model, points: PointData, run: pathlib.Path
) -> list[keras.callbacks.Callback]:
    """Callbacks that measure all networks on the validation points, and draw them, as they learn.

    Args:
        model: of `models.stacked_mlp`.
        points: what it is trained on.
        run: the run directory, for `SampleGrids`.
    """

    def measure(epoch, logs):
        logs.update(measure_stacked(model, points, "validation", "val_"))

    return [
        keras.callbacks.LambdaCallback(on_epoch_end=measure),
        SampleGrids(lambda: stacked_frames(model, points), run),
    ]


def measure_stacked(
    model: keras.Model, points: PointData, split: str, prefix: str = ""
) -> dict[str, float]:
    """What all networks together are worth.

    Args:
        model: of `models.stacked_mlp`.
        points: of classes or of values.
        split: which points.
        prefix: of the names.

    Returns:
        Of classes `solved`, the share of networks with all points right, and `accuracy`; of values
        `rmse`, the median over the networks, `rmse_lowest` and `rmse_highest`.
    """
    if points.class_names:
        right = (np.asarray(model(points.x[split])) > 0) == (stacked_targets(points, split) > 0.5)
        solved = right.all(axis=(0, 2))
        return {f"{prefix}solved": float(solved.mean()), f"{prefix}accuracy": float(right.mean())}
    errors = np.sqrt(stacked_losses(model, points, split))
    return {
        f"{prefix}rmse": float(np.median(errors)),
        f"{prefix}rmse_lowest": float(errors.min()),
        f"{prefix}rmse_highest": float(errors.max()),
    }


def stacked_cell(model: keras.Model, points: PointData) -> dict[str, float]:
    """What a comparison keeps of the networks of one width and optimizer.

    Returns:
        `seeds`, the number of networks; of classes `solved`, `solved_count` and the `median`
        training loss, of values the `median`, `lowest` and `highest` root mean squared error on
        test points.
    """
    losses = stacked_losses(model, points, "train" if points.class_names else "test")
    if points.class_names:
        solved = measure_stacked(model, points, "train")["solved"]
        cell = {"solved": solved, "solved_count": round(solved * len(losses))}
    else:
        losses = np.sqrt(losses)
        cell = {"lowest": float(losses.min()), "highest": float(losses.max())}
    return {"seeds": len(losses), **cell, "median": float(np.median(losses))}


def stacked_frames(model: keras.Model, points: PointData) -> np.ndarray:
    """The first networks' regions, or the best network's curve, now: uint8 [n, H, W, 3]."""
    x, y = points.x["train"], points.y["train"]
    if points.class_names:
        return np.stack(
            [
                plots.decision_frame(_scores_of(model, i), x, y, side=SIDE)
                for i in range(min(SHOWN, model.output_shape[1]))
            ]
        )
    best = int(np.argmin(stacked_losses(model, points, "validation")))
    return plots.curve_frame(x[:, 0], y[:, 0], np.asarray(model(x))[:, best, 0])[None]


def _scores_of(model: keras.Model, network: int):
    """Points -> the scores of one of the networks, [n]."""
    return lambda points: np.asarray(model(points))[:, network, 0]


def _class_figures(model, one, points: PointData, best: int, linear: float) -> Figures:
    x, y, names = points.x["train"], points.y["train"], points.class_names
    losses, frames = stacked_losses(model, points, "train"), stacked_frames(model, points)
    captions = [f"seed {i}\nloss {losses[i]:.2g}" for i in range(len(frames))]

    def line(points):
        return points.sum(axis=1) - 0.5

    def scores(points):
        return np.asarray(one(points))[:, 0]

    return [
        (
            "One layer",
            plots.decision_regions(line, x, y, names),
            "One of the best lines. Lines can realize 14 of the 16 labellings of the four points, "
            f"but not this one: at best {linear:.0%} of the points are right.",
        ),
        (
            "Two layers",
            plots.decision_regions(scores, x, y, names),
            f"Network {best}, which has the lowest loss.",
        ),
        (
            "Boundaries by seed",
            plots.image_grid(frames, captions, columns=COLUMNS),
            "The same network from other initial weights.",
        ),
    ]


def _value_figures(one, points: PointData) -> Figures:
    grid = np.linspace(-1, 1, 801, dtype=np.float32)[:, None]
    truth = data.FUNCTIONS[points.name](grid[:, 0].astype(np.float64))
    hidden = keras.Model(one.input, one.get_layer("hidden1").output)
    fit = plots.function_fit(
        grid[:, 0],
        truth,
        np.asarray(one(grid))[:, 0],
        np.asarray(hidden(grid)) * one.get_weights()[2][:, 0],
        (points.x["train"][:, 0], points.y["train"][:, 0]),
    )
    return [("Fit and contributions", fit, "The network with the lowest loss.")]


def _comparison_figures(points: PointData, cells) -> Figures:
    if not cells:
        return []
    if points.class_names:
        caption = (
            "A seed counts if all four points are right. Below 100 %, gradient descent ended for "
            "some seeds where no small step helps."
        )
        return [("Success by width", plots.success_rates(cells), caption)]
    first = cells[0]["optimizer"]
    widths = [cell for cell in cells if cell["optimizer"] == first]
    caption = f"{first}, all seeds, the same number of steps for every width."
    return [("Error by width", plots.error_by_width(widths), caption)]


def _comparison_table(points: PointData, cells) -> Tables:
    title, columns, names = CLASSES_TABLE if points.class_names else VALUES_TABLE
    rows = [tuple(cell[name] for name in names) for cell in cells]
    return [(title, columns, rows)] if rows else []


def _back_propagation(one: keras.Model, points: PointData, activation: str) -> list[tuple]:
    """Of each weight: gradients by hand against the tape and against finite differences."""
    by_hand = models.backprop
    x, y, loss = points.x["train"], stacked_targets(points, "train")[:, 0], stacked_kind(points)
    seen = np.asarray(one.get_layer("rescaling")(x), np.float64)
    weights = by_hand.two_layers(one)
    gradients = by_hand.backward(weights, seen, y, activation, loss)
    tape = by_hand.tape_gradients(one, x, y, loss)
    slopes = by_hand.finite_differences(weights, seen, y, activation, loss)
    rows = []
    for name in gradients._fields:
        ours, theirs, slope = (np.asarray(getattr(g, name)) for g in (gradients, tape, slopes))
        rows.append(
            (
                f"dL/d{name}",
                EQUATIONS.get(name, "F1-F3, B1, B3"),
                float(np.linalg.norm(ours)),
                float(np.abs(ours - theirs).max()),
                float(np.abs(ours - slope).max()),
            )
        )
    return rows
