"""Resuming a model with a second optimizer, to the same bits in both."""

import os
import pathlib
import subprocess
import sys

import pytest

from crashes import Crash, Crashed
from kapps import training
from training import small, small_gan

PROGRAM = pathlib.Path(small_gan.__file__)


def open_run(path):
    return training.open_run("small", small.Config(str(path)))


def program(run_dir, *arguments):
    command = [sys.executable, str(PROGRAM), str(run_dir), *map(str, arguments)]
    root = PROGRAM.parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "tests"), str(root)])}
    return subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment)


@pytest.mark.slow
def test_a_crash_changes_nothing(tmp_path):
    """Inside the second epoch, in 16 bits: the scales of both losses are resumed, too."""
    with training.precision_policy("mixed_float16"):
        whole, history = small_gan.train()
        with open_run(tmp_path) as run, pytest.raises(Crashed):
            small_gan.train(run, callbacks=[Crash(9)], save_steps=3)
        with open_run(tmp_path) as run:
            model, again = small_gan.train(run, save_steps=3)
    assert small_gan.digest(model) == small_gan.digest(whole)
    assert again.rows == history.rows and again.best_epoch == history.best_epoch
    assert {"learning_rate", "discriminator_learning_rate"} < set(again.rows[0])
    assert again.rows[-1]["discriminator_learning_rate"] < 1e-4 < again.rows[-1]["learning_rate"]


@pytest.mark.slow
def test_killed_and_repeated_is_bit_equal_to_uninterrupted(tmp_path):
    whole, _ = small_gan.train()
    killed = program(tmp_path, 3, 9)
    assert killed.returncode == -9, killed.stderr
    resumed = program(tmp_path, 3)
    assert resumed.stdout.strip() == small_gan.digest(whole), resumed.stderr
