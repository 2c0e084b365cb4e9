"""`kapps data describe`: what is in a dataset, and what is wrong with it."""

import hashlib
import itertools
import os
from typing import Any

import numpy as np

from kapps.data.images.dataset import SPLITS, ImageData, assemble
from kapps.data.images.files.folder import Report
from kapps.data.images.loading import read
from kapps.data.progress import track
from kapps.data.spec import check, parse
from kapps.data.split import divide

_CHUNK = 256
_SHOWN = 10


def describe(
    spec: str,
    data_dir: str | os.PathLike | None = None,
    image_size: int | tuple[int, int] | None = None,
    skip_broken: bool = True,
) -> dict[str, Any]:
    """Describes a dataset, as `load` with its default fraction and seed would divide it.

    Keys of the result, which can be written as JSON: spec, fingerprint, image_shape, class_names,
    counts (split -> pictures), class_counts (split -> class -> pictures), sizes (height and width
    -> minimum, median, maximum), duplicates (groups of names with the same pixels at
    `image_shape`), duplicate_counts (pictures that repeat an earlier one, per split, and those
    that repeat one of another split, per pair), conflicts (groups of duplicates whose labels
    differ), unreadable (name -> reason), foreign (name -> format), other_files, notes.

    Raises:
        UserError: as `load`.
    """
    check(spec, data_dir)
    source, files = read(parse(spec), data_dir, image_size, skip_broken=skip_broken)
    data = assemble(spec, source, divide(source.strata, source.given, 0.1, 0))
    groups = _duplicates(data)
    return {
        "spec": spec,
        "fingerprint": data.fingerprint,
        "image_shape": list(data.image_shape),
        "class_names": list(data.class_names),
        "counts": data.counts,
        "class_counts": {name: _class_counts(data, name) for name in SPLITS},
        "sizes": _sizes(data, files),
        "duplicates": [[_row_name(data, *row) for row in group] for group in groups],
        "duplicate_counts": _count_duplicates(groups),
        "conflicts": [
            [_row_name(data, *row) for row in group]
            for group in groups
            if len({int(data.splits[split].labels[row]) for split, row in group}) > 1
        ],
        "unreadable": files.broken,
        "foreign": files.foreign,
        "other_files": list(files.others),
        "notes": list(data.notes),
    }


def describe_text(report: dict[str, Any]) -> str:
    """The result of `describe` as lines to be read."""
    height, width, channels = report["image_shape"]
    sizes = report["sizes"]
    classes = report["class_names"]
    columns = ["class", *SPLITS]
    rows = [[name, *(str(report["class_counts"][s][name]) for s in SPLITS)] for name in classes]
    rows.append(["total", *(str(report["counts"][split]) for split in SPLITS)])
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    lines = [
        f"{report['spec']}: {sum(report['counts'].values()):,} pictures in {len(classes)} classes",
        f"read as {height}x{width}, {'grey' if channels == 1 else 'colour'}",
        *(
            f"{side}: {sizes[side]['min']} to {sizes[side]['max']} pixels, "
            f"median {sizes[side]['median']:g}"
            for side in ("height", "width")
        ),
        f"fingerprint {report['fingerprint'][:16]}",
        "",
        *("  ".join(_aligned(row, widths)).rstrip() for row in [columns, *rows]),
        "",
        *_duplicate_lines(report),
        *_listed("unreadable files", report["unreadable"].items(), "{0[0]}: {0[1]}"),
        *_listed("formats to convert", report["foreign"].items(), "{0[0]}: {0[1]}"),
        *_listed("other files", report["other_files"], "{0}"),
        *(f"note: {note}" for note in report["notes"]),
    ]
    return "\n".join(lines)


def _duplicates(data: ImageData) -> list[list[tuple[str, int]]]:
    """Groups of (split, row) with the same pixels, each group in the order of the splits."""
    seen: dict[bytes, list[tuple[str, int]]] = {}
    chunks = [
        (name, range(start, min(start + _CHUNK, len(split))))
        for name, split in data.splits.items()
        for start in range(0, len(split), _CHUNK)
    ]
    for name, rows in track(chunks, "Comparing pictures", len(chunks)):
        for row, image in zip(rows, data.splits[name].take(rows), strict=True):
            key = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
            seen.setdefault(key, []).append((name, row))
    return [group for group in seen.values() if len(group) > 1]


def _count_duplicates(groups: list[list[tuple[str, int]]]) -> dict[str, int]:
    counts = {name: 0 for name in SPLITS}
    counts |= {f"{a}/{b}": 0 for a, b in itertools.combinations(SPLITS, 2)}
    for group in groups:
        members = {name: sum(split == name for split, _ in group) for name in SPLITS}
        for name in SPLITS:
            counts[name] += max(members[name] - 1, 0)
        for a, b in itertools.combinations(SPLITS, 2):
            counts[f"{a}/{b}"] += members[b] if members[a] else 0
    return counts


def _class_counts(data: ImageData, name: str) -> dict[str, int]:
    counts = np.bincount(data.splits[name].labels, minlength=data.classes)
    return {
        class_name: int(count) for class_name, count in zip(data.class_names, counts, strict=True)
    }


def _sizes(data: ImageData, files: Report) -> dict[str, dict[str, float]]:
    kept = [name for split in data.splits.values() for name in split.origins or ()]
    headers = [files.headers[name] for name in kept if name in files.headers]
    sides = {
        "height": [header.height for header in headers] or [data.image_shape[0]],
        "width": [header.width for header in headers] or [data.image_shape[1]],
    }
    return {
        side: {"min": int(min(x)), "median": float(np.median(x)), "max": int(max(x))}
        for side, x in sides.items()
    }


def _row_name(data: ImageData, split: str, row: int) -> str:
    origins = data.splits[split].origins
    return origins[row] if origins else f"{split}[{row}]"


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    return [
        row[0].ljust(widths[0]),
        *(x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True)),
    ]


def _duplicate_lines(report: dict[str, Any]) -> list[str]:
    if not report["duplicates"]:
        return ["exact duplicates: none"]
    counts = report["duplicate_counts"]
    within = ", ".join(f"{counts[name]} in {name}" for name in SPLITS)
    across = ", ".join(f"{n} of {k.replace('/', ' in ')}" for k, n in counts.items() if "/" in k)
    named = [" = ".join(group) for group in report["duplicates"]]
    return [
        f"exact duplicates: {len(named)} groups (repeats: {within}; shared: {across})",
        *_listed("duplicates", named, "{0}"),
        *_listed("duplicates with different labels", map(" = ".join, report["conflicts"]), "{0}"),
    ]


def _listed(title: str, items, template: str) -> list[str]:
    items = list(items)
    if not items:
        return []
    more = [f"  and {len(items) - _SHOWN:,} more"] if len(items) > _SHOWN else []
    shown = [f"  {template.format(item)}" for item in items[:_SHOWN]]
    return [f"{title}: {len(items):,}", *shown, *more]
