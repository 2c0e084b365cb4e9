"""Flags of what goes on from a finished run. Nothing here imports TensorFlow."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import ClassVar

from kapps.training.flags.ranges import NonNegativeInt
from kapps.training.flags.rules import Exclusions
from kapps.training.run_directory.run import MODEL, trained_in


def _is_run(path: str) -> bool:
    return pathlib.Path(path, "config.json").is_file()


def _has_model(path: str) -> bool:
    return (trained_in(path) / MODEL).is_file()


@dataclasses.dataclass(frozen=True)
class ContinuationFlags:
    """A finished run that is trained longer, or another one that begins with its weights."""

    more_epochs: NonNegativeInt = 0
    """train a finished run for this many more epochs than --epochs, in its directory: from the
    weights it kept, with a new schedule"""
    start_from: str | None = None
    """directory of a finished run of the same network: start from the weights of its model"""

    EXCLUSIONS: ClassVar[Exclusions] = (
        (
            lambda config: config.more_epochs and config.folds,
            "--more-epochs continues one run, and --folds trains several",
        ),
        (
            lambda config: config.start_from and config.folds,
            "--start-from with --folds: that run has seen examples of every fold",
        ),
        (
            lambda config: config.start_from and not _is_run(config.start_from),
            "--start-from {start_from}: not a run directory (there is no config.json)",
        ),
        (
            lambda config: config.start_from and not _has_model(config.start_from),
            "--start-from {start_from}: this run has no model yet; let it finish first",
        ),
    )
