"""What lies in a folder of pictures: classes, splits, pictures, and everything that is neither.

Only names and the first bytes of the files are read here; no TensorFlow.
"""

import contextlib
import gc
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from kapps.data.images.files import formats, transcoding
from kapps.data.images.files.labels import METADATA, Labeller, by_metadata
from kapps.data.images.files.starts import Start, read_start
from kapps.data.images.files.walking import (
    Expect,
    entries,
    expected,
    folders_above,
    name_below,
    scan,
    text_of,
    walk,
)
from kapps.data.layout import refuse_datasets
from kapps.data.split import NAMES
from kapps.errors import UserError

_TOOLS = {".ipynb_checkpoints", ".git", ".cache", ".thumbnails", ".trash", ".picasaoriginals"}
# Parts of a dataset that show the same things: none of them is a class.
_PARTS = {"images", "imgs", "image", "img", "jpegimages", "pictures", "photos", "masks", "mask"}
_PARTS |= {"labels", "label", "annotations", "annotation", "segmentation", "segmentationclass"}
_PARTS |= {"segmentations", "ground_truth", "groundtruth", "gt", "bboxes", "depth"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One file, or one part of a shard, that begins as a picture does."""

    path: str  # by which the index reads it
    name: str  # relative to the root, with forward slashes
    class_name: str  # or what else there is to say of it, see `targets`
    split: str | None  # None where the folder has no train/ and test/
    format: str
    bits: int = 8  # per sample; 16 of some PNGs and TIFFs


@dataclass
class Listing:
    """The content of a folder, in the order of the names.

    Attributes:
        splits: names of the splits that come with the folder; empty without train/.
        pictures: what begins as a readable picture.
        broken: name -> reason, for files that ought to be pictures.
        foreign: name -> format, for pictures in formats that are not read.
        others: names of files that are no pictures, or lie outside the class folders.
        empty: names of class folders without a readable picture.
        notes: what was noticed about the layout.
        labelled: whether something else than folders says what pictures show.
        numbered: whether what is said is the number of a class.
    """

    splits: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    labelled: bool = False
    numbered: bool = False


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """No collection of garbage while it lasts; also a decorator.

    It would look again and again at each of many small objects that are there to stay: 100,000
    files are known again in 1.3 s without it, in 2.1 s with it.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@without_collections()
def list_folder(
    root: pathlib.Path,
    label_of: Labeller | None = None,
    start_of: Start = read_start,
    kind: str = "classes",
    expect: Expect | None = None,
) -> Listing:
    """Lists the pictures below `root`: a folder per class, perhaps under train/, val/ and test/.

    Folders are splits where all are called so, or where train/ and another one hold the same class
    folders; what lies beside them is then left out, and noted. Hidden files (dot-files, Thumbs.db
    and their like) are passed over in silence. Symbolic links are followed, but for those to a
    folder that the class folder lies in, which would give its class to everything.

    Args:
        root: the folder.
        label_of: tells the class of each picture by its name, in the place of folders; default:
            metadata.csv, where there is one with classes, or else the folders.
        start_of: gives the first bytes of a file, from where they are known.
        kind: of targets that is asked for, see `targets.targets_of`.
        expect: is told which files are going to be looked at.

    Raises:
        UserError: there is val/ or test/ without train/, or a class folder is a dataset of its own.
    """
    listing = Listing()
    label_of = label_of or by_metadata(root, entries(root)[0], kind)
    if label_of is not None:
        listing.labelled = True
        _list_labelled(root, label_of, listing, start_of, expect)
        return listing
    for split, folder in _split_folders(root, listing):
        folders, files = entries(folder)
        refuse_datasets(root, folders)
        listing.others += [name_below(path, root) for path in files]
        below = _splits_below(folders) if split is None else {}
        if not below:
            _note_alike(folders, listing)
        for class_folder in folders:
            for own_split, top in below.get(class_folder, [(split, class_folder)]):
                _list_class(top, class_folder, own_split, root, listing, start_of, expect)
        listing.splits += dict.fromkeys(s for found in below.values() for s, _ in found if s)
    _note_hidden(root, listing)
    # By the parts of the name: the order is the same on every file system.
    listing.pictures.sort(key=lambda picture: picture.name.split("/"))
    return listing


def _split_folders(root: pathlib.Path, listing: Listing) -> list[tuple[str | None, pathlib.Path]]:
    top = _only_folder(root, listing)
    folders, files = entries(top)
    splits = {path: name for path in folders if (name := NAMES.get(path.name.lower()))}
    if "train" not in splits.values():
        splits |= _named_within(folders)
    classes_in = {path: _only_of_its_name(path) for path in splits}
    inside = {path: set(scan(classes_in[path])[0]) for path in splits}
    holds_classes = {path: bool(names) for path, names in inside.items()}
    if not folders or not any(holds_classes.values()):
        _refuse_parts(root, folders, splits)
        return [(None, top)]
    beside = [path for path in folders if path not in splits]
    if beside and not _same_classes(inside, splits):
        # Classes may be called "train" and "bus".
        for path in (path for path, names in inside.items() if len(names) > 1):
            listing.notes.append(
                f"{path.name}/ was taken for a class, with {', '.join(sorted(inside[path])[:3])} "
                f"in it: if it is a split, move {beside[0].name}/ elsewhere"
            )
        return [(None, top)]
    for path in beside:
        listing.notes.append(
            f"{path.name}/ lies beside the splits and was left out: it is neither train, "
            "validation nor test"
        )
    found: list[tuple[str | None, pathlib.Path]] = []
    for path, split in splits.items():
        if not holds_classes[path]:
            listing.notes.append(f"{path.name}/ holds no class folders and was left out")
        elif split in listing.splits:
            raise UserError(f"'{root}' has two folders for the {split} split, '{path.name}' is one")
        else:
            listing.splits.append(split)
            found.append((split, classes_in[path]))
    if "train" not in listing.splits:
        names = ", ".join(f"{path.name}/" for path in folders)
        raise UserError(f"'{root}' has {names} but no train/ with a folder for each class")
    listing.others += [name_below(path, root) for path in files]
    return found


def _only_folder(root: pathlib.Path, listing: Listing) -> pathlib.Path:
    """The folder itself, or what lies in it as the only folder, and so on, above the classes."""
    top = root
    while True:
        folders, files = entries(top)
        if len(folders) != 1 or NAMES.get(folders[0].name.lower()):
            return top
        inner, inside = entries(folders[0])
        if not inner or any(_is_picture(path.name) for path in (*files, *inside)):
            return top
        listing.others += [name_below(path, root) for path in files]
        top = folders[0]
        listing.notes.append(f"all lies in {name_below(top, root)}/, the only folder there is")


def _only_of_its_name(path: pathlib.Path) -> pathlib.Path:
    """A folder, or the one of the same name in it, as archives that were unpacked have it."""
    folders, _ = scan(path)
    return path / path.name if folders == [path.name] else path


def _named_within(folders: list[pathlib.Path]) -> dict[pathlib.Path, str]:
    """Folders such as train_images and test_images, with their splits, where they go together."""
    found = {}
    for path in folders:
        words = {NAMES[w] for w in re.split(r"[\W_]+", path.name.lower()) if w in NAMES}
        if len(words) == 1:
            found[path] = words.pop()
    inside = {path: set(scan(_only_of_its_name(path))[0]) for path in found}
    distinct = set(found.values())
    if "train" not in distinct or len(distinct) < 2 or not _same_classes(inside, found):
        return {}
    return found


def _splits_below(
    folders: list[pathlib.Path],
) -> dict[pathlib.Path, list[tuple[str | None, pathlib.Path]]]:
    """Class folders that hold train/, test/ ... each, with these; nothing if not all of them do."""
    found = {}
    for folder in folders:
        inner, files = entries(folder)
        named = [(NAMES.get(path.name.lower()), path) for path in inner]
        splits = [split for split, _ in named]
        if files or "train" not in splits or None in splits or len(splits) != len(set(splits)):
            return {}
        found[folder] = named
    several = {split for named in found.values() for split, _ in named}
    return found if len(several) > 1 else {}


def _note_alike(folders: list[pathlib.Path], listing: Listing) -> None:
    """A note where all class folders hold the same folders: fold1/cat, fold1/dog, fold2/cat ..."""
    inside = [scan(folder) for folder in folders]
    names = {tuple(inner) for inner, _ in inside}
    if len(folders) < 2 or len(names) != 1 or len(same := names.pop()) < 2:
        return
    if any(files for _, files in inside):
        return
    listing.notes.append(
        f"the class folders {folders[0].name}, {folders[1].name} ... all hold {', '.join(same[:3])}"
        f"{' ...' if len(same) > 3 else ''}: if these are the classes, --label-pattern '/([^/]+)/'"
    )


def _refuse_parts(root: pathlib.Path, folders: list[pathlib.Path], splits: dict) -> None:
    """UserError where the folders are splits without classes, or parts of a dataset."""
    names = ", ".join(f"{path.name}/" for path in folders)
    if len(folders) > 1 and len(splits) == len(folders) and "train" in splits.values():
        raise UserError(
            f"'{root}' has {names} and no class folders in them: put the pictures of each class in "
            "a folder of its own there, or say the classes with --labels FILE.csv or "
            "--label-pattern"
        )
    if len(folders) > 1 and all(path.name.lower() in _PARTS for path in folders):
        raise UserError(
            f"'{root}' has {names}: these are parts of a dataset, and no classes. A classifier "
            "wants a folder for each class, or --labels FILE.csv"
        )


def _note_hidden(root: pathlib.Path, listing: Listing) -> None:
    """Names folders that begin with a dot and hold pictures: a class may be called so."""
    with os.scandir(root) as found:
        hidden = sorted(e.path for e in found if e.name[0] == "." and e.is_dir())
    for path in map(pathlib.Path, hidden):
        if path.name in _TOOLS:
            continue
        with os.scandir(path) as found:
            if any(pathlib.PurePath(e.name).suffix.lower() in formats.EXTENSIONS for e in found):
                listing.notes.append(
                    f"{path.name}/ begins with a dot and was passed over, with the pictures in it"
                )


def _same_classes(inside: dict[pathlib.Path, set[str]], splits: dict) -> bool:
    """Whether train/ and another split hold the same class folders, but for a few."""
    train = [names for path, names in inside.items() if splits[path] == "train"]
    others = [names for path, names in inside.items() if splits[path] != "train"]
    return any(2 * len(a & b) >= len(b) > 0 for a in train for b in others)


def _list_class(
    folder: pathlib.Path,
    named: pathlib.Path,
    split: str | None,
    root: pathlib.Path,
    listing: Listing,
    start_of: Start,
    expect: Expect | None,
) -> None:
    """Lists the pictures of a class in one split; `named` is the folder that has its name."""
    # One name for the two ways in which file systems write an accented letter.
    class_name = unicodedata.normalize("NFC", text_of(named.name))
    before = len(listing.pictures)
    real = pathlib.Path(os.path.realpath(folder))
    above = {str(path) for path in (*folders_above(root), *folders_above(folder))} - {str(real)}
    if str(real) in {str(path) for path in folders_above(root)}:
        listing.notes.append(f"{name_below(folder, root)} is a link to a folder above: left out")
        return
    for path in expected(walk(folder, above, listing.notes, root), expect):
        _list_file(path, class_name, split, root, listing, start_of)
    if len(listing.pictures) == before:
        listing.empty.append(name_below(folder, root))


def _list_labelled(
    root: pathlib.Path,
    label_of: Labeller,
    listing: Listing,
    start_of: Start,
    expect: Expect | None,
) -> None:
    """Pictures whose class something else says than their folder."""
    folders, _ = entries(root)
    splits = {path: name for path in folders if (name := NAMES.get(path.name.lower()))}
    if "train" in splits.values() and len(splits) == len(folders):
        listing.splits += dict.fromkeys(splits.values())
    else:
        splits = {}
    by_row = getattr(label_of, "splits", None)
    if by_row:
        listing.splits[:] = by_row
        splits = {}
    unknown, above = [], {str(path) for path in folders_above(root)} - {os.path.realpath(root)}
    for path in expected(walk(root, above, listing.notes, root), expect):
        name = name_below(path, root)
        if os.path.basename(name) in METADATA:
            continue
        label = label_of(name)
        if by_row:
            split = label_of.split_of(name) if label is not None else None
        else:
            split = next(
                (s for top, s in splits.items() if name.startswith(f"{name_below(top, root)}/")),
                None,
            )
        if splits and split is None:
            listing.others.append(name)
        elif label is None:
            unknown.append(name)
        else:
            class_name = unicodedata.normalize("NFC", label)
            _list_file(path, class_name, split, root, listing, start_of)
    if not listing.pictures and (strangers := [n for n in unknown if _is_picture(n)]):
        known = next(iter(getattr(label_of, "known", ())), "")
        raise UserError(
            f"no picture in '{root}' has a label: the folder has {strangers[0]}"
            + (f", the labels are of {known}" if known else "")
        )
    listing.pictures.sort(key=lambda picture: picture.name.split("/"))
    listing.notes += label_of.notes() if hasattr(label_of, "notes") else []
    pictures = [name for name in unknown if _is_picture(name)]
    listing.others += [name for name in unknown if name not in set(pictures)]
    if pictures:
        listing.notes.append(
            f"{len(pictures):,} pictures have no label and were left out, such as {pictures[0]}"
        )


def _is_picture(name: str) -> bool:
    return pathlib.PurePath(name).suffix.lower() in formats.EXTENSIONS


def _list_file(
    path: str,
    class_name: str,
    split: str | None,
    root: pathlib.Path,
    listing: Listing,
    start_of: Start,
) -> None:
    name, suffix = name_below(path, root), os.path.splitext(path)[1]
    try:
        start = start_of(path)
    except FileNotFoundError:
        listing.broken[name] = "a link to nothing"
        return
    except OSError as error:
        listing.broken[name] = error.strerror or "unreadable"
        return
    kind, foreign, bits = classify(start, suffix, path)
    if kind:
        listing.pictures.append(Picture(path, name, class_name, split, kind, bits))
    elif foreign:
        listing.foreign[name] = foreign
    elif suffix.lower() in formats.EXTENSIONS:
        listing.broken[name] = "not the content of a picture" if start else "an empty file"
    else:
        listing.others.append(name)


def classify(start: bytes, suffix: str, file: str | BinaryIO) -> tuple[str | None, str | None, int]:
    """Format of a picture, or one that is not read, and its bits per sample.

    Args:
        start: its first bytes.
        suffix: of its name.
        file: its path, or its content.
    """
    kind = formats.sniff(start)
    foreign = None if kind else formats.foreign(start, suffix)
    if kind and not transcoding.reads(kind):
        kind, foreign = None, kind
    bits = start[24] if kind == "PNG" and len(start) > 24 else 8
    if kind in ("TIFF", formats.NETPBM):
        bits = transcoding.bits_of(file)
    return kind, foreign, bits
