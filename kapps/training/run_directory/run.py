"""The run directory: what a training leaves on the disk, and whether it may go on.

Nothing here imports TensorFlow: a finished run answers in a fraction of a second.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import filelock

from kapps import files
from kapps.data import quick_fingerprint
from kapps.errors import UserError
from kapps.training.distributed.devices import cluster
from kapps.training.run_directory.environment import revision, versions
from kapps.training.run_directory.identity import check_same, difference, digest, shorter_runs
from kapps.training.run_directory.replaced import (
    WORKERS,
    clear,
    is_ours,
    set_aside,
    settle_replaced,
)

MODEL = "model.keras"  # what was trained, of the best epoch
FOLDS = "folds"  # runs of their own, one for each fold


class Run:
    """A run directory that this process holds.

    Made by `open_run`. The lock is the operating system's, so it goes with the process,
    however that ends.

    Attributes:
        path: the directory.
        recipe: name of the recipe.
        config: the configuration, as plain values.
        flags: the same as the recipe's dataclass.
        notes: what the user should know about it.
        figures: for metrics.json, found beside the training itself.
        callbacks: functions from a run, or a phase of one, to a Keras callback that its `fit` also
            has, or None; a search adds its own.
        finishers: what is called with the run when its final figures are on the disk.
        epochs_before: those of earlier phases; 0.
        stopped: () -> whether the callbacks want no further phase to begin.
    """

    def __init__(self, path: pathlib.Path, recipe: str, config: dict[str, Any]):
        self.path, self.recipe, self.config = path, recipe, config
        self.worker, self.flags = 0, None
        self.notes: list[str] = []
        self.figures: dict[str, Any] = {}
        self.callbacks: list[Callable[[Any], Any]] = []
        self.finishers: list[Callable[[Run], None]] = []
        self.epochs_before = 0
        self.stopped: Callable[[], bool] = lambda: False
        self._lock = filelock.FileLock(path / ".lock")

    @property
    def checkpoints(self) -> pathlib.Path:
        """Where the states to resume from are kept."""
        return self.path / "checkpoints"

    @property
    def plots(self) -> pathlib.Path:
        """Where pictures go."""
        return self.path / "plots"

    @property
    def tensorboard(self) -> pathlib.Path:
        """Where TensorBoard's files go."""
        return self.path / "tensorboard"

    @property
    def gradient_flow(self) -> pathlib.Path:
        """Where `--gradient-flow` writes."""
        return self.path / "gradient_flow.csv"

    @property
    def finished(self) -> bool:
        """Whether the run has its final figures, those of `--more-epochs` included."""
        if self.worker and self.config.get("overwrite"):
            return False  # the chief may not have cleared its directory yet
        if not (self._of_chief / "metrics.json").exists():
            return False
        asked = self.config.get("more_epochs") or 0
        return not asked or asked <= (self.metrics().get("more_epochs") or 0)

    @property
    def chief(self) -> bool:
        """Whether this process evaluates, exports and reports: all but the first worker do not."""
        return self.worker == 0

    @property
    def _of_chief(self) -> pathlib.Path:
        return self.path if self.chief else self.path.parents[1]

    @property
    def has_results(self) -> bool:
        """Whether there is anything that a training has left."""
        journal = self.path / "search.journal"  # of a search for hyperparameters
        folds = any(self.path.glob(f"{FOLDS}/*/config.json"))
        return self.finished or journal.exists() or folds or any(self.checkpoints.rglob("state-*"))

    @property
    def published(self) -> str | None:
        """The version this run has published, also if it was killed right after that."""
        known = self.facts().get("exported")
        return known if known and pathlib.Path(known).exists() else None

    def metrics(self) -> dict[str, Any]:
        """The final figures of a finished run.

        Raises:
            UserError: the file cannot be read.
        """
        return read_json(self._of_chief / "metrics.json")

    def facts(self) -> dict[str, Any]:
        """What config.json holds."""
        return read_json(self.path / "config.json")

    def record(self, **facts: Any) -> dict[str, Any]:
        """Note facts that are found once and must hold for as long as the run lives.

        A fact that is there already is compared: the data a run was begun on, for one, may not
        change under it.

        Returns:
            The recorded facts.

        Raises:
            UserError: a fact differs from what the run was begun with.
        """
        known = self.facts()
        for name, value in facts.items():
            if name in known and known[name] != value:
                was, now = difference(known[name], value)
                raise UserError(
                    f"{self.path} was begun with another {name} ({was}; now {now}). "
                    "Use another --run-dir, or --overwrite to start afresh."
                )
        if any(name not in known for name in facts):
            known.update(facts)
            files.write_json(self.path / "config.json", known)
        return {name: known[name] for name in facts}

    def data_files(self) -> str:
        """A digest of names, sizes and times of the files of the data, as they are now."""
        config = self.config
        return quick_fingerprint(
            config.get("dataset", ""), config.get("test_file"), config.get("labels")
        )

    @property
    def data_may_have_changed(self) -> bool:
        """Whether the files of the data are others than those that were trained on."""
        known = self.facts().get("data_files")
        return known is not None and known != self.data_files()

    def record_data(self, data: Any) -> None:
        """Note on what is trained: its fingerprint, its classes, the shape of its images.

        Raises:
            UserError: the run was begun with other data.
        """
        names = list(getattr(data, "class_names", None) or ())
        self.record(data={"fingerprint": data.fingerprint, "class_names": names})
        if features := getattr(data, "feature_names", ()):
            self.record(feature_names=list(features))
        facts = self.facts()
        if facts.get("data_files") != (files_now := self.data_files()):
            files.write_json(self.path / "config.json", facts | {"data_files": files_now})
        if getattr(data, "kind", "classes") != "classes":
            self.record(target_kind=data.kind)
        if hasattr(data, "image_shape"):
            self.record(image_shape=list(data.image_shape))
        if (reading := getattr(data, "reading", None)) is not None:
            for name, value in reading._asdict().items():
                if value not in (None, "stretch", False):
                    self.record(**{name: value})

    def announce(self, data: Any, model: str) -> None:
        """Say what is trained on what, and where it goes, before training begins.

        Args:
            data: has a `summary` and `notes`.
            model: what is trained, in one line or several.
        """
        lines = [f"data      {data.summary}", f"model     {model}", f"run       {self.path}"]
        lines += [f"note      {note}" for note in (*data.notes, *self.notes)]
        print("\n".join(lines))  # noqa: T201

    def finish(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Write the final figures, which marks the run as finished, and let go of it."""
        files.write_json(self.path / "metrics.json", metrics)
        for tell in self.finishers:
            tell(self)
        self.close()
        return metrics

    def leave(self) -> dict[str, Any]:
        """What a worker does after the training; the chief does the rest by itself.

        Returns:
            Its number, in place of the final figures.
        """
        self.close()
        return {"worker": self.worker}

    def close(self) -> None:
        """Let another process have the directory.

        What `overwrite` replaced goes now, or comes back if nothing was made in its place.
        """
        if self._lock.is_locked:
            settle_replaced(self)
        self._lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _acquire(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UserError(
                f"{self.path} is in use by another process. Wait for it to end, or use another "
                "--run-dir."
            ) from None


def open_run(recipe: str, config: Any, *, name: str | None = None) -> Run:
    """Make the run directory of a configuration, or come back to it.

    Args:
        recipe: name of the recipe.
        config: a dataclass with at least `run_dir` (None or empty: `runs/RECIPE/NAME`) and
            `overwrite`.
        name: begins NAME, default: the config's `run_name`; a digest of the configuration ends
            it, so that the same command finds its run again and another one gets its own.

    Raises:
        UserError: another configuration made the directory (the fields that differ are named),
            another process uses it, its config.json is unreadable, or it holds other files.
    """
    values = plain(dataclasses.asdict(config))
    name = name or getattr(config, "run_name", "run")
    path = pathlib.Path(config.run_dir or pathlib.Path("runs", recipe, f"{name}-{digest(values)}"))
    workers = cluster()
    worker = workers.index if workers else 0
    if worker:
        path = path / WORKERS / str(worker)
    if path.exists() and not path.is_dir():
        raise UserError(f"run directory {path} is a file. Use another --run-dir.")
    if path.is_dir() and not is_ours(path):
        raise UserError(
            f"{path} holds files that are not a run's. "
            "Use an empty or a new directory as --run-dir."
        )
    path.mkdir(parents=True, exist_ok=True)
    run = Run(path, recipe, values)
    run.worker, run.flags = worker, config
    run._acquire()
    try:
        settle_replaced(run)
        if config.overwrite:
            set_aside(path)
        if (path / "config.json").exists() and run.has_results:
            check_same(run)
        else:  # a run that failed before its first checkpoint has nothing to lose
            clear(path, keep=("plots",))  # the range test's picture may be there
            begin = {"recipe": recipe, "config": values, "versions": versions(), "git": revision()}
            files.write_json(path / "config.json", begin)
            run.notes += shorter_runs(run)
        for folder in (path, run.checkpoints, run.plots):
            folder.mkdir(exist_ok=True)
            files.remove_leftovers(folder)
    except BaseException:
        run.close()
        raise
    return run


def run_inside(directory: str | os.PathLike, recipe: str) -> Run:
    """A directory for checkpoints and metrics.csv inside a run directory, without a config.

    Args:
        directory: made when missing.
        recipe: name of the recipe.
    """
    run = Run(pathlib.Path(directory), recipe, {})
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    return run


def in_use(path: str | os.PathLike) -> bool:
    """Whether a process holds a run directory."""
    lock = filelock.FileLock(pathlib.Path(path, ".lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    lock.release()
    return False


def trained_in(path: str | os.PathLike) -> pathlib.Path:
    """Where the model of a run lies: in its own directory, or in that of a search's winner.

    Args:
        path: a run directory, finished or not.
    """
    path = pathlib.Path(path)
    try:
        winner = json.loads((path / "metrics.json").read_text(encoding="utf-8")).get("winner_run")
    except (OSError, ValueError, AttributeError):
        return path  # whoever reads it says what is wrong
    return path / winner if winner else path


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file of a run.

    Raises:
        UserError: it is missing or broken.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {path}: {error}. Restore it, use another --run-dir, or start afresh "
            "with --overwrite."
        ) from None


def write_rows(path: str | os.PathLike, rows: list[dict[str, Any]]) -> None:
    """Write metrics.csv: a row per epoch, every float with all its digits, nothing of the clock."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(path, text.getvalue())


def plain(value: Any) -> Any:
    """What JSON would make of a value: tuples become lists, paths become strings."""
    return json.loads(json.dumps(value, default=str))
