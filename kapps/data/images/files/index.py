"""What is known of the files of a folder, kept so that the next start need not decode them again.

Of each file: its size and times, its first bytes, the size of the picture, a digest of its content
and whether it decodes. What is known holds for as long as size and times stay; a file that was
touched or copied is read, and known again by its digest. A file that had just been written when it
was looked at is read again the next time, since another change may have left the same times.

The index lies in a directory of its own below the cache directory, one for each folder, beside the
decoded pictures (`decoded`). One process at a time has it: a second one waits, and finds what the
first one has made.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import io
import json
import os
import pathlib
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import filelock
import numpy as np

from kapps import files
from kapps.data.images.files.formats import sniff
from kapps.data.images.files.headers import Header, measure, plain_header, shared_header
from kapps.data.images.files.listing import Picture, without_collections
from kapps.data.images.files.starts import START, read_ahead, read_start
from kapps.data.shards import patterns
from kapps.data.spec import Spec, parse
from kapps.errors import UserError

SETTLED = 2 * 10**9  # ns without a change; some file systems count time in steps of two seconds
_LOOKED_AT = 1024  # first bytes of a file, which tell the size of most pictures
# Bytes of a file, and of all files, that are read ahead: what is decoded much later would be read
# twice.
_OF_FILE, _ROOM = 2**17, 2**30
_NEVER = (0, 0, 0)

Reader = Callable[[np.ndarray], list[bytes]]  # row numbers -> contents of pictures


@dataclass(slots=True)
class Entry:
    """What is known of a file.

    Attributes:
        stamp: size in bytes, times of change of its content and of itself in ns.
        start: its first bytes.
        measured: whether `header` is known.
        header: of the picture; None if it has none that can be read.
        highest: level of a picture of 16 bits; -1: not known.
        digest: sha256 of its content; empty: not known, and neither is whether it decodes.
        failure: why it does not decode; empty: it does.
    """

    stamp: tuple[int, int, int]
    start: bytes
    measured: bool = False
    header: Header | None = None
    highest: int = -1
    digest: bytes = b""
    failure: str = ""


class FolderIndex:
    """The files of a folder that were looked at, in this process or an earlier one.

    Args:
        root: the folder.
        directory: where the index is kept; None: nowhere.

    Attributes:
        directory: as above.
        version: a digest of the code that reads pictures; what another one found does not count.
    """

    at_once = 1  # files that are worth while to be read at the same time

    def __init__(self, root: pathlib.Path | str, directory: pathlib.Path | None = None):
        self.directory, self.version = directory, _version()
        self._prefix = f"{root}{os.sep}"
        self._begun = time.time_ns()
        self._entries: dict[str, Entry] = {}
        self._known = {} if directory is None else _read(directory / "index.npz", self.version)
        self._changed = False
        self._room = _ROOM

    def entry(self, path: str) -> Entry:
        """What is known of a file of the folder, which is read as far as it is not.

        Raises:
            OSError: the file cannot be read.
        """
        name = path.removeprefix(self._prefix)
        found = self._entries.get(name)
        if found is None:
            stamp = self.stamp(path)
            found = self._known.get(name)
            if found is None or found.stamp != stamp:
                self._changed = True
                found = self.look(path, stamp)
            self._entries[name] = found
        return found

    def stamp(self, path: str) -> tuple[int, int, int]:
        """Another one when the file has changed."""
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns

    def look(self, path: str, stamp: tuple[int, int, int]) -> Entry:
        """What a first look at a file tells: often the size of the picture, too."""
        begin = read_start(path, _LOOKED_AT)
        start = begin[:START]
        header = plain_header(begin, sniff(start))
        return Entry(stamp, start, header is not None, header)

    def read(self, path: str) -> bytes:
        """The content of a picture.

        Raises:
            OSError: it cannot be read.
        """
        with open(path, "rb", buffering=0) as file:
            return file.read()

    def exists(self, name: str) -> bool:
        """Whether the file of an entry is still there."""
        return os.path.exists(self._prefix + name)

    def reader(self, pictures: list[Picture]) -> Reader | None:
        """What reads these pictures while a network is trained; None: they are files."""
        return None

    def expect(self, paths: list[str]) -> None:
        """Has the system read what is going to be looked at, and decoded soon after."""
        for path in paths:
            if path.removeprefix(self._prefix) not in self._known:
                read_ahead(path, _OF_FILE if self._room > 0 else _LOOKED_AT)
                self._room -= _OF_FILE

    def start(self, path: str) -> bytes:
        """The first bytes of a file, as `listing.read_start` reads them."""
        return self.entry(path).start

    def recognize(self, pictures: Iterable[Picture]) -> None:
        """Looks whether files with new times have the content they had."""

        def compare(path: str, entry: Entry, before: Entry) -> None:
            with contextlib.suppress(OSError):
                if hashlib.sha256(self.read(path)).digest() == before.digest:
                    entry.digest, entry.failure = before.digest, before.failure

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for picture in pictures:
                before = self._known.get(picture.path.removeprefix(self._prefix))
                entry = self.entry(picture.path)
                if not entry.digest and before is not None and before.digest:
                    pool.submit(compare, picture.path, entry, before)

    def headers(self, pictures: list[Picture]) -> dict[str, Header]:
        """The sizes of pictures by their names, of those that have a header that can be read."""
        entries = [self.entry(picture.path) for picture in pictures]
        new = [i for i, entry in enumerate(entries) if not entry.measured]
        for i, header in zip(new, measure([pictures[i] for i in new]), strict=True):
            entries[i].header, entries[i].measured = header, True
            self._changed = True
        return {
            picture.name: entry.header
            for picture, entry in zip(pictures, entries, strict=True)
            if entry.header is not None
        }

    def highest(self, pictures: list[Picture], level: Callable[[str], int]) -> int:
        """The highest level of pictures of 16 bits.

        Args:
            pictures: which.
            level: that of a file, by its path.
        """
        entries = [self.entry(picture.path) for picture in pictures]
        new = [i for i, entry in enumerate(entries) if entry.highest < 0]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(level, [pictures[i].path for i in new])
            for i, highest in zip(new, found, strict=True):
                entries[i].highest = highest
        self._changed |= bool(new)
        return max(entry.highest for entry in entries)

    def note(self, entry: Entry, digest: bytes, failure: str = "") -> None:
        """A file was decoded, or could not be."""
        entry.digest, entry.failure = digest, failure
        self._changed = True

    def save(self) -> None:
        """Writes what is known of the files that were looked at; a full disk is no misfortune."""
        if self.directory is None or not (self._changed and self._entries):
            return
        # Labels may choose some of the files, and the others stay known for as long as they exist.
        rest = {name: entry for name, entry in self._known.items() if name not in self._entries}
        rest = {name: entry for name, entry in rest.items() if self.exists(name)}
        kept = {**rest, **self._entries}
        with contextlib.suppress(OSError):
            _write(self.directory / "index.npz", self.version, kept, self._begun)


AnyIndex = TypeVar("AnyIndex", bound=FolderIndex)


def folder_index(
    root: pathlib.Path, cache: pathlib.Path | None, *, needed: bool = False
) -> contextlib.AbstractContextManager[FolderIndex]:
    """The index of a folder; as `kept_index`."""
    return kept_index(FolderIndex, root, cache, needed=needed)


@contextlib.contextmanager
def kept_index(
    kind: Callable[..., AnyIndex],
    root: pathlib.Path | str,
    cache: pathlib.Path | None,
    *,
    needed: bool = False,
) -> Iterator[AnyIndex]:
    """An index, kept from other processes until the context ends, then saved.

    Args:
        kind: of index.
        root: the folder, or the name of something else.
        cache: the cache directory; None keeps no index.
        needed: whether it is an error that there can be none.

    Raises:
        UserError: it is needed, and the directory cannot be written.
    """
    directory = None if cache is None else folder_directory(root, cache)
    with contextlib.ExitStack() as stack:
        if directory is not None:
            try:
                directory.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(directory))
                directory.mkdir(exist_ok=True)
                files.remove_leftovers(directory)
                about = directory / "folder.json"
                if not about.exists():
                    of = root if isinstance(root, str) else os.path.realpath(root)
                    files.write_json(about, {"folder": of})
            except (OSError, NotImplementedError) as error:  # not every file system has locks
                if needed:
                    why = getattr(error, "strerror", None) or error
                    raise UserError(f"'{directory}' cannot be written: {why}") from error
                directory = None
        index = kind(root, directory)
        try:
            yield index
        finally:
            index.save()


@contextlib.contextmanager
def locked(directory: pathlib.Path) -> Iterator[None]:
    """Keeps other processes from a directory; says so when it has to wait for one."""
    lock = filelock.FileLock(directory.with_suffix(".lock"))
    try:
        lock.acquire(timeout=1.0)
    except filelock.Timeout:
        sys.stderr.write("waiting for another process that reads the same images\n")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def cache_directory(data_dir: str | os.PathLike | None) -> pathlib.Path:
    """Where indexes and decoded pictures are: in the data directory, if one was given."""
    if data_dir is None:
        return files.user_cache()
    return pathlib.Path(data_dir).expanduser() / "kapps_cache"


def folder_directory(root: pathlib.Path | str, cache: pathlib.Path) -> pathlib.Path:
    """Where the index of a folder is, or of something else that has a name."""
    real = os.fsencode(root if isinstance(root, str) else os.path.realpath(root))
    return cache / "folders" / hashlib.sha256(real).hexdigest()[:24]


def spec_directory(spec: Spec, cache: pathlib.Path) -> pathlib.Path:
    """Where the index of a dataset is."""
    if spec.kind in patterns.KINDS:
        return folder_directory(patterns.identity(spec.kind, spec.argument), cache)
    return folder_directory(spec.path, cache)


def clean(spec: str | None = None, data_dir: str | os.PathLike | None = None) -> str:
    """Deletes what is kept of pictures: indexes, decoded pictures, near-duplicates.

    Returns a sentence that says what was deleted.

    Args:
        spec: folder:PATH, tfrecord:PATTERN or webdataset:PATTERN, which may be gone; None: of all.
        data_dir: as `load` was given it.

    Raises:
        UserError: the spec is none of these.
    """
    cache = cache_directory(data_dir)
    if spec is None:
        found = [path for path in (cache / "folders").glob("*") if path.is_dir()]
    else:
        found = [spec_directory(parse(spec, ("folder", *patterns.KINDS)), cache)]
    names, size = [], 0
    for directory in filter(pathlib.Path.is_dir, found):
        with locked(directory):
            size += sum(path.stat().st_size for path in directory.iterdir())
            with contextlib.suppress(OSError, ValueError, KeyError):
                names.append(json.loads((directory / "folder.json").read_text())["folder"])
            shutil.rmtree(directory)
    if not size:
        return f"nothing is kept of {spec or 'any images'} in '{cache}'"
    return f"deleted {files.in_words(size)}, kept of {', '.join(sorted(names))}"


@functools.cache
def _version() -> bytes:
    digest = hashlib.sha256()
    for name in ("tensorflow", "tensorflow-cpu", "pillow"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    here = pathlib.Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *(here.parents[1] / "shards").glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.digest()


def _write(path: pathlib.Path, version: bytes, known: dict[str, Entry], begun: int) -> None:
    entries = list(known.values())
    settled = [begun - max(entry.stamp[1:]) > SETTLED for entry in entries]
    stamps = [e.stamp if still else _NEVER for e, still in zip(entries, settled, strict=True)]
    sizes = [
        (int(e.measured), e.header.height, e.header.width, int(e.header.grey), e.header.frames)
        if e.header
        else (int(e.measured), 0, 0, 0, 0)
        for e in entries
    ]
    failures = {row: entry.failure for row, entry in enumerate(entries) if entry.failure}
    arrays = {
        "version": np.frombuffer(version, np.uint8),
        "names": np.frombuffer(b"\0".join(map(os.fsencode, known)), np.uint8),
        "stamps": np.array(stamps, np.int64),
        "headers": np.array(sizes, np.int32),
        "highest": np.array([entry.highest for entry in entries], np.int32),
        "starts": _rows([entry.start for entry in entries], START),
        "start_sizes": np.array([len(entry.start) for entry in entries], np.uint8),
        "digests": _rows([entry.digest for entry in entries], 32),
        "decoded": np.array([bool(entry.digest) for entry in entries]),
        "failures": np.frombuffer(json.dumps(failures).encode(), np.uint8),
    }
    files.write_atomically(path, lambda file: np.savez(file, **arrays))


@without_collections()
def _read(path: pathlib.Path, version: bytes) -> dict[str, Entry]:
    """By name; nothing if the index is not there, damaged, or of another version."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if arrays["version"].tobytes() != version:
            return {}
        names = arrays["names"].tobytes().split(b"\0")
        failures = {int(k): v for k, v in json.loads(arrays["failures"].tobytes()).items()}
        starts, digests = arrays["starts"].tobytes(), arrays["digests"].tobytes()
        columns = ("stamps", "headers", "highest", "start_sizes", "decoded")
        rows = zip(names, *(arrays[name].tolist() for name in columns), strict=True)
        return {
            os.fsdecode(name): Entry(
                tuple(stamp),
                starts[row * START : row * START + size],
                bool(measured),
                shared_header(height, width, bool(grey), frames) if height else None,
                highest,
                digests[row * 32 : row * 32 + 32] if decoded else b"",
                failures.get(row, ""),
            )
            for row, (
                name,
                stamp,
                (measured, height, width, grey, frames),
                highest,
                size,
                decoded,
            ) in (enumerate(rows))
        }
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return {}


def _rows(parts: list[bytes], width: int) -> np.ndarray:
    joined = b"".join(part.ljust(width, b"\0") for part in parts)
    return np.frombuffer(joined, np.uint8).reshape(len(parts), width)
