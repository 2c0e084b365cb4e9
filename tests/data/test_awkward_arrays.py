"""Arrays and series as people have them; beside those of `test_awkward`."""

from __future__ import annotations

import re

import numpy as np
import pytest

from kapps import data
from kapps.data.series import files
from kapps.data.series.step_tables import read_steps
from kapps.data.sources.archive import find_layout
from kapps.errors import UserError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (40, 6, 6, 3)).astype(np.uint8)
X[0, 0, 0] = 255
Y = np.arange(40) % 2
OTHER = RNG.integers(0, 256, (40, 6, 6, 3)).astype(np.uint8)
WORDS = np.where(Y, "dog", "cat")

# Names of arrays; what is found by split, or words of the refusal; what is left.
LAYOUTS = {
    ("x", "y"): ({"train": ("x", "y")}, []),
    ("X", "y", "class_names"): ({"train": ("X", "y")}, []),
    ("data", "target", "DESCR"): ({"train": ("data", "target")}, ["DESCR"]),
    ("X_train", "Y_train", "X_valid", "Y_valid"): ({"train": ("X_train", "Y_train"), "validation": ("X_valid", "Y_valid")}, []),
    ("x_train", "y_train", "x_dev", "y_dev", "x_test", "y_test"): ({"train": ("x_train", "y_train"), "validation": ("x_dev", "y_dev"), "test": ("x_test", "y_test")}, []),
    ("train_images", "train_labels", "test_images", "test_labels"): ({"train": ("train_images", "train_labels"), "test": ("test_images", "test_labels")}, []),
    ("x_train", "y_train", "x", "x_extra"): ({"train": ("x_train", "y_train")}, ["x_extra", "x"]),
    ("arr_0", "arr_1"): "wanted are x_train",
    ("x_train", "y_train", "x_test"): "lacks the labels of test",
    ("images", "x", "y"): "images or x",
    ("x", "y", "x_test", "y_test"): "x, y beside arrays of splits",
    ("x_test", "y_test"): "has the keys x_test, y_test",
}  # fmt: skip


@pytest.mark.parametrize("names", LAYOUTS, ids=" ".join)
def test_names_of_arrays(names):
    wanted = LAYOUTS[names]
    if isinstance(wanted, str):
        with pytest.raises(UserError, match=wanted):
            find_layout("a.npz", names)
    else:
        assert find_layout("a.npz", names) == wanted


# Arrays; class names, highest level, words of a note; or words of the refusal.
PICTURES = {
    "splits under other names": ({"x_train": X, "y_train": Y, "x_valid": OTHER[:6], "y_valid": Y[:6]}, ("0", "1"), 255, None),
    "an array of something else": ({"x": X, "y": Y, "weights": Y}, ("0", "1"), 255, "not read: weights"),
    "floats a little above 1": ({"x": np.where(X == 255, 1.0000001, X / 255), "y": Y}, ("0", "1"), 255, None),
    "floats that are dark": ({"x": X / 2550, "y": Y}, ("0", "1"), 26, "multiply them by 10"),
    "from -1 to 1": ({"x": X / 127.5 - 1, "y": Y}, None, 0, r"\(x \+ 1\) / 2"),
    "NaN": ({"x": np.where(np.arange(40)[:, None, None, None] < 2, np.nan, X / 255), "y": Y}, None, 0, "216 values are NaN"),
    "two scales": ({"x_train": X, "y_train": Y, "x_test": OTHER[:9] / 255, "y_test": Y[:9]}, None, 0, "of test have values to .*, those of train to 255"),
    "channels first, four of them": ({"x": RNG.integers(0, 256, (40, 4, 8, 8)).astype(np.uint8), "y": Y}, None, 0, "moveaxis"),
    "texts as labels": ({"x": X, "y": WORDS}, ("cat", "dog"), 255, None),
    "bytes as labels": ({"x": X, "y": WORDS.astype("S")}, ("cat", "dog"), 255, None),
    "whole floats as labels": ({"x": X, "y": Y.astype(float)}, ("0", "1"), 255, None),
    "truth values as labels": ({"x": X, "y": Y > 0}, ("0", "1"), 255, None),
    "quantities as labels": ({"x": X, "y": Y + 0.5}, None, 0, "whole numbers or texts"),
    "NaN as labels": ({"x": X, "y": np.where(Y, np.nan, 1)}, None, 0, "whole numbers or texts"),
    "-1 as a label": ({"x": X, "y": np.where(np.arange(40) < 6, -1, Y)}, ("-1", "0", "1"), 255, r"label -1 .*\(6 pictures\)"),
    "names, and labels from 1": ({"x": X, "y": Y + 1, "class_names": ["a", "b"]}, None, 0, r"labels \[2\] .*those of 0, 1"),
    "labels by case": ({"x": X, "y": np.array(["Cat", "cat", "dog", "dog"])[np.arange(40) % 4]}, ("Cat", "cat", "dog"), 255, "'Cat', 'cat'"),
}  # fmt: skip


@pytest.mark.parametrize("case", PICTURES)
def test_pictures(tmp_path, case):
    arrays, names, high, words = PICTURES[case]
    np.savez(tmp_path / "a.npz", **arrays)
    if names is None:
        with pytest.raises(UserError, match=words):
            data.load(f"npz:{tmp_path / 'a.npz'}")
        return
    found = data.load(f"npz:{tmp_path / 'a.npz'}")
    assert found.class_names == names
    assert "validation" not in case and found.counts["validation"] == (6 if "splits" in case else found.counts["validation"])  # fmt: skip
    assert max(split.take(range(len(split))).max() for split in found.splits.values()) == high
    assert any(re.search(words, note) for note in found.notes) if words else not found.notes


def test_more_than_fits_is_refused_before_it_is_read(tmp_path, monkeypatch):
    """40 pictures of 6 x 6 x 3 bytes and 40 labels of 8: 4,640 bytes."""
    np.savez(tmp_path / "a.npz", x=X, y=Y.astype(np.int64), other=np.zeros(9999))
    spec = f"npz:{tmp_path / 'a.npz'}"
    assert sum(data.load(spec, memory_limit=4640).counts.values()) == 40
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", None)
    with pytest.raises(UserError, match="holds 0.0 MiB of arrays, .*--memory-limit"):
        data.load(spec, memory_limit=4639)
    config = {"dataset": spec, "memory_limit": 4639 / 2**30}
    with pytest.raises(UserError, match="--memory-limit"):
        data.load_as_configured(config)


WAVES = [np.sin(np.arange(8 + i % 4) * (1 + i % 2)) + 0.01 * i for i in range(40)]


def steps(row="{i},{label},{t},{v:.3f}", head="series,label,time,v", label=lambda i: "ab"[i % 2]):
    rows = [
        row.format(i=i, label=label(i), t=t, v=v)
        for i, wave in enumerate(WAVES)
        for t, v in enumerate(wave)
    ]
    return "\n".join([head, *rows]) + "\n"


# A table with a row per step; class names, words of a note; or words of the refusal.
STEPS = {
    "decimal commas": (steps(row="{i};{label};{t};{v:.3f}", head="series;label;time;v").replace(".", ","), ("a", "b"), None),
    "names in capitals": (steps(head="Series,LABEL,Time,V"), ("a", "b"), None),
    "times of day": (steps(row="{i},{label},2024-05-01T00:{t:02}:00Z,{v:.3f}"), ("a", "b"), None),
    "times of another kind": (steps(row="{i},{label},1.5.2024 00:{t:02},{v:.3f}"), None, "neither a number nor a date such as"),
    "a time that is missing": (steps().replace(",3,", ",,"), None, "40 rows have no time"),
    "steps at one time": (steps(row="{i},{label},0,{v:.3f}"), ("a", "b"), "40 of 40 series have steps at the same time"),
    "uneven steps": (steps(row="{i},{label},{t}{t},{v:.3f}"), ("a", "b"), "10 of 40 series .* uneven"),
    "a gap called NA": ("\n".join("5,b,4,NA" if row.startswith("5,b,4,") else row for row in steps().split("\n")), None, "series 5: a value is missing or not finite at step 5"),
    "a column per row": (steps(row="{i},{label},{t},temperature,{v:.3f}", head="series,label,time,variable,value"), None, "'temperature' in variable .* is a feature, of numbers"),
    "no name of the series": (steps().replace("\n3,b", "\n,b"), None, "11 rows do not say which series"),
    "splits by other names": (steps(row="{i},{label},{t},{v:.3f},Train", head="series,label,time,v,split"), ("a", "b"), None),
    "thousands": (steps(row='{i},{label},{t},"1,{t:03}"'), None, "the comma of '1,000' in v may group thousands"),
    "times of several zones": (steps(row="{i},{label},2024-05-01T00:{t:02}:00+02:00,{v:.3f}"), ("a", "b"), None),
    "labels by case": (steps(label=lambda i: ("Cat", "cat", "dog", "dog ")[i % 4]), ("Cat", "cat", "dog"), "differ in case.*'Cat', 'cat'"),
}  # fmt: skip


@pytest.mark.parametrize("case", STEPS)
def test_steps(tmp_path, case):
    content, names, words = STEPS[case]
    (tmp_path / "a.csv").write_text(content)
    if names is None:
        with pytest.raises(UserError, match=words):
            files.READERS["csv"](tmp_path / "a.csv")
        return
    found = files.READERS["csv"](tmp_path / "a.csv")
    assert found.class_names == names and len(found.labels) == 40
    for values, wave in zip(found.values, WAVES, strict=True):
        np.testing.assert_allclose(values[: len(wave), 0], wave, atol=6e-4)
    assert any(re.search(words, note) for note in found.notes) if words else not found.notes


def test_a_feature_that_numbers_patients_is_named(tmp_path):
    rows = [f"{i},{'ab'[i % 2]},{t},{v:.3f},{i % 7}" for i, w in enumerate(WAVES) for t, v in enumerate(w)]  # fmt: skip
    (tmp_path / "a.csv").write_text("\n".join(["series,label,time,v,patient", *rows]))
    notes = files.READERS["csv"](tmp_path / "a.csv").notes
    assert any("'patient' has one value in each series, 7 in all" in note for note in notes)
    (tmp_path / "b.csv").write_text("series,target,v\n" + "".join(f'{i},"{i % 9 + 1},250",{v}\n' for i in range(9) for v in (1.5, 2.5)))  # fmt: skip
    with pytest.raises(UserError, match="the comma of '1,250' in target"):
        files.READERS["csv"](tmp_path / "b.csv")


def test_the_order_of_dates_is_that_of_time(tmp_path):
    (tmp_path / "a.csv").write_text(
        "series,label,time,v\n"
        + "".join(f"{i},{'ab'[i % 2]},2024-05-{d},{d}\n" for i in range(9) for d in (11, 10, 9 + 3))
    )
    found = files.READERS["csv"](tmp_path / "a.csv")
    assert found.values[0, :, 0].tolist() == [10, 11, 12]


SERIES = RNG.normal(size=(60, 12, 2)).astype(np.float32)
LABELS = np.arange(60) % 3
ENDS = np.arange(12)[None, :, None] > (4 + np.arange(60) % 8)[:, None, None]
ARRAYS = {
    "x and y": ({"x": SERIES, "y": LABELS}, ("0", "1", "2"), None),
    "labels in a column": ({"x_train": SERIES, "y_train": LABELS[:, None]}, ("0", "1", "2"), None),
    "one-hot": ({"x": SERIES, "y": np.eye(3)[LABELS]}, None, r"one-hot\? use numpy.argmax\(y, 1\)"),
    "features first": ({"x": RNG.normal(size=(60, 2, 500)), "y": LABELS}, ("0", "1", "2"), r"2 steps of 500 features.*moveaxis\(x, 1, -1\)"),
    "padded with zeros": ({"x": np.where(ENDS, 0, SERIES), "y": LABELS}, ("0", "1", "2"), "series of x end with zeros"),
    "series that rest": ({"x": np.where(ENDS & (np.arange(60) == 1)[:, None, None], 0, SERIES), "y": LABELS}, ("0", "1", "2"), None),
}  # fmt: skip


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_of_series(tmp_path, case):
    arrays, names, words = ARRAYS[case]
    np.savez(tmp_path / "a.npz", **arrays)
    if names is None:
        with pytest.raises(UserError, match=words):
            files.read_npz(tmp_path / "a.npz")
        return
    found = files.read_npz(tmp_path / "a.npz")
    assert found.class_names == names
    assert any(re.search(words, note) for note in found.notes) if words else not found.notes


def documents(folder):
    return {
        f"{folder}{c}/{i}.txt": f"{c} is said {i} times".encode()
        for c in ("good", "bad")
        for i in range(20)
    }


def test_texts(make_folder):
    hidden = {"good/Thumbs.db": b"\xd0\xcf\xff", "bad/.DS_Store": b"\0\1\xff"}
    assert sum(data.load_documents(f"folder:{make_folder(documents('') | hidden)}").counts.values()) == 40  # fmt: skip
    extra = {f"train/unsup/{i}.txt": f"who knows {i}".encode() for i in range(20)}
    root = make_folder(documents("train/") | documents("test/") | extra, "more")
    found = data.load_documents(f"folder:{root}")
    assert any("no text of the test split is of class unsup" in note for note in found.notes)


def test_tables_of_texts(tmp_path):
    rows = [f"{w} is said {i} times,{w},{('Train', 'test', 'dev')[i % 3]},p{i % 9},{i % 8 + 0.5}" for i in range(60) for w in ("good", "bad")]  # fmt: skip
    (tmp_path / "a.csv").write_text("\n".join(["text,label,split,author,stars", *rows]))
    spec = f"csv:{tmp_path / 'a.csv'}"
    found = data.load_documents(spec, text="text", target="label")
    assert found.counts == {"train": 40, "validation": 40, "test": 40}
    assert (found.splits["test"].rows // 2 % 3 == 1).all()
    assert any("--group 'author' keeps them together" in note for note in found.notes)
    notes = data.load_documents(spec, text="text", target="stars").notes
    assert any("'stars' holds 8 numbers such as '0.5'" in note for note in notes)


MISPLACED = {
    "a class of PDFs": (documents("") | {f"eel/{i}.pdf": b"%PDF" for i in range(3)}, "class folder 'eel' are no texts"),
    "a class of empty texts": (documents("") | {f"eel/{i}.txt": b" \n" for i in range(3)}, "all texts of class eel are empty"),
    "two versions": ({k: v for p in ("v1/train/", "v1/test/", "v2/train/", "v2/test/") for k, v in documents(p).items()}, "v1/, v2/ would be taken for a class"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISPLACED)
def test_folders_of_texts_that_are_refused(make_folder, case):
    files, words = MISPLACED[case]
    with pytest.raises(UserError, match=words):
        data.load_documents(f"folder:{make_folder(files)}")


def test_steps_without_labels_and_with_dates(tmp_path):
    """As `kapps predict` reads them: the order is that of time, and a comma a decimal one."""
    (tmp_path / "a.csv").write_text(
        "Time;v\n2024-05-12;1,5\n2024-05-10;2,5\n2024-05-11;3,5\n", encoding="utf-8"
    )
    steps = read_steps(tmp_path / "a.csv")
    assert steps.names == ["a"] and steps.series[0][:, 0].tolist() == [2.5, 3.5, 1.5]
    (tmp_path / "a.csv").write_text("time,Time,v\n1,2,3\n")
    with pytest.raises(UserError, match="two columns are called 'time'"):
        read_steps(tmp_path / "a.csv")
