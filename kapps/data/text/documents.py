"""Texts with a class each, in three splits: `load_documents`.

csv:FILE           a row per text; the columns of text and class are named
folder:PATH        a folder of text files per class, perhaps below train/, val/ and test/
python_docstrings  what the packages of this Python's own library say of their functions and
                   classes (PSF licence): from which package is a docstring? Those of one file are
                   in one split
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import pathlib
import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kapps.data import spec as specs
from kapps.data.alike import alike_notes
from kapps.data.delimited import Delimited, read_delimited, read_names
from kapps.data.duplicates import duplicate_notes
from kapps.data.hidden import HIDDEN
from kapps.data.layout import refuse_datasets
from kapps.data.split import NAMES, divide, joined_note
from kapps.errors import UserError

PACKAGED = "python_docstrings"
PACKAGES = ("asyncio", "email", "http", "importlib", "logging", "multiprocessing", "unittest")
DOCUMENTS = ("csv", "folder")
SPLITS = ("train", "validation", "test")
SHORTEST = 40  # characters of a docstring
_SHOWN = 5
_SPLIT_COLUMNS = ("split", "set", "subset", "partition")
_OWNERS = re.compile(
    r"(?i)(^|[\W_])(author|user|writer|thread|speaker|patient|subject|customer|session|document|doc)"
    r"(s|[\W_]|id|\d|$)"
)
_FRACTION = re.compile(r"[+-]?[0-9]*[.,][0-9]+")
_NOT_TEXT = (".png", ".jpg", ".jpeg", ".gif", ".pdf", ".doc", ".docx", ".zip", ".gz")


@dataclass(frozen=True, eq=False)
class DocumentSplit:
    """One split.

    Attributes:
        texts: str [n], an array of objects.
        labels: class numbers, int32 [n].
        rows: numbers of the texts in the data, from 0, ascending.
    """

    texts: np.ndarray
    labels: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class DocumentData:
    """Texts with a class each.

    Attributes:
        spec: the spec they were loaded from.
        class_names: one per class number.
        splits: `DocumentSplit` by name: train, validation, test.
        fingerprint: sha256 over texts, labels, class names and who is in which split.
        notes: what the user should know.
    """

    spec: str
    class_names: tuple[str, ...]
    splits: dict[str, DocumentSplit]
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def counts(self) -> dict[str, int]:
        """Number of texts in each split."""
        return {name: len(split) for name, split in self.splits.items()}

    @property
    def summary(self) -> str:
        """What this is, in one line."""
        length = np.median([len(text) for text in self.splits["train"].texts])
        return (
            f"{self.spec}: {self.counts}, {self.classes} classes, texts of {length:g} characters "
            "(median)"
        )


@dataclass
class _Found:
    """Texts under common numbers, before they are divided."""

    texts: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    splits: list[str] | None = None
    groups: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def load_documents(
    spec: str = PACKAGED,
    *,
    text: str | None = None,
    target: str | None = None,
    group: str | None = None,
    validation_fraction: float = 0.1,
    seed: int = 0,
    fold: tuple[int, int] | None = None,
) -> DocumentData:
    """Loads texts.

    A test split that does not come with the data is a stratified fifth of it, always the same one;
    a missing validation split is a stratified part of train that moves with `seed`. A text or a
    class that is empty is left out, and noted.

    Args:
        spec: csv:FILE, folder:PATH or python_docstrings.
        text: of csv:FILE, the column of texts.
        target: of csv:FILE, the column of classes.
        group: of csv:FILE, a column: all texts with the same value are in one split.
        validation_fraction: the part of train kept for validation.
        seed: of the validation split.
        fold: (i, K): the test split is number i, from 0, of K folds of all texts.

    Raises:
        UserError: the spec, its path, columns or files are not as they should be.
    """
    check_documents(spec, text, target, group)
    parsed = specs.parse(spec, DOCUMENTS, (PACKAGED,))
    if parsed.kind == "csv":
        found = _read_csv(parsed.path, str(text), str(target), group)
    elif parsed.kind == "folder":
        found = _read_folder(parsed.path)
    else:
        found = _read_library()
    found = _without_empty(found)
    names = tuple(sorted(set(found.classes)))
    if len(names) < 2:
        raise UserError(f"{spec}: {len(names)} classes with texts; a classifier needs two or more")
    if len(names) > len(found.texts) / 2:
        raise UserError(
            f"{spec}: {len(names):,} classes of {len(found.texts):,} texts: is "
            f"{f'column {target!r}' if target else 'it'} a class?"
        )
    number = {name: i for i, name in enumerate(names)}
    labels = np.array([number[name] for name in found.classes], np.int32)
    given, groups = _given(spec, found), None
    if found.groups is not None:
        groups = np.unique(found.groups, return_inverse=True)[1]
    rows = divide(labels, given, validation_fraction, seed, groups=groups, fold=fold)
    absent = sorted({names[i] for i in set(labels) - set(labels[rows["train"]])})
    if absent:
        raise UserError(f"{spec}: no training text is of class {_some(absent)}")
    for name in given:
        absent = sorted({names[i] for i in set(labels) - set(labels[rows[name]])})
        if absent and fold is None:
            found.notes.append(f"no text of the {name} split is of class {_some(absent)}")
    texts = np.array(found.texts, object)
    keys = [hashlib.blake2b(t.encode(), digest_size=16).digest() for t in found.texts]
    repeated = duplicate_notes(keys, labels, rows, "texts", found.names)
    splits = {
        name: DocumentSplit(texts[rows[name]], labels[rows[name]], rows[name]) for name in SPLITS
    }
    return DocumentData(
        spec,
        names,
        splits,
        _fingerprint(names, keys, labels, rows),
        (*found.notes, *alike_notes(names, "classes"), *joined_note(given, fold), *repeated),
    )


def check_documents(
    spec: str, text: str | None = None, target: str | None = None, group: str | None = None
) -> None:
    """Finds a mistyped spec or column at once; arguments as `load_documents`.

    Raises:
        UserError: naming what is wrong.
    """
    specs.check(spec, None, DOCUMENTS, (PACKAGED,))
    parsed = specs.parse(spec, DOCUMENTS, (PACKAGED,))
    asked = {"text": text, "target": target, "group": group}
    if parsed.kind != "csv":
        named = [f"--{name}" for name, column in asked.items() if column is not None]
        if named:
            raise UserError(f"{', '.join(named)}: for the columns of csv:FILE; {spec} has none")
        return
    names = read_names(parsed.path)
    listed = ", ".join(map(repr, names[:10]))
    for name, column in asked.items():
        if column is None and name != "group":
            raise UserError(
                f"{spec}: which column is the {name}? --{name} COLUMN; there are {listed}"
            )
        if column is not None and column not in names:
            raise UserError(f"{spec} has no column '{column}' (--{name}); there are {listed}")
    if text == target:
        raise UserError(f"{spec}: column '{text}' cannot be both text and target")


def _read_csv(path: pathlib.Path, text: str, target: str, group: str | None) -> _Found:
    table = read_delimited(path)
    columns = {name: table.column(name).to_pylist() for name in {text, target, group} - {None}}
    notes = [*table.notes, *_notes_on_quantities(target, columns[target])]
    if group is not None:
        notes.append(f"all texts with the same '{group}' are in one split")
        notes += alike_notes(set(columns[group]), f"groups of column '{group}'")
    else:
        others = [n for n in table.names if n not in (text, target) and _OWNERS.search(n)]
        notes += _notes_on_owners(table, others)
    splits = None
    for name in (n for n in table.names if n.lower() in _SPLIT_COLUMNS and n not in columns):
        said = [NAMES.get(cell.lower(), "") for cell in table.column(name).to_pylist()]
        if "train" in said and all(said) and len(set(said)) > 1:
            splits = said
            notes.append(f"column '{name}' divides the texts into train, validation and test")
            break
    return _Found(
        texts=columns[text],
        classes=columns[target],
        names=[f"row {row}" for row in range(1, len(table) + 1)],
        splits=splits,
        groups=None if group is None else columns[group],
        notes=notes,
    )


def _notes_on_owners(table: Delimited, names: Sequence[str]) -> list[str]:
    """Names columns that say whose texts these are, where somebody has several."""
    notes = []
    for name in names:
        cells = table.column(name)
        distinct = len(cells.unique())
        if 2 < distinct <= len(cells) / 2:
            notes.append(
                f"column '{name}' says whose texts these are ({distinct:,} values): texts of one "
                f"may be in both train and test; --group '{name}' keeps them together"
            )
    return notes


def _notes_on_quantities(name: str, classes: Sequence[str]) -> list[str]:
    """A note on classes that are mostly numbers with a fraction."""
    said = {text for text in classes if _FRACTION.fullmatch(text.strip())}
    count = sum(text in said for text in classes)
    if len(said) < 3 or count <= len(classes) / 2:
        return []
    return [
        f"column '{name}' holds {len(said):,} numbers such as {min(said)!r}: each is a class of "
        "its own, and their order is lost; to predict a quantity, write ranges as classes"
    ]


def _read_folder(root: pathlib.Path) -> _Found:
    folders = _folders(root)
    splits = {path: NAMES.get(path.name.lower()) for path in folders}
    as_splits = {path: name for path, name in splits.items() if name and _folders(path)}
    found, broken, others = _Found(), [], []
    if as_splits and len(as_splits) < len(folders):
        names = ", ".join(f"{path.name}/" for path in folders)
        raise UserError(
            f"'{root}' holds {names}: some are splits with class folders in them, others are not. "
            "Move what is no split elsewhere"
        )
    if as_splits and "train" not in as_splits.values():
        raise UserError(f"'{root}' has splits, but no train/ with a folder for each class")
    if len(set(as_splits.values())) < len(as_splits):
        raise UserError(f"'{root}' has two folders for one split")
    if as_splits:
        found.splits = []
    refuse_datasets(root, [] if as_splits else folders)
    for top in as_splits or [root]:
        for folder in _folders(top):
            before, lost = len(found.texts), len(others)
            for file in _files(folder):
                name = file.relative_to(root).as_posix()
                text = None if file.suffix.lower() in _NOT_TEXT else _text_of(file)
                if text is None:
                    (others if file.suffix.lower() in _NOT_TEXT else broken).append(name)
                    continue
                found.texts.append(text)
                found.classes.append(folder.name)
                found.names.append(name)
                if found.splits is not None:
                    found.splits.append(str(as_splits[top]))
            if len(found.texts) == before and len(others) > lost:
                raise UserError(
                    f"'{root}': all files of class folder '{folder.name}' are no texts, such as "
                    f"{others[lost]}, and the class would be missing: convert them to .txt, or "
                    "remove the folder"
                )
    if broken:
        raise UserError(
            f"'{root}': {len(broken):,} files are no text in UTF-8, such as {_some(broken)}: "
            "convert them (iconv -f latin1 -t utf-8), or move them elsewhere"
        )
    if others:
        found.notes.append(
            f"{len(others):,} files that are no texts were left out: {_some(others)}"
        )
    return found


def _read_library() -> _Found:
    root, found = pathlib.Path(sysconfig.get_paths()["stdlib"]), _Found()
    groups: list[str] = []
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            try:
                tree = ast.parse(file.read_text(encoding="utf-8"))
            except (OSError, SyntaxError, ValueError):
                continue  # another Python's test file
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    text = inspect.cleandoc(ast.get_docstring(node) or "")
                    if len(text) >= SHORTEST and text not in found.texts[-2000:]:
                        found.texts.append(text)
                        found.classes.append(package)
                        found.names.append(f"{file.relative_to(root).as_posix()}: {node.name}")
                        groups.append(file.as_posix())
    if len(set(found.classes)) < 2:
        raise UserError(
            f"this Python comes without the sources of its library, which {PACKAGED} is made of. "
            "Give other texts: --dataset csv:FILE or folder:PATH"
        )
    found.groups = groups
    return found


def _without_empty(found: _Found) -> _Found:
    kept = [
        i
        for i, (t, c) in enumerate(zip(found.texts, found.classes, strict=True))
        if t.strip() and c.strip()
    ]
    lost = len(found.texts) - len(kept)
    if not lost:
        return found
    gone = sorted({c for c in found.classes if c.strip()} - {found.classes[i] for i in kept})
    if gone:
        raise UserError(
            f"all texts of class {_some(gone)} are empty, and the class would be missing: write "
            "them, or remove the class"
        )
    note = f"{lost:,} of {len(found.texts):,} texts are empty or have no class and were left out"

    def pick(each: list[str]) -> list[str]:
        return [each[i] for i in kept]

    return _Found(
        texts=pick(found.texts),
        classes=pick(found.classes),
        names=pick(found.names),
        splits=None if found.splits is None else pick(found.splits),
        groups=None if found.groups is None else pick(found.groups),
        notes=[*found.notes, note],
    )


def _given(spec: str, found: _Found) -> dict[str, np.ndarray]:
    if found.splits is None:
        return {"train": np.arange(len(found.texts))}
    of_split = np.array(found.splits)
    given = {name: np.flatnonzero(of_split == name) for name in np.unique(of_split).tolist()}
    if "train" not in given:
        raise UserError(f"{spec}: train/ holds no texts")
    return given


def _text_of(file: pathlib.Path) -> str | None:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"'{file}' cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise UserError(f"folder '{path}' cannot be read: {error.strerror}") from error
    return [
        path / name
        for name in names
        if name[0] not in "._" and name.lower() not in HIDDEN and (path / name).is_dir()
    ]


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    return sorted(
        p
        for p in path.rglob("*")
        if p.is_file() and p.name[0] != "." and p.name.lower() not in HIDDEN
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _fingerprint(names, keys, labels, rows) -> str:
    digest = hashlib.sha256(json.dumps(list(names)).encode())
    digest.update(b"".join(keys) + labels.astype("<i4").tobytes())
    for name in SPLITS:
        digest.update(f"{name} {len(rows[name])} ".encode())
        digest.update(rows[name].astype("<i8").tobytes())
    return digest.hexdigest()
