import json
import math

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from kapps.data.tables import columns
from kapps.errors import UserError


def describe(cells):
    return columns.describe_column("x", [str(cell) for cell in cells])


def test_numbers_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    values = rng.lognormal(3, 2, 200).astype(np.float32)
    cells = [repr(float(value)) for value in values]
    cells[3] = cells[70] = "NA"
    values[[3, 70]] = np.nan
    found = describe(cells)
    scaler = StandardScaler().fit(values[:, None])
    assert found["mean"] == pytest.approx(scaler.mean_[0])
    assert found["std"] == pytest.approx(scaler.scale_[0])
    median = SimpleImputer(strategy="median").fit(values[:, None]).statistics_[0]
    assert found["median"] == pytest.approx(median)
    assert found["kind"] == "number" and found["indicator"] is True
    assert describe(cells[100:])["indicator"] is False
    assert json.loads(json.dumps(found)) == found


def test_few_whole_numbers_are_categories_and_many_are_not():
    assert describe([1, 2, "3.0"] * 20) == {
        "kind": "integer", "vocabulary": [1, 2, 3], "missing": []
    }  # fmt: skip
    assert describe([1, 2, 3] * 19)["kind"] == "number"  # 19 rows a value
    assert describe(list(range(11)) * 30)["kind"] == "number"
    assert describe([1.5, 2, 3] * 20)["kind"] == "number"
    lacking = describe([0, 1, "?"] * 40)
    assert lacking["missing"] == [columns.MISSING_INTEGER] and lacking["vocabulary"] == [0, 1]
    assert columns.kind_in_words(lacking) == "boolean"


def test_texts():
    found = describe(["red", "green", "red", "green", "blue"])
    assert found == {"kind": "string", "vocabulary": ["green", "red"], "missing": []}
    found = describe(["yes", "No", "", "yes", "No"])
    assert found["vocabulary"] == ["No", "yes"] and "" in found["missing"]
    assert columns.kind_in_words(found) == "boolean"
    codes = describe(["01234", "01234", "99999", "99999"])
    assert codes["kind"] == "string"  # a leading zero is no number's
    many = describe([f"c{i}" for i in range(150)] * 2 + ["once"])
    assert many["vocabulary"] == sorted(f"c{i}" for i in range(150)) and many["embedding"] > 1
    assert "embedding" not in describe([f"c{i}" for i in range(100)] * 2)


@pytest.mark.parametrize(
    ("name", "cells", "words"),
    [
        ("x", ["7"] * 5, "only value"),
        ("x", ["", "NaN", "?"], "no values"),
        ("customer_id", [f"K{i}" for i in range(30)], "identifier"),
        ("PassengerId", [str(i) for i in range(30, 0, -1)], "identifier"),
        ("row", [str(i) for i in range(100, 150)], "identifier"),
        ("nr", [str(i) for i in range(1, 51)], "identifier"),
        ("counter", [str(i) for i in range(1, 51)], "numbers the rows"),
        ("x", [f"free text {i}" for i in range(9)], "as many values as rows"),
    ],
)
def test_of_no_use(name, cells, words):
    assert words in columns.describe_column(name, cells)


def test_numbers_that_differ_in_every_row_are_no_identifiers():
    rng = np.random.default_rng(0)
    assert describe(rng.permutation(1000)[:50])["kind"] == "number"
    assert describe(np.linspace(0.5, 1, 50))["kind"] == "number"


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([f"{i},5" if i % 2 else f"{i}.5" for i in range(40)], "two ways.*--drop 'x'"),
        ([f"{i} kg" if i % 3 else f"{i} g" for i in range(40)], "kg .26 cells., g .14"),
        ([f"{i} %" if i % 2 else str(i / 100) for i in range(40)], "several units"),
        ([*map(str, range(300)), *(f"w{i}-q" for i in range(50))], "holds numbers, but also"),
        (["1e39", "2"], "float32"),
    ],
)
def test_refused(cells, words):
    with pytest.raises(UserError, match=words):
        describe(cells)


def test_cells_as_a_model_takes_them():
    cells = ["1", " NA", "2.5", "inf", "abc", "-3e2"]
    values, strange = columns.parse_cells(cells, {"kind": "number"})
    assert values.dtype == np.float32 and strange == [("abc", 1)]
    np.testing.assert_array_equal(values, [1, math.nan, 2.5, math.nan, math.nan, -300])
    values, strange = columns.parse_cells(["1", "?", "2.0", "2.5", "9e9"], {"kind": "integer"})
    gone, unseen = columns.MISSING_INTEGER, 2**31 - 1
    assert values.tolist() == [1, gone, 2, unseen, unseen] and values.dtype == np.int32
    values, _ = columns.parse_cells(["a", "None", "b"], {"kind": "string"})
    assert values.tolist() == ["a", "", "b"]


def test_served_names():
    names = {
        "mean radius (mm)": "mean_radius_mm_2",
        "Café": "Cafe",
        "1st": "column_1st",
        "mean-radius mm": "mean_radius_mm_3",
        "MEAN radius mm": "MEAN_radius_mm",
        "年": "column_a963a93d",
        "class": "class_",
    }
    assert columns.served_names(list(names)) == list(names.values())
    assert columns.served_names(list(names)[::-1]) == list(names.values())[::-1]
