"""A file to predict is read as the training data were."""

import csv
import json

import numpy as np
import pytest

from kapps.data.delimited import read_delimited
from kapps.data.tables.loading import load_table
from kapps.data.tables.reading import read_file
from kapps.errors import UserError

ROWS = 80


def write(path, columns, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([list(columns), *zip(*columns.values(), strict=True)])
    return path


def training():
    return {
        "size": [f"{i / 4:.2f}" for i in range(ROWS)],
        "price": [f"{i}.234,50 €" for i in range(1, ROWS + 1)],
        "member": [("True", "False")[i % 2] for i in range(ROWS)],
        "年齢": [str(20 + i % 37) + ".5" for i in range(ROWS)],
        "収入": [str(200 + i % 31) + ".5" for i in range(ROWS)],
        "when": [f"2024-05-{i % 28 + 1:02}" for i in range(ROWS)],
        "city": [("Oslo", "Rom", "none")[i % 3] for i in range(ROWS)],
        "t": [("a", "b")[i // 3 % 2] for i in range(ROWS)],
    }


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("train") / "t.csv", training(), ";")
    table = load_table(f"csv:{path}", target="t")
    return json.loads(json.dumps(table.columns))  # as a model keeps it


@pytest.fixture(scope="module")
def known(columns, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("same") / "t.csv", training(), ";")
    inputs, notes = read_file(read_delimited(path), columns, "t.csv")
    assert notes == []
    return inputs


def same(found, known, but=()):
    for name in known:
        if name not in but:
            np.testing.assert_array_equal(found[name], known[name], err_msg=name)


@pytest.mark.parametrize(
    ("column", "change", "words"),
    [
        ("size", lambda cell: cell.replace(".", ","), "'0,25' is read as 0.25"),
        ("size", lambda cell: f"{float(cell):+.3f}", None),
        ("price", lambda cell: str(float(cell[:-2].replace(".", "").replace(",", "."))), None),
        ("price", lambda cell: cell.replace(" €", ""), None),
        ("member", str.upper, None),
        ("member", lambda cell: str(int(cell == "True")), None),
        ("when", lambda cell: "{2}.{1}.{0}".format(*cell.split("-")), None),
        ("city", lambda cell: "NA" if cell == "none" else cell, None),
    ],
)
def test_other_ways_to_write_the_same(tmp_path, columns, known, column, change, words):
    rows = {name: cells for name, cells in training().items() if name != "t"}
    rows[column] = [change(cell) for cell in rows[column]]
    rows = dict(reversed(rows.items()))  # nor does the order of the columns matter
    path = write(tmp_path / "t.csv", rows, "\t")
    inputs, notes = read_file(read_delimited(path), columns, "t.csv")
    same(inputs, known)
    if words:
        assert any(words in note for note in notes), notes


def test_what_is_not_understood_is_said(tmp_path, columns, known):
    rows = training()
    rows["size"][3], rows["city"][:2] = "about 7", ["Atlantis", "Atlantis"]
    inputs, notes = read_file(
        read_delimited(write(tmp_path / "t.csv", rows, ";")), columns, "t.csv"
    )
    same(inputs, known, ("size", "city"))
    assert np.isnan(inputs["size"][3])
    text = "\n".join(notes)
    assert "1 cells of column 'size' are no numbers" in text and "'about 7'" in text
    assert "2 cells of column 'city'" in text and "'Atlantis' (2 cells)" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": None}, "no column 'size'"),
        ({"size": ["large"] * ROWS}, "no cell of column 'size' is a number.*'large'"),
        ({"when": ["soon"] * ROWS}, "no cell of column 'when' is a date"),
        ({"size": ["1,5", "1.5"] * (ROWS // 2)}, "two ways"),
        ({"size": None, "Size": ["1"] * ROWS, "SIZE": ["2"] * ROWS}, "may be 'Size' or 'SIZE'"),
    ],
)
def test_refused(tmp_path, columns, change, words):
    rows = {name: cells for name, cells in (training() | change).items() if cells is not None}
    path = write(tmp_path / "t.csv", rows, ";")
    with pytest.raises(UserError, match=words):
        read_file(read_delimited(path), columns, "t.csv")
