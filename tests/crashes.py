"""Trainings that end in the middle, for tests of what goes on afterwards."""

import os
import signal

import keras


class Crashed(Exception):
    """Ends a training in the middle, as a bug does."""


class Crash(keras.callbacks.Callback):
    """Raises `Crashed` after so many steps of this process.

    Args:
        steps: how many, over all epochs.
    """

    def __init__(self, steps: int):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.end()

    def end(self) -> None:
        """Nothing in the process is told but by the exception."""
        raise Crashed


class Die(Crash):
    """SIGKILL after so many steps of this process, which nothing can notice."""

    def end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
