import json

import numpy as np
import pytest

from kapps import data


def report_of(root):
    return data.describe(f"folder:{root}")


@pytest.mark.slow
def test_duplicates_by_name_and_split(make_folder, noise):
    """a0 is in train twice (once as BMP), in test once, and once under another label."""
    files = {f"{split}/{name}/{i}.png": noise(hash_of(split, name, i)) for split, name, i in rows()}
    same = files["train/a/0.png"]
    files |= {"train/a/copy.bmp": same, "test/a/leak.png": same, "test/b/wrong.png": same}
    report = report_of(make_folder(files))
    names = ["train/a/0.png", "train/a/copy.bmp", "test/a/leak.png", "test/b/wrong.png"]
    assert report["duplicates"] == [names] and report["conflicts"] == [names]
    counts = report["duplicate_counts"]
    assert (counts["train"], counts["validation"], counts["test"]) == (1, 0, 1)
    assert (counts["train/test"], counts["train/validation"], counts["validation/test"]) == (
        2,
        0,
        0,
    )
    assert report["counts"] == {"train": 11, "validation": 10, "test": 12}
    assert report["class_counts"]["train"] == {"a": 6, "b": 5}
    text = data.describe_text(report)
    assert " = ".join(names) in text
    assert "repeats: 1 in train, 0 in validation, 1 in test" in text
    assert "2 of train in test" in text


def rows():
    return [
        (split, name, i) for split in ("train", "val", "test") for name in "ab" for i in range(5)
    ]


def hash_of(split, name, i):
    return ["train", "val", "test"].index(split) * 100 + "ab".index(name) * 10 + i


@pytest.mark.slow
def test_sizes_and_what_cannot_be_read(make_folder, noise):
    """Heights 8 (nine times) and 30; widths 8 (nine times) and 20."""
    files = {
        f"{name}/{i}.png": noise(5 * label + i) for label, name in enumerate("ab") for i in range(5)
    }
    files |= {"a/0.png": noise(99, 30, 20), "b/cut.jpg": b"\xff\xd8\xff", "a/list.txt": b"x"}
    files |= {"b/x.jxl": b"\xff\x0a"}
    report = report_of(make_folder(files))
    assert report["sizes"]["height"] == {"min": 8, "median": 8.0, "max": 30}
    assert report["sizes"]["width"] == {"min": 8, "median": 8.0, "max": 20}
    assert report["unreadable"] == {"b/cut.jpg": "broken or truncated JPEG"}
    assert report["foreign"] == {"b/x.jxl": "JPEG XL"} and report["other_files"] == ["a/list.txt"]
    assert json.loads(json.dumps(report)) == report
    text = data.describe_text(report)
    for said in [
        "10 pictures in 2 classes",
        "height: 8 to 30 pixels, median 8",
        "  b/cut.jpg: broken or truncated JPEG",
        "  b/x.jxl: JPEG XL",
        "  a/list.txt",
        "exact duplicates: none",
        "note: pictures were resized to 32x32",
    ]:
        assert said in text
    assert report["fingerprint"] == data.load(report["spec"], skip_broken=True).fingerprint


def test_arrays_are_named_by_row(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (30, 4, 4)).astype(np.uint8)
    pixels[7] = pixels[2]
    labels = np.arange(30) % 2
    np.savez(
        tmp_path / "a.npz",
        x_train=pixels[:10],
        y_train=labels[:10],
        x_val=pixels[10:20],
        y_val=labels[10:20],
        x_test=pixels[20:],
        y_test=labels[20:],
    )
    report = data.describe(f"npz:{tmp_path / 'a.npz'}")
    assert report["duplicates"] == report["conflicts"] == [["train[2]", "train[7]"]]
    assert report["sizes"]["height"] == {"min": 4, "median": 4.0, "max": 4}


def test_the_embedded_digits():
    report = data.describe("digits")
    assert report["counts"] == {"train": 1294, "validation": 144, "test": 359}
    assert report["duplicates"] == []
    lines = data.describe_text(report).splitlines()
    assert lines[0] == "digits: 1,797 pictures in 10 classes"
    assert lines[1] == "read as 8x8, grey"
