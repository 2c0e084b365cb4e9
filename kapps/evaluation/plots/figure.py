"""What all pictures share: size, colours, labels, and the way to PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from kapps import files

WIDTH = 4.8  # inches: ten-point text fills a phone's width as the text of a page does
DPI = 200
BLUE, ORANGE, SKY, GREEN, PINK, YELLOW, GREY = (
    "#0072B2", "#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#E69F00", "#7A7A7A"
)  # fmt: skip


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, `width` by `height` inches."""
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
    return Figure(figsize=(width, height), layout=layout)


def calm(axes: Axes) -> Axes:
    """Take away the frame, leave a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#E3E3E3", linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def shorten(name: str, length: int) -> str:
    """`name` on one line of at most `length` characters: the middle gives way to an ellipsis."""
    name = " ".join(str(name).split())
    if len(name) <= length:
        return name
    head = length // 2
    return name[:head].rstrip() + "…" + name[len(name) - (length - 1 - head) :].lstrip()


def short_names(names: Sequence[str], length: int) -> list[str]:
    """`names` shortened; where two would look the same, all of them get their number in front."""
    short = [shorten(name, length) for name in names]
    if len(set(short)) == len(set(names)):
        return short
    return [shorten(f"{i} {name}", length) for i, name in enumerate(names)]


def png_bytes(figure: Figure, dpi: int = DPI) -> bytes:
    """`figure` as the content of a PNG file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Class names may be in a script that the built-in font lacks: a box is drawn instead.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", append=False)
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: str | Path, dpi: int = DPI) -> Path:
    """Write `figure` to `path`, whole or not at all; missing folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = png_bytes(figure, dpi)
    files.write_atomically(path, lambda file: file.write(content))
    return path
