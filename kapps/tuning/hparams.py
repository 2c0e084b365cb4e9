"""A search for TensorBoard's HParams page."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

from kapps.tuning.results import COSTS, Record, Results


def write_hparams(directory: str | os.PathLike, results: Results) -> None:
    """Write the points of a search and what they reached, a run per trial.

    `tensorboard --logdir DIRECTORY` shows them as a table, parallel coordinates and scatter plots.

    Args:
        directory: replaced if it is there.
        results: of the search.
    """
    from tensorboard.compat.proto import event_pb2
    from tensorboard.plugins.hparams import summary_v2 as hparams
    from tensorboard.plugins.scalar import summary_v2 as scalars
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    directory = pathlib.Path(directory)
    shutil.rmtree(directory, ignore_errors=True)
    metrics = [results.objective, *COSTS]
    names = results.names()

    def write(path: pathlib.Path, summaries: list[tuple[int, Any]]) -> None:
        path.mkdir(parents=True, exist_ok=True)
        writer = EventFileWriter(str(path))
        for step, summary in summaries:
            # Its parts use TensorFlow's messages where that is there, and its own elsewhere.
            event = event_pb2.Event(step=step)
            event.summary.ParseFromString(summary.SerializeToString())
            writer.add_event(event)
        writer.close()

    config = hparams.hparams_config_pb(
        [hparams.HParam(name, hparams.Discrete(_values(results, name))) for name in names],
        [hparams.Metric(name, display_name=name.replace("_", " ")) for name in metrics],
    )
    write(directory, [(0, config)])
    for record in results.ended_well:
        point = {name: _plain(value) for name, value in record.values.items()}
        summaries = [(0, hparams.hparams_pb(point, trial_id=str(record.number)))]
        for row in record.curves.get(0, ()):
            if results.objective in row:
                value = scalars.scalar_pb(f"epoch_{results.objective}", row[results.objective])
                summaries.append((row["epoch"], value))
        for name, value in _figures(record, results):
            summaries.append((record.epochs, scalars.scalar_pb(name, value)))
        write(directory / f"{record.number:04d}", summaries)


def _figures(record: Record, results: Results) -> list[tuple[str, float]]:
    costs = [(name, record.cost(name)) for name in COSTS]
    figures = [(results.objective, record.score), *costs]
    return [(name, float(value)) for name, value in figures if value is not None]


def _values(results: Results, name: str) -> list[Any]:
    """All values that occurred, in order; of one type, as TensorBoard wants them."""
    values = [_plain(r.values[name]) for r in results.records if r.values.get(name) is not None]
    unique = list(dict.fromkeys(values)) or ["none"]
    return sorted(unique) if len({type(value) for value in unique}) == 1 else unique


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)
