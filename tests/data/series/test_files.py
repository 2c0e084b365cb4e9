"""Series from files: what they say, and every way in which they can be wrong."""

import numpy as np
import pytest

from kapps.data.series import files
from kapps.errors import UserError

TS = """# a comment
@problemName Small
@timeStamps false
@univariate false
@classLabel true up down
@data
1,2,3:4,5,6:up
3,2:6,5:down

2.5,2,1,0:0,0,0,0:down
"""


def ts(tmp_path, text=TS, name="Small_TRAIN.ts"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_ts_of_unequal_lengths(tmp_path):
    found = files.read_ts(ts(tmp_path))
    nan = np.nan
    expected = [
        [[1, 4], [2, 5], [3, 6], [nan, nan]],
        [[3, 6], [2, 5], [nan, nan], [nan, nan]],
        [[2.5, 0], [2, 0], [1, 0], [0, 0]],
    ]
    np.testing.assert_array_equal(found.values, np.float32(expected))
    assert found.class_names == ("down", "up")
    np.testing.assert_array_equal(found.labels, [1, 0, 0])
    assert list(found.given) == ["train"]


def test_ts_brings_its_other_half(tmp_path):
    ts(tmp_path, name="Small_TEST.ts")
    found = files.read_ts(ts(tmp_path))
    np.testing.assert_array_equal(found.given["train"], [0, 1, 2])
    np.testing.assert_array_equal(found.given["test"], [3, 4, 5])
    alone = files.read_ts(tmp_path / "Small_TEST.ts")
    assert list(alone.given) == ["train"] and len(alone.labels) == 3


def test_ts_of_numbers(tmp_path):
    text = TS.replace("@classLabel true up down", "@targetLabel true")
    text = text.replace(":up", ":1.5").replace(":down", ":-2")
    found = files.read_ts(ts(tmp_path, text))
    assert found.class_names == ()
    np.testing.assert_array_equal(found.labels, np.float32([1.5, -2, -2]))


@pytest.mark.parametrize("name", ["JapaneseVowels", "GunPoint"])
def test_packaged_sets_are_those_that_aeon_reads(name):
    """The same values and classes as aeon's own reader."""
    datasets = pytest.importorskip("aeon.datasets")
    found = files.read_ts(files.packaged_path(name))
    for split, rows in found.given.items():
        x, y = datasets.load_classification(name, split=split)
        assert [found.class_names[k] for k in found.labels[rows]] == list(y)
        for row, other in zip(rows, x, strict=True):
            there = found.values[row][~np.isnan(found.values[row, :, 0])]
            np.testing.assert_allclose(there.T, other, rtol=1e-6)


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("@data", "@dat", "@data"),
        ("@classLabel true up down", "@classLabel false", "no labels"),
        ("@timeStamps false", "@timeStamps true", "time stamps"),
        ("4,5,6:up", "4,5:up", "line 7.*differ in length"),
        ("1,2,3", "1,x,3", "line 7"),
        ("1,2,3", "1,?,3", "series 1.*missing.*step 2"),
        ("3,2:6,5:down", ":6,5:down", "differ in length"),
        ("3,2:6,5:down", "::down", "series 2.*no steps"),
        ("3,2:6,5:down", "3,2:down", "series 2.*1 features.*2"),
        ("down", "up", "of class 'up'.*two"),
        ("1,2,3:4,5,6:up\n3,2:6,5:down\n\n2.5,2,1,0:0,0,0,0:down\n", "", "no series"),
    ],
)
def test_mistakes_in_ts_are_named(tmp_path, old, new, words):
    assert old in TS
    with pytest.raises(UserError, match=words):
        files.read_ts(ts(tmp_path, TS.replace(old, new)))


def test_halves_with_other_features_are_refused(tmp_path):
    path = ts(tmp_path)
    ts(
        tmp_path,
        TS.replace("4,5,6:", "").replace("6,5:", "").replace("0,0,0,0:", ""),
        "Small_TEST.ts",
    )
    with pytest.raises(UserError, match=r"Small_TEST.ts', series 1.*1 features.*2"):
        files.read_ts(path)


def test_a_class_that_is_only_tested_is_refused(tmp_path):
    path = ts(tmp_path)
    ts(tmp_path, TS.replace("6,5:down", "6,5:sideways"), "Small_TEST.ts")
    with pytest.raises(UserError, match="sideways"):
        files.read_ts(path)


CSV = """series,time,a,label,b,split
s1,2,20,x,200,train
s1,1,10,x,100,train
s2,1,1,y,2,test
s3,1,5,y,6,train
s1,3,30,x,300,train
"""


def test_csv_is_ordered_by_time_and_divided(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(CSV)
    found = files.read_csv(path)
    np.testing.assert_array_equal(found.values[0], np.float32([[10, 100], [20, 200], [30, 300]]))
    np.testing.assert_array_equal(found.values[2, 0], [5, 6])
    assert np.isnan(found.values[1, 1:]).all()
    assert found.class_names == ("x", "y")
    np.testing.assert_array_equal(found.labels, [0, 1, 1])
    np.testing.assert_array_equal(found.given["train"], [0, 2])
    np.testing.assert_array_equal(found.given["test"], [1])


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("series,", "serie,", "no column 'series'"),
        ("label", "class", "no column 'label'"),
        ("s1,1,10,x", "s1,1,10,y", "series s1.*several.*label.*x, y"),
        ("s2,1,1,y,2,test", "s2,1,1,y,2,tests", "'tests' is none"),
        ("s2,1,1,", "s2,1,,", "series s2.*missing.*step 1"),
        ("s2,1,1,", "s2,1,one,", "'one' in a"),
        ("train", "test", "no series has the split 'train'"),
    ],
)
def test_mistakes_in_csv_are_named(tmp_path, old, new, words):
    path = tmp_path / "a.csv"
    assert old in CSV
    path.write_text(CSV.replace(old, new))
    with pytest.raises(UserError, match=words):
        files.read_csv(path)


def test_csv_of_numbers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("series,a,target\n1,2,0.5\n1,3,0.5\n2,4,1.5\n")
    found = files.read_csv(path)
    np.testing.assert_array_equal(found.labels, np.float32([0.5, 1.5]))
    assert found.class_names == ()


def test_npz_with_padding_and_all_splits(tmp_path):
    x = np.arange(24, dtype="float64").reshape(4, 6, 1)
    x[1, 4:] = np.nan
    np.savez(
        tmp_path / "a.npz", x_train=x, y_train=[3, 7, 7, 3], x_test=x[:2, :5, 0], y_test=[7, 3]
    )
    found = files.read_npz(tmp_path / "a.npz")
    assert found.values.shape == (6, 6, 1) and found.class_names == ("3", "7")
    np.testing.assert_array_equal(found.labels, [0, 1, 1, 0, 1, 0])
    assert np.isnan(found.values[1, 4:]).all() and np.isnan(found.values[4, 5:]).all()
    np.testing.assert_array_equal(found.given["test"], [4, 5])


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"x_train": np.zeros((2, 3))}, "lacks the labels of train"),
        ({"x_train": np.zeros((2, 3)), "y_train": [0, 1, 1]}, "2 series"),
        ({"x_train": np.zeros(3), "y_train": [0, 1, 1]}, "n, steps"),
        ({"x_train": np.full((2, 3), np.nan), "y_train": [0, 1]}, "no steps"),
        ({"x_train": np.array([[1, np.nan, 3.0], [1, 2, 3]]), "y_train": [0, 1]}, "step 2"),
    ],
)
def test_mistakes_in_npz_are_named(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=words):
        files.read_npz(tmp_path / "a.npz")


def test_without_aeon_the_message_says_how(monkeypatch):
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"kapps\[timeseries\]"):
        files.packaged_path("GunPoint")
