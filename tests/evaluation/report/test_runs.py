"""Finding, listing and comparing run directories."""

import io
import json
import math
import subprocess
import sys

import PIL.Image
import pytest
from rich.console import Console

from kapps import evaluation
from kapps.errors import UserError

HEADER = "epoch,loss,val_loss,val_accuracy\n"


def make_run(path, *, rows=(), metrics=None, **config):
    path.mkdir(parents=True)
    facts = {"recipe": "image_classifier", "config": {"epochs": 20} | config}
    (path / "config.json").write_text(json.dumps(facts))
    if rows:
        (path / "metrics.csv").write_text(HEADER + "".join(rows))
    if metrics is not None:
        (path / "metrics.json").write_text(json.dumps(metrics))
    return path


ROWS = ("1,0.9,0.8,0.70\n", "2,0.5,0.6,0.85\n", "3,0.3,0.7,0.83\n")
METRICS = {
    "test_accuracy": 0.8421,
    "test_loss": 0.61234,
    "parameters": 19466,
    "train_seconds": 150,
    "verdict": "well fitted",
}


@pytest.fixture
def root(tmp_path):
    make_run(tmp_path / "image_classifier" / "b[red]", rows=ROWS, metrics=METRICS)
    make_run(tmp_path / "image_classifier" / "a", rows=ROWS[:2])
    make_run(tmp_path / "vae", metrics={"elbo": -99.5, "verdict": None})
    broken = make_run(tmp_path / "z_broken", rows=ROWS, metrics={})
    (broken / "metrics.json").write_text('{"test_accuracy": 0.')
    make_run(tmp_path / "z_broken_config")
    (tmp_path / "z_broken_config" / "config.json").write_text("[]")
    # What is no run: another program's file, a hidden folder, a run inside a run.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"name": "x"}')
    make_run(tmp_path / ".trash" / "old")
    make_run(tmp_path / "vae" / "checkpoints" / "inner")
    return tmp_path


def test_runs_are_found_with_their_state(root):
    runs = {run["name"]: run for run in evaluation.find_runs(root)}
    assert list(runs) == [
        "image_classifier/a", "image_classifier/b[red]", "vae", "z_broken", "z_broken_config"
    ]  # fmt: skip
    assert {name: run["state"] for name, run in runs.items()} == {
        "image_classifier/a": "unfinished",
        "image_classifier/b[red]": "finished",
        "vae": "finished",
        "z_broken": "broken",
        "z_broken_config": "broken",
    }
    done = runs["image_classifier/b[red]"]
    assert (done["epochs"], done["best_val_accuracy"], done["lowest_val_loss"]) == (3, 0.85, 0.6)
    assert done["metrics"] == METRICS and done["problem"] is None
    assert done["recipe"] == "image_classifier" and done["config"]["epochs"] == 20
    assert runs["vae"]["best_val_accuracy"] is None
    assert runs["z_broken"]["problem"] == "metrics.json: is not JSON"
    assert runs["z_broken"]["best_val_accuracy"] == 0.85
    assert runs["z_broken_config"]["problem"] == "config.json: is not an object"


def test_what_the_data_decided_stands_where_the_flags_left_it_open(tmp_path):
    facts = {
        "recipe": "sequence_classifier",
        "config": {"epochs": None, "model": "auto", "seed": 1},
    }
    facts["settled"] = {"epochs": 7, "model": "rnn", "why": "it was better"}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    (run,) = evaluation.find_runs(tmp_path)
    assert run["config"] == {"epochs": 7, "model": "rnn", "seed": 1}


def test_the_root_may_be_a_run_itself(root):
    (run,) = evaluation.find_runs(root / "image_classifier" / "a")
    assert run["name"] == "a"


def test_no_directory_and_no_run(tmp_path):
    assert evaluation.find_runs(tmp_path) == []
    with pytest.raises(UserError, match="no such directory"):
        evaluation.find_runs(tmp_path / "absent")


def test_table(root):
    console = Console(file=io.StringIO(), width=200)
    console.print(evaluation.runs_table(evaluation.find_runs(root)))
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert lines[1] == ["image_classifier/a", "unfinished", "2", "of", "20", "85.00", "%"]
    assert lines[2] == [
        "image_classifier/b[red]", "finished", "3", "85.00", "%", "84.21", "%", "0.6123",
        "19,466", "2.5", "min", "well", "fitted",
    ]  # fmt: skip
    assert lines[4][-4:] == ["metrics.json:", "is", "not", "JSON"]


def test_the_kept_epoch_stands_beside_the_number_of_epochs(tmp_path):
    make_run(tmp_path / "a", rows=ROWS, metrics=METRICS | {"best_epoch": 2})
    make_run(tmp_path / "b", rows=ROWS, metrics=METRICS | {"best_epoch": None})
    console = Console(file=io.StringIO(), width=200)
    console.print(evaluation.runs_table(evaluation.find_runs(tmp_path)))
    _, a, b = (" ".join(line.split()) for line in console.file.getvalue().splitlines())
    assert a.startswith("a finished 3, 2 kept 85.00 %") and b.startswith("b finished 3 85.00 %")


def test_generative_runs_are_known_by_their_own_figures(tmp_path):
    def run(name, header, rows, metrics):
        path = make_run(tmp_path / name, metrics=metrics)
        (path / "metrics.csv").write_text("".join(f"{row}\n" for row in (header, *rows)))

    run("ae", "epoch,val_loss,val_mse", ["1,9,0.02", "2,8,0.0125"], {"test_mse": 0.00583})
    run("gan", "epoch,val_loss,val_frechet", ["1,1,8", "2,2,3.25", "3,0,nan"], {
        "test_frechet": 3.5, "test_coverage": 0.8, "verdict": "healthy"})  # fmt: skip
    run("vae", "epoch,val_loss", ["1,250.25", "2,240.125"], {"test_nll": 228.713, "test_mse": 1.0})
    console = Console(file=io.StringIO(), width=200)
    console.print(evaluation.runs_table(evaluation.find_runs(tmp_path)))
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert lines[1:] == [
        "ae finished 2 MSE 0.01250 MSE 0.00583",
        "gan finished 3 FD 3.25 FD 3.5 healthy",
        "vae finished 2 loss 240.1250 NLL 228.71",
    ]


def test_a_half_written_line_is_dropped(tmp_path):
    run = make_run(tmp_path / "run", rows=(*ROWS[:2], "3,0.3,0."))
    history = evaluation.read_history(run)
    assert history == [
        {"epoch": 1, "loss": 0.9, "val_loss": 0.8, "val_accuracy": 0.7},
        {"epoch": 2, "loss": 0.5, "val_loss": 0.6, "val_accuracy": 0.85},
    ]
    (run / "metrics.csv").write_text(HEADER + "1,nan,,text\n")
    assert all(math.isnan(v) for k, v in evaluation.read_history(run)[0].items() if k != "epoch")
    (run / "metrics.csv").write_text("")
    assert evaluation.read_history(run) == []
    assert evaluation.read_history(tmp_path) == []


def test_compare_draws_a_picture(root, tmp_path, monkeypatch):
    names = []
    draw = evaluation.plots.compare_runs
    monkeypatch.setattr(
        evaluation.plots,
        "compare_runs",
        lambda runs: names.extend(n for n, _ in runs) or draw(runs),
    )
    runs = [root / "image_classifier" / "a", root / "z_broken"]
    path = evaluation.compare(runs, tmp_path / "out" / "compare.png")
    with PIL.Image.open(path) as picture:
        assert picture.format == "PNG"
    assert names == ["image_classifier/a", "z_broken"]


def test_compare_names_what_is_missing(root, tmp_path):
    with pytest.raises(UserError, match="vae: no metrics.csv"):
        evaluation.compare([root / "image_classifier" / "a", root / "vae"], tmp_path / "x.png")
    with pytest.raises(UserError, match="two runs"):
        evaluation.compare([root / "image_classifier" / "a"], tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.slow
def test_no_framework_is_loaded_for_runs_and_none_at_all_for_the_package(root, tmp_path):
    code = f"""
import sys
from kapps import evaluation
heavy = {{"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "numpy", "jinja2", "rich"}}
loaded = heavy & set(sys.modules)
if loaded: sys.exit(f"loaded at import: {{loaded}}")
evaluation.runs_table(evaluation.find_runs({str(root)!r}))
run = {str(root / "z_broken")!r}
evaluation.compare([run, run], {str(tmp_path / "two.png")!r})
loaded = {{"tensorflow", "keras", "sklearn", "scipy"}} & set(sys.modules)
if loaded: sys.exit(f"loaded for runs: {{loaded}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
