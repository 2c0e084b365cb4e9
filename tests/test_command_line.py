"""Exit codes and messages of a recipe, each run as a program of its own."""

import os
import subprocess
import sys

import pytest

from kapps import command_line

RECIPE = '''
"""Trains nothing, quickly.

    python recipe.py --epochs 3

It deviates from no paper.
"""
import sys
from dataclasses import dataclass
from typing import Literal

from kapps import training
from kapps.errors import UserError


@dataclass(frozen=True)
class Config(training.RunFlags):
    mode: str = "ok"
    """What to do."""
    batch_size: int = 32
    """Global batch size."""
    augment: bool = True
    """Flip and shift the images."""
    precision: Literal["auto", "float32"] = "auto"
    """Numbers of the forward pass."""


def check(config):
    if config.mode == "check":
        raise UserError("no such thing: look there")


def main(config, run):
    print(config.mode, config.batch_size, config.augment, config.precision, flush=True)
    if config.mode == "user":
        raise UserError("the folder x is empty: put images in it")
    if config.mode == "finish":
        run.finish({"test_loss": 1.0})
    if config.mode == "interrupt":
        raise KeyboardInterrupt
    if config.mode == "full":
        with open("/dev/full", "w") as file:
            file.write("x")
    if config.mode == "forbidden":
        raise PermissionError(13, "Permission denied", "/somewhere/run")
    if config.mode == "missing":
        raise FileNotFoundError(2, "No such file or directory", "/somewhere/bug")
    if config.mode == "bug":
        raise ValueError("not the user's fault")
    if config.mode == "pipe":
        for i in range(100_000):
            print(i)


if __name__ == "__main__":
    from kapps import command_line

    command_line.import_tensorflow = lambda: None  # the programs below need none of it
    try:
        command_line.run(main, Config, check)
    finally:
        if "tensorflow" in sys.modules:
            print("TENSORFLOW WAS IMPORTED", file=sys.stderr)
'''.lstrip()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "recipe.py"
    path.write_text(RECIPE)
    return path


def program(recipe, *argv):
    done = subprocess.run(
        [sys.executable, recipe, *argv],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=recipe.parent,
    )
    assert "TENSORFLOW WAS IMPORTED" not in done.stderr
    return done


def test_flags_reach_main(recipe):
    done = program(recipe, "--no-augment", "--batch-size", "8", "--precision", "float32")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok 8 False float32\n", "")


@pytest.mark.slow
def test_help_is_plain_when_piped_and_keeps_the_command_of_the_docstring_apart(recipe):
    done = program(recipe, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.isascii() and "\x1b" not in done.stdout
    assert "\n    python recipe.py --epochs 3\n\nIt deviates from no paper.\n" in done.stdout
    for words in ("--augment, --no-augment", "Global batch size.", "{auto,float32}"):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--bach-size", "3"], "Unrecognized options: --bach-size"),
        (["--batch-size", "many"], "--batch-size"),
        (["--precision", "float8"], "invalid choice 'float8' for argument '--precision'"),
        (["stray"], "Unrecognized options: stray"),
    ],
)
def test_a_bad_argument_ends_with_2_and_a_short_message(recipe, argv, words):
    done = program(recipe, *argv)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and words in done.stderr
    assert done.stderr.isascii() and len(done.stderr.splitlines()) < 8


@pytest.mark.parametrize(
    ("mode", "code", "stdout", "stderr"),
    [
        ("check", 2, "", "error: no such thing: look there\n"),
        ("user", 2, None, "error: the folder x is empty: put images in it\n"),
        ("interrupt", 130, None, "interrupted; run the same command to continue\n"),
        ("forbidden", 2, None, "error: /somewhere/run: permission denied\n"),
    ],
)
def test_exit_code_and_message(recipe, mode, code, stdout, stderr):
    done = program(recipe, "--mode", mode)
    assert (done.returncode, done.stderr) == (code, stderr)
    assert done.stdout == (f"{mode} 32 True auto\n" if stdout is None else stdout)


@pytest.mark.slow
def test_a_finished_run_is_shown_and_not_done_again(recipe):
    first = program(recipe, "--mode", "finish", "--run-dir", "done")
    assert (first.returncode, first.stdout) == (0, "finish 32 True auto\n")
    again = program(recipe, "--mode", "finish", "--run-dir", "done")
    assert again.returncode == 0 and again.stdout.startswith("done is finished; --overwrite")
    assert "finish 32 True auto" not in again.stdout
    assert "kapps export done" in again.stdout
    other = program(recipe, "--mode", "finish", "--run-dir", "done", "--batch-size", "3")
    assert other.returncode == 2 and "batch_size (was 32, now 3)" in other.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is full")
def test_a_full_disk_is_one_message(recipe):
    done = program(recipe, "--mode", "full")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "disk is full" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("mode", ["bug", "missing"])
def test_a_bug_keeps_its_traceback(recipe, mode):
    done = program(recipe, "--mode", mode)
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "in main" in done.stderr


def test_a_reader_that_leaves_is_met_with_silence(recipe):
    command = [sys.executable, recipe, "--mode", "pipe"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "pipe 32 True auto\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 141


def test_tensorflows_own_error_for_a_full_disk():
    import tensorflow as tf

    error = tf.errors.ResourceExhaustedError(None, None, "/runs/a/ckpt; No space left on device")
    with pytest.raises(SystemExit) as ended, command_line.exit_codes():
        raise RuntimeError("while saving") from error
    assert ended.value.code == 2


def test_a_text_about_disks_in_another_exception_is_no_disk_error():
    with pytest.raises(RuntimeError), command_line.exit_codes():
        raise RuntimeError("No space left on device")


@pytest.mark.slow
def test_tensorflow_starts_without_a_word_and_lets_real_messages_through():
    code = (
        "import os\n"
        "from kapps.command_line import import_tensorflow, without_chatter\n"
        "import_tensorflow()\n"
        "import keras\n"
        "with without_chatter():\n"
        "    os.write(2, b'E0000 x.cc:1] failed call to cuInit: UNKNOWN\\nE0000 a real error\\n')\n"
        "print(keras.backend.backend())\n"
    )
    unset = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env=unset | {"KERAS_BACKEND": "jax"},
    )
    assert (done.returncode, done.stdout) == (0, "tensorflow\n")
    assert done.stderr == "E0000 a real error\n"
