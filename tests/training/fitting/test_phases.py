"""Phases of a run: directories of their own, one file of metrics."""

import csv
import dataclasses

import numpy as np

from kapps import training
from kapps.training.fitting import state


@dataclasses.dataclass(frozen=True)
class Config:
    run_dir: str
    overwrite: bool = False


def rows_of(*losses):
    return [{"epoch": i, "loss": loss} for i, loss in enumerate(losses, start=1)]


def read(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_rows_of_phases_are_one_history():
    rows = training.joined([rows_of(0.3, 0.2), [], rows_of(0.1)])
    assert [(row["epoch"], row["phase"], row["loss"]) for row in rows] == [
        (1, 1, 0.3),
        (2, 1, 0.2),
        (3, 3, 0.1),
    ]


def test_the_file_of_metrics_holds_all_phases_and_every_digit(tmp_path):
    with training.open_run("phases", Config(str(tmp_path / "run"))) as run:
        probe, tuning = (training.Phase(run, i, n) for i, n in ((1, "probe"), (2, "tuning")))
        training.write_rows(probe.path / "metrics.csv", rows_of(1 / 3, 0.2))
        callback = training.JoinedRows(run, [probe, tuning])
        callback.on_epoch_begin(0)
        assert [row["epoch"] for row in read(run.path / "metrics.csv")] == ["1", "2"]
        training.write_rows(tuning.path / "metrics.csv", rows_of(0.1))
        callback.on_train_end()
        rows = read(run.path / "metrics.csv")
        assert [row["phase"] for row in rows] == ["1", "1", "2"]
        assert float(rows[0]["loss"]) == 1 / 3


def test_a_checkpoint_of_a_phase_keeps_the_run(tmp_path):
    config = Config(str(tmp_path / "run"))
    with training.open_run("phases", config) as run:
        phase = training.Phase(run, 1, "probe")
        assert not run.has_results
        path = state.save(phase.checkpoints, 1, state.State({"x": np.ones(2)}, {}))
        assert run.has_results
    with training.open_run("phases", config) as run:
        assert path.exists()
        assert training.Phase(run, 1, "probe").path == phase.path
