"""What the profile of a training step says, and what to change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from kapps.evaluation import plots

if TYPE_CHECKING:
    from kapps.training.watching.profiling import Profile

LARGEST = 3
# Shares of the time of all operations (of the clock, for the first) that are worth a word.
WAITS, CASTS, ELEMENTWISE, OPTIMIZER = 0.1, 0.05, 0.4, 0.25
STARTING = 0.5  # of the clock, in which no operation runs and no batch is waited for
MATRIX_UNITS = ("convolution", "matrix product")


def profile_advice(profile: Profile) -> list[str]:
    """What would make the step faster, the most likely first; one sentence that all is well else.

    Args:
        profile: of `training.StepProfile`.
    """
    total = profile.total or 1.0
    share = {name: value / total for name, value in profile.kinds.items()}
    found = []
    waits = profile.waiting_milliseconds / max(profile.step_milliseconds, 1e-9)
    if waits > WAITS:
        found.append(
            f"The step waits {waits:.0%} of its time for data: smaller images, data prepared ahead "
            "(kapps data prepare), less augmentation or more processor cores help."
        )
    starting = 1.0 - (total + profile.waiting_milliseconds) / max(profile.step_milliseconds, 1e-9)
    if starting > STARTING:
        found.append(
            f"Nothing is computed for {starting:.0%} of the time: the {profile.operations:.0f} "
            "operations of a step are small and each has a launch cost, or other programs use the "
            "processor. A larger --batch-size does more work with as many operations."
        )
    if profile.layers.get("optimizer", 0.0) / total > OPTIMIZER:
        part = profile.layers["optimizer"] / total
        found.append(
            f"The optimizer takes {part:.0%}: a larger --batch-size needs fewer of its steps."
        )
    if share.get("cast", 0.0) > CASTS:
        found.append(
            f"Casts between number formats take {share['cast']:.0%}: --precision float32 may be "
            "faster."
        )
    if share.get("elementwise", 0.0) + share.get("reduction", 0.0) > ELEMENTWISE:
        part = share.get("elementwise", 0.0) + share.get("reduction", 0.0)
        found.append(
            f"Elementwise operations and sums take {part:.0%}: they read and write every activation"
            " again. Early pooling or fewer activations on large maps help, or a GPU, where "
            "--precision mixed_bfloat16 halves the memory traffic."
        )
    multiplied = sum(share.get(kind, 0.0) for kind in MATRIX_UNITS)
    if not found and multiplied > 0.5:
        faster = (
            ""
            if profile.precision != "float32"
            else (", and --precision mixed_bfloat16 where the processor has units for it")
        )
        found.append(
            f"Convolutions and matrix products take {multiplied:.0%}, as they should: only a "
            f"smaller network or image would be faster{faster}."
        )
    return found or ["Nothing stands out."]


def explain_profile(
    profiles: Sequence[Any],
) -> tuple[list[tuple[str, Figure, str]], list[tuple[str, Sequence[str], Sequence[Sequence]]]]:
    """Figures and tables of a report; none where nothing was profiled.

    Args:
        profiles: the callbacks that `training.step_profile` has given.
    """
    figures, tables = [], []
    for profile in (each.found for each in profiles if each.found):
        total = profile.total or 1.0
        largest = list(profile.layers.items())[:LARGEST]
        named = ", ".join(f"{name} ({value / total:.0%})" for name, value in largest)
        waits = profile.waiting_milliseconds / max(profile.step_milliseconds, 1e-9)
        caption = (
            f"A step takes {profile.step_milliseconds:.1f} ms, of which it waits "
            f"{profile.waiting_milliseconds:.1f} ms ({waits:.0%}) for its batch. The three largest "
            f"parts: {named}. {' '.join(profile_advice(profile))}"
        )
        figure = plots.step_profile(profile.kinds, profile.layers)
        figures.append(("Where the time goes", figure, caption))
        rows = [[kind, value, f"{value / total:.0%}"] for kind, value in profile.kinds.items()]
        columns = ("kind of operation", "ms per step, all threads", "share")
        tables.append((f"Time of {profile.steps} steps", columns, rows))
    return figures, tables
