"""The bins of columns of numbers: by hand, and from the training part alone."""

import numpy as np
import pytest

from kapps import data
from kapps.data.tables import bins
from kapps.errors import UserError


def test_few_values_are_edges_themselves():
    assert data.bin_edges(np.array([2.0, 1.0, 2.0, np.nan, 7.0]), 4) == [1.0, 2.0, 7.0]
    assert data.bin_edges(np.array([5.0, 5.0]), 4) == [5.0]


def test_bins_hold_as_many_values_each():
    values = np.random.default_rng(0).permutation(np.arange(101.0) ** 2)
    assert data.bin_edges(values, 4) == [0.0, 25.0**2, 50.0**2, 75.0**2, 100.0**2]


def test_a_value_that_fills_a_bin_has_an_edge_above_it():
    """Half of the days are dry: the first bin ends at the least rain that there was."""
    rain = np.concatenate([np.zeros(100), 0.3 + np.arange(100.0)])
    edges = data.bin_edges(rain, 4)
    assert edges == [0.0, 0.3, pytest.approx(49.3), pytest.approx(99.3)]


def write(path, count, columns=1):
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(count, columns))
    names = [f"x{i}" for i in range(columns)]
    lines = [",".join([*map(str, row), "ab"[int(row[0] > 0)], "u"]) for row in numbers]
    path.write_text("\n".join([",".join([*names, "y", "z"]), *lines]) + "\n")
    return data.load_table(f"csv:{path}", target="y", seed=0)


def test_edges_are_those_of_the_training_part(tmp_path):
    table = write(tmp_path / "t.csv", 400)
    found = data.number_bins(table, 10)
    assert list(found) == ["x0"]
    own = np.sort(table.splits["train"].inputs["x0"].astype(float))
    assert len(found["x0"]) == 11 and found["x0"][0] == own[0] and found["x0"][-1] == own[-1]
    assert set(found["x0"]) <= set(own)


def test_few_rows_or_many_columns_have_fewer_bins(tmp_path, monkeypatch):
    table = write(tmp_path / "t.csv", 100, 3)
    rows = len(table.splits["train"])
    assert len(data.number_bins(table, 50)["x1"]) == rows // bins.ROWS_PER_BIN + 1
    monkeypatch.setattr(bins, "MOST_FEATURES", 9)
    assert len(data.number_bins(table, 50)["x1"]) == 9 // 3 + 1
    with pytest.raises(UserError, match="two"):
        data.number_bins(table, 1)
