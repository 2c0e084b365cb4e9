"""Flags of a training in two phases: a linear probe, then fine-tuning. No TensorFlow here."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

from kapps.training.flags.ranges import NonNegativeInt, Positive, Range
from kapps.training.flags.rules import Exclusions, only_for

PROBE = "probe"  # the head alone
FINE_TUNING = "fine-tuning"  # the head and the last stages


@dataclasses.dataclass(frozen=True)
class FineTuningFlags:
    """How a head is trained on a pretrained network, and then its last stages; with `CommonFlags`.

    `learning_rate`, `epochs` and the schedule apply to each phase.
    """

    probe_epochs: NonNegativeInt | None = None
    """epochs of the head alone; 0 skips this phase; default: --epochs"""
    fine_tune_epochs: NonNegativeInt | None = None
    """epochs of the head and the last stages; 0 skips this phase; default: half of --epochs"""
    fine_tune_stages: int | Literal["all"] = 3
    """how many stages of the backbone, counted from its output, are fine-tuned"""
    fine_tune_learning_rate: Positive | None = None
    """peak learning rate of the head in fine-tuning; default: a third of the probe's"""
    stage_decay: Annotated[float, Range(0, 1.000001, "above 0, at most 1", False)] = 0.5
    """learning rate of a stage, relative to the stage after it"""
    batch_norm: Literal["frozen", "train"] = "frozen"
    """whether batch normalization in fine-tuned stages keeps its pretrained statistics"""
    cache: bool = True
    """compute the probe's features once and cache them; augmentation then starts in phase 2"""
    cache_copies: NonNegativeInt = 0
    """with --cache: augmented copies of each image that the probe sees; 0: only the image itself"""
    cache_dir: str | None = None
    """where features are cached, for other runs, too; default: features/ beside the run's"""

    EXCLUSIONS: ClassVar[Exclusions] = (
        (
            lambda c: c.more_epochs and not c.phases[FINE_TUNING],
            "--more-epochs goes on with fine-tuning, which --fine-tune-epochs 0 leaves out",
        ),
        (
            lambda c: not any(c.phases.values()),
            "--probe-epochs 0 and --fine-tune-epochs 0 leave nothing to train",
        ),
        *only_for(
            "fine-tuning, which --fine-tune-epochs 0 leaves out",
            lambda c: c.phases[FINE_TUNING],
            ("fine_tune_learning_rate", "stage_decay", "batch_norm"),
        ),
        (
            lambda c: not c.fine_tune_stages and c.fine_tune_epochs,
            "--fine-tune-stages 0 leaves nothing to --fine-tune-epochs",
        ),
        (
            lambda c: c.cache_copies and not (c.cache and c.augment),
            "--cache-copies needs --cache and --augment",
        ),
    )

    @property
    def phases(self) -> dict[str, int]:
        """Epochs of each phase."""
        probe, tuning, epochs = self.probe_epochs, self.fine_tune_epochs, vars(self)["epochs"]
        tuning = -(-epochs // 2) if tuning is None else tuning
        return {
            PROBE: epochs if probe is None else probe,
            FINE_TUNING: tuning if self.fine_tune_stages else 0,
        }
