"""Resuming a model with a second optimizer, to the same bits in both."""

import os
import pathlib
import sys

import pytest

import programs
from kapps import training
from training import small, small_gan

PROGRAM = pathlib.Path(small_gan.__file__)


def open_run(path):
    return training.open_run("small", small.Config(str(path)))


@pytest.mark.slow
def test_killed_and_repeated_is_bit_equal_to_uninterrupted(tmp_path):
    """Inside the second epoch, in 16 bits: the scales of both losses are resumed, too."""
    root = PROGRAM.parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "tests"), str(root)])}
    killed = programs.run([sys.executable, PROGRAM, tmp_path], cwd=root, env=env)
    assert killed.returncode == -9, killed.stderr
    with training.precision_policy(small_gan.PRECISION):
        whole, history = small_gan.train()
        with open_run(tmp_path) as run:
            model, again = small_gan.train(run, save_steps=small_gan.SAVE_STEPS)
    assert small_gan.digest(model) == small_gan.digest(whole)
    assert again.rows == history.rows and again.best_epoch == history.best_epoch
    assert {"learning_rate", "discriminator_learning_rate"} < set(again.rows[0])
    assert again.rows[-1]["discriminator_learning_rate"] < 1e-4 < again.rows[-1]["learning_rate"]
