"""`--track mlflow`: settings, a row per epoch, final figures, report and model go to MLflow, too.

The run directory stays what counts. What it begins and ends with goes to MLflow when the run does;
a server that goes away in between costs its figures there and nothing here.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pathlib
import time
import warnings
from collections.abc import Mapping
from typing import Any

from kapps import files
from kapps.errors import UserError
from kapps.training.run_directory.run import Run

KEPT = (
    "config.json", "metrics.csv", "metrics.json", "report.html", "label_issues.csv",
    "search.csv", "model.keras", "plots",
)  # fmt: skip
LONGEST = 6000  # characters of a parameter that MLflow takes


def check_tracker(config: Any) -> None:
    """Refuse a tracker that is not installed, and a place for none.

    Args:
        config: a recipe's flags.

    Raises:
        UserError: naming the flag.
    """
    asked = getattr(config, "track", "none")
    if asked == "none" and getattr(config, "tracking_uri", None):
        raise UserError("--tracking-uri says where a tracker is: it needs --track mlflow")
    if asked == "mlflow" and importlib.util.find_spec("mlflow") is None:
        raise UserError("--track mlflow: MLflow is missing: pip install 'kapps[mlflow]'")


def track(run: Run) -> None:
    """Let a run tell MLflow what it does, if its flags ask for it.

    The experiment has the recipe's name, the run that of its directory. A resumed run goes on in
    the same one.

    Args:
        run: just opened. Its `callbacks` and `finishers` get one each.

    Raises:
        UserError: MLflow does not answer.
    """
    config = run.config
    if config.get("track", "none") == "none" or not run.chief:
        return
    # A server that is away would hold up every epoch for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # how it made its tables
    try:
        client = MlflowClient(config.get("tracking_uri"))
        known = str(run.facts().get("mlflow_run", ""))
        identity = known if _there(client, known) else _begin(client, run)
        client.update_run(identity, status="RUNNING")
    except (MlflowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"--track mlflow: {first} Give another --tracking-uri, such as sqlite:///mlflow.db or "
            "a server's URL."
        ) from None
    files.write_json(run.path / "config.json", run.facts() | {"mlflow_run": identity})
    told = _Told(client, identity)
    run.callbacks.append(lambda phase: _epoch_log(told, phase.epochs_before))
    run.finishers.append(told.finish)


class _Told:
    """One run of MLflow."""

    def __init__(self, client: Any, identity: str):
        self.client, self.identity = client, identity

    def figures(self, values: Mapping[str, Any], step: int) -> None:
        """Numbers by name; what is no number is left out.

        MLflow takes what is not finite, too: a training that diverges shows it.
        """
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        numbers = [
            Metric(name, float(value), now, step)
            for name, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        self._try(lambda: self.client.log_batch(self.identity, metrics=numbers))

    def finish(self, run: Run) -> None:
        """Final figures, and the files that a reader wants."""
        final = run.metrics()
        self.figures(final, 0)
        for name, value in final.items():
            if isinstance(value, str):
                self._try(lambda n=name, v=value: self.client.set_tag(self.identity, n, v))
        for name in KEPT:
            path = run.path / name
            if path.is_dir():
                self._try(lambda p=path: self.client.log_artifacts(self.identity, str(p), p.name))
            elif path.exists():
                self._try(lambda p=path: self.client.log_artifact(self.identity, str(p)))
        self._try(lambda: self.client.set_terminated(self.identity, "FINISHED"))

    def _try(self, do: Any) -> None:
        """A tracker never costs a training."""
        from mlflow.exceptions import MlflowException

        try:
            do()
        except (MlflowException, OSError) as error:
            first = str(error).splitlines()[0]
            warnings.warn(f"MLflow did not take something: {first}", stacklevel=3)


def _epoch_log(told: _Told, before: int) -> Any:
    import keras

    def log(epoch: int, logs: Mapping[str, Any] | None) -> None:
        values = {name: float(value) for name, value in (logs or {}).items()}
        told.figures(values, before + epoch + 1)

    return keras.callbacks.LambdaCallback(on_epoch_end=log)


def _there(client: Any, identity: str) -> bool:
    from mlflow.exceptions import MlflowException

    if not identity:
        return False
    try:
        return client.get_run(identity).info.lifecycle_stage == "active"
    except MlflowException:
        return False


def _begin(client: Any, run: Run) -> str:
    from mlflow.entities import Param, RunTag

    found = client.get_experiment_by_name(run.recipe)
    experiment = found.experiment_id if found else client.create_experiment(run.recipe)
    made = client.create_run(experiment, run_name=run.path.name).info.run_id
    facts = run.facts()
    tags = {
        "run_dir": str(pathlib.Path(run.path).resolve()),
        "git": str(facts.get("git") or ""),
        **{f"version.{name}": str(v) for name, v in (facts.get("versions") or {}).items()},
    }
    client.log_batch(
        made,
        params=[Param(name, str(value)[:LONGEST]) for name, value in run.config.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    return made
