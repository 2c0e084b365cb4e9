"""The models beside ours see all that ours sees."""

import numpy as np
import pytest

from kapps.data import load_table
from kapps.evaluation.tables.baselines import as_matrix, fit_baselines


def accuracy(table, name):
    test = table.splits["test"]
    model = fit_baselines(table)[name]
    return float(np.mean(model.predict(as_matrix(table, test)) == test.targets))


@pytest.fixture(scope="module")
def cities(tmp_path_factory):
    """300 cities, each with a label that nothing else tells: whoever sees them all is right."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 300)
    city = rng.permutation(np.repeat(np.arange(300), 10))
    path = tmp_path_factory.mktemp("cities") / "t.csv"
    rows = [f"c{c},{x:.3f},{'abc'[label[c]]}" for c, x in zip(city, rng.random(3000), strict=True)]
    path.write_text("\n".join(["city,x,t", *rows]))
    return load_table(f"csv:{path}", target="t")


@pytest.mark.slow
def test_many_categories(cities):
    assert len(cities.columns["city"]["vocabulary"]) == 300
    assert accuracy(cities, "linear") > 0.95
    assert accuracy(cities, "gradient_boosting") > 0.95


@pytest.mark.slow
def test_a_class_of_one_row_in_a_large_table(tmp_path):
    """Boosting stops early from 10,000 rows on, by rows that it divides by class."""
    rng = np.random.default_rng(0)
    x = rng.random((16_000, 2)).round(3)
    rows = [f"{a},{b},{'a' if a > b else 'b'}" for a, b in x]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["x,y,t", *rows, "0.5,0.5,typo"]))
    table = load_table(f"csv:{path}", target="t")
    assert np.bincount(table.splits["train"].targets).tolist()[2] == 1
    assert any("no test row is of class 'typo'" in note for note in table.notes)
    assert accuracy(table, "gradient_boosting") > 0.95
