"""Folders of pictures as people have them, and their labels; beside those of `test_awkward`."""

from __future__ import annotations

import io
import os
import re

import numpy as np
import pytest
from PIL import Image

from kapps import data
from kapps.errors import UserError


def picture(seed):
    return Image.fromarray(np.random.RandomState(seed).randint(0, 256, (8, 8)).astype(np.uint8))


def classes(prefix="", names=("cat", "dog"), count=6, start=0):
    return {
        f"{prefix}{name}/{i}.png": picture(start + 100 * c + i)
        for c, name in enumerate(names)
        for i in range(count)
    }


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def splits(train, test):
    return classes(train) | classes(test, count=3, start=1000)


def flat(folder, count=6, start=0):
    return {f"{folder}/{i}.png": picture(start + i) for i in range(count)}


FILM = encoded(picture(7).convert("P"), "GIF", save_all=True, append_images=[picture(8).convert("P")])  # fmt: skip
BELOW = {f"{c}/{s}/{i}.png": picture(100 * (c == "dog") + i + 1000 * (s == "test")) for c in ("cat", "dog") for s, n in (("train", 6), ("test", 3)) for i in range(n)}  # fmt: skip
# Files; class names and pictures of the test split (of 12, if nothing is given: 2), words of a
# note; or words of the refusal.
FOLDERS = {
    "splits of several words": (splits("train_images/", "test_images/"), 6, None),
    "splits unpacked twice": (splits("seg_train/seg_train/", "seg_test/seg_test/") | flat("seg_pred/seg_pred", 3, 3000), 6, "seg_pred/ lies beside"),
    "splits in the only folder of the only folder": (splits("data/images/train/", "data/images/test/"), 6, "data/images/, the only folder"),
    "classes in the only folder": (classes("animals/"), 2, "all lies in animals/"),
    "splits below the classes": (BELOW, 6, None),
    "classes below folds": (classes("fold1/", count=3) | classes("fold2/", count=3, start=50), ("fold1", "fold2"), "all hold cat, dog: if these are the classes, --label-pattern '/"),
    "training and Testing": (splits("training/", "Testing/"), 6, None),
    "splits without classes": (flat("train") | flat("test", 3, 1000), None, "no class folders in them.*--labels"),
    "pictures and masks": (flat("images") | flat("masks", 6, 1000), None, "parts of a dataset"),
    "pictures and annotations": (classes("images/") | {"annotations/a.xml": b"<a/>"}, None, "parts of a dataset"),
    "classes called images and masks, among others": (classes(names=("images", "masks", "eel")), None, None),
    "what a NAS and Python leave": (classes() | flat("@eaDir", 3, 9000) | flat("__pycache__", 3, 9000), 2, None),
    "a class that begins with a dot": (classes() | flat(".net", 3, 9000), 2, r"\.net/ begins with a dot"),
    "what an editor leaves": (classes() | flat(".ipynb_checkpoints", 3, 9000), 2, None),
    "classes that differ in case": (classes(names=("Cat", "cat", "dog")), ("Cat", "cat", "dog"), "differ in case.*'Cat', 'cat'"),
    "classes that differ in a blank": (classes(names=("cat ", "cat", "dog")), ("cat", "cat ", "dog"), "differ in case or blanks"),
    "an animated GIF and PNG": (classes() | {"cat/a.gif": FILM, "cat/a.png": encoded(picture(9), "PNG", save_all=True, append_images=[picture(10)])}, 3, "2 pictures of several.*cat/a.gif, cat/a.png"),
    "a class of DICOM": (classes() | {"eel/a.dcm": bytes(128) + b"DICM"}, None, "'eel'.*DICOM"),
    "Netpbm": (classes() | {f"eel/{i}.{e}": encoded(picture(50 + i).convert(m), "PPM") for i, (e, m) in enumerate((("ppm", "RGB"), ("pgm", "L"), ("pbm", "1")))}, ("cat", "dog", "eel"), None),
    "two versions of one dataset": (splits("v1/train/", "v1/test/") | splits("v2/train/", "v2/test/"), None, "v1/, v2/ would be taken for a class, but v1/ holds splits"),
    "a dataset beside the classes": (classes() | splits("old/Train/", "old/test/"), None, "old/ would be taken for a class"),
    "half of a Netpbm": (classes() | {"cat/a.ppm": encoded(picture(50), "PPM")[:40]}, None, "broken or truncated Netpbm"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", FOLDERS)
def test_folders(make_folder, case):
    files, wanted, words = FOLDERS[case]
    root = make_folder(files)
    if wanted is None and words:
        with pytest.raises(UserError, match=words):
            data.load(f"folder:{root}")
        return
    found = data.load(f"folder:{root}")
    if isinstance(wanted, int):
        assert found.class_names == ("cat", "dog") and found.counts["test"] == wanted
    elif wanted:
        assert found.class_names == wanted
    else:
        assert found.class_names == ("eel", "images", "masks")
    if words:
        assert any(re.search(words, note) for note in found.notes), found.notes
    else:
        assert not found.notes


@pytest.mark.slow
def test_a_class_that_is_broken_throughout(make_folder):
    half = encoded(picture(50), "JPEG")[:100]
    root = make_folder(classes() | {f"eel/{i}.jpg": half for i in range(3)} | {"cat/a.jpg": half})
    with pytest.raises(UserError, match="all 3 pictures of class 'eel' .* would be missing"):
        data.load(f"folder:{root}", skip_broken=True)
    root = make_folder(classes() | {"eel/a.jpg": b"", "eel/b.jpg": b"<html>"}, "nothing")
    with pytest.raises(UserError, match="all 2 pictures of class 'eel'"):
        data.load(f"folder:{root}", skip_broken=True)


@pytest.mark.slow
def test_what_is_no_file(make_folder):
    """A pipe that nobody writes to, and links that lead to each other."""
    root = make_folder(classes())
    os.mkfifo(root / "cat" / "pipe.png")
    (root / "dog" / "a.png").symlink_to(root / "dog" / "b.png")
    (root / "dog" / "b.png").symlink_to(root / "dog" / "a.png")
    found = data.load(f"folder:{root}", skip_broken=True)
    assert sum(found.counts.values()) == 12
    note = next(note for note in found.notes if "unreadable" in note)
    assert all(name in note for name in ("cat/pipe.png", "dog/a.png", "dog/b.png"))


NAMES = [f"{c}{i}" for c in ("cat", "dog") for i in range(6)]
PICTURES = {f"{n}.png": picture(20 * (n[0] == "d") + int(n[3:])) for n in NAMES}


def table(name="{}.png", head="file_name,label", row="{name},{label}"):
    rows = [row.format(name=name.format(n), label=n[:3], i=i) for i, n in enumerate(NAMES)]
    return "\n".join([head, *rows]) + "\n"


# The table of labels; pictures of the test split, words of a note; or words of the refusal.
LABELS = {
    "other endings": (table("{}.JPG"), 2, "12 files have other names.*cat0.JPG for cat0.png"),
    "whole paths": (table("/home/me/pictures/{}.png"), 2, "12 files have other names"),
    "paths of Windows": (table("C:\\data\\{}.png"), 2, "C:/data/cat0.png for cat0.png"),
    "addresses": (table("https://example.org/{}.png?size=3"), 2, "other names"),
    "in capitals": (table("{}.png").replace("cat0.png", "CAT0.png"), 2, "1 files have other names"),
    "of another folder alone": (table("else_{}.png"), None, "no picture in .* has a label: the folder has cat0.png, the labels are of else_cat0.png"),
    "no names of columns": (table(head="cat0.png,cat"), None, "first line must name"),
    "ambiguous": (table("{}.png") + "other/CAT0.png,dog\nanother/CAT0.png,cat\n", 2, "2 files of .* are not there"),
    "two for one": ("file_name,label\n" + "".join(f"{s}/{n}.png,{n[:3]}\n" for n in NAMES for s in "ab"), None, "cat0.png may be a/cat0.png or b/cat0.png"),
    "a column of splits": (table(head="file_name,label,split", row="{name},{label},train").replace("cat0.png,cat,train", "cat0.png,cat,Test").replace("dog0.png,dog,train", "dog0.png,dog,test"), 2, None),
    "a column of splits that says more": (table(head="file_name,label,set", row="{name},{label},{i}"), 2, "'set' does not say train"),
    "JSON lines": ("".join(f'{{"file_name": "{n}.png", "label": "{n[:3]}"}}\n' for n in NAMES), 2, None),
    "classes by case": (table().replace("cat0.png,cat", "cat0.png,Cat"), 2, "'Cat', 'cat'"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", LABELS)
def test_labels(make_folder, tmp_path, case):
    content, test, words = LABELS[case]
    (tmp_path / "labels.csv").write_text(content)
    root = make_folder(PICTURES)
    if test is None:
        with pytest.raises(UserError, match=words):
            data.load(f"folder:{root}", labels=tmp_path / "labels.csv")
        return
    found = data.load(f"folder:{root}", labels=tmp_path / "labels.csv")
    assert found.class_names[-2:] == ("cat", "dog") and found.counts["test"] == test
    for split in found.splits.values():
        named = [found.class_names[label] for label in split.labels]
        assert [n.lower() for n in named] == [name[:3] for name in split.origins]
    if case == "a column of splits":
        assert list(found.splits["test"].origins) == ["cat0.png", "dog0.png"]
    assert any(re.search(words, note) for note in found.notes) if words else not found.notes


@pytest.mark.slow
def test_metadata_as_json_lines(make_folder):
    lines = "".join(f'{{"file_name": "{n}.png", "label": "{n[:3]}"}}\n' for n in NAMES)
    found = data.load(f"folder:{make_folder(PICTURES | {'metadata.jsonl': lines.encode()})}")
    assert found.class_names == ("cat", "dog") and sum(found.counts.values()) == 12


@pytest.mark.slow
def test_classes_below_folds_by_pattern(make_folder):
    files = classes("fold1/", count=4) | classes("fold2/", count=4, start=50)
    found = data.load(f"folder:{make_folder(files)}", label_pattern="/([^/]+)/")
    assert found.class_names == ("cat", "dog") and sum(found.counts.values()) == 16
