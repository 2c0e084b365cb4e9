"""What is in shards of images, kept so that the next start need not go through them again."""

from __future__ import annotations

import io
import json
import pathlib
import zipfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kapps import files
from kapps.data.shards.storage import Stamp

_TEXTS = ("names", "labels", "texts", "formats")
_NUMBERS = {"offsets": np.int64, "lengths": np.int64, "bits": np.int32}


@dataclass
class Shard:
    """The images of a shard, in its order: lists of one length.

    Attributes:
        stamp: of the file in which they were found.
        names: within the shard.
        labels: as the shard has them; "" where there is none.
        texts: words for labels; "" where there are none.
        formats: of `formats.NAMES` and the like; "!SVG" of one that is not read, "" of no image.
        offsets: of the contents, in bytes.
        lengths: likewise.
        bits: per sample.
        faults: by name within the shard, why an image is of no use.
    """

    stamp: Stamp
    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    formats: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    bits: list[int] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


def write_table(path: pathlib.Path, version: bytes, shards: dict[str, Shard]) -> None:
    """Writes what is in shards, by their paths.

    Raises:
        OSError: it cannot be written.
    """
    about = [
        {"path": name, "stamp": shard.stamp, "count": len(shard.names), "faults": shard.faults}
        for name, shard in shards.items()
    ]
    arrays: dict[str, Any] = {
        "version": np.frombuffer(version, np.uint8),
        "shards": np.frombuffer(json.dumps(about).encode(), np.uint8),
    }
    for column in _TEXTS:
        cells = [cell for shard in shards.values() for cell in getattr(shard, column)]
        arrays[column] = np.frombuffer("\0".join(cells).encode("utf-8", "surrogateescape"), "u1")
    for column, kind in _NUMBERS.items():
        cells = [cell for shard in shards.values() for cell in getattr(shard, column)]
        arrays[column] = np.array(cells, kind)
    files.write_atomically(path, lambda file: np.savez(file, **arrays))  # pyright: ignore


def read_table(path: pathlib.Path, version: bytes) -> dict[str, Shard]:
    """By path; nothing if the table is not there, damaged, or of another version of the code."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if arrays["version"].tobytes() != version:
            return {}
        about = json.loads(arrays["shards"].tobytes())
        columns: dict[str, list] = {name: arrays[name].tolist() for name in _NUMBERS}
        for name in _TEXTS:
            columns[name] = arrays[name].tobytes().decode("utf-8", "surrogateescape").split("\0")
        found, start = {}, 0
        for each in about:
            end = start + each["count"]
            cells = {name: column[start:end] for name, column in columns.items()}
            stamp = tuple(each["stamp"])
            found[each["path"]] = Shard(stamp, **cells, faults=each["faults"])
            start = end
        return found
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return {}
