"""The line of an epoch: what it says, that it fits a terminal, that piped output is plain."""

import io
import re

import pytest
from rich.console import Console

from kapps.training.fitting.stateful_callbacks import BestWeights
from kapps.training.watching.progress import WIDEST, EpochLines
from training import small

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ROW = {"loss": 0.21434, "accuracy": 0.9312, "val_loss": 0.25611, "val_accuracy": 0.91234}


class Clock:
    """Seconds, by hand."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def lines(terminal=False, width=200, epochs=4, steps=10, phase="", monitor="val_accuracy"):
    best = BestWeights(monitor, "max")
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, _environ={})
    made = EpochLines(epochs, steps, best, phase, console, Clock())
    made.set_params({"steps": steps})
    return made


def epoch(made, number, seconds=1.0, row=None, first=0):
    """An epoch whose steps last `seconds` each."""
    made.set_params({"steps": made.steps - first})
    made.on_epoch_begin(number)
    for step in range(made.steps - first):
        made.clock.now += seconds
        made.on_train_batch_end(step, {"loss": 0.3, "accuracy": 0.9})
    made.best.best_epoch = number + 1
    made.on_epoch_end(number, ROW if row is None else row)


def test_a_line_says_place_figures_best_and_time_left():
    made = lines()
    epoch(made, 0)
    epoch(made, 1)
    # After the first step, 9 of 40 took 9 s: 30 are left. Then 19 took 19: 20 are.
    assert made.console.file.getvalue().splitlines() == [
        "epoch 1/4  loss 0.2143 (val 0.2561)  accuracy 0.9312 (val 0.9123)  best 1  10.0 s"
        "  0:30 left",
        "epoch 2/4  loss 0.2143 (val 0.2561)  accuracy 0.9312 (val 0.9123)  best 2  10.0 s"
        "  0:20 left",
    ]


def test_nothing_is_left_after_the_last_epoch_and_hours_are_hours():
    made = lines(epochs=1)
    epoch(made, 0)
    assert "left" not in made.console.file.getvalue()
    made = lines(epochs=101)
    epoch(made, 0, seconds=10.0)  # 1,000 steps of 10 s
    assert "2:46:40 left" in made.console.file.getvalue()
    assert made.console.file.getvalue().startswith("epoch   1/101  ")


def test_a_resumed_epoch_counts_its_own_steps():
    made = lines(epochs=2)
    epoch(made, 1, first=6)  # of the last epoch, four steps
    assert "left" not in made.console.file.getvalue()
    made = lines(epochs=2)
    epoch(made, 0, first=6, seconds=2.0)  # three steps in 6 s: the next epoch's ten take 20
    assert "0:20 left" in made.console.file.getvalue()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"loss": 1.0, "val_loss": 2.0}, "loss 1.0000 (val 2.0000)  best"),
        ({"loss": 1.5}, "loss 1.5000  best"),
        ({"loss": 1.0, "val_nll": 96.5}, "loss 1.0000  val_nll 96.5000  best"),
        ({"loss": float("nan"), "val_loss": 123456.7}, "loss nan (val 1.235e+05)  best"),
    ],
)  # fmt: skip
def test_figures_that_are_not_there_are_not_named(row, said):
    made = lines(monitor="val_nll")
    epoch(made, 0, row=row)
    assert said in made.console.file.getvalue()


def test_piped_output_is_plain_and_whole():
    made = lines(width=20)
    epoch(made, 0)
    text = made.console.file.getvalue()
    assert text.count("\n") == 1 and "\x1b" not in text and "\r" not in text
    assert text.endswith(" left\n")


@pytest.mark.parametrize("width", [200, 100, 80, 40])
def test_on_a_terminal_no_line_wraps(width):
    made = lines(terminal=True, width=width, epochs=1000, phase="fine-tuning")
    for number in (998, 999):
        epoch(made, number, seconds=200.0)
    drawn = re.split(r"[\r\n]+", CONTROL.sub("", made.console.file.getvalue()))
    assert all(len(line) < min(width, WIDEST + 1) for line in drawn)
    assert any("━" in line and "╌" in line for line in drawn)
    left = [
        line for line in drawn if "loss 0.2143" in line or "…" in line and not {"━", "╌"} & {*line}
    ]
    assert [line.split("/")[0] for line in left] == [
        "fine-tuning, epoch  999", "fine-tuning, epoch 1000"
    ]  # fmt: skip


def test_a_terminal_is_given_back_when_training_breaks(tmp_path):
    """The cursor is hidden while a line is redrawn."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, _environ={})
    made = EpochLines(3, 10, BestWeights(), console=console)
    made.set_params({"steps": 10})
    made.on_epoch_begin(0)
    assert "\x1b[?25l" in console.file.getvalue()
    made.close()
    assert console.file.getvalue().rindex("\x1b[?25h") > console.file.getvalue().rindex("\x1b[?25l")


@pytest.mark.slow
def test_fit_writes_them(capfd):
    small.train(epochs=2, verbose=None)
    said = capfd.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in said if line.startswith("epoch")] == [
        "epoch 1/2", "epoch 2/2"
    ]  # fmt: skip
    assert all("(val " in line for line in said if line.startswith("epoch"))
    small.train(epochs=1, verbose=0)
    assert "epoch" not in capfd.readouterr().out
