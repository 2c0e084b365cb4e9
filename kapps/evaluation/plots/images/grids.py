"""Grids of images that a classifier was wrong about, and of where it looked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from kapps.evaluation.images.gradcam import overlay
from kapps.evaluation.plots.figure import BLUE, ORANGE, shorten
from kapps.evaluation.plots.grids import drawable, image_grid


def top_losses_grid(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> Figure:
    """Each picture with what the network said, how sure it was, and what is true.

    `images` `[n, H, W, C]`, `labels` int `[n]`, `probabilities` `[n, classes]`, all in the order
    of `top_losses`. Orange captions are mistakes, blue ones were right but unsure.
    """
    captions, colours = [], []
    for label, row in zip(np.asarray(labels), np.asarray(probabilities), strict=True):
        said = int(row.argmax())
        captions.append(
            f"{shorten(class_names[said], 11)} {_share(row[said])}\n"
            f"is {shorten(class_names[int(label)], 8 if said != label else 11)}"
            + (f" {_share(row[label])}" if said != label else "")
        )
        colours.append(BLUE if said == label else ORANGE)
    return image_grid(images, captions, colours=colours)


def grad_cam_grid(
    images: np.ndarray, heatmaps: np.ndarray, captions: Sequence[str] | None = None
) -> Figure:
    """Pictures, each beside itself under its heat map (`[n, H, W]`, 0 to 1), two pairs a row."""
    heated = overlay(np.asarray(images), heatmaps)
    plain = drawable(images)
    if plain.ndim == 3:
        plain = np.repeat(plain[..., None], 3, axis=-1)
    plain = (plain[..., :3] * 255).round().astype(np.uint8)
    pairs = np.concatenate(
        [plain, np.full_like(plain[:, :, : max(1, plain.shape[2] // 25)], 255), heated], axis=2
    )
    return image_grid(pairs, captions, columns=2)


def _share(probability: float) -> str:
    return f"{100 * probability:.0f} %" if probability >= 0.005 else "<1 %"
