"""A published model of any family, asked by what a person has: files, texts, seeds.

image classifier   image files -> labels
several labels     image files -> those above their thresholds
number of pictures image files -> a number each
table              CSV files -> a label or a number for each row
series             .csv (a row per step; `series` tells them apart), .npy, .npz, .ts
                   -> a label or a number for each series
points             CSV files of numbers -> a label or numbers for each row
character model    texts -> their continuations
text classifier    texts, .txt files, or CSV files with a column `text` -> labels
VAE, GAN, VQ-VAE   whole numbers, the seeds -> image files
autoencoder, VAE   image files -> image files, and the error of an autoencoder
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kapps.data.delimited import read_delimited
from kapps.data.images.files.transcoding import NoPicture, decodable
from kapps.data.series import files as series_files
from kapps.errors import UserError
from kapps.serving.prediction import SomeUnreadable, answers_of_files, labels_of, load
from kapps.serving.publishing.pictures import BETWEEN
from kapps.serving.publishing.tables import predict_table_file
from kapps.serving.savedmodel import image_files
from kapps.serving.savedmodel.versions import version_directory

_ABOUT_SERIES = ("series", "label", "target", "time", "split")


def ask(
    path: str | os.PathLike,
    arguments: Sequence[str | os.PathLike],
    *,
    top: int = 5,
    directory: str | os.PathLike = ".",
    length: int = 200,
    temperature: float = 0.8,
    seed: int = 0,
    notes: list[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """What a published model says of each argument, one answer after the other.

    Args:
        path: a version directory, or the directory above: its highest version is taken.
        arguments: files, texts or seeds, as the module has it.
        top: how many labels per image.
        directory: where images are written.
        length: characters added to a text.
        temperature: of a text's characters.
        seed: of a text.
        notes: of a table, what was read in another way than in training is appended.

    Yields:
        A dictionary with what was asked (`file` and perhaps `row` or `series`, `prompt` or `seed`)
        and the answer (`predictions`, `label` and `probabilities`, `prediction`, `text`, `error`,
        `written`).

    Raises:
        UserError: an argument is nothing that the model takes.
        SomeUnreadable: of several images some cannot be read; after the other answers.
    """
    arguments = [os.fspath(argument) for argument in arguments]
    directory, version = Path(directory), version_directory(path)
    signatures = load(version).signatures
    takes = signatures["serving_default"].structured_input_signature[1]
    if "prompt" in takes:
        yield from _texts(signatures, arguments, length, temperature, seed)
    elif set(takes) == {"text"} and "label" in signatures["serving_default"].structured_outputs:
        for argument in arguments:
            texts = _documents(argument)
            inputs = {"text": np.array(texts, object)}
            numbers = range(1, len(texts) + 1)
            yield from _rows(version, signatures, inputs, argument, "row", numbers)
    elif "sequence" in takes:
        for file in arguments:
            names, values = _series(Path(file))
            yield from _rows(version, signatures, {"sequence": values}, file, "series", names)
    elif "points" in takes:
        for file in arguments:
            values = _points(Path(file), takes["points"].shape[-1])
            numbers = range(1, len(values) + 1)
            yield from _rows(version, signatures, {"points": values}, file, "row", numbers)
    elif "reconstruct" in signatures or "generate" in signatures:
        yield from _images(signatures, arguments, directory)
    elif "image" in takes and _answers(signatures) & {"labels", "value"}:
        yield from _said_of_pictures(version, signatures, arguments)
    elif "image" in takes:
        yield from _labels(version, signatures, arguments, top)
    else:
        for file in arguments:
            for number, row in enumerate(predict_table_file(version, file, notes), 1):
                yield {"file": file, "row": number, **row}


def _labels(version, signatures, files, top) -> Iterator[dict[str, Any]]:
    fault = None
    try:
        answers = labels_of(version, signatures, files, top)
    except SomeUnreadable as error:
        answers, fault = error.answers, error
    for file, best in answers:
        yield {"file": file, "predictions": [{"label": n, "probability": p} for n, p in best]}
    if fault is not None:
        raise fault


def _answers(signatures) -> set[str]:
    return set(signatures["serving_default"].structured_outputs)


def _said_of_pictures(version, signatures, arguments) -> Iterator[dict[str, Any]]:
    """Of each file its labels, or its number; those that cannot be read come last, together."""
    if "from_bytes" not in signatures:
        raise UserError(f"{version}: this model takes pixels alone, not files")
    names = version / "assets" / "labels.txt"
    labels = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    faults, answers = [], []
    for file, said in answers_of_files(signatures["from_bytes"], arguments):
        if isinstance(said, str):
            faults.append(f"{file}: {said}")
            continue
        if "value" in said:
            answer = {"file": file, "prediction": float(said["value"])}
        else:
            shares = dict(zip(labels, map(float, said["probabilities"]), strict=True))
            given = [name for name in said["labels"].decode().split(BETWEEN) if name]
            answer = {"file": file, "labels": given, "probabilities": shares}
        answers.append(answer)
        yield answer
    if faults:
        raise SomeUnreadable("\n".join(faults), answers)


def _rows(version, signatures, inputs, file, kind, names) -> Iterator[dict[str, Any]]:
    said = signatures["serving_default"](**{k: tf.constant(v) for k, v in inputs.items()})
    said = {name: tensor.numpy() for name, tensor in said.items()}
    if "label" not in said:
        for name, value in zip(names, said["prediction"], strict=True):
            yield {"file": file, kind: name, "prediction": value.tolist()}
        return
    labels = (version / "assets" / "labels.txt").read_text(encoding="utf-8").splitlines()
    for name, label, chances in zip(names, said["label"], said["probabilities"], strict=True):
        if isinstance(label, np.ndarray):  # a label at each step
            yield {"file": file, kind: name, "labels": [word.decode() for word in label]}
            continue
        shares = dict(zip(labels, map(float, chances), strict=True))
        yield {"file": file, kind: name, "label": label.decode(), "probabilities": shares}


def _texts(signatures, prompts, length, temperature, seed) -> Iterator[dict[str, Any]]:
    said = signatures["generate"](
        prompt=tf.constant(prompts),
        length=tf.constant(length),
        temperature=tf.constant(temperature),
        top_k=tf.constant(0),
        seed=tf.constant(seed),
    )
    for prompt, text in zip(prompts, said["text"].numpy(), strict=True):
        yield {"prompt": prompt, "text": text.decode()}


def _images(signatures, arguments, directory) -> Iterator[dict[str, Any]]:
    for argument in arguments:
        seeds = argument.removeprefix("-").isdigit() and not Path(argument).exists()
        name = "sample" if seeds else "from_bytes"
        if name not in signatures:
            wanted = "an image file" if "from_bytes" in signatures else "a seed, a whole number"
            raise UserError(f"{argument}: this model takes {wanted}")
        asked = signatures[name].structured_input_signature[1]
        if seeds:
            inputs = {"count": tf.constant(1), "seed": tf.constant(int(argument))}
            if "label" in asked:
                inputs["label"] = tf.constant(-1)
            answer: dict[str, Any] = {"seed": int(argument)}
            target = directory / f"sample_{argument}.png"
        else:
            if "label" in asked:
                raise UserError(
                    f"{argument}: a conditional model reconstructs with the label of the image; "
                    "call its signature `reconstruct`, or give a seed"
                )
            file = Path(argument)
            try:
                contents = decodable(file.read_bytes(), file.suffix, image_files.MAX_PIXELS)
            except OSError as error:
                raise UserError(f"{file}: cannot be read: {error.strerror}") from error
            except NoPicture as error:
                raise UserError(f"{file}: {error}") from error
            inputs = {"image_bytes": tf.constant([contents])}
            answer = {"file": argument}
            target = directory / f"{file.stem}_reconstruction.png"
        try:
            said = signatures[name](**inputs)
        except tf.errors.InvalidArgumentError as error:
            raise UserError(f"{argument}: {error.message.splitlines()[0]}") from error
        directory.mkdir(parents=True, exist_ok=True)
        target.write_bytes(tf.io.encode_png(said["image"][0]).numpy())
        if "error" in said:
            answer["error"] = float(said["error"][0])
        yield {**answer, "written": str(target)}


def _documents(argument: str) -> list[str]:
    """The texts of a file, or the argument itself."""
    file = Path(argument)
    if file.suffix.lower() in (".csv", ".tsv"):
        table = read_delimited(file)
        name = "text" if "text" in table.names else table.names[0]
        if name != "text" and len(table.names) > 1:
            raise UserError(f"{file}: which column is the text? Call it 'text'")
        return table.column(name).to_pylist()
    if file.suffix.lower() != ".txt":
        return [argument]
    try:
        return [file.read_text(encoding="utf-8-sig")]
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UserError(f"{file}: no text in UTF-8; convert it (iconv)") from None


def _points(file: Path, features: int) -> np.ndarray:
    table = read_delimited(file)
    try:
        values = np.array(table.columns, np.float32).T
    except ValueError as error:
        raise UserError(f"{file}: a point is a row of numbers: {error}") from error
    if values.shape[1] != features:
        raise UserError(f"{file}: {values.shape[1]} columns, but a point has {features} numbers")
    return values


def _series(file: Path) -> tuple[list[str], np.ndarray]:
    """Names and values [n, steps, features] of the series of a file, with or without labels."""
    kind = file.suffix.lower()
    if kind == ".csv":
        table = read_delimited(file)
        columns = dict(zip(table.names, table.columns, strict=True))
        try:
            values = np.array([columns[n] for n in columns if n not in _ABOUT_SERIES], np.float32).T
        except ValueError as error:
            raise UserError(f"{file}: a step is a row of numbers: {error}") from error
        which = columns.get("series", [file.stem] * len(table))
        names = list(dict.fromkeys(which))
        rows = [[row for row, name in enumerate(which) if name == one] for one in names]
        if "time" in columns:
            rows = [sorted(at, key=lambda row: float(columns["time"][row])) for at in rows]
        padded = np.full((len(names), max(map(len, rows)), values.shape[1]), np.nan, np.float32)
        for series, at in zip(padded, rows, strict=True):
            series[: len(at)] = values[at]
        return names, padded
    if kind == ".ts":
        values = series_files.read_ts(file).values
    elif kind in (".npy", ".npz"):
        try:
            held = np.load(file, allow_pickle=False)
            values = held if kind == ".npy" else held[_array(file, held.files)]
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"{file}: cannot be read as an array: {error}") from error
    else:
        raise UserError(f"{file}: series come as .csv, .npy, .npz or .ts")
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3:
        raise UserError(f"{file}: an array of {values.ndim} axes; [n, steps, features] is wanted")
    return [str(number) for number in range(len(values))], values.astype(np.float32)


def _array(file: Path, names: list[str]) -> str:
    for name in ("x", "x_test", "x_train"):
        if name in names:
            return name
    raise UserError(f"{file}: there is no array x, x_test or x_train")
