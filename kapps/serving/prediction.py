"""Image files through a published SavedModel, by its signatures alone."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kapps.data.images.files import formats, transcoding
from kapps.errors import UserError
from kapps.serving.savedmodel import image_files
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


class SomeUnreadable(UserError):
    """Some of several files cannot be read; the others have been answered.

    Attributes:
        answers: what `predict` would have returned for the others; none where each has been
            handed over already.
    """

    def __init__(self, message: str, answers: list[Prediction]):
        super().__init__(message)
        self.answers = answers


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
        files: of pictures, in one of `formats.NAMES`.
        top: How many labels per file; all when the model has fewer.

    Returns:
        Per file its name and its (label, probability) pairs.

    Raises:
        UserError: there is no image classifier at `path`, or no file can be read.
        SomeUnreadable: a file is missing, no image or too large; it holds the other answers.
    """
    if top < 1:
        raise UserError(f"top is {top}; at least one label is needed")
    directory = version_directory(path)
    return labels_of(directory, _load(directory).signatures, files, top)


def labels_of(
    directory: Path, signatures: Any, files: Sequence[str | os.PathLike], top: int
) -> list[Prediction]:
    """What `predict` does, of a model that has been loaded."""
    files = [os.fspath(file) for file in files]
    classify = signatures.get("from_bytes")
    labels = directory / "assets" / "labels.txt"
    classifies = classify is not None and "probabilities" in classify.structured_outputs
    if not classifies or not labels.is_file():
        raise UserError(_what_it_is(directory, signatures))
    class_names = labels.read_text(encoding="utf-8").splitlines()
    answers, faults = [], []
    for file, said in answers_of_files(classify, files):
        if isinstance(said, str):
            faults.append(f"{file}: {said}")
            continue
        row = said["probabilities"]
        best = np.argsort(-row, kind="stable")[:top]
        answers.append((file, [(class_names[i], float(row[i])) for i in best]))
    if faults:
        raise SomeUnreadable("\n".join(faults), answers)
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


def answers_of_files(
    from_bytes: Any, files: Sequence[str | os.PathLike]
) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Of each file what a signature answers of it, by name, or what is wrong with the file.

    Args:
        from_bytes: the signature.
        files: of pictures.
    """
    names = [os.fspath(file) for file in files]
    for start in range(0, len(names), _BATCH):
        yield from _answers_of_batch(from_bytes, names[start : start + _BATCH])


def _answers_of_batch(from_bytes: Any, files: list[str]) -> list[tuple[str, dict | str]]:
    contents: dict[int, bytes] = {}
    answers: list[dict[str, Any] | str] = [""] * len(files)
    for number, file in enumerate(files):
        try:
            contents[number] = transcoding.decodable(
                Path(file).read_bytes(), Path(file).suffix, image_files.MAX_PIXELS
            )
        except OSError as error:
            answers[number] = f"cannot be read: {error.strerror}"
        except transcoding.NoPicture as error:
            answers[number] = str(error)

    def ask(numbers: list[int]) -> None:
        try:
            given = tf.constant([contents[number] for number in numbers], tf.string)
            said = {name: x.numpy() for name, x in from_bytes(image_bytes=given).items()}
        except tf.errors.InvalidArgumentError as error:
            if len(numbers) > 1:  # one by one: those that can be read are answered
                for number in numbers:
                    ask([number])
            else:
                answers[numbers[0]] = _reason(error.message)
            return
        for place, number in enumerate(numbers):
            answers[number] = {name: values[place] for name, values in said.items()}

    ask(list(contents))
    return list(zip(files, answers, strict=True))


def _reason(message: str) -> str:
    too_large = re.search(r"has (\d+) pixels, more than (\d+)", message)
    if too_large:
        pixels, most = map(int, too_large.groups())
        return f"{pixels:,} pixels are too many; {most:,} are decoded at most"
    return f"cannot be read as an image; {', '.join(formats.NAMES)} are understood"


def _load(directory: Path) -> Any:
    try:
        return tf.saved_model.load(str(directory))
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"{directory}: the SavedModel cannot be read: {error}") from error
