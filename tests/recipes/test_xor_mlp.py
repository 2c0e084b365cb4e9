import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kapps import cli, data, training
from kapps.command_line import call
from recipes import xor_mlp
from recipes.xor_mlp import Config

ROOT = pathlib.Path(xor_mlp.__file__).parents[1]


def shell(*flags):
    command = [sys.executable, str(ROOT / "recipes/xor_mlp.py"), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The default, with a small comparison."""
    root = tmp_path_factory.mktemp("xor")
    config = Config(
        run_dir=str(root / "run"),
        export_dir=str(root / "served"),
        widths=(1, 4),
        optimizers=("momentum",),
        gradient_flow=True,
    )
    return config, call(xor_mlp, config)


def test_at_least_99_of_100_seeds_solve_it_and_one_layer_does_not(finished):
    config, metrics = finished
    assert metrics["networks"] == 100 and metrics["units"] == 4
    assert metrics["test_solved"] >= 0.99 and metrics["verdict"] == "solved"
    assert metrics["best_linear_accuracy"] == 0.75
    assert metrics["parameters"] == 2 * 4 + 4 + 4 + 1
    assert metrics["back_propagation_error"] < 1e-6
    run = pathlib.Path(config.run_dir)
    cells = json.loads((run / "cells.json").read_text())
    assert [cell["units"] for cell in cells] == [1, 4]
    assert cells[0]["solved_count"] == 0 and cells[1]["solved_count"] >= 99
    page = (run / "report.html").read_text()
    for words in ("75%", "dL/dW1", "against the tape", "Seeds that solve exclusive or"):
        assert words in page
    pictures = {path.name for path in (run / "plots").glob("*.png")}
    assert {"one_layer.png", "two_layers.png", "boundaries_by_seed.png"} <= pictures
    assert {"success_by_width.png", "gradient_flow.png"} <= pictures
    assert call(xor_mlp, config) == metrics


def test_what_is_served_takes_raw_points(finished):
    config, _ = finished
    served = tf.saved_model.load(str(pathlib.Path(config.export_dir, "1")))
    points = data.load_xor()
    answer = served.signatures["serving_default"](points=tf.constant(points.x["test"]))
    assert [int(label) for label in answer["label"].numpy()] == points.y["test"].tolist()


def test_a_run_can_be_published_again(finished, tmp_path):
    config, _ = finished
    cli.main(["export", config.run_dir, "--export-dir", str(tmp_path)])
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    assert served(points=tf.constant([[1.0, 0.0]]))["label"].numpy().tolist() == [b"1"]


def test_a_function_and_its_width(tmp_path):
    config = Config(
        dataset="sine", seeds=6, epochs=10, widths=(1, 8), run_dir=str(tmp_path / "run"),
        export_dir=str(tmp_path / "s"),
    )  # fmt: skip
    metrics = call(xor_mlp, config)
    assert metrics["test_rmse"] < 0.1 * np.sqrt(0.5) and metrics["verdict"] != "not solved"
    narrow, wide = json.loads((tmp_path / "run/cells.json").read_text())
    assert wide["median"] < 0.3 * narrow["median"]
    served = tf.saved_model.load(str(tmp_path / "s/1")).signatures["serving_default"]
    x = np.array([[0.25], [-0.25]], np.float32)
    answer = served(points=tf.constant(x))["prediction"].numpy()
    np.testing.assert_allclose(answer[:, 0], [1, -1], atol=0.15)
    assert (tmp_path / "run/plots/fit_and_contributions.png").exists()


class Stop(Exception):
    pass


@pytest.mark.slow
def test_stopped_inside_an_epoch_and_in_the_table_it_ends_with_the_same_bits(tmp_path, monkeypatch):
    small = Config(seeds=5, epochs=3, widths=(1, 2), optimizers=("sgd",), export=False)
    whole = call(xor_mlp, dataclasses.replace(small, run_dir=str(tmp_path / "whole")))
    config = dataclasses.replace(small, run_dir=str(tmp_path / "killed"))
    real = training.fit

    def fit(*args, **settings):
        return real(*args, **settings, save_steps=40)

    import keras

    class Crash(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) >= 160:
                raise Stop

    def crash(*args, callbacks=(), **settings):
        return fit(*args, callbacks=[*callbacks, Crash()], **settings)

    monkeypatch.setattr(training, "fit", crash)
    with pytest.raises(Stop):
        call(xor_mlp, config)
    monkeypatch.setattr(training, "fit", fit)
    table = xor_mlp.files.write_json

    def write(path, cells):
        table(path, cells)
        if path.name == "cells.json" and len(cells) == 1:
            raise Stop

    monkeypatch.setattr(xor_mlp.files, "write_json", write)
    with pytest.raises(Stop):
        call(xor_mlp, config)
    monkeypatch.setattr(xor_mlp.files, "write_json", table)
    again = call(xor_mlp, config)
    clock = ("train_seconds", "examples_per_second")
    assert {k: v for k, v in again.items() if k not in clock} == {
        k: v for k, v in whole.items() if k not in clock
    }
    for name in ("metrics.csv", "cells.json"):
        both = [(tmp_path / run / name).read_bytes() for run in ("whole", "killed")]
        assert both[0] == both[1]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dataset", "sin"], "sine"),
        (["--dataset", "digits"], "xor"),
        (["--batch-size", "2"], "every step uses all points"),
        (["--noise", "0.1"], "--noise"),
        (["--units", "0"], "1 or more"),
        (["--no-compare", "--widths", "2"], "--no-compare"),
        (["--devices", "cpu:3"], "3 devices"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(tmp_path, flags, words):
    answer = shell(*flags, "--run-dir", tmp_path / "run")
    assert answer.returncode == 2
    assert words in answer.stderr and "Traceback" not in answer.stderr
    assert not (tmp_path / "run").exists()
