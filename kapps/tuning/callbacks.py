"""Keras callbacks between a training and its trial."""

from __future__ import annotations

import keras

from kapps.tuning.trial import Trial


class Reporter(keras.callbacks.Callback):
    """Tells a trial how each epoch went, and stops the training if that says so.

    Args:
        trial: to be told.
    """

    def __init__(self, trial: Trial):
        super().__init__()
        self.trial = trial

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Report; Keras counts epochs from 0."""
        if not self.trial.report(epoch + 1, logs or {}):
            self.model.stop_training = True


class LastEpoch(keras.callbacks.Callback):
    """Adds a figure `last` that grows: for whom it is best, the last epoch is the best one.

    That is what is wanted where no data is left to choose an epoch by.
    """

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Say how late it is."""
        if logs is not None:
            logs["last"] = float(epoch + 1)
