"""The directory TensorFlow Serving watches: `NAME/<integer version>/`, published all at once."""

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from kapps.errors import UserError

LAST = 2**63 - 1  # TensorFlow Serving counts in int64
WITHDRAWN = "withdrawn-"
_LEFTOVER_SECONDS = 24 * 3600


def versions(root: str | os.PathLike) -> dict[int, Path]:
    """The published versions under a directory, lowest first: number -> directory.

    As TensorFlow Serving does, every name that is not a whole number of 64 bits is passed over.
    """
    try:
        names = os.listdir(root)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {int(n): Path(root, n) for n in sorted(filter(_is_version, names), key=int)}


def version_directory(path: str | os.PathLike) -> Path:
    """The SavedModel meant by a path: a version, or the highest version under a root.

    Raises:
        UserError: nothing is there, or what is there is no SavedModel.
    """
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    published = [v for v in versions(path).values() if (v / "saved_model.pb").is_file()]
    if published:
        return published[-1]
    if not path.exists():
        raise UserError(f"{path}: there is no such directory; a recipe publishes one when it ends")
    raise UserError(
        f"{path}: no SavedModel here; give a directory that holds saved_model.pb, or the one above"
        " it that holds numbered versions"
    )


def is_published(path: str | os.PathLike) -> bool:
    """Whether a path is a version, or the directory of versions."""
    return any((v / "saved_model.pb").is_file() for v in (Path(path), *versions(path).values()))


def write_version(
    export_dir: str | os.PathLike, write: Callable[[Path], None], *, keep: int | None = None
) -> Path:
    """The next version is what `write` puts into an empty directory.

    The version is written and synced under a hidden name beside its place and then renamed, so
    whoever reads `export_dir` sees all of it or nothing, also when this process is killed. When
    another process takes the number first, the rename fails and the next number is tried.

    Args:
        export_dir: The root of the versions; made when missing.
        write: Fills the directory it is given. When it raises, nothing is published.
        keep: How many of the highest versions stay; all by default.
    """
    if keep is not None and keep < 1:
        raise UserError(f"keep is {keep}; at least one version stays")
    root = Path(export_dir)
    root.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(root)
    unpublished = root / f".tmp-{uuid.uuid4().hex}"
    unpublished.mkdir()  # not tempfile's 0700: a server runs as another user
    try:
        write(unpublished)
        _sync_tree(unpublished)
        version = _rename_to_next_version(unpublished, root)
    except BaseException:
        shutil.rmtree(unpublished, ignore_errors=True)
        raise
    if keep is not None:
        prune(root, keep)
    return version


def prune(root: str | os.PathLike, keep: int) -> list[Path]:
    """Deletes the lowest versions under a directory, but for the `keep` highest.

    Each is renamed to a hidden name first: a server sees all of a version or nothing.

    Returns:
        The directories that are gone, lowest first.

    Raises:
        UserError: `keep` is below 1.
    """
    if keep < 1:
        raise UserError(f"keep is {keep}; at least one version stays")
    gone = list(versions(root).values())[:-keep]
    for version in gone:
        _withdraw(version)
    return gone


def rollback(root: str | os.PathLike) -> Path:
    """Takes the highest version away, so that servers go back to the one before it.

    It is kept beside the others as `withdrawn-NUMBER`, which no server reads; renamed to its number
    it is back.

    Returns:
        The version that is the highest now.

    Raises:
        UserError: there is no version before it.
    """
    published = list(versions(root).values())
    if len(published) < 2:
        raise UserError(f"{root}: {len(published)} version, so there is none to go back to")
    last, kept = published[-1], Path(root, WITHDRAWN + published[-1].name)
    while os.path.lexists(kept):
        kept = kept.with_name(kept.name + "-again")
    os.rename(last, kept)
    _sync(Path(root))
    return published[-2]


def _withdraw(version: Path) -> None:
    hidden = version.with_name(f".tmp-{uuid.uuid4().hex}")
    os.rename(version, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _rename_to_next_version(unpublished: Path, root: Path) -> Path:
    withdrawn = (name.split("-")[1] for name in os.listdir(root) if name.startswith(WITHDRAWN))
    known = [*versions(root), *map(int, filter(_is_version, withdrawn))]
    number = max(known, default=0) + 1  # a number is not used for another model
    while True:
        if number > LAST:
            raise UserError(f"{root}: there is no number after version {LAST}; rename that one")
        version = root / str(number)
        try:
            # A rename would replace an empty directory, and whose that is nobody knows.
            if os.path.lexists(version):
                raise FileExistsError(version)
            os.rename(unpublished, version)
        except OSError:
            if not os.path.lexists(version):
                raise
            number += 1  # taken since the directory was read
        else:
            _sync(root)
            return version


def _clear_leftovers(root: Path) -> None:
    for path in root.glob(".tmp-*"):
        with contextlib.suppress(FileNotFoundError):  # another process clears it too
            if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _sync_tree(directory: Path) -> None:
    for parent, _, files in os.walk(directory):
        for name in files:
            _sync(Path(parent, name))
        _sync(Path(parent))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_version(name: str) -> bool:
    # Short first: Python refuses to read numbers of some thousand digits.
    return name.isascii() and name.isdigit() and len(name) < 30 and int(name) <= LAST
