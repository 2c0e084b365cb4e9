"""Keras callbacks between a training and its trial."""

from __future__ import annotations

import keras

from kapps.tuning.workers.trial import Trial


class Reporter(keras.callbacks.Callback):
    """Tells a trial how each epoch went, and stops the training if that says so.

    Args:
        trial: to be told.
        before: epochs of phases before this training; they count.

    Attributes:
        stopped: whether the trial has said that it is not worth going on.
    """

    def __init__(self, trial: Trial, before: int = 0):
        super().__init__()
        self.trial, self.before, self.stopped = trial, before, False

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Report; Keras counts epochs from 0."""
        if not self.trial.report(self.before + epoch + 1, logs or {}):
            self.stopped = self.model.stop_training = True


class LastEpoch(keras.callbacks.Callback):
    """Adds a figure `last` that grows: for whom it is best, the last epoch is the best one.

    That is what is wanted where no data is left to choose an epoch by.
    """

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Say how late it is."""
        if logs is not None:
            logs["last"] = float(epoch + 1)
