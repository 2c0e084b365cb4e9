"""The end of every recipe: figures and report on the disk, a few lines on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kapps import training
from kapps.evaluation.plots.figure import save_png
from kapps.evaluation.report.gradients import explain_gradient_flow
from kapps.evaluation.report.page import write_report
from kapps.evaluation.report.terminal import file_name, summary
from kapps.evaluation.sample_grids import samples_by_epoch

if TYPE_CHECKING:
    from kapps.evaluation.explanation import Explanation


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
        **figures,
        "train_seconds": history.train_seconds,
        "examples_per_second": history.examples_per_second,
        "precision": run.facts().get("precision", "float32"),
        "exported": published,
    }
    drawn, animations = [], found.animations
    if not animations:
        drawn, animations = samples_by_epoch(run.path)
    shown = [*found.figures, *drawn, *explain_gradient_flow(history.gradient_flow)]
    for name, figure, _ in shown:
        save_png(figure, run.plots / f"{file_name(name)}.png")
    write_report(
        run.path / "report.html",
        title=title,
        verdict=found.verdict,
        metrics=metrics,
        figures=shown,
        animations=animations,
        tables=found.tables,
        config=run.config,
        commands={**commands_after(run, published, predict), **(commands or {})},
        notes=(*data.notes, *run.notes, *history.notes, *found.notes),
    )
    run.finish(metrics)
    print(summary(metrics, run.path))  # noqa: T201
    return metrics


def commands_after(
    run: training.Run, published: str | None, predict: str | None = None
) -> dict[str, str]:
    """What to type next: what each does -> the command line.

    Args:
        run: the run.
        published: the version that it has published.
        predict: what the published model can be asked about.
    """
    shown = {"Repeat or resume": training.command(run.flags, f"python recipes/{run.recipe}.py")}
    if published and predict:
        shown["Predict"] = f"kapps predict {published} {predict}"
    if published:
        shown["Look inside"] = f"saved_model_cli show --dir {published} --all"
    return shown
