"""The `kapps` command: what it prints, its exit codes, and what it does not import."""

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
from types import SimpleNamespace

import filelock
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import kapps
import programs
from kapps import cli, models, serving
from serving.small_classifier import CLASS_NAMES, TEMPERATURE, build, probabilities

ROOT = pathlib.Path(__file__).parents[1]
WITHOUT_TENSORFLOW = """
import sys
from kapps import cli
try:
    cli.main(sys.argv[1:])
finally:
    heavy = {"tensorflow", "keras", "sklearn", "matplotlib"} & set(sys.modules)
    if heavy:
        print("IMPORTED", heavy)
"""
ONE_AFTER_THE_OTHER = """
import contextlib, io, json, sys
from kapps import cli
for argv in json.load(sys.stdin):
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(argv)
        except SystemExit as ended:
            code = ended.code
    heavy = {"tensorflow", "keras", "sklearn", "matplotlib"} & set(sys.modules)
    print(json.dumps([code, out.getvalue(), err.getvalue(), sorted(heavy)]))
"""


def program(*argv, cwd=None):
    """Runs the command in a process of its own, which must not import TensorFlow."""
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd)
    assert "IMPORTED" not in done.stdout
    assert "Traceback" not in done.stderr
    return done


def run(capsys, *argv):
    """Runs the command in this process; its standard output."""
    capsys.readouterr()
    cli.main([str(argument) for argument in argv])
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run as a recipe leaves it, and two images with what the model says of them."""
    path = tmp_path_factory.mktemp("runs") / "image_classifier" / "one"
    path.mkdir(parents=True)
    model = build()
    model.save(path / "model.keras")
    facts = {
        "recipe": "image_classifier",
        "config": {"model": "cnn", "dataset": "digits", "export_dir": str(path.parent / "served")},
        "versions": {"keras": "3"},
        "git": "abc1234",
        "data": {"fingerprint": "f00d", "class_names": list(CLASS_NAMES)},
    }
    metrics = {"test_accuracy": 0.875, "temperature": TEMPERATURE}
    (path / "config.json").write_text(json.dumps(facts))
    (path / "metrics.json").write_text(json.dumps(metrics))
    (path / "metrics.csv").write_text(
        "epoch,loss,accuracy,train_loss,train_accuracy,val_loss,val_accuracy,learning_rate\n"
        "1,1.5,0.5,1.4,0.5,1.6,0.4,0.001\n2,1.0,0.7,0.9,0.7,1.2,0.6,0.001\n"
    )
    images = np.random.default_rng(3).integers(0, 256, (2, 12, 10, 3), np.uint8)
    files = [path / "first.png", path / "the_second.png"]
    for image, file in zip(images, files, strict=True):
        Image.fromarray(image).save(file)
    return SimpleNamespace(path=path, files=files, expected=probabilities(model, images))


@pytest.fixture(scope="module")
def served(finished):
    cli.main(["export", str(finished.path)])
    return finished.path.parent / "served"


@pytest.mark.slow
def test_help_lists_the_commands():
    done = program("--help")
    assert done.returncode == 0 and done.stdout.isascii()
    for command in "train recipes data runs compare export predict launch".split():
        assert f"* {command} " in done.stdout
    assert program().stdout == done.stdout


def test_version():
    assert program("--version").stdout == f"kapps {kapps.__version__}\n"


@pytest.mark.slow
def test_help_is_quick():
    """Nothing heavy is imported for the help of any command or recipe, nor to list recipes."""
    code = """
import contextlib, io, sys
from kapps import cli
from kapps.cli import recipes
def run(*argv):
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as out:
        cli.main(argv)
    return out.getvalue()
assert "* vae" not in run("--help") and "variational" in run("recipes")
print("numpy" in sys.modules)
helps = [run("train", name, "--help") for name in recipes.names()]
assert all("--run-dir" in text for text in helps) and len(set(helps)) == len(helps) >= 14
heavy = "tensorflow keras keras_tuner sklearn scipy pandas matplotlib tensorflow_datasets".split()
print(*[name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n\n", "")


@pytest.mark.slow
def test_recipes_lists_each_with_what_it_says_of_itself():
    done = program("recipes")
    assert done.stdout == program("recipes", "list").stdout
    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert set(listed) == {
        path.stem for path in (ROOT / "recipes").glob("*.py") if path.stem != "__init__"
    }
    for name, line in listed.items():
        assert (ROOT / "recipes" / f"{name}.py").read_text().startswith(f'"""{line}')


@pytest.mark.slow
def test_a_copy_of_a_recipe_is_a_script_that_runs(tmp_path):
    done = program("recipes", "copy", "perceptron", "mine.py", cwd=tmp_path)
    assert done.stdout.startswith("mine.py; run it: ") and done.returncode == 0
    text = (tmp_path / "mine.py").read_text()
    assert "python recipes/perceptron.py" not in text and "    python mine.py\n" in text
    flags = ["--epochs", "2", "--no-export", "--run-dir", "here"]
    ran = programs.run([sys.executable, "mine.py", *flags], cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "here" / "metrics.json").read_text())["best_epoch"] <= 2
    # What stands there is left as it is; a directory takes the recipe's own name.
    (tmp_path / "mine.py").write_text("edited")
    again = program("recipes", "copy", "perceptron", "mine.py", cwd=tmp_path)
    assert again.returncode == 2 and "mine.py exists" in again.stderr
    assert (tmp_path / "mine.py").read_text() == "edited"
    program("recipes", "copy", "perceptron", ".", cwd=tmp_path)
    assert (tmp_path / "perceptron.py").exists()
    # It is a recipe of its own, whose runs the other leaves alone.
    shown = subprocess.run(
        [sys.executable, "-m", "kapps", "train", "perceptron", *flags],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 2 and "belongs to the recipe mine, not perceptron" in shown.stderr


def test_train_leaves_the_process_as_it_was(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "kapps.recipes.vae", raising=False)  # runpy warns of it
    argv, main = sys.argv, sys.modules["__main__"]
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "vae", "--epochs", "0"])
    assert ended.value.code == 2 and "--epochs" in capsys.readouterr().err
    assert sys.argv is argv and sys.modules["__main__"] is main


MISTAKES = [
    (["predcit"], "predict"),
    (["train"], "RECIPE"),
    (["train", "vea", "--epochs", "2"], "no recipe 'vea'; there are autoencoder, char_rnn, "),
    (["train", "--epochs", "2", "vae"], "the recipe comes first"),
    (["train", "vae", "--epochs", "0"], "--epochs"),
    (["train", "vae", "--epochs", "x"], "--epochs"),
    (["recipes", "copy"], "RECIPE"),
    (["recipes", "copy", "vea"], "no recipe 'vea'; there are autoencoder, char_rnn, "),
    (["recipes", "copy", "vae", "a.png"], "a.png: a script's name ends in .py"),
    (["recipes", "copy", "vae", "nowhere/vae.py"], "nowhere: there is no such directory"),
    (["predict"], "SAVED-MODEL"),
    (["predict", "nowhere", "a.png"], "nowhere: there is no such directory"),
    (["predict", "empty", "a.png"], "empty: no SavedModel here"),
    (["predict", "empty"], "no file given"),
    (["predict", "model", "nowhere.png"], "nowhere.png: cannot be read: No such file"),
    (["predict", "model", "a.png", "--top", "0"], "--top is 0"),
    (["predict", "model", "a.png", "--top", "x"], "--top"),
    (["predict", "--pretrained", "nowhere.png"], "nowhere.png: cannot be read: No such file"),
    (["predict", "--pretrained", "empty"], "empty: cannot be read: Is a directory"),
    (["data"], "{prepare, describe, clean}"),
    (["data", "prepare", "digitz"], "digits"),
    (["data", "describe", "folder:nowhere"], "nowhere"),
    (["runs"], "runs: there is no such directory"),
    (["runs", "empty"], "empty: no run below it"),
    (["compare", "empty"], "at least two runs"),
    (["compare", "empty", "nowhere"], "empty: not a run directory"),
    (["compare", "run", "run"], "run: there is no metrics.csv yet"),
    (["export", "nowhere"], "nowhere: there is no such directory"),
    (["export", "empty"], "empty: not a run directory"),
    (["export", "run"], "run: there is no model.keras yet"),
    (["export", "run", "--format", "torch"], "invalid choice 'torch'"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What is said to each of `MISTAKES`, all in one process, which must not import TensorFlow."""
    place = tmp_path_factory.mktemp("mistakes")
    for folder in ("empty", "run", "model"):
        (place / folder).mkdir()
    (place / "run" / "config.json").write_text("{}")
    (place / "model" / "saved_model.pb").touch()
    (place / "a.png").touch()
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER], cwd=place, timeout=120,
        input=json.dumps([argv for argv, _ in MISTAKES]), capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=lambda n: " ".join(MISTAKES[n][0]))
def test_a_mistake_ends_with_2_and_one_message(told, number):
    code, out, err, imported = told[number]
    assert (code, out, imported) == (2, "", [])
    assert err.startswith("error: ") and MISTAKES[number][1] in err
    assert "Traceback" not in err and len(err.splitlines()) < 8


@pytest.mark.slow
def test_export_publishes_what_predict_reads(finished, served, capsys):
    assert os.listdir(served) == ["1"]
    card = (served / "1" / "model_card.md").read_text(encoding="utf-8")
    assert card.startswith("# image_classifier: cnn on digits\n")
    for row in ("| test_accuracy | 0.875 |", "| git | abc1234 |", "| fingerprint | f00d |"):
        assert row in card
    lines = run(capsys, "predict", served, *finished.files, "--json", "--top", 4).splitlines()
    for line, file, row in zip(lines, finished.files, finished.expected, strict=True):
        answer = json.loads(line)
        assert answer["file"] == str(file)
        said = {p["label"]: p["probability"] for p in answer["predictions"]}
        np.testing.assert_allclose([said[n] for n in CLASS_NAMES], row, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_pretrained_names_what_is_in_pictures(capsys):
    """Two photographs that come with scikit-learn: the Summer Palace, and a dahlia."""
    import sklearn.datasets

    directory = os.path.join(os.path.dirname(sklearn.datasets.__file__), "images")
    files = [os.path.join(directory, name) for name in ("china.jpg", "flower.jpg")]
    lines = run(capsys, "predict", "--pretrained", *files, "--json").splitlines()
    for line, file, label in zip(lines, files, ("palace", "daisy"), strict=True):
        answer = json.loads(line)
        assert answer["file"] == file and len(answer["predictions"]) == 5
        assert answer["predictions"][0]["label"] == label
        probabilities = [p["probability"] for p in answer["predictions"]]
        assert probabilities == sorted(probabilities, reverse=True) and sum(probabilities) < 1


@pytest.mark.slow
def test_predict_prints_an_aligned_line_per_file(finished, served, capsys):
    lines = run(capsys, "predict", served / "1", *finished.files, "--top", 2).splitlines()
    for line, file, row in zip(lines, finished.files, finished.expected, strict=True):
        best = np.argsort(-row)[:2]
        words = [str(file), *(w for i in best for w in (CLASS_NAMES[i], f"{row[i]:.4f}"))]
        assert line.split() == words
    starts = {line.index(" 0.") for line in lines}
    assert len(starts) == 1


@pytest.mark.slow
def test_predict_answers_the_good_files_and_names_the_bad(finished, served, capsys, tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    good, other = finished.files
    with pytest.raises(SystemExit) as ended:
        cli.main(["predict", *map(str, (served, good, tmp_path / "bad.png", other))])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == [str(good), str(other)]
    assert err.startswith(f"error: {tmp_path / 'bad.png'}: cannot be read as an image")


@pytest.mark.slow
def test_export_again_elsewhere_and_in_another_format(finished, capsys, tmp_path):
    printed = run(capsys, "export", finished.path, "--export-dir", tmp_path / "there")
    assert printed == f"{tmp_path / 'there' / '1'}\n"
    printed = run(capsys, "export", finished.path, "--format", "litert")
    assert printed == f"{finished.path / 'export' / 'model.tflite'}\n"


def generative_run(path, model):
    path.mkdir()
    facts = {
        "recipe": "vae",
        "config": {"export_dir": str(path / "served")},
        "data": {"class_names": ["a", "b"]},
    }
    (path / "config.json").write_text(json.dumps(facts))
    (path / "metrics.json").write_text(json.dumps({"test_nll": 228.5}))
    model.save(path / "model.keras")
    return path


@pytest.mark.slow
def test_export_of_a_generative_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where images are written
    model = models.dense_vae((4, 4, 1), 2, units=(3,))
    path = generative_run(tmp_path / "run", model)
    assert run(capsys, "export", path) == f"{path / 'served' / '1'}\n"
    sample = serving.load(path / "served").signatures["sample"]
    drawn = sample(count=tf.constant(3), seed=tf.constant(1))["image"].numpy().astype(int)
    assert np.abs(drawn - model.sample(3, seed=1)).max() <= 1
    card = (path / "served" / "1" / "model_card.md").read_text(encoding="utf-8")
    assert "| test_nll | 228.5 |" in card
    said = run(capsys, "export", path, "--format", "litert").splitlines()
    files = [path / "export" / f"{name}.tflite" for name in ("reconstruct", "encode", "decode")]
    assert said[:3] == [str(file) for file in files] and all(file.exists() for file in files)
    assert said[3].startswith("not from_bytes: takes strings")
    assert said[4].startswith("not sample: draws random numbers")
    with pytest.raises(SystemExit):
        cli.main(["export", str(path), "--format", "litert", "--quantize", "int8"])
    assert "--quantize int8 is for image classifiers" in capsys.readouterr().err
    said = run(capsys, "predict", path / "served", "7", "--json")
    assert json.loads(said)["seed"] == 7


def test_export_of_a_run_without_classes_is_one_message(finished, capsys, tmp_path):
    for name in ("metrics.json", "model.keras"):
        (tmp_path / name).write_bytes((finished.path / name).read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"recipe": "x", "config": {}}))
    with pytest.raises(SystemExit):
        cli.main(["export", str(tmp_path)])
    assert "names no classes" in capsys.readouterr().err


def test_export_of_a_broken_model_is_one_message(finished, capsys, tmp_path):
    for name in ("config.json", "metrics.json"):
        (tmp_path / name).write_bytes((finished.path / name).read_bytes())
    (tmp_path / "model.keras").write_text("not a model")
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", str(tmp_path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'model.keras'}: the model")


def test_runs_lists_a_run_without_cutting_its_line(finished, capsys):
    printed = run(capsys, "runs", finished.path.parent.parent)
    [line] = [line for line in printed.splitlines() if "one" in line]
    assert "87.50" in line and "…" not in printed


@pytest.mark.slow
def test_compare_draws_a_picture(finished, capsys, tmp_path):
    picture = tmp_path / "both.png"
    printed = run(capsys, "compare", finished.path, finished.path, "--output", picture)
    assert printed == f"{picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_data_prepare_and_describe(capsys):
    assert "1,294 train" in run(capsys, "data", "prepare", "digits")
    assert "1,797 pictures" in run(capsys, "data", "describe", "digits")
    report = json.loads(run(capsys, "data", "describe", "digits", "--json"))
    assert report["fingerprint"]


@pytest.mark.slow
def test_images_and_tables_do_not_mix(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    for name in ("a.csv", "b.png"):
        (tmp_path / name).touch()
    done = program("predict", tmp_path, tmp_path / "a.csv", tmp_path / "b.png")
    assert done.returncode == 2 and "one or the other" in done.stderr


@pytest.fixture
def search(finished, tmp_path):
    """A search's directory as `tune` leaves it: its winner is a run in a folder of its own."""
    path = tmp_path / "searches" / "one"
    shutil.copytree(finished.path, path / "winner-0003")
    facts = {"recipe": "tune", "config": {"recipe": "image_classifier"}}
    (path / "config.json").write_text(json.dumps(facts))
    metrics = {"test_accuracy": 0.875, "winner": 3, "winner_run": "winner-0003", "exported": None}
    (path / "metrics.json").write_text(json.dumps(metrics))
    return path


@pytest.mark.slow
def test_a_search_stands_for_its_winner(finished, search, capsys, tmp_path):
    printed = run(capsys, "export", search, "--export-dir", tmp_path / "served")
    assert printed.strip() == str(tmp_path / "served" / "1")
    picture = tmp_path / "both.png"
    assert run(capsys, "compare", search, finished.path, "--output", picture).strip() == str(
        picture
    )
    line = next(line for line in run(capsys, "runs", search.parent).splitlines() if "one" in line)
    assert "finished" in line and "87.50" in line and "2" in line.split()  # its epochs
    with pytest.raises(SystemExit):
        cli.main(["predict", str(search), str(finished.files[0])])
    assert f"kapps export {search} does it" in capsys.readouterr().err
    metrics = json.loads((search / "metrics.json").read_text())
    (search / "metrics.json").write_text(json.dumps(metrics | {"exported": printed.strip()}))
    asked = [finished.files[0], "--json"]
    expected = run(capsys, "predict", tmp_path / "served", *asked)
    assert run(capsys, "predict", search, *asked) == expected


def test_unfinished_runs_are_removed_after_asking(finished, tmp_path, capsys, monkeypatch):
    for name in ("done", "half", "busy"):
        shutil.copytree(finished.path, tmp_path / name)
    for name in ("half", "busy"):
        (tmp_path / name / "metrics.json").unlink()
    with filelock.FileLock(tmp_path / "busy" / ".lock"):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
        assert "nothing was removed" in run(capsys, "runs", tmp_path, "--clean")
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
        assert "removed 1" in run(capsys, "runs", tmp_path, "--clean")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["busy", "done"]
        with pytest.raises(SystemExit):
            cli.main(["runs", str(tmp_path), "--clean"])
        assert "no unfinished run" in capsys.readouterr().err
