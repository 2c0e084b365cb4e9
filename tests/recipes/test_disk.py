"""Disks that are full, or that may not be written to: one message, and nothing is lost."""

import contextlib
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FLAGS = ["--model", "mlp", "--epochs", "4", "--no-export"]


def mount(*arguments):
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own, in memory."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", "size=700k", "tmpfs", path):
        pytest.skip("a disk can be mounted by root only")
    yield path
    with contextlib.suppress(OSError):
        subprocess.run(["umount", str(path)], check=False)


def recipe(run):
    command = [sys.executable, "recipes/image_classifier.py", *FLAGS, "--run-dir", str(run)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def one_message(answer):
    assert answer.returncode == 2, answer.stderr
    errors = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in answer.stderr
    return errors[0]


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_room_lets_it_go_on(disk, tmp_path):
    message = one_message(recipe(disk / "run"))
    assert "disk is full" in message and str(disk) in message
    left = sorted(path.name for path in (disk / "run" / "checkpoints").iterdir())
    assert not any(name.endswith(".tmp") for name in left)
    assert mount("-o", "remount,size=100m", disk)
    assert recipe(disk / "run").returncode == 0
    assert recipe(tmp_path / "whole").returncode == 0
    rows = [(path / "metrics.csv").read_bytes() for path in (disk / "run", tmp_path / "whole")]
    assert rows[0] == rows[1]


def test_a_read_only_disk_is_named_before_anything_starts(disk):
    assert mount("-o", "remount,ro", disk)
    message = one_message(recipe(disk / "run"))
    assert str(disk) in message and "not writable" in message
