"""Dataset specs: the words after `--dataset`, parsed and checked before TensorFlow is imported."""

import difflib
import os
import pathlib
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from kapps.data.shards import patterns
from kapps.errors import UserError

# What follows the colon of a kind; None: nothing does.
ARGUMENTS = {
    "digits": None,
    "fashion_mnist": None,
    "tfds": "NAME",
    "folder": "PATH",
    "npz": "PATH",
    "tfrecord": "PATTERN",
    "webdataset": "PATTERN",
    "text": "PATH",
    "csv": "PATH",
    "ts": "PATH",
}
# Files that are read as those of another kind are.
ALIASES = {"parquet": "csv", "jsonl": "csv", "tsv": "csv"}
PICTURES = ("digits", "fashion_mnist", "tfds", "folder", "npz", *patterns.KINDS)
# Data of one file: which endings it has, for the hint of a path without its kind.
_ENDINGS = {".npz": "npz", ".txt": "text", ".csv": "csv", ".ts": "ts", ".tsv": "csv"}
_ENDINGS |= {".parquet": "csv", ".jsonl": "csv", ".gz": "csv"}
_ENDINGS |= {".tfrecord": "tfrecord", ".tfrecords": "tfrecord", ".tar": "webdataset"}
_TFDS_NAME = re.compile(r"[A-Za-z_]\w*(/[\w.-]+)?(:(\d+\.\d+\.\d+|\d+\.\*\.\*|\d+\.\d+\.\*))?")


@dataclass(frozen=True)
class Spec:
    """A parsed spec: `kind` is the word before the colon, `argument` what follows it."""

    kind: str
    argument: str = ""

    @property
    def path(self) -> pathlib.Path:
        """The argument as a path, with `~` expanded."""
        return pathlib.Path(self.argument).expanduser()


def parse(spec: str, kinds: Sequence[str] = PICTURES, names: Sequence[str] = ()) -> Spec:
    """Splits a spec into kind and argument.

    Args:
        spec: what `--dataset` was given.
        kinds: those that the recipe can read.
        names: further data that the recipe knows by a bare name, such as generated tasks.

    Raises:
        UserError: the kind is unknown, or its argument is missing, superfluous or malformed.
    """
    kind, colon, argument = spec.partition(":")
    kind = ALIASES.get(kind, kind) if ALIASES.get(kind) in kinds else kind
    if kind not in (*names, *kinds):
        known = [*names, *map(_written, kinds)]
        raise UserError(
            f"unknown dataset '{spec}'{_hint(spec, kinds, names)}; known are {', '.join(known)}"
        )
    wanted = ARGUMENTS.get(kind) if kind in kinds else None
    if wanted is None:
        if colon:
            raise UserError(f"dataset '{spec}': '{kind}' takes nothing after it, write '{kind}'")
        return Spec(kind)
    if not argument:
        raise UserError(f"dataset '{spec}' lacks its {wanted}: write {_written(kind)}")
    if kind == "tfds" and not _TFDS_NAME.fullmatch(argument):
        raise UserError(
            f"dataset '{spec}': '{argument}' is no name of a TensorFlow dataset; "
            "write tfds:NAME, tfds:NAME/CONFIG or tfds:NAME:1.2.3"
        )
    return Spec(kind, argument)


def check(
    spec: str,
    data_dir: str | os.PathLike | None = None,
    kinds: Sequence[str] = PICTURES,
    names: Sequence[str] = (),
    labelled: bool = False,
) -> None:
    """Finds a mistyped spec or path at once, without importing TensorFlow or reading the data.

    Args:
        spec: what `--dataset` was given.
        data_dir: where prepared datasets live.
        kinds: those that the recipe can read.
        names: as `parse`.
        labelled: a table or a pattern says the classes: a folder needs no class folders.

    Raises:
        UserError: the spec is malformed, its path does not exist or is of the wrong kind, a folder
            has no class folders, no files match a pattern, or `data_dir` is a file.
    """
    parsed = parse(spec, kinds, names)
    if data_dir is not None and pathlib.Path(data_dir).expanduser().is_file():
        raise UserError(f"data directory '{data_dir}' is a file; give a directory")
    if parsed.kind == "folder":
        _check_folder(parsed.path, labelled)
    elif parsed.kind in patterns.KINDS:
        patterns.check_shards(parsed.kind, parsed.argument)
    elif ARGUMENTS.get(parsed.kind) == "PATH" and parsed.argument:
        _check_file(parsed.kind, parsed.path)


def _check_folder(path: pathlib.Path, labelled: bool) -> None:
    if not path.exists():
        raise UserError(f"no folder '{path}'; folder:PATH wants one sub-folder of pictures a class")
    if not path.is_dir():
        raise UserError(
            f"'{path}' is a file; folder:PATH wants a folder{_hint(str(path), PICTURES, ())}"
        )
    try:
        with os.scandir(path) as entries:
            empty = not any(entry.is_dir() and entry.name[0] != "." for entry in entries)
    except PermissionError as error:
        raise UserError(f"folder '{path}' may not be read: {error.strerror}") from error
    metadata = any((path / f"metadata.{ending}").is_file() for ending in ("csv", "jsonl"))
    if empty and not labelled and not metadata:
        raise UserError(
            f"folder '{path}' has no sub-folders; put the pictures of each class in a folder named "
            "after the class, or those folders under train/ and test/; or say the classes with "
            "--labels FILE.csv or --label-pattern"
        )


def _check_file(kind: str, path: pathlib.Path) -> None:
    wants = {"npz": "a file written by numpy.savez", "text": "a text file"}
    if not path.exists():
        wanted = wants.get(kind, f"a .{kind} file")
        raise UserError(f"no file '{path}'; {kind}:PATH wants {wanted}")
    if path.is_dir():
        perhaps = f" Perhaps 'folder:{path}'?" if kind == "npz" else ""
        raise UserError(f"'{path}' is a folder; {kind}:PATH wants a file.{perhaps}")
    if not os.access(path, os.R_OK):
        raise UserError(f"file '{path}' may not be read")
    if kind == "npz" and not zipfile.is_zipfile(path):
        raise UserError(f"file '{path}' is no .npz archive (or a broken one); see numpy.savez")


def _written(kind: str) -> str:
    argument = ARGUMENTS[kind]
    return f"{kind}:{argument}" if argument else kind


def _hint(spec: str, kinds: Sequence[str], names: Sequence[str]) -> str:
    path = pathlib.Path(spec).expanduser()
    if path.is_dir() and "folder" in kinds:
        return f" (perhaps 'folder:{spec}'?)"
    kind = _ENDINGS.get(path.suffix)
    if kind in kinds:
        return f" (perhaps '{kind}:{spec}'?)"
    near = difflib.get_close_matches(spec, [*names, *kinds], n=1)
    return f" (perhaps '{near[0]}'?)" if near else ""
