"""Targets that train nothing, for workers: these import this module, and so no TensorFlow."""

import os
import pathlib
import signal
import time


def bowl(trial):
    """A function with its best value, 0, at x = 3 and kind "b"."""
    score = -((trial.values["x"] - 3.0) ** 2) - (trial.values.get("kind") != "b")
    for epoch in range(1, (trial.epochs or 1) + 1):
        if not trial.report(epoch, {"val_score": score - 1.0 / epoch}):
            return None
    trial.facts["parameters"] = 1000 + round(100 * trial.values["x"])
    return None


class Failing:
    """Fails wherever the fraction of x is small, so that it always fails at the same points."""

    def __init__(self, share, how="raise"):
        self.share, self.how = share, how

    def __call__(self, trial):
        if trial.values["x"] % 1.0 < self.share:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "nan":
                return {"val_score": float("nan")}
            if self.how == "nothing":
                return {"val_other": 1.0}
            raise MemoryError if self.how == "memory" else RuntimeError(f"bad x {trial.number}")
        return bowl(trial)


class Slow:
    """Takes its time, and notes every time it begins a trial and every epoch that it trains."""

    def __init__(self, notes, seconds=0.02, epochs=3):
        self.notes, self.seconds, self.epochs = str(notes), seconds, epochs

    def __call__(self, trial):
        done = len(trial.rows)
        self.note(f"begin {trial.number} {done}")
        for epoch in range(done + 1, self.epochs + 1):
            time.sleep(self.seconds)
            trial.report(epoch, {"val_score": trial.values["x"] + epoch})
            self.note(f"epoch {trial.number} {epoch}")
        self.note(f"end {trial.number}")

    def note(self, text):
        with open(self.notes, "a") as file:
            file.write(text + "\n")


class KillsOnce:
    """Kills its worker at the second epoch of some trials, the first time that they come there."""

    def __init__(self, directory, numbers):
        self.directory, self.numbers = directory, numbers

    def __call__(self, trial):
        for epoch in range(len(trial.rows) + 1, 4):
            mark = self.directory / f"killed-{trial.number}"
            if epoch == 2 and trial.number in self.numbers and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            trial.report(epoch, {"val_score": trial.values["x"] + epoch})


def notes(path):
    return [line.split() for line in pathlib.Path(path).read_text().splitlines()]
