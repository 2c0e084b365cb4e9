"""What MLflow is told, read back by MLflow's own client."""

import dataclasses
import json

import pytest

from kapps import errors, training
from training import small

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")


@dataclasses.dataclass(frozen=True)
class Config(small.Config):
    track: str = "mlflow"
    tracking_uri: str | None = None
    note: str = "a" * 9000


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # artifacts lie beside the file
    return Config(str(tmp_path / "run"), tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")


def told(config):
    client = mlflow.MlflowClient(config.tracking_uri)
    (found,) = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    return client, found


@pytest.mark.slow
def test_settings_epochs_figures_and_files(config, tmp_path):
    with training.open_run("small", config) as run:
        training.track(run)
        _, history = small.train(run, epochs=2)
        (run.path / "report.html").write_text("a report")
        (run.plots / "curve.png").write_bytes(b"a picture")
        run.finish({"test_accuracy": 0.75, "verdict": "well fitted", "exported": None})
    client, found = told(config)
    assert found.info.status == "FINISHED" and found.info.run_name == "run"
    assert found.data.params["note"] == "a" * 6000
    assert found.data.metrics["test_accuracy"] == 0.75
    assert found.data.tags["verdict"] == "well fitted"
    losses = client.get_metric_history(found.info.run_id, "val_loss")
    assert [(m.step, m.value) for m in losses] == [
        (row["epoch"], pytest.approx(row["val_loss"])) for row in history.rows
    ]
    names = {file.path for file in client.list_artifacts(found.info.run_id)}
    assert {"config.json", "metrics.csv", "metrics.json", "report.html", "plots"} <= names


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_same_one(config):
    for epochs in (1, 3):
        with training.open_run("small", config) as run:
            training.track(run)
            small.train(run, epochs=epochs)
    client, found = told(config)
    assert found.info.status == "RUNNING"
    steps = [m.step for m in client.get_metric_history(found.info.run_id, "loss")]
    assert steps == [1, 2, 3]
    # One that was deleted in between is made anew, and no second time.
    client.delete_run(found.info.run_id)
    for _ in range(2):
        with training.open_run("small", config) as run:
            training.track(run)
    assert told(config)[1].info.run_id != found.info.run_id


@pytest.mark.slow
def test_a_server_that_goes_away_costs_no_training(config):
    with training.open_run("small", config) as run:
        training.track(run)
        client, found = told(config)
        client.delete_run(found.info.run_id)
        with pytest.warns(UserWarning, match="MLflow did not take something"):
            run.finish({"test_accuracy": 0.5})
    assert json.loads((run.path / "metrics.json").read_text()) == {"test_accuracy": 0.5}


def test_what_is_not_asked_for_is_not_begun(config, tmp_path):
    with training.open_run("small", dataclasses.replace(config, track="none")) as run:
        training.track(run)
    assert not (tmp_path / "mlflow.db").exists() and not run.callbacks and not run.finishers


def test_a_server_that_is_not_there_is_an_error(config):
    config = dataclasses.replace(config, tracking_uri="http://127.0.0.1:1")  # nobody answers
    with (
        training.open_run("small", config) as run,
        pytest.raises(errors.UserError, match="--tracking-uri"),
    ):
        training.track(run)


def test_flags_that_contradict(config):
    with pytest.raises(errors.UserError, match="needs --track mlflow"):
        training.check_tracker(dataclasses.replace(config, track="none"))


def test_where_it_is_not_installed(config, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(errors.UserError, match=r"pip install 'kapps\[mlflow\]'"):
        training.check_tracker(config)
