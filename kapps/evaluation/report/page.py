"""One HTML page that holds a whole run: it opens anywhere, with no network and no script."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kapps import __version__, files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kapps.evaluation.verdicts.collapse import Judgement
    from kapps.evaluation.verdicts.overfitting import Verdict

KEY_FIGURES = 6
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
    "under-trained": "fair",
    "memorised": "bad",
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
SHARES = ("accuracy", "precision", "recall", "f1", "share")


def write_report(
    path: str | Path,
    *,
    title: str,
    verdict: Verdict | Judgement | None = None,
    metrics: Mapping[str, Any] | None = None,
    figures: Iterable[tuple[str, Figure, str]] = (),
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
        metrics: flat, in the order of importance; those of the test split are put first, and the
            first six are shown large. `x_low` and `x_high` are shown as the interval of `x`.
        figures: (title, Figure, caption); title and caption are also the alternative text.
        animations: (title, content of a GIF or WebP file, caption), shown before the figures. Who
            asks the system for less motion sees the last frame alone.
        tables: (title, column names, rows); numbers in a column called accuracy, precision,
            recall or F1 are shown as percentages.
        config: the resolved settings.
        commands: what each command does -> the command line.
        notes: sentences the reader should know, such as skipped files.

    Every text is escaped: class names and paths may hold markup.
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
    page = environment.get_template("report.html.j2").render(
        title=title,
        verdict=verdict,
        tone=TONES.get(verdict.label, "fair") if verdict else "",
        key_figures=figures_of_merit[:KEY_FIGURES],
        more_figures=figures_of_merit[KEY_FIGURES:],
        figures=[
            *(_animation(*animation) for animation in animations),
            *(_picture(*figure) for figure in figures),
        ],
        tables=[
            (
                name,
                columns,
                [
                    [
                        (_value(c.lower(), v), _is_number(v))
                        for c, v in zip(columns, row, strict=True)
                    ]
                    for row in rows
                ],
            )
            for name, columns, rows in tables
        ],
        config={name: _cell(value) for name, value in (config or {}).items()},
        commands=commands or {},
        notes=notes,
        version=__version__,
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, page)
    return path


def _named_values(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, interval) in the order in which they are shown."""
    ends = {name + end for name in metrics for end in ("_low", "_high")}
    shown = sorted(
        (name for name in metrics if name not in ends or not _has_interval(metrics, name[:-4])),
        key=lambda name: not name.startswith("test_"),
    )
    return [
        (
            _words(name),
            _value(name, metrics[name]),
            _interval(name, metrics) if _has_interval(metrics, name) else "",
        )
        for name in shown
    ]


def _has_interval(metrics: Mapping[str, Any], name: str) -> bool:
    name = name.rstrip("_")
    return f"{name}_low" in metrics and f"{name}_high" in metrics and name in metrics


def _interval(name: str, metrics: Mapping[str, Any]) -> str:
    low, high = (_value(name, metrics[name + end]) for end in ("_low", "_high"))
    if low.endswith(" %") and high.endswith(" %"):
        low = low[:-2]
    return f"95 % interval {low} to {high}"


def _words(name: str) -> str:
    words = " ".join("F1" if word == "f1" else word for word in name.split("_") if word)
    return words[:1].upper() + words[1:]


def _value(name: str, value: Any) -> str:
    """A number with the unit that its name, in words joined by "_", tells."""
    if not _is_number(value) or not math.isfinite(value):
        return _cell(value)
    words = name.split("_")
    if any(word in SHARES for word in words) and -1 <= value <= 1:
        return f"{100 * value:.2f} %"
    if words[-1] == "seconds":
        return _duration(value)
    return _cell(value)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not _is_number(value):
        return str(value)
    if math.isnan(value):
        return "not a number"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _is_number(value: Any) -> bool:
    # numpy's numbers have __float__ as well; its arrays and text do not count.
    return not isinstance(value, (str, bytes, bool)) and hasattr(value, "__float__")


def _picture(title: str, figure: Figure, caption: str) -> dict[str, Any]:
    from kapps.evaluation.plots.figure import DPI, png_bytes

    width, height = figure.get_size_inches()
    return {
        "title": title,
        "caption": caption,
        "alt": f"{title}. {caption}".strip(),
        "source": _data_url("image/png", png_bytes(figure)),
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
        "source": _data_url(kind, content),
        "still": _data_url("image/png", still.getvalue()),
        "width": width,
        "height": height,
    }


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
