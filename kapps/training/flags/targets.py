"""Flags of what there is to say of a picture. Nothing here imports TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from kapps.training.flags.rules import Exclusions


@dataclasses.dataclass(frozen=True)
class PictureTargetFlags:
    """One class, several labels or a number for each picture; goes with `ImageFlags`."""

    target_kind: Literal["auto", "classes", "labels", "number"] = "auto"
    """with --labels or --label-pattern: one class per image, several labels ("cat|dog", or columns
    of 0 and 1), or a number; auto decides by their form, and says so"""

    EXCLUSIONS: ClassVar[Exclusions] = (
        (
            lambda config: (
                config.target_kind in ("labels", "number")
                and not config.dataset.startswith(("folder:", "tfrecord:", "webdataset:"))
            ),
            "--target-kind {target_kind} is for folder:PATH with --labels, and for shards",
        ),
    )
