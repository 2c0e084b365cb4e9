"""Samples of fixed noise as training goes on, as a moving picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kapps import files
from kapps.errors import UserError
from kapps.evaluation.plots.generative.grids import evenly

MOST_FRAMES = 40
SIDE = 480  # pixels of the longer side, about
STRIP = 26  # pixels below the samples, for the epoch
FORMATS = {".gif": "GIF", ".webp": "WEBP"}


def tile(pictures: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Pictures side by side without a gap: uint8 [rows * H, columns * W, C].

    Args:
        pictures: uint8, or floats from 0 to 1, [n, H, W, C]; missing ones are white.
        columns: as many as make a square when None.
    """
    pictures = np.asarray(pictures)
    if not np.issubdtype(pictures.dtype, np.integer):
        pictures = np.rint(255 * np.clip(np.nan_to_num(pictures), 0, 1))
    count, height, width, channels = pictures.shape
    columns = columns or max(1, math.ceil(math.sqrt(count)))
    rows = -(-count // columns)
    canvas = np.full((rows * columns, height, width, channels), 255, np.uint8)
    canvas[:count] = pictures
    canvas = canvas.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return canvas.reshape(rows * height, columns * width, channels)


def animation_bytes(
    grids: Sequence[np.ndarray],
    epochs: Sequence[int] | None = None,
    *,
    format: str = "webp",
    seconds: float = 8.0,
) -> bytes:
    """A moving picture with a frame per epoch, as the content of a file.

    It has at most 40 frames, evenly spread over the epochs, is about 480 pixels wide, stays for
    two seconds on the last frame and begins again. Below the samples stand the epoch and a bar.

    Args:
        grids: the samples of each epoch, [n, H, W, C] of the same shape, uint8 or 0..1.
        epochs: their numbers; 1, 2, 3 ... when None.
        format: "webp" (smaller) or "gif" (shown by more programs).
        seconds: how long it takes; no frame is shorter than 50 ms.

    Raises:
        UserError: an unknown format.
        ValueError: there is no grid.
    """
    kind = FORMATS.get(f".{format.lower().lstrip('.')}")
    if kind is None:
        known = ", ".join(name[1:] for name in FORMATS)
        raise UserError(f"format {format!r} of an animation: it is one of {known}")
    if not len(grids):
        raise ValueError("an animation needs one grid at least")
    epochs = list(epochs) if epochs is not None else list(range(1, len(grids) + 1))
    chosen = evenly(len(grids), MOST_FRAMES)
    frames = [_frame(grids[i], epochs[i], epochs[i] / max(epochs[-1], 1)) for i in chosen]
    each = max(50, round(1000 * seconds / len(frames)))
    buffer = io.BytesIO()
    options = {"quality": 75} if kind == "WEBP" else {"optimize": True}
    frames[0].save(
        buffer,
        kind,
        save_all=True,
        append_images=frames[1:],
        duration=[each] * (len(frames) - 1) + [2000],
        loop=0,
        **options,
    )
    return buffer.getvalue()


def save_animation(
    grids: Sequence[np.ndarray],
    path: str | Path,
    epochs: Sequence[int] | None = None,
    *,
    seconds: float = 8.0,
) -> Path:
    """Write `animation_bytes` to `path`, whole or not at all; its suffix, .gif or .webp, decides.

    Raises:
        UserError: another suffix.
    """
    path = Path(path)
    content = animation_bytes(grids, epochs, format=path.suffix, seconds=seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path, lambda file: file.write(content))
    return path


def _frame(pictures: np.ndarray, epoch: int, share: float) -> Image.Image:
    grid = tile(pictures)
    if grid.shape[-1] != 3:  # grey; of other numbers of channels their mean
        grid = np.repeat(np.rint(grid.mean(axis=-1, keepdims=True)).astype(np.uint8), 3, axis=-1)
    height, width = grid.shape[:2]
    scale = max(1, SIDE // max(height, width))
    picture = Image.fromarray(grid).resize(
        (width * scale, height * scale), Image.Resampling.NEAREST
    )
    if max(picture.size) > 2 * SIDE:
        picture.thumbnail((SIDE, SIDE))
    frame = Image.new("RGB", (picture.width, picture.height + STRIP), "white")
    frame.paste(picture, (0, 0))
    draw = ImageDraw.Draw(frame)
    draw.text((4, picture.height + 3), f"epoch {epoch}", fill="#222222", font=_font())
    draw.rectangle((0, frame.height - 4, round(share * frame.width), frame.height), fill="#0072B2")
    return frame


def _font() -> ImageFont.FreeTypeFont:
    from matplotlib import font_manager

    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 14)
