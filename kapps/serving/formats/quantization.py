"""A run's model for other runtimes; what quantizing costs is measured on the run's own images."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kapps import data, files
from kapps.serving.formats.conversion import ACCURACY_LOSS, compare, convert
from kapps.serving.publishing.again import images_of

SHOWN = 200  # training images whose activations say which range int8 has to cover
MEASURED = 2000  # validation images of the gate, and test images of the figures


def convert_run(
    run_dir: str | os.PathLike,
    model: keras.Model,
    facts: Mapping[str, Any],
    class_names: Sequence[str],
    *,
    format: str,
    quantize: str = "none",
    temperature: float = 1.0,
    accuracy_loss: float = ACCURACY_LOSS,
) -> tuple[pathlib.Path, dict[str, Any] | None]:
    """Writes the classifier of a run into its `export/`.

    For a quantized file the run's data is loaded again: int8 is calibrated on training images, a
    file that loses too much accuracy on validation images is refused, and the accuracy before and
    after is measured on test images and written beside the file.

    Args:
        run_dir: the run.
        model: its model.
        facts: what its config.json holds.
        class_names: one per logit.
        format: "onnx" or "litert".
        quantize: "none", "float16" or "int8".
        temperature: the logits are divided by it.
        accuracy_loss: what quantizing may cost on validation images.

    Returns:
        The file, and what `compare` says of a quantized one.

    Raises:
        UserError: the data is gone or has changed, or what `convert` raises.
    """
    directory = pathlib.Path(run_dir) / "export"
    common = {"temperature": temperature, "quantize": quantize}
    if quantize == "none":
        return convert(model, directory, format, class_names, **common), None
    splits = images_of(run_dir, facts).splits
    path = convert(
        model,
        directory,
        format,
        class_names,
        representative=_some(splits["train"], SHOWN)[0],
        checked=_some(splits["validation"], MEASURED),
        accuracy_loss=accuracy_loss,
        **common,
    )
    found = compare(model, path, *_some(splits["test"], MEASURED))
    files.write_json(path.with_suffix(".json"), {"quantize": quantize, "split": "test", **found})
    return path, found


def kept_images(
    run_dir: str | os.PathLike, facts: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Test images of a run, uint8 [n, H, W, C], and their labels, int [n]; at most 2,000.

    Args:
        run_dir: the run.
        facts: what its config.json holds.

    Raises:
        UserError: the data is gone or has changed.
    """
    return _some(images_of(run_dir, facts).splits["test"], MEASURED)


def _some(split: data.Split, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a split, a seeded part of a large one."""
    rows = np.arange(len(split))
    if len(rows) > most:
        rows = np.sort(np.random.RandomState(0).permutation(rows)[:most])
    return split.take(rows), split.labels[rows]
