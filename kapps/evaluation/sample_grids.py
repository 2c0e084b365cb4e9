"""Images drawn after every epoch, such as samples of the same noise: how a training went."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import keras
import numpy as np

from kapps import files
from kapps.evaluation import plots

DIRECTORY = "samples"  # of a run directory


class SampleGrids(keras.callbacks.Callback):
    """Writes samples after every epoch, a file each, so that a resumed run has all of them.

    Give it noise that does not change: fresh noise hides a collapse. Where weights are averaged
    for validation, it is the averages that draw.

    Args:
        draw: () -> pictures uint8 [n, H, W, C], such as `lambda: model.sample(64, seed=0)`.
        run: the run directory; files go to `samples/` in it.
    """

    def __init__(self, draw: Callable[[], np.ndarray], run: pathlib.Path):
        super().__init__()
        self.draw, self.directory = draw, pathlib.Path(run) / DIRECTORY
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


def samples_of(run: pathlib.Path) -> tuple[list[np.ndarray], list[int]]:
    """The samples of each epoch that `SampleGrids` has written, and the epochs.

    Args:
        run: the run directory.

    Returns:
        Images [n, H, W, C] of each epoch, and the numbers of the epochs.
    """
    paths = sorted((run / DIRECTORY).glob("epoch-*.npy"))
    grids = [np.load(path, allow_pickle=False) for path in paths]
    return grids, [int(path.stem.split("-")[1]) for path in paths]


def samples_by_epoch(run: pathlib.Path) -> tuple[list, list]:
    """Figures and animations of a report: samples of the same noise as the training went on.

    The animation is also written to `plots/samples.webp`.

    Args:
        run: the run directory; nothing is shown where it holds no samples.

    Returns:
        A list of (title, Figure, caption), and one of (title, content, caption).
    """
    drawn, epochs = samples_of(run)
    if not drawn or drawn[0].ndim != 4:  # texts are shown by their own family
        return [], []
    figure = plots.epoch_grid(drawn, epochs)
    moving = plots.save_animation(drawn, run / "plots" / "samples.webp", epochs)
    return (
        [("Samples by epoch", figure, "From the same noise, as training went on.")],
        [("Samples in training", moving.read_bytes(), "From the same noise.")],
    )


def learning_film(
    run: pathlib.Path, caption: str
) -> tuple[list[np.ndarray], list[int], tuple[str, bytes, str]]:
    """What was drawn after each epoch as an animation, also written to `plots/learning.webp`.

    Args:
        run: the run directory.
        caption: of the animation.

    Returns:
        The frames [n, H, W, C] of each epoch, the epochs, and (title, content, caption).
    """
    drawn, epochs = samples_of(run)
    moving = plots.save_animation(drawn, run / "plots" / "learning.webp", epochs)
    return drawn, epochs, ("Learning, epoch by epoch", moving.read_bytes(), caption)
