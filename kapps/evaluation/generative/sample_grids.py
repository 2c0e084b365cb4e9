"""Samples of the same noise after every epoch, for pictures of how a training went."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import keras
import numpy as np

from kapps import files


class SampleGrids(keras.callbacks.Callback):
    """Writes samples after every epoch, a file each, so that a resumed run has all of them.

    Give it noise that does not change: fresh noise hides a collapse. Where weights are averaged
    for validation, it is the averages that draw.

    Args:
        draw: () -> pictures uint8 [n, H, W, C], such as `lambda: model.sample(64, seed=0)`.
        directory: where to; made when missing.
    """

    def __init__(self, draw: Callable[[], np.ndarray], directory: pathlib.Path):
        super().__init__()
        self.draw, self.directory = draw, pathlib.Path(directory)
        self._drawn: np.ndarray | None = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Forget those of the epoch before."""
        self._drawn = None

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Draw while the weights that are validated are in the model."""
        if self._drawn is None:
            self._drawn = self.draw()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Write the file of this epoch."""
        pictures = self.draw() if self._drawn is None else self._drawn
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"epoch-{epoch + 1:05d}.npy"
        files.write_atomically(path, lambda file: np.save(file, pictures, allow_pickle=False))

    def grids(self) -> tuple[list[np.ndarray], list[int]]:
        """The samples of each epoch, [n, H, W, C], and the numbers of the epochs."""
        paths = sorted(self.directory.glob("epoch-*.npy"))
        grids = [np.load(path, allow_pickle=False) for path in paths]
        return grids, [int(path.stem.split("-")[1]) for path in paths]
