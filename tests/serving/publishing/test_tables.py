"""A published model of a table: raw columns in, by name, in any order, with gaps."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import cli, models, serving
from kapps.errors import UserError

COLUMNS = {
    "area": {"kind": "number", "mean": 80.0, "std": 20.0, "median": 75.0, "indicator": False},
    "age": {"kind": "number", "mean": 30.0, "std": 9.0, "median": 28.0, "indicator": True},
    "City": {"kind": "string", "vocabulary": ["Köln", "Oslo"], "missing": ["", "?"]},
    "rooms": {"kind": "integer", "vocabulary": [1, 2, 3], "missing": []},
}
ROWS = {
    "area": np.array([60.0, np.nan, 75.0, 1e6], np.float32),
    "age": np.array([20.0, 31.0, np.nan, 28.0], np.float32),
    "City": np.array(["Köln", "", "Atlantis", "Oslo"], object),
    "rooms": np.array([1, 2, 3, 99], np.int32),
}
LABELS = ("cheap", "dear", "très cher")
TEMPERATURE = 1.7

# Both packages are made impossible to import. (TensorFlow loads Keras by itself where it can.)
PROGRAM = """
import json, sys
sys.modules["kapps"] = sys.modules["keras"] = None
import numpy as np
import tensorflow as tf

ask = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
rows = json.load(sys.stdin)
types = {"area": tf.float32, "age": tf.float32, "City": tf.string, "rooms": tf.int32}
answer = ask(**{name: tf.constant(cells, types[name]) for name, cells in rows.items()})
print(json.dumps({
    "label": [text.decode() for text in answer["label"].numpy()],
    "probabilities": answer["probabilities"].numpy().tolist(),
}))
"""


@pytest.fixture(scope="module")
def classifier():
    keras.utils.set_random_seed(1)
    return models.tabular_mlp(COLUMNS, 3, units=(8,))


@pytest.fixture(scope="module")
def published(classifier, tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    return serving.export_table(classifier, root, LABELS, temperature=TEMPERATURE, card="A test.")


@pytest.fixture(scope="module")
def price(tmp_path_factory):
    keras.utils.set_random_seed(2)
    model = models.tabular_mlp(COLUMNS, units=(8,), target_mean=500.0, target_std=90.0)
    return model, serving.export_table(model, tmp_path_factory.mktemp("price"))


def ask(version, rows=ROWS):
    signature = serving.load(version).signatures["serving_default"]
    return {k: v.numpy() for k, v in signature(**rows_as_tensors(rows)).items()}


def rows_as_tensors(rows):
    return {name: tf.constant(values) for name, values in rows.items()}


def expected(model):
    logits = model({name: tf.constant(values[:, None]) for name, values in ROWS.items()})
    return tf.nn.softmax(logits / TEMPERATURE).numpy()


@pytest.mark.slow
def test_tensorflow_alone(classifier, published):
    cells = {name: values.tolist() for name, values in ROWS.items()}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(published)],
        input=json.dumps(cells),  # with NaN, as TensorFlow Serving reads it, too
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    probabilities = expected(classifier)
    np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-6)
    assert answer["label"] == [LABELS[i] for i in probabilities.argmax(1)]


@pytest.mark.slow
def test_one_or_two_dimensions_and_any_order(published):
    answer = ask(published)
    columns = {name: values[:, None] for name, values in reversed(ROWS.items())}
    np.testing.assert_array_equal(ask(published, columns)["probabilities"], answer["probabilities"])
    one = {name: values[2:3] for name, values in ROWS.items()}
    np.testing.assert_allclose(
        ask(published, one)["probabilities"], answer["probabilities"][2:3], atol=1e-6
    )


@pytest.mark.parametrize(
    ("column", "cell", "same"),
    [
        ("area", np.nan, 75.0),  # never missing in training: the median, and nothing else
        ("City", "?", ""),  # every mark of a missing value is the same category
        ("City", " Oslo ", "Oslo"),
        ("City", "Atlantis", "never seen"),  # none of the known ones
        ("rooms", 99, -2147483648),
    ],
)
def test_cells_that_mean_the_same(published, column, cell, same):
    def answer(value):
        rows = dict(ROWS)
        rows[column] = np.array([value] * 4, ROWS[column].dtype)
        return ask(published, rows)["probabilities"]

    np.testing.assert_array_equal(answer(cell), answer(same))


def test_a_missing_number_that_training_knew_is_not_the_median(published):
    with_gap = ask(published)["probabilities"][2]
    filled = ask(published, ROWS | {"age": np.float32([20, 31, 28, 28])})["probabilities"][2]
    assert np.abs(with_gap - filled).max() > 1e-3


def test_what_lies_beside_the_graph(published):
    assert (published / "assets/labels.txt").read_text("utf-8").splitlines() == list(LABELS)
    card = (published / "model_card.md").read_text("utf-8")
    assert card.startswith("# served") or "A test." in card
    for column in COLUMNS:
        assert f"`{column}`" in card
    assert (published / "assets.extra/tf_serving_warmup_requests").stat().st_size > 0


@pytest.mark.slow
def test_a_regression(price):
    model, version = price
    answer = ask(version)
    assert list(answer) == ["prediction"] and answer["prediction"].shape == (4,)
    known = model({name: tf.constant(values[:, None]) for name, values in ROWS.items()})
    np.testing.assert_allclose(answer["prediction"], known[:, 0], rtol=1e-5)


@pytest.mark.slow
def test_files(published, price, tmp_path, capsys):
    path = tmp_path / "new.csv"
    path.write_text(
        "rooms;unused;city;City;age;area\n1;x;y;Köln;20;60\n2;;;NA;31;?\n3;;;Atlantis;;75\n"
        "99;;;Oslo;28;1e6\n",
        encoding="utf-8",
    )
    rows = serving.predict_table_file(published, path)
    answer = ask(published)
    assert [row["label"] for row in rows] == [text.decode() for text in answer["label"]]
    for row, chances in zip(rows, answer["probabilities"], strict=True):
        np.testing.assert_allclose(list(row["probabilities"].values()), chances, atol=1e-6)
    cli.main(["predict", str(published.parent), str(path)])
    assert capsys.readouterr().out.splitlines()[0].startswith(f"{path}:1  {rows[0]['label']} 0.")
    cli.main(["predict", str(price[1]), str(path), "--json"])
    line = json.loads(capsys.readouterr().out.splitlines()[3])
    assert line["row"] == 4 and line["prediction"] == pytest.approx(
        float(ask(price[1])["prediction"][3]), rel=1e-5
    )
    path.write_text("rooms,City,age\n1,Oslo,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="'area'"):
        serving.predict_table_file(published, path)


@pytest.mark.slow
def test_a_file_of_several_parts(price, tmp_path, monkeypatch):
    from kapps.serving.publishing import tables

    path = tmp_path / "long.csv"
    lines = [f"{1 + i % 3},Oslo,{20 + i},{50 + 10 * i}" for i in range(8)]
    path.write_text("\n".join(["rooms,City,age,area", *lines]) + "\n", encoding="utf-8")
    whole = [row["prediction"] for row in serving.predict_table_file(price[1], path)]
    assert len(set(whole)) == 8
    monkeypatch.setattr(tables, "TOGETHER", 3)
    parts = [row["prediction"] for row in serving.predict_table_file(price[1], path)]
    np.testing.assert_allclose(parts, whole, rtol=1e-5)


@pytest.mark.slow
def test_mistakes(classifier, tmp_path):
    for options, words in (
        ({"class_names": ("a", "b")}, "2 class names"),
        ({"class_names": ()}, "0 class names"),
        ({"class_names": LABELS, "temperature": 0.0}, "temperature"),
    ):
        with pytest.raises(UserError, match=words):
            serving.export_table(classifier, tmp_path / "out", **options)
    broken = keras.models.clone_model(classifier)
    broken.set_weights([np.full_like(w, np.nan) for w in classifier.get_weights()])
    with pytest.raises(UserError, match="not finite"):
        serving.export_table(broken, tmp_path / "out", LABELS)
    assert serving.is_tabular(classifier) and not serving.is_tabular(models.mlp((8, 8, 1), 2))


@pytest.mark.slow
def test_files_are_read_as_in_training(tmp_path, capsys):
    """By what the model keeps of its training data: titles, formats, spellings."""
    columns = {
        "size": COLUMNS["area"]
        | {"reading": {"title": "size (m²)", "format": {"decimal": ",", "unit": ""}}},
        "yes": {
            "kind": "string",
            "vocabulary": ["False", "True"],
            "missing": [],
            "reading": {"title": "はい"},
        },
        "stamp": COLUMNS["age"] | {"wide": True, "reading": {"title": "stamp"}},
    }
    keras.utils.set_random_seed(3)
    model = models.tabular_mlp(columns, 2, units=(4,))
    version = serving.export_table(model, tmp_path / "served", ("a", "b"))
    file = tmp_path / "new.csv"
    file.write_text("stamp;はい;size (m²)\n31;TRUE;1.080,5\n25;no;90\n", encoding="utf-8")
    notes = []
    rows = serving.predict_table_file(version, file, notes)
    answer = serving.load(version).signatures["serving_default"](
        size=tf.constant([1080.5, 90.0]),
        yes=tf.constant(["True", "False"]),
        stamp=tf.constant([31.0, 25.0], tf.float64),
    )
    for row, chances in zip(rows, answer["probabilities"].numpy(), strict=True):
        np.testing.assert_allclose(list(row["probabilities"].values()), chances, atol=1e-6)
    assert notes == []
    file.write_text("stamp;はい;size (m²)\nlate;TRUE;80\n25;maybe;90\n", encoding="utf-8")
    cli.main(["predict", str(version), str(file)])
    said = capsys.readouterr().err
    assert "1 cells of column 'stamp' are no numbers" in said and "'maybe' (1 cell)" in said
