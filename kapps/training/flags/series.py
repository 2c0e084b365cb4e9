"""Flags of recipes that read series, and the series that they ask for. No TensorFlow here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from kapps import data
from kapps.training.flags.ranges import NonNegative, PositiveInt, Range, Rate
from kapps.training.flags.rules import Exclusions, only_for

MEMORY_TASKS = ("adding", "copy")
AUGMENTATIONS = ("window", "warp", "scale", "jitter")
Part = Annotated[float, Range(0, 0.9, "between 0 and 0.9")]


@dataclasses.dataclass(frozen=True)
class SeriesFlags:
    """Which series, and how they are split; goes with `FoldFlags` and `MemoryFlags`."""

    length: Annotated[int, Range(3, math.inf, "4 or more", ends=False)] = 50
    """steps of a memory task; 200 is usual, but takes longer than the default training"""
    examples: PositiveInt = 10_000
    """training series of a memory task"""
    fresh: bool = False
    """memory tasks: new training series at every step"""
    validation_fraction: Rate = 0.2
    """fraction of the training series held out for validation; 0 trains on all, and keeps the
    epoch with the lowest training loss"""
    group: str | None = None
    """csv: a column (patient, recording): all series with the same value are in one split"""

    EXCLUSIONS: ClassVar[Exclusions] = (
        *only_for(
            "the memory tasks adding and copy",
            lambda c: c.dataset in MEMORY_TASKS,
            ("length", "examples", "fresh"),
        ),
        *only_for(
            "csv:PATH", lambda c: c.dataset.startswith(("csv:", "parquet:", "jsonl:")), ("group",)
        ),
        *only_for(
            "data that are not made here", lambda c: c.dataset not in MEMORY_TASKS, ("folds",)
        ),
    )


@dataclasses.dataclass(frozen=True)
class SeriesAugmentationFlags:
    """What is done to training series."""

    window: Part = 0.0
    """cut up to this fraction off the ends of training series, and stretch the rest"""
    warp: Part = 0.0
    """speed time up and down by up to this fraction"""
    scale: NonNegative = 0.0
    """standard deviation of a random factor per series and feature"""
    jitter: NonNegative = 0.0
    """standard deviation of added noise, relative to the feature's"""

    EXCLUSIONS: ClassVar[Exclusions] = only_for(
        "data that are not made here",
        lambda c: c.dataset not in MEMORY_TASKS,
        AUGMENTATIONS,
    )

    def augmentation(self, std: Sequence[float]) -> data.SeriesAugmentation | None:
        """What these flags ask for; None where that is nothing.

        Args:
            std: deviation of each feature.
        """
        strengths = {name: getattr(self, name) for name in AUGMENTATIONS}
        if not any(strengths.values()):
            return None
        return data.SeriesAugmentation(**strengths, std=tuple(std))


def load_series(config: Any) -> data.SequenceData:
    """The series that the flags ask for.

    Args:
        config: has the common flags, those of series, of memory and of folds.
    """
    return data.load_sequences(
        config.dataset,
        data_dir=config.data_dir,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
        length=config.length,
        examples=config.examples,
        group=config.group,
        fold=config.which_fold,
        memory_limit=config.memory_bytes,
    )
