import csv
import gzip
import hashlib
import json

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes

from kapps.data.delimited import Delimited, as_cells
from kapps.data.tables import describing, leaks, loading
from kapps.errors import UserError


def write(tmp_path, columns, name="table.csv"):
    """A CSV file of columns by name; its spec."""
    path = tmp_path / name
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return f"csv:{path}"


def houses(count=200, seed=0):
    """A number with gaps, whole numbers with few values, texts, and two targets."""
    rng = np.random.default_rng(seed)
    area = rng.uniform(30, 200, count).round(2)
    rooms = rng.integers(1, 5, count)
    city = rng.choice(["Köln", "Oslo", "Rome"], count)
    price = 2 * area + 30 * rooms + 50 * (city == "Oslo")
    shown = [str(a) if i % 10 else "" for i, a in enumerate(area)]
    return {
        "living area": shown,
        "rooms": rooms.tolist(),
        "city": city.tolist(),
        "price": price.round(2).tolist(),
        "dear": np.where(price > np.median(price), "yes", "no").tolist(),
    }


def load(tmp_path, columns, **options):
    return loading.load_table(write(tmp_path, columns), **options)


def test_splits_are_disjoint_whole_and_stratified(tmp_path):
    table = load(tmp_path, houses(), target="dear", drop=["price"])
    assert table.task == "classification" and table.class_names == ("no", "yes")
    rows = np.concatenate([split.rows for split in table.splits.values()])
    assert sorted(rows) == list(range(200))
    assert table.counts == {"train": 128, "validation": 32, "test": 40}
    for split in table.splits.values():
        assert np.bincount(split.targets).tolist() == [len(split) // 2] * 2
        assert {len(values) for values in split.inputs.values()} == {len(split)}


def test_cells_follow_their_rows(tmp_path):
    columns = houses()
    table = load(tmp_path, columns, target="price")
    for split in table.splits.values():
        for row, target, city, area in zip(
            split.rows,
            split.targets,
            split.inputs["city"],
            split.inputs["living_area"],
            strict=True,
        ):
            assert target == np.float32(columns["price"][row]) and city == columns["city"][row]
            known = columns["living area"][row]
            assert np.isnan(area) if known == "" else area == np.float32(known)


def test_statistics_are_of_the_training_part_alone(tmp_path):
    columns = houses()
    table = load(tmp_path, columns, target="price")
    train = table.splits["train"].rows
    values = np.array([columns["living area"][i] or "nan" for i in train], float)
    found = table.columns["living_area"]
    assert found["mean"] == pytest.approx(np.nanmean(values), rel=1e-6)
    assert found["median"] == pytest.approx(np.nanmedian(values), rel=1e-6)
    # Whatever stands in the test rows changes nothing that the model is told, only the data's mark.
    changed = {name: list(cells) for name, cells in columns.items()}
    for i in table.splits["test"].rows:
        changed["living area"][i], changed["city"][i] = "1e6", "Atlantis"
    other = load(tmp_path, changed, target="price")
    assert other.columns == table.columns and other.fingerprint != table.fingerprint


def test_seed_moves_validation_and_never_test(tmp_path):
    spec = write(tmp_path, houses())
    first, again, other = (
        loading.load_table(spec, target="price", seed=seed) for seed in (0, 0, 1)
    )
    assert first.fingerprint == again.fingerprint != other.fingerprint
    np.testing.assert_array_equal(first.splits["test"].rows, other.splits["test"].rows)
    assert set(first.splits["validation"].rows) != set(other.splits["validation"].rows)


def test_order_of_columns_has_no_meaning(tmp_path):
    columns = houses()
    one = load(tmp_path, columns, target="price")
    two = load(tmp_path, dict(reversed(columns.items())), target="price")
    assert one.columns == two.columns and list(one.columns) == list(two.columns)


def test_the_fingerprint_is_of_the_texts_one_after_the_other(monkeypatch):
    """It is kept with every run: joined by Arrow and in parts, it stays what it was."""
    monkeypatch.setattr(loading, "_TOGETHER", 3)
    texts = [["b", "", "\u20ac", "b", "a", "c"], [str(i % 4) for i in range(6)], list("xyzuvw")]
    table = Delimited(("a", "b", "c"), tuple(map(as_cells, texts)))
    splits = {name: np.arange(3) for name in loading.SPLITS}
    digest = hashlib.sha256(json.dumps([["a", "b", "c"], ["t"]]).encode())
    for column in texts:
        words = list(dict.fromkeys(column))
        digest.update("\0".join(words).encode())
        digest.update(np.array([words.index(text) for text in column], "<i4").tobytes())
    for name in loading.SPLITS:
        digest.update(f"{name} 3 ".encode() + np.arange(3, dtype="<i8").tobytes())
    assert loading._fingerprint(table, ["t"], splits) == digest.hexdigest()


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (np.array([0.5, np.nan, 1e9] * 40, np.float32), True),
        (np.array([7, 8, 9] * 40, np.int32), True),
        (np.array(["u", "", "v"] * 40, object), True),
        (np.arange(120, dtype=np.float32), False),
        (np.array([1, 2, 2] * 40, np.int32), False),
        (np.array([1, 2, 3] * 30 + [1, 1, 1] * 10, np.int32), False),
        (np.array([1, 2, 3] * 30 + [1, 2, 4] * 10, np.int32), False),
    ],
)
def test_a_column_that_says_the_classes_in_other_words(column, told):
    assert leaks._one_to_one(column, np.array([0, 1, 2] * 40)) is told


def test_task_of_the_target(tmp_path):
    columns = houses()
    columns["grade"] = [i % 3 + 1 for i in range(200)]
    columns["count"] = [i % 30 for i in range(200)]
    spec = write(tmp_path, columns)
    grade = loading.load_table(spec, target="grade")
    assert grade.task == "classification" and grade.class_names == ("1", "2", "3")
    assert loading.load_table(spec, target="grade", task="regression").task == "regression"
    assert loading.load_table(spec, target="count").task == "regression"
    counted = loading.load_table(spec, target="count", task="classification")
    assert counted.class_names == tuple(map(str, range(30)))  # by size, not by spelling


def test_what_is_left_out_is_said(tmp_path):
    columns = houses()
    columns["house_id"] = [f"H{i}" for i in range(200)]
    columns["country"] = ["here"] * 200
    columns["price"][5] = columns["price"][6] = "NA"
    table = load(tmp_path, columns, target="price")
    assert set(table.dropped) == {"house_id", "country"}
    text = "\n".join(table.notes)
    assert (
        "2 rows have no number as 'price'" in text and "'country'" in text and "identifier" in text
    )
    assert sum(table.counts.values()) == 198
    assert not {5, 6} & set(np.concatenate([s.rows for s in table.splits.values()]))


def test_duplicates_across_the_splits_are_said(tmp_path):
    columns = {name: cells * 2 for name, cells in houses(100).items()}
    notes = load(tmp_path, columns, target="price").notes
    assert any("test rows are the same as a row of train" in note for note in notes)
    assert not any("are the same" in n for n in load(tmp_path, houses(), target="price").notes)


def test_text_among_test_numbers_is_missing_and_said(tmp_path):
    columns = houses()
    rows = load(tmp_path, columns, target="price").splits["test"].rows
    columns["living area"][rows[0]] = "about 90"
    table = load(tmp_path, columns, target="price")
    assert np.isnan(table.splits["test"].inputs["living_area"][0])
    assert any("1 cells of column 'living area' are no numbers" in note for note in table.notes)


def test_scikit_learn_tables():
    cancer = loading.load_table("breast_cancer")
    raw = load_breast_cancer(as_frame=False)
    test = cancer.splits["test"]
    np.testing.assert_array_equal(
        test.inputs["mean_radius"], raw.data[test.rows, 0].astype(np.float32)
    )
    names = np.array(cancer.class_names)[test.targets]
    assert names.tolist() == raw.target_names[raw.target[test.rows]].tolist()
    diabetes = loading.load_table("diabetes")
    raw = load_diabetes(scaled=False)
    test = diabetes.splits["test"]
    np.testing.assert_array_equal(test.targets, raw.target[test.rows].astype(np.float32))
    assert diabetes.columns["sex"]["vocabulary"] == [1, 2]
    for name in ("iris", "wine"):
        assert loading.load_table(name).task == "classification"


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, {"target": "prise"}, "perhaps 'price'"),
        ({}, {"target": "PRICE"}, "perhaps 'price'"),
        ({}, {}, "--target"),
        ({}, {"target": "price", "drop": ["towns"]}, "no column 'towns'"),
        ({}, {"target": "price", "drop": ["price"]}, "cannot be dropped"),
        ({"price": [1.5] * 200}, {"target": "price"}, "the same value"),
        ({"dear": ["yes"] * 200}, {"target": "dear"}, "one class only"),
        ({"price": ["?"] * 200}, {"target": "price"}, "no values"),
        ({}, {"target": "dear", "task": "regression"}, "holds 'no'|holds 'yes'"),
        ({}, {"target": "price", "task": "classification"}, "--task regression"),
        ({"city": ["1/2/2024", "3/4/2024"] * 100}, {"target": "price"}, "day or month.*'city'"),
        (
            {name: ["same"] * 200 for name in ("living area", "rooms", "city", "dear")},
            {"target": "price"},
            "no column is left",
        ),
        ({}, {"target": "price", "validation_fraction": 1.0}, "fraction"),
    ],
)
def test_mistakes(tmp_path, change, options, words):
    with pytest.raises(UserError, match=words):
        load(tmp_path, houses() | change, **options)


def test_the_served_name_of_a_column_will_do(tmp_path):
    table = load(tmp_path, houses(), target="price", drop=["living_area"])
    assert "living_area" not in table.columns


def test_describe(tmp_path):
    columns = {name: cells * 2 for name, cells in houses(60).items()}
    columns["when"] = ["2024-01-01", "2024-01-02"] * 60
    report = describing.describe_table(write(tmp_path, columns), "price")
    assert json.loads(json.dumps(report)) == report
    assert report["rows"] == 120 and report["duplicates"] == 60
    assert report["columns"]["living area"]["missing"] == 12
    assert report["columns"]["city"]["kind"] == "categories (text)"
    assert report["columns"]["when"]["kind"] == "date"
    text = describing.describe_table_text(report)
    assert "price (target)" in text and "60 rows repeat" in text


def patients(count=40, each=5):
    rng = np.random.default_rng(1)
    who = np.repeat(np.arange(count), each)
    days = np.datetime64("2024-01-01") + rng.permutation(count * each)
    return {
        "patient_id": [f"P{i:03}" for i in who],
        "age": rng.normal(50, 9, count * each).round(2).tolist(),
        "seen": days.astype(str).tolist(),
        "ill": np.where(rng.random(count)[who] > 0.5, "yes", "no").tolist(),
        "counts": (1 + who % 3).tolist(),
        "part": ["training" if i % 5 else "Test" for i in range(count * each)],
    }


@pytest.mark.slow
def test_groups_are_kept_together(tmp_path):
    columns = patients()
    plain = load(tmp_path, columns, target="ill")
    assert any("'patient_id'" in note and "--group 'patient_id'" in note for note in plain.notes)
    table = load(tmp_path, columns, target="ill", group="patient_id")
    assert "patient_id" not in table.columns
    who = np.array(columns["patient_id"])
    sets = [set(who[split.rows]) for split in table.splits.values()]
    assert sum(map(len, sets)) == 40 and "40 groups" in " ".join(table.notes)
    assert not any("--group" in note for note in table.notes)


def test_time_splits_by_time(tmp_path):
    columns = patients()
    table = load(tmp_path, columns, target="ill", time="seen")
    days = np.array(columns["seen"])
    parts = [days[table.splits[n].rows].tolist() for n in ("train", "validation", "test")]
    assert max(parts[0]) < min(parts[1]) and max(parts[1]) < min(parts[2])
    assert not any(name.startswith("seen") for name in table.columns)


def test_splits_and_weights_of_columns(tmp_path):
    columns = patients()
    table = load(tmp_path, columns, target="ill", split_column="part", weight="counts")
    assert table.splits["test"].rows.tolist() == list(range(0, 200, 5))
    weights = table.splits["train"].weights
    assert weights.tolist() == [columns["counts"][i] for i in table.splits["train"].rows]
    assert not {"part", "counts"} & set(table.columns)
    columns["part"][3] = "rest"
    with pytest.raises(UserError, match="'rest'"):
        load(tmp_path, columns, target="ill", split_column="part")
    columns["counts"][3] = -1
    with pytest.raises(UserError, match="weights"):
        load(tmp_path, columns, target="ill", weight="counts")


def test_a_test_file_and_folds(tmp_path):
    columns = houses()
    spec = write(tmp_path, {name: cells[:150] for name, cells in columns.items()})
    other = {name: cells[150:] for name, cells in reversed(columns.items())}
    file = write(tmp_path, other, "test.csv").removeprefix("csv:")
    table = loading.load_table(spec, target="price", test_file=file)
    assert table.splits["test"].rows.tolist() == list(range(150, 200))
    assert table.splits["test"].targets.tolist() == np.float32(columns["price"][150:]).tolist()
    tests = [
        loading.load_table(spec, target="price", fold=(i, 3)).splits["test"].rows for i in range(3)
    ]
    assert sorted(np.concatenate(tests)) == list(range(150))
    del other["rooms"]
    file = write(tmp_path, other, "short.csv").removeprefix("csv:")
    with pytest.raises(UserError, match="'rooms'"):
        loading.load_table(spec, target="price", test_file=file)


def test_contradictions_are_said(tmp_path):
    columns = houses(100)
    columns = {name: [*cells, *cells[:4]] for name, cells in columns.items()}
    columns["dear"][100:] = ["yes" if d == "no" else "no" for d in columns["dear"][:4]]
    notes = load(tmp_path, columns, target="dear").notes
    assert any(note.startswith("8 rows have the same features") for note in notes)


def test_more_than_may_be_held_is_refused(tmp_path, monkeypatch):
    spec = write(tmp_path, houses())
    path = tmp_path / "table.csv"
    size = path.stat().st_size
    names = dict(target="city", test_file=None)
    loading.load_table(spec, **names, memory_limit=10 * size)
    with monkeypatch.context() as patched:
        patched.setattr("kapps.data.tables.source.read_file", lambda path: pytest.fail("was read"))
        with pytest.raises(UserError, match="table.csv' takes .* held in memory.*--memory-limit"):
            loading.load_table(spec, **names, memory_limit=size - 1)
    # Compressed, it is only known when it is read.
    zipped = tmp_path / "table.csv.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(UserError, match="the table of csv:.*gz takes"):
        loading.load_table(f"csv:{zipped}", **names, memory_limit=zipped.stat().st_size)
