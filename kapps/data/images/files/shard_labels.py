"""Labels of images in shards: numbers from 0 or from 1, words, several, or quantities."""

from __future__ import annotations

import collections
import re
from typing import NamedTuple

from kapps.data.shards import storage
from kapps.data.shards.records import BETWEEN
from kapps.errors import UserError

# As TensorFlow Datasets writes it beside its shards: a name a line, from class 0 on.
NAMES_FILE = "label.labels.txt"
_WHOLE = re.compile(r"-?\d+")
_FEW = 20  # images, of which each may be a class of its own


class Told(NamedTuple):
    """What labels say.

    Attributes:
        names: of the class of each image, or what else there is to say of it, see `targets_of`.
        kind: of targets, as `targets_of` is asked.
        numbered: whether names are whole numbers, by which classes are ordered.
        notes: what the user should know.
    """

    names: list[str]
    kind: str
    numbered: bool = False
    notes: tuple[str, ...] = ()


def name_classes(
    spec: str, paths: list[str], labels: list[str], texts: list[str], asked: str
) -> Told:
    """Names of classes from labels.

    Args:
        spec: of the dataset, for messages.
        paths: of its shards: names of classes may lie beside the first.
        labels: of all images.
        texts: words for them, or "".
        asked: the kind of targets, as `load` has it.

    Raises:
        UserError: there are several labels for an image where classes are asked for, or nearly as
            many labels as images.
    """
    several = any(BETWEEN in label for label in labels)
    if several and asked == "classes":
        raise UserError(
            f"'{spec}': images have several labels, such as {_first_of(labels)}: say "
            "--target-kind labels (target_kind='labels')"
        )
    whole = bool(labels) and all(map(_WHOLE.fullmatch, labels))
    if several or asked in ("labels", "number") or not labels:
        return Told(labels, asked)
    if not whole:
        if asked == "classes" or not _are_numbers(labels):
            _refuse_captions(spec, labels)
        return Told(labels, asked)
    lowest, highest = (limit(map(int, labels)) for limit in (min, max))
    notes = []
    if lowest == 1:
        notes.append(
            f"labels run from 1 to {highest:,}, without a 0: they are counted from 1, as "
            "ImageNet's are"
        )
    named, note = _by_texts(labels, texts)
    if named is None:
        named = _by_file(paths, labels)
    notes += [note] if note else []
    return Told(named or labels, "classes", numbered=named is None, notes=tuple(notes))


def _by_texts(labels: list[str], texts: list[str]) -> tuple[list[str] | None, str]:
    """Words in the place of numbers, where every number has words of its own; and a note."""
    if not all(texts):
        return None, ""
    of_label: dict[str, set[str]] = collections.defaultdict(set)
    of_text: dict[str, set[str]] = collections.defaultdict(set)
    for label, text in zip(labels, texts, strict=True):
        of_label[label].add(text)
        of_text[text].add(label)
    if odd := next((label for label, found in of_label.items() if len(found) > 1), None):
        said = ", ".join(sorted(of_label[odd])[:3])
        return None, f"label {odd} has several texts ({said}): classes are called by their numbers"
    twice = sorted(text for text, found in of_text.items() if len(found) > 1)
    names = [
        f"{text} ({label})" if len(of_text[text]) > 1 else text
        for label, text in zip(labels, texts, strict=True)
    ]
    if not twice:
        return names, ""
    return names, f"several labels have the same text: their numbers are added to {twice[0]}"


def _by_file(paths: list[str], labels: list[str]) -> list[str] | None:
    """Words in the place of numbers, from a file beside the shards that has one for each."""
    file = f"{paths[0].rpartition('/')[0]}/{NAMES_FILE}"
    files = storage.of(file)
    if not files.exists(file):
        return None
    size = files.stamp(file)[0]
    lines = files.read(file, 0, size).decode("utf-8", "replace").splitlines()
    numbers = list(map(int, labels))
    if min(numbers) < 0 or max(numbers) >= len(lines) or len(set(lines)) < len(lines):
        return None
    return [lines[number] for number in numbers]


def _refuse_captions(spec: str, labels: list[str]) -> None:
    distinct = len(set(labels))
    if len(labels) >= _FEW and 2 * distinct > len(labels):
        raise UserError(
            f"'{spec}': {len(labels):,} images have {distinct:,} different labels, such as "
            f"{_first_of(labels)}: captions or names are no classes"
        )


def _are_numbers(labels: list[str]) -> bool:
    try:
        return all(float(label) is not None for label in labels)
    except ValueError:
        return False


def _first_of(labels: list[str]) -> str:
    found = next((label for label in labels if BETWEEN in label), labels[0])
    return repr(found if len(found) <= 60 else found[:57] + "...")
