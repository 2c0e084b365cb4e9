"""A line per epoch: redrawn on a terminal while the epoch lasts, plain where output is piped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
from rich.console import Console
from rich.live import Live
from rich.text import Text

from kapps.training.fitting.stateful_callbacks import BestWeights

WIDEST = 99  # columns; a wider terminal does not make a line easier to read
BAR = 12
REDRAW_SECONDS = 0.1


class EpochLines(keras.callbacks.Callback):
    """How far training is, with a few of its figures; all of them are in metrics.csv.

        epoch 7/40  loss 0.2143 (val 0.2561)  accuracy 0.9312 (val 0.9123)  best 5  4.1 s  2:15 left

    It stands behind `best` in the chain, which has then seen the epoch. `best` is the epoch that is
    kept as things stand; the time left is that of all epochs, as fast as those of this process.

    Args:
        epochs: in all, those of earlier processes included.
        steps: of a whole epoch.
        best: the callback that keeps the best weights; its figure stands beside the loss.
        phase: of a training in several, its name.
        console: where to write; by default standard output.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        epochs: int,
        steps: int,
        best: BestWeights,
        phase: str = "",
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__()
        self.epochs, self.steps, self.best, self.phase = epochs, steps, best, phase
        self.clock = clock
        self.console = console or Console(file=sys.stdout, highlight=False)
        self._live: Live | None = None
        # The first step traces the graph: the clock of the time left starts behind it.
        self._measured: tuple[float, float] | None = None

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Begin a line."""
        self._epoch, self._start = epoch, self.clock()
        self._drawn = self._start
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
            self._draw(0.0, {})

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Draw the line anew, not more often than an eye can follow."""
        now = self.clock()
        # A resumed epoch has fewer steps in this process than a whole one.
        done = 1 - (self.params["steps"] - batch - 1) / self.steps
        if self._measured is None:
            self._measured = now, self._epoch + done
        elif now - self._drawn >= REDRAW_SECONDS:
            self._drawn = now
            self._draw(done, logs or {})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Leave the epoch's line behind."""
        self.close()
        seconds = f"{self.clock() - self._start:.1f} s"
        parts = [self._place(), *self._figures(logs or {}), self._best(), seconds, self._left(1.0)]
        self.console.print(self._line(parts), soft_wrap=not self.console.is_terminal)

    def close(self) -> None:
        """Give the terminal back, also in the middle of an epoch."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, done: float, logs: Mapping[str, Any]) -> None:
        if self._live is None:
            return
        full = round(BAR * done)
        bar = "━" * full + "╌" * (BAR - full)
        parts = [self._place(), bar, *self._figures(logs), self._best(), self._left(done)]
        self._live.update(self._line(parts), refresh=True)

    def _line(self, parts: list[str]) -> Text:
        text = Text("  ".join(filter(None, parts)), no_wrap=True, overflow="ellipsis")
        if self.console.is_terminal:
            text.truncate(min(WIDEST, self.console.width - 1), overflow="ellipsis")
        return text

    def _place(self) -> str:
        place = f"epoch {self._epoch + 1:{len(str(self.epochs))}}/{self.epochs}"
        return f"{self.phase}, {place}" if self.phase else place

    def _figures(self, logs: Mapping[str, Any]) -> list[str]:
        found = []
        for name in dict.fromkeys(("loss", self.best.monitor.removeprefix("val_"))):
            here, there = logs.get(name), logs.get(f"val_{name}")
            if here is not None and there is not None:
                found.append(f"{name} {_number(here)} (val {_number(there)})")
            elif here is not None:
                found.append(f"{name} {_number(here)}")
            elif there is not None:
                found.append(f"val_{name} {_number(there)}")
        return found

    def _best(self) -> str:
        return f"best {self.best.best_epoch}" if self.best.best_epoch else ""

    def _left(self, done: float) -> str:
        place = self._epoch + done
        if self._measured is None or place >= self.epochs:
            return ""
        since, from_place = self._measured
        if place <= from_place:
            return ""
        each = (self.clock() - since) / (place - from_place)
        return f"{_clock(each * (self.epochs - place))} left"


def _number(value: Any) -> str:
    value = float(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e3 else f"{value:.4g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
