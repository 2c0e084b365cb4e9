"""A search for TensorBoard's HParams page."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

from kapps.tuning.results import COSTS, Results


def write_hparams(directory: str | os.PathLike, results: Results) -> None:
    """Write the points of a search and what they reached, a run per trial.

    `tensorboard --logdir DIRECTORY` shows them as a table, parallel coordinates and scatter plots.

    Args:
        directory: replaced if it is there.
        results: of the search.
    """
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    directory, goal = pathlib.Path(directory), results.objective
    shutil.rmtree(directory, ignore_errors=True)
    with tf.summary.create_file_writer(str(directory)).as_default():
        api.hparams_config(
            hparams=[
                api.HParam(name, api.Discrete(_values(results, name))) for name in results.names()
            ],
            metrics=[
                api.Metric(name, display_name=name.replace("_", " ")) for name in (goal, *COSTS)
            ],
        )
    for record in results.ended_well:
        with tf.summary.create_file_writer(str(directory / f"{record.number:04d}")).as_default():
            point = {name: _plain(value) for name, value in record.values.items()}
            api.hparams(point, trial_id=str(record.number))
            for row in record.curves.get(0, ()):
                if goal in row:
                    tf.summary.scalar(f"epoch_{goal}", row[goal], step=row["epoch"])
            figures = {goal: record.score} | {name: record.cost(name) for name in COSTS}
            for name, value in figures.items():
                if value is not None:
                    tf.summary.scalar(name, value, step=record.epochs)


def _values(results: Results, name: str) -> list[Any]:
    """All values that occurred, in order; of one type, as TensorBoard wants them."""
    values = [_plain(r.values[name]) for r in results.records if r.values.get(name) is not None]
    unique = list(dict.fromkeys(values)) or ["none"]
    return sorted(unique) if len({type(value) for value in unique}) == 1 else unique


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)
