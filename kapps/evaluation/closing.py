"""The end of every recipe: figures and report on the disk, a few lines on the terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kapps import models, training
from kapps.data import ImageData, PointData, Split, twins_in_train
from kapps.evaluation.plots.figure import save_png
from kapps.evaluation.report.comparing import beside_previous, keep_predictions
from kapps.evaluation.report.gradients import explain_gradient_flow
from kapps.evaluation.report.page import write_report
from kapps.evaluation.report.profile import explain_profile
from kapps.evaluation.report.search import explain_search
from kapps.evaluation.report.terminal import file_name, summary
from kapps.evaluation.sample_grids import samples_by_epoch
from kapps.evaluation.verdicts.caveats import near_duplicate_findings
from kapps.invocation import recipe_command

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from kapps.evaluation.explanation import Explanation


def begin(model: keras.Model, run: training.Run) -> keras.Model:
    """The end of training: the model for inference, kept as model.keras.

    From here on the test split may be looked at, once.

    Args:
        model: as it was trained.
        run: the run.
    """
    model = models.for_inference(model)
    model.save(run.path / "model.keras")
    print("evaluating on the test split, once")  # noqa: T201
    return model


def close(
    run: training.Run,
    data: Any,
    history: training.History,
    found: Explanation,
    published: str | None,
    *,
    title: str,
    predict: str | None = None,
    commands: dict[str, str] | None = None,
    **figures: Any,
) -> dict[str, Any]:
    """Write plots, report.html and metrics.json, which marks the run as finished.

    Args:
        run: where to.
        data: on what was trained; its notes are shown.
        history: of the training.
        found: what was found about the model.
        published: the version that was published, or None.
        title: of the report: what was trained on what.
        predict: what the published model can be asked about, `IMAGE.png` for one.
        commands: further ones: what each does -> the command line.
        figures: further ones for metrics.json, `parameters` for one.

    Returns:
        What metrics.json holds.
    """
    metrics = {
        **found.metrics,
        "best_epoch": history.best_epoch,
        **run.figures,
        **figures,
        "train_seconds": history.train_seconds,
        "examples_per_second": history.examples_per_second,
        "precision": run.facts().get("precision", "float32"),
        "exported": published,
    }
    found = with_twins(found, data)
    metrics |= {name: found.metrics[name] for name in found.metrics.keys() - metrics.keys()}
    keep_rows(run, found)
    drawn, animations = [], found.animations
    if not animations:
        drawn, animations = samples_by_epoch(run.path)
    profiled, times = explain_profile(history.profile)
    shown = [*found.figures, *drawn, *explain_gradient_flow(history.gradient_flow), *profiled]
    drawings = save_figures(run, shown)
    write_report(
        run.path / "report.html",
        title=title,
        verdict=found.verdict,
        metrics=metrics,
        figures=shown,
        drawings=drawings,
        animations=animations,
        tables=[*found.tables, *times, *beside_previous(run.path, metrics)],
        config=run.config,
        commands={**commands_after(run, published, predict), **(commands or {})},
        notes=(*data.notes, *run.notes, *history.notes, *found.notes),
    )
    run.finish(metrics)
    for note in found.notes:
        print(f"note      {note}")  # noqa: T201
    print(summary(metrics, run.path))  # noqa: T201
    return metrics


def save_figures(run: training.Run, figures: Sequence[tuple[str, Figure, str]]) -> dict[str, bytes]:
    """Write plots/NAME.png for each; returns title -> content, so that none is drawn twice.

    Their layout is computed here, for the report as well: that takes as long as drawing.

    Args:
        run: where to.
        figures: (title, Figure, caption), as `write_report` takes them.
    """
    drawings = {}
    for name, figure, _ in figures:
        path = save_png(figure, run.plots / f"{file_name(name)}.png")
        figure.set_layout_engine("none")
        drawings[name] = path.read_bytes()
    return drawings


def keep_rows(run: training.Run, found: Explanation) -> None:
    """Write label_issues.csv, labels.csv and predictions.npz, as far as there is something in them.

    What a model before this one has left in the directory, an earlier winner of a search, goes.

    Args:
        run: where to.
        found: of its model.
    """
    for name, rows in (("label_issues.csv", found.label_issues), ("labels.csv", found.label_rows)):
        if rows:
            training.write_rows(run.path / name, [dict(row) for row in rows])
        else:
            (run.path / name).unlink(missing_ok=True)
    keep_predictions(run, found)


def with_twins(found: Explanation, examples: Any) -> Explanation:
    """Also what is said of test pictures that are in the training split, unless it is there.

    Args:
        found: of any model.
        examples: what it was trained on; nothing is said of what is no pictures.
    """
    images = _pictures(examples)
    if images is None or "near_duplicates" in found.metrics:
        return found
    near = twins_in_train(images)
    metrics, notes, tables = near_duplicate_findings(images, near)
    return dataclasses.replace(
        found,
        metrics={**found.metrics, **metrics},
        notes=[*found.notes, *notes],
        tables=[*found.tables, *tables],
    )


def _pictures(examples: Any) -> ImageData | None:
    """The data as images, also those that are in memory as points; None of others."""
    if isinstance(examples, ImageData):
        return examples
    if not isinstance(examples, PointData) or examples.x["train"].ndim != 4:
        return None
    import tensorflow as tf

    splits = {
        name: Split(examples.y[name], lambda rows, x=x: tf.gather(x, rows))
        for name, x in examples.x.items()
    }
    shape = examples.x["train"].shape[1:]
    return ImageData(examples.spec, examples.class_names, shape, splits, examples.fingerprint)


def close_search(
    run: training.Run,
    results: Any,
    metrics: dict[str, Any],
    *,
    title: str,
    commands: dict[str, str],
    notes: Sequence[str],
    winner: Explanation | None = None,
    history: training.History | None = None,
) -> dict[str, Any]:
    """The same at the end of a search for hyperparameters.

    Args:
        run: where to.
        results: `kapps.tuning.Results`.
        metrics: for metrics.json.
        title: of the report.
        commands: what each does -> the command line.
        notes: sentences on the winner, and on what the reader should know.
        winner: what was found about it, unless it has a report of its own.
        history: of its training; its times are among the metrics, its notes in the report.

    Returns:
        The metrics.
    """
    if history is not None:
        metrics = {
            **metrics,
            "train_seconds": history.train_seconds,
            "examples_per_second": history.examples_per_second,
        }
        notes = (*notes, *history.notes)
    found = explain_search(results, metrics)
    figures, tables = found.figures, found.tables
    if winner is not None:
        keep_rows(run, winner)
        notes = (*notes, *winner.notes)
        figures = [*figures, *((f"Winner: {name}", f, words) for name, f, words in winner.figures)]
        tables = [*tables, *winner.tables]
    drawings = save_figures(run, figures)
    write_report(
        run.path / "report.html",
        title=title,
        verdict=winner.verdict if winner else None,
        metrics=metrics,
        figures=figures,
        drawings=drawings,
        tables=tables,
        config=run.config,
        commands={
            "Repeat, resume or extend": repeat(run),
            **commands,
            "Look at all trials": f"tensorboard --logdir {run.tensorboard}",
        },
        notes=(*notes, *found.notes, *run.notes),
    )
    run.finish(metrics)
    for note in found.notes:
        print(f"note      {note}")  # noqa: T201
    if winner is not None:
        print(summary(metrics, run.path))  # noqa: T201
    else:
        print(f"{'report of the search':<24}{run.path / 'report.html'}")  # noqa: T201
    return metrics


def repeat(run: training.Run) -> str:
    """The command that repeats or resumes a run, from where the user is."""
    return training.command(run.flags, recipe_command(type(run.flags)))


def commands_after(
    run: training.Run, published: str | None, predict: str | None = None
) -> dict[str, str]:
    """What to type next: what each does -> the command line.

    Args:
        run: the run.
        published: the version that it has published.
        predict: what the published model can be asked about.
    """
    shown = {"Repeat or resume": repeat(run)}
    if published and predict:
        shown["Predict"] = f"kapps predict {published} {predict}"
    if published:
        shown["Look inside"] = f"saved_model_cli show --dir {published} --all"
    return shown
