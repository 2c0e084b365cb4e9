"""Dataset specs: the words after `--dataset`, parsed and checked before TensorFlow is imported."""

import difflib
import os
import pathlib
import re
import zipfile
from dataclasses import dataclass

from kapps.errors import UserError

KNOWN = ("digits", "fashion_mnist", "tfds:NAME", "folder:PATH", "npz:PATH")
_BARE = ("digits", "fashion_mnist")
_WITH_ARGUMENT = {"tfds": "NAME", "folder": "PATH", "npz": "PATH"}
_TFDS_NAME = re.compile(r"[A-Za-z_]\w*(/[\w.-]+)?(:(\d+\.\d+\.\d+|\d+\.\*\.\*|\d+\.\d+\.\*))?")


@dataclass(frozen=True)
class Spec:
    """A parsed spec: `kind` is the word before the colon, `argument` what follows it."""

    kind: str
    argument: str = ""

    @property
    def path(self) -> pathlib.Path:
        """The argument of `folder:` and `npz:` as a path, with `~` expanded."""
        return pathlib.Path(self.argument).expanduser()


def parse(spec: str) -> Spec:
    """Splits a spec into kind and argument.

    Raises:
        UserError: the kind is unknown, or its argument is missing, superfluous or malformed.
    """
    kind, colon, argument = spec.partition(":")
    if kind in _BARE:
        if colon:
            raise UserError(f"dataset '{spec}': '{kind}' takes nothing after it, write '{kind}'")
        return Spec(kind)
    if kind not in _WITH_ARGUMENT:
        raise UserError(f"unknown dataset '{spec}'{_hint(spec)}; known are {', '.join(KNOWN)}")
    if not argument:
        wanted = f"{kind}:{_WITH_ARGUMENT[kind]}"
        raise UserError(f"dataset '{spec}' lacks its {_WITH_ARGUMENT[kind]}: write {wanted}")
    if kind == "tfds" and not _TFDS_NAME.fullmatch(argument):
        raise UserError(
            f"dataset '{spec}': '{argument}' is no name of a TensorFlow dataset; "
            "write tfds:NAME, tfds:NAME/CONFIG or tfds:NAME:1.2.3"
        )
    return Spec(kind, argument)


def check(spec: str, data_dir: str | os.PathLike | None = None) -> None:
    """Finds a mistyped spec or path at once, without importing TensorFlow or reading pictures.

    Raises:
        UserError: the spec is malformed, its path does not exist or is of the wrong kind, a folder
            has no class folders, or `data_dir` is a file.
    """
    parsed = parse(spec)
    if data_dir is not None and pathlib.Path(data_dir).expanduser().is_file():
        raise UserError(f"data directory '{data_dir}' is a file; give a directory")
    if parsed.kind == "folder":
        _check_folder(parsed.path)
    elif parsed.kind == "npz":
        _check_npz(parsed.path)


def _check_folder(path: pathlib.Path) -> None:
    if not path.exists():
        raise UserError(f"no folder '{path}'; folder:PATH wants one sub-folder of pictures a class")
    if not path.is_dir():
        raise UserError(f"'{path}' is a file; folder:PATH wants a folder{_hint(str(path))}")
    try:
        with os.scandir(path) as entries:
            empty = not any(entry.is_dir() and entry.name[0] != "." for entry in entries)
    except PermissionError as error:
        raise UserError(f"folder '{path}' may not be read: {error.strerror}") from error
    if empty:
        raise UserError(
            f"folder '{path}' has no sub-folders; put the pictures of each class in a folder named "
            "after the class, or those folders under train/ and test/"
        )


def _check_npz(path: pathlib.Path) -> None:
    if not path.exists():
        raise UserError(f"no file '{path}'; npz:PATH wants a file written by numpy.savez")
    if path.is_dir():
        raise UserError(f"'{path}' is a folder; npz:PATH wants a file. Perhaps 'folder:{path}'?")
    if not os.access(path, os.R_OK):
        raise UserError(f"file '{path}' may not be read")
    if not zipfile.is_zipfile(path):
        raise UserError(f"file '{path}' is no .npz archive (or a broken one); see numpy.savez")


def _hint(spec: str) -> str:
    path = pathlib.Path(spec).expanduser()
    if path.is_dir():
        return f" (perhaps 'folder:{spec}'?)"
    if path.suffix == ".npz":
        return f" (perhaps 'npz:{spec}'?)"
    near = difflib.get_close_matches(spec, [*_BARE, *_WITH_ARGUMENT], n=1)
    return f" (perhaps '{near[0]}'?)" if near else ""
