"""Image files through a published SavedModel, by its signatures alone."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kapps.errors import UserError
from kapps.serving.savedmodel.versions import version_directory

_BATCH = 32

_USES = {  # what the signatures of a generative model do
    "reconstruct": "reconstructs pictures (reconstruct)",
    "encode": "encodes them (encode)",
    "decode": "draws pictures from latent vectors (decode)",
    "generate": "draws pictures from latent vectors (generate)",
    "sample": "samples pictures (sample: count, seed)",
}

Prediction = tuple[str, list[tuple[str, float]]]


def load(path: str | os.PathLike) -> Any:
    """Loads a SavedModel; `.signatures` holds its functions by name.

    Args:
        path: A version directory, or the directory above: its highest version is taken.

    Raises:
        UserError: there is no SavedModel.
    """
    return _load(version_directory(path))


def predict(
    path: str | os.PathLike, files: Sequence[str | os.PathLike], top: int = 3
) -> list[Prediction]:
    """The most probable labels of image files, most probable first.

    Args:
        path: As `load` takes it.
        files: PNG or JPEG files.
        top: How many labels per file; all when the model has fewer.

    Returns:
        Per file its name and its (label, probability) pairs.

    Raises:
        UserError: there is no image classifier at `path`, or a file is missing or no image.
    """
    if top < 1:
        raise UserError(f"top is {top}; at least one label is needed")
    files = [os.fspath(file) for file in files]
    contents = [_read(file) for file in files]
    directory = version_directory(path)
    signatures = _load(directory).signatures
    classify = signatures.get("from_bytes")
    labels = directory / "assets" / "labels.txt"
    classifies = classify is not None and "probabilities" in classify.structured_outputs
    if not classifies or not labels.is_file():
        raise UserError(_what_it_is(directory, signatures))
    class_names = labels.read_text(encoding="utf-8").splitlines()
    answers = []
    for start in range(0, len(files), _BATCH):
        batch = slice(start, start + _BATCH)
        for file, row in zip(
            files[batch], _probabilities(classify, files[batch], contents[batch]), strict=True
        ):
            best = np.argsort(-row, kind="stable")[:top]
            answers.append((file, [(class_names[i], float(row[i])) for i in best]))
    return answers


def _what_it_is(directory: Path, signatures: Any) -> str:
    names = sorted(name for name in signatures if name != "serving_default")
    if "generate" in names or "decode" in names:
        uses = [use for name, use in _USES.items() if name in names]
        return (
            f"{directory}: a generative model, not an image classifier. It {', '.join(uses)}; "
            f"{directory / 'model_card.md'} says how to call it"
        )
    return f"{directory}: not an image classifier with a from_bytes signature"


def _probabilities(classify: Any, files: list[str], contents: list[bytes]) -> np.ndarray:
    try:
        return classify(image_bytes=tf.constant(contents))["probabilities"].numpy()
    except tf.errors.InvalidArgumentError as error:
        if len(files) > 1:  # one by one, to name the file
            rows = [
                _probabilities(classify, [f], [c]) for f, c in zip(files, contents, strict=True)
            ]
            return np.concatenate(rows)
        raise UserError(
            f"{files[0]}: cannot be read as an image; PNG and JPEG are understood"
        ) from error


def _load(directory: Path) -> Any:
    try:
        return tf.saved_model.load(str(directory))
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"{directory}: the SavedModel cannot be read: {error}") from error


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
