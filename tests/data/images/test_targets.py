"""Classes, several labels, or a number: what texts beside pictures mean."""

import numpy as np
import pytest

from kapps import data
from kapps.data.images.targets import strata, targets_of
from kapps.errors import UserError

MANY = [f"{0.5 * i:g}" for i in range(40)]

# Texts, kind, names, values of the first three, words of a note.
HUNDRED = [str(i % 100) for i in range(300)]
BARS, SEMICOLONS = ["a|b", "b", "|", "c | a"] * 4, ["a;b", "b", "c"]
ACCENTS = ["caf\u00e9|a", "cafe\u0301|b", "b"]
AGES = [str(18 + i) for i in range(50)]
CASES = {
    "classes": (["b", "a", "b"], "classes", ("a", "b"), [1, 0, 1], None),
    "whole numbers": (["3", "5"] * 9, "classes", ("3", "5"), [0, 1, 0], None),
    "class numbers": (HUNDRED, "classes", None, [0, 1, 12], None),
    "fractions": (MANY, "number", (), [0.0, 0.5, 1.0], "a quantity to be predicted"),
    "ages": (AGES, "number", (), [18, 19, 20], "from 18 to 67"),
    "bars": (BARS, "labels", ("a", "b", "c"), [[1, 1, 0], [0, 1, 0], [0, 0, 0]], "several"),
    "semicolons": (SEMICOLONS, "labels", ("a", "b", "c"), [[1, 1, 0], [0, 1, 0], [0, 0, 1]], "';'"),
    "classes and unknown": ([*map(str, range(9)), "unknown"] * 2, "classes", None, [0, 1, 2], None),
    "NA": (["NA", "b", "a"] * 2, "classes", ("NA", "a", "b"), [0, 2, 1], "is a class of its own"),
    "blanks between": (["a b", "b", "a"] * 2, "classes", None, [1, 2, 0], "look like several"),
    "lists": (["['a', 'b']", "['a']", "['b']"], "classes", None, [0, 1, 2], "look like several"),
    "two spellings of an accent": (
        ACCENTS,
        "labels",
        ("a", "b", "caf\u00e9"),
        [[1, 0, 1], [0, 1, 1], [0, 1, 0]],
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_by_what_they_look_like(case):
    texts, kind, names, values, words = CASES[case]
    found = targets_of(texts, "auto")
    assert found.kind == kind and (names is None or found.names == names)
    np.testing.assert_allclose(found.values[:3], values)
    assert any(words in note for note in found.notes) if words else True


def test_as_they_are_asked_for():
    assert targets_of(["a|b", "a"], "classes").names == ("a", "a|b")
    assert targets_of(MANY, "classes").kind == "classes"
    found = targets_of(["1", "2", "2"], "number")
    assert found.kind == "number" and found.values.tolist() == [1, 2, 2]
    assert targets_of(["a", "b", "a"], "labels").values.tolist() == [[1, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize(
    "texts, asked, words",
    [
        (["1", "two", "3"], "number", "1 of 3 labels are no numbers, such as 'two'"),
        (["1,5", "2,5"], "number", "write a decimal point"),
        ([f"{i},5" for i in range(30)], "auto", "look like numbers.*'0,5'"),
        ([f"${i},000" for i in range(30)], "auto", "look like numbers"),
        ([f"{i}.5-" for i in range(30)], "auto", "look like numbers"),
        (
            [f"{i}.5" if i % 5 else "unknown" for i in range(30)],
            "auto",
            r"6 of 30.*'unknown' \(6\)",
        ),
        ([f"{i}.5" if i % 5 else "nan" for i in range(30)], "auto", "leave it empty"),
        ([f"{i}e40" for i in range(30)], "auto", "beyond 3.4e38"),
        (["a|b", "a;b", "a", "b"], "auto", "parted in two ways, 'a.b' and 'a;b'"),
        (["7", "7"], "number", "all pictures have the number 7"),
        (["nan", "1"], "number", "no numbers, such as 'nan'"),
        (["a|b", "a|c"], "auto", "all pictures have the label 'a'"),
        (["|", "|"], "labels", "no label"),
        (["a", "|"], "labels", "'a' alone"),
        (["a"], "colour", "it is one of auto, classes"),
    ],
)
def test_what_makes_no_task(texts, asked, words):
    with pytest.raises(UserError, match=words.replace("|", r"\|")):
        targets_of(texts, asked)


def test_pictures_are_divided_by_their_rarest_label_or_their_tenth():
    values = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]], np.float32)
    assert strata("labels", values).tolist() == [1, 0, 0, 2, 3]
    numbers = np.arange(100, dtype=np.float32)
    tenths = strata("number", numbers)
    assert np.bincount(tenths).tolist() == [10] * 10 and (np.diff(tenths) >= 0).all()
    assert strata("number", numbers[:5]).tolist() == [0] * 5
    assert strata("classes", np.array([2, 0])).tolist() == [2, 0]


def named(count=30):
    return {f"{i:02}.png": i for i in range(count)}


@pytest.fixture
def pictures(make_folder, noise):
    return make_folder({name: noise(i) for name, i in named().items()})


def told(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


def by_name(found):
    return {
        name: label.tolist()
        for split in found.splits.values()
        for name, label in zip(split.origins, split.labels, strict=True)
    }


def load(root, path, kind="auto"):
    return data.load(f"folder:{root}", labels=path, target_kind=kind)


@pytest.mark.slow
def test_labels_of_a_table(pictures, tmp_path):
    rows = [f"{n},{'cat|' if i % 2 else ''}{'dog' if i % 3 else ''}" for n, i in named().items()]
    rows = [row if row[-1] != "," else row + "|" for row in rows]
    found = load(pictures, told(tmp_path, "\n".join(["file_name,label", *rows])))
    assert found.kind == "labels" and found.class_names == ("cat", "dog") and found.classes == 2
    expected = {name: [float(i % 2 > 0), float(i % 3 > 0)] for name, i in named().items()}
    assert by_name(found) == expected
    assert found.splits["train"].labels.dtype == np.float32
    assert "2 labels" in found.summary
    (_, first), *_ = found.train.take(1)
    assert first.shape == (2,)


@pytest.mark.slow
@pytest.mark.parametrize("one, zero", [("1", "0"), ("1.0", "0.0")])
def test_a_column_for_each_label(pictures, tmp_path, one, zero):
    rows = [
        f"{n},{one if i % 2 else zero},{one if i % 3 else zero},{20 + i}"
        for n, i in named().items()
    ]
    path = told(tmp_path, "\n".join(["image,cat,dog,age", *rows]))
    found = load(pictures, path)
    assert found.class_names == ("cat", "dog")
    expected = {name: [float(i % 2 > 0), float(i % 3 > 0)] for name, i in named().items()}
    assert by_name(found) == expected
    assert any("no labels: age" in note for note in found.notes)
    with pytest.raises(UserError, match="call the one of the files file_name"):
        load(pictures, path, "classes")


@pytest.mark.slow
def test_several_rows_for_a_picture(pictures, tmp_path):
    rows = [f"{n},{c}" for n, i in named().items() for c in ("ab" if i % 2 else "c")]
    path = told(tmp_path, "\n".join(["file,label", *rows]))
    found = load(pictures, path, "labels")
    assert by_name(found)["01.png"] == [1, 1, 0] and by_name(found)["02.png"] == [0, 0, 1]
    with pytest.raises(UserError, match="two classes, a and b.*--target-kind labels takes both"):
        load(pictures, path)


def test_unknown_cells_among_0_and_1_are_refused(pictures, tmp_path):
    rows = [
        f"{n},{i % 2},{'' if i == 4 else '-1' if i == 7 else i % 3 % 2}" for n, i in named().items()
    ]
    path = told(tmp_path, "\n".join(["image,cat,dog", *rows]))
    with pytest.raises(UserError, match="column 'dog' has 0 and 1, and 2 other cells"):
        load(pictures, path)


@pytest.mark.slow
def test_numbers_of_a_table_and_of_names(pictures, make_folder, noise, tmp_path):
    rows = [f"{n},{i / 4}" for n, i in named().items()]
    found = load(pictures, told(tmp_path, "\n".join(["file_name,label", *rows])))
    assert found.kind == "number" and found.class_names == () and found.classes == 0
    assert by_name(found) == {name: i / 4 for name, i in named().items()}
    assert "a number each" in found.summary
    root = make_folder({f"face_{20 + i}.png": noise(i) for i in range(30)}, "faces")
    found = data.load(f"folder:{root}", label_pattern="_([0-9]+)", target_kind="auto")
    assert found.kind == "number" and by_name(found)["face_25.png"] == 25


@pytest.mark.slow
def test_fingerprints_know_the_kind(pictures, tmp_path):
    rows = [f"{n},{i % 7}" for n, i in named().items()]
    path = told(tmp_path, "\n".join(["file_name,label", *rows]))
    kinds = {kind: load(pictures, path, kind).fingerprint for kind in ("classes", "number")}
    assert len(set(kinds.values())) == 2
    assert load(pictures, path).fingerprint == kinds["classes"]


def test_other_data_have_classes(tmp_path):
    with pytest.raises(UserError, match="--target-kind number is for folder"):
        data.load("digits", target_kind="number")
    assert data.load("digits", target_kind="auto").kind == "classes"
