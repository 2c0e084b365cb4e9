"""WebDataset's shards: tar files in which 000001.jpg and 000001.cls belong together.

What has the same path up to the first point of its last part is one sample
(https://github.com/webdataset/webdataset). The label is in .cls, .json or .txt, whichever comes
first in this order.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from kapps.data.shards.records import BETWEEN, Found, Look, WrongKeys, compressed
from kapps.errors import UserError

LABEL_ENDINGS = ("cls", "json", "txt")
JSON_KEYS = ("label", "labels", "class", "cls", "target", "category", "class_name")
_LARGEST_LABEL = 1 << 20  # bytes; what is larger is no label
_BLOCK = 512
_MOST_PADDING = 1 << 20  # bytes behind the end mark that may be padding
# How compressed files begin; a tar file begins with the name of its first member.
_COMPRESSED = {
    b"\x1f\x8b\x08": "gzip",
    b"BZh91AY&SY": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


@dataclass
class _Sample:
    """What of one sample has been seen."""

    images: list[tuple[str, int, int, Any]] = field(default_factory=list)
    further: list[tuple[str, int, int, Any]] = field(default_factory=list)  # such as .mask.png
    labels: dict[str, bytes] = field(default_factory=dict)


def scan(
    path: str,
    file: BinaryIO,
    size: int,
    look: Look,
    *,
    needs_label: bool = True,
    image_endings: frozenset[str],
) -> Iterator[Found]:
    """The images of a tar file, in its order, named as their files are.

    Args:
        path: of the file, for messages.
        file: its content; it can be sought in.
        size: of the file, in bytes.
        look: is shown each image.
        needs_label: whether it is an error that no image has a label.
        image_endings: of files that are images, such as "jpg".

    Raises:
        UserError: it is no tar file, or a compressed one.
        WrongKeys: there are images, and none has a label.
    """
    start = file.read(_BLOCK)
    file.seek(0)
    for magic, by in _COMPRESSED.items():
        if start.startswith(magic):
            raise compressed(path, by)
    samples: dict[str, _Sample] = {}
    fault = _read_members(path, file, size, look, samples, image_endings)
    for sample in samples.values():
        sample.images = sample.images or sample.further
    with_image = {key: sample for key, sample in samples.items() if sample.images}
    _check_labels(path, samples, with_image, needs_label)
    for sample in with_image.values():
        yield _found(sample)
    if fault:
        yield Found("(end)", fault=fault)


def _read_members(
    path: str,
    file: BinaryIO,
    size: int,
    look: Look,
    samples: dict[str, _Sample],
    image_endings: frozenset[str],
) -> str:
    """Notes what is in the archive; says what is wrong with its end."""
    if not size:
        return ""
    try:
        archive = tarfile.open(fileobj=file, mode="r:")
    except tarfile.TarError as error:
        raise UserError(f"'{path}' is no tar file: {error}") from error
    try:
        while (member := archive.next()) is not None:
            archive.members = []  # pyright: ignore  it keeps them all otherwise
            if member.offset_data + member.size > size:
                return f"the shard is cut off in {member.name}"
            if member.isreg():
                _note(file, member, look, samples, image_endings)
        return _end(file, archive.offset, size)
    except (tarfile.TarError, EOFError) as error:
        return f"the shard is damaged or cut off: {error}"


def _note(
    file: BinaryIO,
    member: tarfile.TarInfo,
    look: Look,
    samples: dict[str, _Sample],
    image_endings: frozenset[str],
) -> None:
    folder, slash, last = member.name.rpartition("/")
    stem, _, endings = last.partition(".")
    if not stem or stem.startswith("._"):  # hidden files, and macOS' second half of each
        return
    key, ending = f"{folder}{slash}{stem}", endings.lower().rpartition(".")[2]
    wanted = ending in image_endings or endings.lower() in LABEL_ENDINGS
    if not wanted:
        return
    file.seek(member.offset_data)
    if ending in image_endings:
        content = file.read(member.size)
        place = member.name, member.offset_data, member.size, look(content)
        sample = samples.setdefault(key, _Sample())
        (sample.further if "." in endings else sample.images).append(place)
    elif member.size <= _LARGEST_LABEL:
        samples.setdefault(key, _Sample()).labels[endings.lower()] = file.read(member.size)


def _end(file: BinaryIO, position: int, size: int) -> str:
    """What is wrong with the end of an archive: tarfile takes every odd header for its end."""
    file.seek(position)
    rest = file.read(_MOST_PADDING)
    if not rest.strip(b"\0"):
        return ""
    if len(rest) < _BLOCK:
        return "the shard is cut off"
    if not rest[:_BLOCK].strip(b"\0"):
        return f"more follows the end of the archive at byte {position:,}: was it made with cat?"
    return f"damaged at byte {position:,}: the rest of the shard is lost"


def _found(sample: _Sample) -> Found:
    name, offset, length, seen = sample.images[0]
    if len(sample.images) > 1:
        return Found(name, fault=f"two images of one sample: {sample.images[1][0]}")
    if not length:
        return Found(name, fault="an empty image")
    try:
        return Found(name, offset, length, seen, label_of(sample.labels))
    except ValueError as error:
        return Found(name, fault=str(error))


def label_of(files: dict[str, bytes]) -> str | None:
    """The label in the files of a sample, by their endings; None where there is none.

    Raises:
        ValueError: the file of the label is no text or no JSON; says so.
    """
    for ending in LABEL_ENDINGS:
        if ending not in files:
            continue
        try:
            text = files[ending].decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise ValueError(f"its .{ending} is no text") from None
        label = _label_in_json(text) if ending == "json" else text
        if label:
            return label
    return None


def _label_in_json(text: str) -> str | None:
    try:
        value = json.loads(text)
    except ValueError:
        raise ValueError("its .json is broken") from None
    if isinstance(value, dict):
        value = next((value[key] for key in JSON_KEYS if key in value), None)
    values = value if isinstance(value, list) else [value]
    texts = [str(each).strip() for each in values if isinstance(each, str | int | float)]
    return BETWEEN.join(text for text in texts if text) or None


def _check_labels(
    path: str, samples: dict[str, _Sample], with_image: dict[str, _Sample], needs_label: bool
) -> None:
    """WrongKeys where no image has a label, with what there is instead."""
    if not samples or not needs_label:
        return
    wanted = f"{', '.join('.' + e for e in LABEL_ENDINGS)} beside each image (000001.jpg, .cls)"
    if not with_image:
        endings = {ending for sample in samples.values() for ending in sample.labels}
        raise WrongKeys(f"'{path}' has labels ({', '.join(sorted(endings))}) and no images")
    faults = 0
    for sample in with_image.values():
        try:
            if label_of(sample.labels):
                return
        except ValueError:
            faults += 1
    if faults:
        return
    keys: set[str] = set()
    for sample in with_image.values():
        if "json" in sample.labels:
            value = json.loads(sample.labels["json"])
            keys |= set(value) if isinstance(value, dict) else set()
    said = f"; .json has the keys {', '.join(sorted(keys)[:10])}" if keys else ""
    said = said or f"; there are {_endings_of(with_image)} alone"
    if keys:
        wanted = f"one of {', '.join(JSON_KEYS)} in .json, or .cls or .txt"
    raise WrongKeys(f"'{path}': no image has a label{said}; wanted are {wanted}")


def _endings_of(samples: dict[str, _Sample]) -> str:
    names = {sample.images[0][0].rpartition(".")[2] for sample in samples.values()}
    return ", ".join(f".{name}" for name in sorted(names)[:10])
