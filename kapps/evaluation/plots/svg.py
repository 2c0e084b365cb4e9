"""A figure as SVG that stands inside a page: its text is the page's, and so are its colours."""

from __future__ import annotations

import html
import io
import re
import warnings
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from kapps.evaluation.plots.figure import BLUE, GREEN, GREY, ORANGE, PINK, SKY, YELLOW

MOST_BYTES = 400_000  # of a figure; above, a PNG is smaller and faster
HOVER = "hover:"  # a gid that begins so is what the pointer is told over an artist
# Black is the page's ink, white its card, and the palette has a light and a dark variant.
COLOURS = {
    "#000000": "currentColor",
    "#ffffff": "var(--card)",
    "#e3e3e3": "var(--line)",
    "#bbbbbb": "var(--line)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    SKY: "var(--sky)",
    GREEN: "var(--green)",
    PINK: "var(--pink)",
    YELLOW: "var(--yellow)",
    GREY: "var(--grey)",
}


def svg_text(figure: Figure, name: str, alt: str) -> str | None:
    """`figure` as an `<svg>` element; None where a PNG is better.

    That is a figure with pictures in it, or with so many marks that the page would grow by
    hundreds of kilobytes.

    Args:
        figure: to be drawn.
        name: unlike that of every other figure in the page; letters, digits and hyphens.
        alt: what it shows, for who does not see it.
    """
    if any(axes.images for axes in figure.axes):
        return None
    buffer = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name}
    with warnings.catch_warnings(), matplotlib.rc_context(settings):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", append=False)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    if len(text) > MOST_BYTES or "<image" in text:
        return None
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(  # matplotlib has escaped it
        rf"<g id=([\"']){HOVER}(.*?)\1>", lambda found: f"<g><title>{found.group(2)}</title>", text
    )
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'font-family: [^;"]*;? ?', "", text)  # the page's own
    for colour, variable in COLOURS.items():
        text = re.sub(re.escape(colour), variable, text, flags=re.IGNORECASE)
    _, _, rest = text.partition(">")
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    label = html.escape(alt, quote=True)
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{label}">{rest}'
    )
