"""Grids of pictures: samples, mistakes, heat maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kapps.evaluation.plots.figure import WIDTH, new_figure, short_names, shorten

GAP = 0.08  # between pictures, in widths of a picture
MOST_CLASSES = 30


def image_grid(
    images: np.ndarray,
    captions: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    colours: Sequence[str] | None = None,
) -> Figure:
    """Pictures in rows, with a caption of one or two lines below each.

    `images` `[n, H, W]` or `[n, H, W, C]` with one, three or four channels, uint8 or floats from 0
    to 1 (what lies outside is clipped). `colours` are those of the captions.
    """
    images = drawable(images)
    count, (height, width) = len(images), images.shape[1:3]
    if count == 0:
        return _nothing_to_show()
    # Of a grid that chooses for itself, one picture takes half the width and not all of it.
    columns = min(count, columns) if columns else min(max(count, 2), 8 if captions is None else 4)
    rows = -(-count // columns)
    lines = max((str(text).count("\n") + 1 for text in captions), default=0) if captions else 0
    # A cell is one picture wide; text has a size in inches, so its height depends on the columns.
    inches = (WIDTH - 0.1) / (columns + GAP * (columns - 1))
    text_height = (0.145 * lines + 0.05 * bool(lines)) / inches
    cell = height / width + text_height + GAP
    total = rows * cell - GAP
    figure = new_figure(total * inches + 0.1)
    axes = _canvas(figure, columns + GAP * (columns - 1), total)
    for i, image in enumerate(images):
        left, top = i % columns * (1 + GAP), i // columns * cell
        _draw(axes, image, left, top)
        if captions is not None and lines:
            axes.text(
                left + 0.5,
                top + height / width + 0.03 / inches,
                "\n".join(shorten(line, int(inches * 15)) for line in str(captions[i]).split("\n")),
                ha="center",
                va="top",
                fontsize=7.5,
                linespacing=1.15,
                color=colours[i] if colours is not None else "#222222",
                parse_math=False,
            )
    return figure


def class_samples(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    per_class: int = 8,
) -> Figure:
    """A row per class with its first `per_class` pictures of `images`; at most 30 classes."""
    labels = np.asarray(labels)
    names = list(class_names)[:MOST_CLASSES]
    rows = [np.asarray(images)[labels == i][:per_class] for i in range(len(names))]
    return picture_rows(rows, names)


def picture_rows(
    rows: Sequence[np.ndarray],
    row_names: Sequence[str] | None = None,
    column_names: Sequence[str] | None = None,
    *,
    largest: float = 0.8,
) -> Figure:
    """Rows of pictures with names at the left and above.

    Each of `rows` is `[n, H, W]` or `[n, H, W, C]`, as `image_grid` takes them; rows may differ in
    length and in channels. A picture is at most `largest` inches wide.
    """
    rows = [drawable(row) for row in rows]
    columns = max((len(row) for row in rows), default=0)
    if columns == 0:
        return _nothing_to_show()
    height, width = next(row for row in rows if len(row)).shape[1:3]
    shape = height / width
    names = short_names(row_names, 18) if row_names is not None else []
    left = 0.075 * max((len(name) for name in names), default=0) + 0.1 * bool(names)  # inches
    inches = min((WIDTH - 0.1 - left) / (columns + GAP * (columns - 1)), largest)
    above = 0.2 / inches if column_names is not None else 0.0
    cell = shape + GAP
    total = above + cell * len(rows) - GAP
    figure = new_figure(total * inches + 0.1)
    axes = _canvas(figure, (WIDTH - 0.1) / inches, total)
    start = left / inches
    for j, name in enumerate(column_names or ()):
        axes.text(
            start + j * (1 + GAP) + 0.5,
            above - 0.04 / inches,
            shorten(name, max(2, int(inches * 15))),
            ha="center",
            va="bottom",
            fontsize=7.5,
            parse_math=False,
        )
    for i, row in enumerate(rows):
        top = above + i * cell
        if names:
            axes.text(
                start - 0.06 / inches,
                top + shape / 2,
                names[i],
                ha="right",
                va="center",
                fontsize=8.5,
                parse_math=False,
            )
        for j, image in enumerate(row):
            _draw(axes, image, start + j * (1 + GAP), top)
    return figure


def drawable(images: np.ndarray) -> np.ndarray:
    """Floats from 0 to 1, [n, H, W] for one channel, else [n, H, W, 3 or 4]."""
    images = np.asarray(images)
    if images.ndim not in (3, 4):
        raise ValueError(f"pictures [n, H, W] or [n, H, W, C] are wanted, not {images.shape}")
    scale = 255.0 if np.issubdtype(images.dtype, np.integer) else 1.0
    images = np.clip(np.nan_to_num(images.astype(np.float32) / scale), 0, 1)
    if images.ndim == 3 or images.shape[-1] in (3, 4):
        return images
    return images.mean(axis=-1)


def _canvas(figure: Figure, width: float, height: float) -> Axes:
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_aspect("equal")
    return axes


def _draw(axes: Axes, image: np.ndarray, left: float, top: float) -> None:
    height, width = image.shape[:2]
    axes.imshow(
        image,
        cmap="gray",
        vmin=0,
        vmax=1,
        extent=(left, left + 1, top + height / width, top),
        interpolation="nearest" if width <= 96 else "antialiased",
    )
    # imshow fits the axes to the last picture.
    axes.autoscale(False)


def _nothing_to_show() -> Figure:
    figure = new_figure(1.0)
    figure.text(0.5, 0.5, "There is no picture to show.", ha="center", va="center")
    return figure
