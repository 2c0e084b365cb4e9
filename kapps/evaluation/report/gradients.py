"""What the gradients of a training say: do they vanish or explode on their way back?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kapps.evaluation import plots
from kapps.evaluation.plots.gradients import layer_norms

FACTOR = 1000.0  # between the first and the last hidden layer, beyond which learning stalls
GONE = 1e-7  # of any layer's norm: float32 adds nothing to weights of about 1


def gradient_story(rows: Sequence[Mapping[str, float]]) -> tuple[str, str]:
    """The words vanishing, exploding or healthy, and a sentence with the numbers.

    What is compared are the gradients of the first layer and of the last but one (of two layers the
    last), before training and after it. Vanishing: the first one is less
    than a thousandth of the later one. Exploding: it is more than a thousand times as large, or
    some gradient is no finite number.

    Args:
        rows: those of `training.GradientFlow`.

    Raises:
        ValueError: there are no rows.
    """
    names, norms = layer_norms(rows)
    if not names:
        raise ValueError("no gradient was measured")
    broken = ~np.isfinite(norms).all(axis=1)
    if broken.any():
        epoch = rows[int(np.argmax(broken))]["epoch"]
        return "exploding", (
            f"The gradient is not finite from epoch {epoch:g} on: a lower learning rate, "
            "clipping (--clip) or another initialization may help."
        )
    first, later = 0, len(names) - (2 if len(names) > 2 else 1)
    if first == later:
        return "healthy", f"{names[first]} is the only layer: nothing is propagated back."
    ratios = norms[:, first] / np.maximum(norms[:, later], np.finfo(np.float64).tiny)
    told = (
        f"Before training the gradient of {names[first]} was {ratios[0]:.2g} times that of "
        f"{names[later]}, at the end {ratios[-1]:.2g} times"
    )
    if ratios[0] < 1 / FACTOR or (ratios[-1] < 1 / FACTOR and norms[-1, later] > GONE):
        return "vanishing", (
            f"{told}: it vanishes on its way back, and the first layers hardly learn. ReLU with He "
            "initialization, residual connections, normalization or fewer layers help."
        )
    if ratios[0] > FACTOR or ratios[-1] > FACTOR:
        return "exploding", (
            f"{told}: it grows on its way back. Clipping (--clip), smaller initial weights or "
            "normalization help."
        )
    return "healthy", f"{told}: it neither vanishes nor explodes."


def explain_gradient_flow(flow: Sequence[Any]) -> list[tuple[str, Figure, str]]:
    """Figures of a report, with their captions; none where nothing was measured.

    Args:
        flow: the callbacks that `training.gradient_flow` has given.
    """
    caption = "Gradient of the loss on one fixed batch with respect to each layer's weights. "
    return [
        ("Gradient flow", plots.gradient_flow(each.rows), caption + gradient_story(each.rows)[1])
        for each in flow
        if each.rows
    ]
