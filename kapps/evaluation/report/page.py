"""One HTML page that holds a whole run: it opens anywhere, with no network and no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kapps import __version__, files
from kapps.evaluation.report.quantities import (
    NARROW,
    cell,
    column_value,
    headlines,
    in_words,
    is_number,
    shown,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kapps.evaluation.verdicts.collapse import Judgement
    from kapps.evaluation.verdicts.overfitting import Verdict

KEY_FIGURES = 6
# Headings in their order, and the words in a title that put a picture or a table below each.
SECTIONS = (
    ("Curves", ("learning curves", "bits per character", "progress")),
    (
        "Results",
        (
            "confusion",
            "class by class",
            "label by label",
            "how many of each class",
            "beside",
            "predicted",
            "what it wrote",
            "samples",
            "reconstructions",
            "best points",
        ),
    ),
    ("Mistakes", ("mistakes", "label errors", "looked", "nearest training", "in both splits")),
)
TONES = {
    "well fitted": "good",
    "still improving": "fair",
    "slightly over-fitted": "fair",
    "too short to say": "fair",
    "over-fitted": "bad",
    "under-fitted": "bad",
    "unstable": "bad",
    "diverged": "bad",
    "healthy": "good",
    "clear winner": "good",
    "plateau": "fair",
    "cannot tell": "fair",
    "validation differs": "bad",
    "test differs": "bad",
    "under-trained": "fair",
    "memorized": "bad",
    "blurred": "bad",
    "partly collapsed": "fair",
    "no better than PCA": "fair",
    "posterior collapsed": "bad",
    "collapsed": "bad",
    "mode collapse in part": "bad",
    "not learned": "bad",
    "dead code": "bad",
    "converged": "good",
    "not separable": "fair",
    "not converged": "bad",
    "solved": "good",
    "solved in part": "fair",
    "not solved": "bad",
}


def write_report(
    path: str | Path,
    *,
    title: str,
    verdict: Verdict | Judgement | None = None,
    metrics: Mapping[str, Any] | None = None,
    figures: Iterable[tuple[str, Figure, str]] = (),
    drawings: Mapping[str, bytes] | None = None,
    animations: Iterable[tuple[str, bytes, str]] = (),
    tables: Iterable[tuple[str, Sequence[str], Sequence[Sequence]]] = (),
    config: Mapping[str, Any] | None = None,
    commands: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write the report of a run to `path`; the file is complete or not there.

    Args:
        path: where to; missing folders are made, an older report is replaced.
        title: what was trained on what.
        verdict: its label and sentence stand at the top; None where there is no such judgement.
        metrics: flat; the first six of `quantities.HEADLINES` are shown large, the others below
            the rest, those of the test split first. `x_low` and `x_high` are shown as the interval
            of `x`.
        figures: (title, Figure, caption); title and caption are also the alternative text.
        drawings: title -> content of its PNG, of figures that have been drawn before.
        animations: (title, content of a GIF or WebP file, caption), shown before the figures. Who
            asks the system for less motion sees the last frame alone.
        tables: (title, column names, rows); numbers in a column called accuracy, precision,
            recall or F1 are shown as percentages, an absolute `Path` as a link to that file.
        config: the resolved settings.
        commands: what each command does -> the command line.
        notes: sentences the reader should know, such as skipped files; what the verdict says is
            not said again.

    Verdict, headline figures, what to do next; then curves, results, mistakes, and the rest, as
    `SECTIONS` sorts pictures and tables by their titles. Every text is escaped: class names and
    paths may hold markup.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures_of_merit = _named_values(metrics or {})
    large = len(headlines(metrics or {}, KEY_FIGURES))
    advice = getattr(verdict, "advice", "")
    pictures = [_animation(*animation) for animation in animations]
    pictures += [_picture(i, *each, drawings or {}) for i, each in enumerate(figures)]
    page = environment.get_template("report.html.j2").render(
        title=title,
        verdict=verdict,
        said=verdict.sentence.removesuffix(advice).strip() if verdict else "",
        advice=advice,
        tone=TONES.get(verdict.label, "fair") if verdict else "",
        key_figures=figures_of_merit[:large],
        more_figures=figures_of_merit[large:],
        sections=_sections(pictures, [_table(*table) for table in tables]),
        config={name: cell(value) for name, value in (config or {}).items()},
        commands=commands or {},
        notes=[note for note in notes if verdict is None or note not in verdict.sentence],
        version=__version__,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, page)
    return path


def _named_values(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, interval) in the order in which they are shown."""
    ends = {name + end for name in metrics for end in ("_low", "_high")}
    names = [name for name in metrics if name not in ends or not _has_interval(metrics, name[:-4])]
    large = headlines(metrics, KEY_FIGURES)
    rest = sorted(
        (name for name in names if name not in large),
        key=lambda name: not name.startswith("test_"),
    )
    return [
        (
            in_words(name),
            shown(name, metrics[name]),
            _interval(name, metrics) if _has_interval(metrics, name) else "",
        )
        for name in (*large, *rest)
        if name != "verdict"
    ]


def _has_interval(metrics: Mapping[str, Any], name: str) -> bool:
    name = name.rstrip("_")
    return f"{name}_low" in metrics and f"{name}_high" in metrics and name in metrics


def _interval(name: str, metrics: Mapping[str, Any]) -> str:
    low, high = (shown(name, metrics[name + end]) for end in ("_low", "_high"))
    unit = f"{NARROW}%"
    if low.endswith(unit) and high.endswith(unit):
        low = low.removesuffix(unit)
    return f"95{NARROW}% interval {low} to {high}"


def _sections(pictures: Sequence[dict[str, Any]], tables: Sequence[dict[str, Any]]) -> list[tuple]:
    """(heading, pictures, tables) in the order in which one reads; empty ones are left out."""
    found = []
    for heading, _ in (*SECTIONS, ("More", ())):
        parts = [
            [each for each in kind if _section(each["title"]) == heading]
            for kind in (pictures, tables)
        ]
        if any(parts):
            found.append((heading, *parts))
    return found


def _section(title: str) -> str:
    words = title.lower()
    return next(
        (heading for heading, begin in SECTIONS if any(word in words for word in begin)), "More"
    )


def _table(name: str, columns: Sequence[str], rows: Sequence[Sequence]) -> dict[str, Any]:
    cells = [
        [(column_value(c, v), is_number(v), _link(v)) for c, v in zip(columns, row, strict=True)]
        for row in rows
    ]
    numbers = [bool(cells) and all(row[i][1] for row in cells) for i in range(len(columns))]
    return {"title": name, "columns": list(zip(columns, numbers, strict=True)), "rows": cells}


def _link(value: Any) -> str | None:
    """Where a file lies, for a cell that names one."""
    return value.as_uri() if isinstance(value, Path) and value.is_absolute() else None


def _picture(
    number: int, title: str, figure: Figure, caption: str, drawings: Mapping[str, bytes]
) -> dict[str, Any]:
    from kapps.evaluation.plots.figure import DPI, png_bytes
    from kapps.evaluation.plots.svg import svg_text

    width, height = figure.get_size_inches()
    alt = f"{title}. {caption}".strip()
    drawing, png = svg_text(figure, f"figure-{number}", alt), None
    if drawing is None:
        png = drawings.get(title) or png_bytes(figure)
    return {
        "title": title,
        "caption": caption,
        "alt": alt,
        "drawing": drawing,
        "source": _data_url("image/png", png) if png else None,
        "still": None,
        "width": round(width * DPI),
        "height": round(height * DPI),
    }


def _animation(title: str, content: bytes, caption: str) -> dict[str, Any]:
    from PIL import Image

    still = io.BytesIO()
    with Image.open(io.BytesIO(content)) as picture:
        kind, (width, height) = picture.get_format_mimetype(), picture.size
        picture.seek(getattr(picture, "n_frames", 1) - 1)
        picture.convert("RGB").save(still, "PNG", optimize=True)
    return {
        "title": title,
        "caption": caption,
        "alt": f"{title}. {caption}".strip(),
        "drawing": None,
        "source": _data_url(kind, content),
        "still": _data_url("image/png", still.getvalue()),
        "width": width,
        "height": height,
    }


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
