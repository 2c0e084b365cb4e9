"""Why a figure may not mean what it seems to: too few images, twins, imbalanced classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kapps.data import ImageData, Split
    from kapps.data.images.near_duplicates import NearDuplicate

WIDE = 0.10  # an interval of the accuracy wider than this says too little
UNEVEN = 3.0  # times as many images in the largest class as in the smallest
FEW_TO_LEARN, FEW_TO_MEASURE = 10, 5  # images of a class, in training and in test
NAMED = 5


def enough_data(accuracy: float, low: float, high: float, examples: int) -> str | None:
    """A sentence if the 95 % interval of an accuracy is wider than ten points, or None.

    Args:
        accuracy: measured.
        low: lower end of the interval.
        high: upper end of it.
        examples: how many it was measured on.
    """
    if high - low <= WIDE:
        return None
    wanted = examples
    while _wilson_width(accuracy, wanted) > WIDE:
        wanted += 1
    return (
        f"Not enough data to say how good it is: with {examples} test images the accuracy may be"
        f" anywhere between {low:.0%} and {high:.0%}. About {wanted} would narrow that to ten"
        " points."
    )


def _wilson_width(share: float, count: int, z: float = 1.96) -> float:
    """Width of the interval that `wilson_interval` gives."""
    spread = math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return 2 * z * spread / (1 + z**2 / count)


def class_caveats(
    train: Sequence[int] | np.ndarray,
    test: Sequence[int] | np.ndarray,
    names: Sequence[str],
    weighted: bool = False,
) -> list[str]:
    """Sentences on uneven and on tiny classes.

    Args:
        train: pictures of each class to learn from.
        test: and to measure on.
        names: of the classes.
        weighted: whether every class has the same share of the loss already.
    """
    train, test = np.asarray(train), np.asarray(test)
    said = []
    if train.max() >= UNEVEN * max(1, train.min()):
        large, small = names[int(train.argmax())], names[int(train.argmin())]
        said.append(
            f"Classes are imbalanced: {train.max()} training images of {large}, {train.min()} of "
            f"{small}. The balanced accuracy counts every class equally"
            + ("." if weighted else "; with --class-weights training does so, too.")
        )
    few = [i for i in np.argsort(train, kind="stable") if train[i] < FEW_TO_LEARN]
    if few:
        said.append(
            f"Fewer than {FEW_TO_LEARN} training images: {_some(names, train, few)}. More "
            "images of these help most."
        )
    few = [i for i in np.argsort(test, kind="stable") if test[i] < FEW_TO_MEASURE]
    if few:
        said.append(
            f"Fewer than {FEW_TO_MEASURE} test images: {_some(names, test, few)}. What the "
            "tables say about these classes is a matter of luck."
        )
    return said


def near_duplicate_findings(
    images: ImageData, twins: Sequence[NearDuplicate], correct: np.ndarray | None = None
) -> tuple[dict[str, Any], list[str], list[tuple]]:
    """Test pictures that are, almost, in the training split: figures, sentences and a table.

    Args:
        images: the data.
        twins: of `data.near_duplicates(test, train)`.
        correct: whether each test picture was classified rightly, bool [n]; None without classes.
    """
    metrics: dict[str, Any] = {"near_duplicates": len(twins)}
    if not twins:
        return metrics, [], []
    test, train = images.splits["test"], images.splits["train"]
    alone = np.ones(len(test.labels), bool)
    alone[[twin.row for twin in twins]] = False
    sentence = (
        f"{len(twins):,} of {len(test.labels):,} test images have a near-duplicate in the training "
        "split: they measure memory"
    )
    differing = sum(bool(np.any(test.labels[t.row] != train.labels[t.twin])) for t in twins)
    if differing:
        sentence += f"; {differing:,} {'has' if differing == 1 else 'have'} another label there"
    if alone.any() and correct is not None:
        metrics["test_accuracy_without_twins"] = float(correct[alone].mean())
        sentence += f". The accuracy on the others is {correct[alone].mean():.2%}"
    rows = [
        (
            picture_name(test, "test", twin.row),
            label_words(images, test.labels[twin.row]),
            picture_name(train, "train", twin.twin),
            label_words(images, train.labels[twin.twin]),
            twin.difference,
        )
        for twin in sorted(twins, key=lambda twin: twin.difference)[:20]
    ]
    columns = ("test image", "class", "training image", "its class", "grey levels apart")
    return metrics, [sentence + "."], [("Near-duplicates across splits", columns, rows)]


def label_words(images: ImageData, label: np.ndarray) -> str:
    """What is said of a picture: its class, its labels, or its number.

    Args:
        images: the data.
        label: of the picture, as `Split` has it.
    """
    if images.kind == "number":
        return f"{label:.4g}"
    if images.kind == "labels":
        given = [name for name, there in zip(images.class_names, label, strict=True) if there]
        return ", ".join(given) or "none"
    return images.class_names[label]


def split_counts(images: ImageData) -> dict[str, np.ndarray]:
    """Pictures of each class in each split."""
    return {
        name: np.bincount(split.labels, minlength=images.classes)
        for name, split in images.splits.items()
    }


def caveats_of(images: ImageData, metrics: Mapping[str, Any], weighted: bool = False) -> list[str]:
    """All sentences on a measured classifier but those on twins.

    Args:
        images: the data.
        metrics: with `test_accuracy`, its interval and `test_examples`.
        weighted: whether every class has the same share of the loss already.
    """
    counts = split_counts(images)
    names = ("test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_examples")
    said = enough_data(*(metrics[name] for name in names))
    return [
        *([said] if said else []),
        *class_caveats(counts["train"], counts["test"], images.class_names, weighted),
    ]


def _some(names: Sequence[str], counts: np.ndarray, which: Sequence[int]) -> str:
    shown = ", ".join(f"{names[i]} ({counts[i]})" for i in which[:NAMED])
    return shown + (f" and {len(which) - NAMED} more" if len(which) > NAMED else "")


def picture_name(split: Split, name: str, row: int) -> str:
    """Its file relative to the dataset's folder, or the split and the row in it."""
    return split.origins[row] if split.origins else f"{name}[{row}]"
