"""A published model of any family, asked by what a person has: files, texts, seeds.

image classifier   image files -> labels
several labels     image files -> those above their thresholds
number of pictures image files -> a number each
table              CSV files -> a label or a number for each row
series             .csv (a row per step; `series` tells them apart, names tell the features),
                   .npy, .npz, .ts
                   -> a label or a number for each series
points             CSV files of numbers -> a label or numbers for each row
character model    texts, .txt files -> their continuations
text classifier    texts, .txt files, or CSV files with a column `text` -> labels
VAE, GAN, VQ-VAE   whole numbers, the seeds -> image files
autoencoder, VAE   image files -> image files, and the error of an autoencoder

`-` is standard input: a picture, a CSV file, or a text.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kapps.data.delimited import read_delimited
from kapps.data.series import files as series_files
from kapps.data.series.ragged import Ragged
from kapps.data.series.step_tables import read_steps
from kapps.errors import UserError
from kapps.serving.prediction import SomeUnreadable, answers_of_files, labels_of, load
from kapps.serving.publishing.pictures import BETWEEN
from kapps.serving.publishing.series import feature_names_of
from kapps.serving.publishing.tables import predict_table_file
from kapps.serving.savedmodel.versions import version_directory

TABLES = (".csv", ".tsv", ".gz", ".parquet", ".jsonl")
_STDIN = "/dev/stdin"
_SEED = re.compile(r"-?[0-9]{1,20}")


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
        notes: of a table, or of series in one, what was read in another way than in training is
            appended.

    Yields:
        A dictionary with what was asked (`file` and perhaps `row` or `series`, `prompt` or `seed`)
        and the answer (`predictions`, `label` and `probabilities`, `prediction`, `text`, `error`,
        `written`).

    Raises:
        UserError: there is no model, or it cannot be asked this way.
        SomeUnreadable: some arguments are nothing that the model takes; after the other answers.
    """
    arguments = [_STDIN if argument == "-" else os.fspath(argument) for argument in arguments]
    directory, version = Path(directory), version_directory(path)
    signatures = load(version).signatures
    takes = signatures["serving_default"].structured_input_signature[1]
    if "prompt" in takes:
        yield from _texts(signatures, arguments, length, temperature, seed)
    elif set(takes) == {"text"} and "label" in _answers(signatures):
        yield from _each(arguments, lambda text: _of_documents(version, signatures, text))
    elif "sequence" in takes:
        yield from _each(arguments, lambda file: _of_series(version, signatures, file, notes))
    elif "points" in takes:
        yield from _each(arguments, lambda file: _of_points(version, signatures, file))
    elif "reconstruct" in signatures or "generate" in signatures:
        yield from _each(arguments, lambda given: _image(signatures, given, directory))
    elif "image" in takes and _answers(signatures) & {"labels", "value"}:
        yield from _said_of_pictures(version, signatures, arguments)
    elif "image" in takes:
        yield from _labels(version, signatures, arguments, top)
    else:
        yield from _each(arguments, lambda file: _of_table(version, file, notes))


def _each(
    arguments: Sequence[str], answers: Callable[[str], Iterator[dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """The answers to one argument after the other; those at fault are named at the end."""
    faults = []
    for argument in arguments:
        try:
            yield from answers(argument)
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise SomeUnreadable("\n".join(faults), [])


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


def _of_documents(version, signatures, argument) -> Iterator[dict[str, Any]]:
    texts = _documents(argument)
    inputs = {"text": np.array(texts, object)}
    yield from _rows(version, signatures, inputs, argument, "row", range(1, len(texts) + 1))


def _of_series(version, signatures, argument, notes) -> Iterator[dict[str, Any]]:
    with _at_rest(argument) as file:
        names, values = _series(file, feature_names_of(version), notes)
    takes = signatures["serving_default"].structured_input_signature[1]["sequence"]
    if values.shape[-1] != takes.shape[-1]:
        raise UserError(
            f"{argument}: {values.shape[-1]} numbers at each step, but the model takes "
            f"{takes.shape[-1]}"
        )
    yield from _rows(version, signatures, {"sequence": values}, argument, "series", names)


def _of_points(version, signatures, argument) -> Iterator[dict[str, Any]]:
    takes = signatures["serving_default"].structured_input_signature[1]["points"]
    with _at_rest(argument) as file:
        values = _points(file, takes.shape[-1])
    numbers = range(1, len(values) + 1)
    yield from _rows(version, signatures, {"points": values}, argument, "row", numbers)


def _of_table(version, argument, notes) -> Iterator[dict[str, Any]]:
    with _at_rest(argument) as file:
        rows = predict_table_file(version, file, notes)
    for number, row in enumerate(rows, 1):
        yield {"file": argument, "row": number, **row}


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


def _texts(signatures, arguments, length, temperature, seed) -> Iterator[dict[str, Any]]:
    prompts, faults = [], []
    for argument in arguments:
        try:
            prompts.append(_text(argument))
        except UserError as error:
            faults.append(str(error))
    if prompts:
        said = signatures["generate"](
            prompt=tf.constant(prompts),
            length=tf.constant(length),
            temperature=tf.constant(temperature),
            top_k=tf.constant(0),
            seed=tf.constant(seed),
        )
        for prompt, text in zip(prompts, said["text"].numpy(), strict=True):
            yield {"prompt": prompt, "text": text.decode()}
    if faults:
        raise SomeUnreadable("\n".join(faults), [])


def _image(signatures, argument, directory) -> Iterator[dict[str, Any]]:
    seed = _SEED.fullmatch(argument) is not None and not os.path.isfile(argument)
    name = "sample" if seed else "from_bytes"
    if name not in signatures:
        wanted = "an image file" if "from_bytes" in signatures else "a seed, a whole number"
        raise UserError(f"{argument}: this model takes {wanted}")
    if seed:
        said, target = _sampled(signatures["sample"], argument), f"sample_{argument}"
        answer: dict[str, Any] = {"seed": int(argument)}
    else:
        said = _reconstructed(signatures, argument)
        answer, target = {"file": argument}, f"{Path(argument).stem}_reconstruction"
    directory.mkdir(parents=True, exist_ok=True)
    written = directory / f"{target}.png"
    written.write_bytes(tf.io.encode_png(said["image"]).numpy())
    if "error" in said:
        answer["error"] = float(said["error"])
    yield {**answer, "written": str(written)}


def _sampled(sample, argument: str) -> dict[str, Any]:
    seed = int(argument)
    if not tf.int32.min <= seed <= tf.int32.max:
        raise UserError(f"{argument}: seeds are from {tf.int32.min} to {tf.int32.max}")
    inputs = {"count": tf.constant(1), "seed": tf.constant(seed)}
    if "label" in sample.structured_input_signature[1]:
        inputs["label"] = tf.constant(-1)
    return {name: values[0].numpy() for name, values in sample(**inputs).items()}


def _reconstructed(signatures, argument: str) -> dict[str, Any]:
    if "label" in signatures["from_bytes"].structured_input_signature[1]:
        raise UserError(
            f"{argument}: a conditional model reconstructs with the label of the image; "
            "call its signature `reconstruct`, or give a seed"
        )
    [(_, said)] = answers_of_files(signatures["from_bytes"], [argument])
    if isinstance(said, str):
        seeds = "; seeds are whole numbers" * ("sample" in signatures)
        raise UserError(f"{argument}: {said}{seeds * (not os.path.exists(argument))}")
    return said


@contextlib.contextmanager
def _at_rest(argument: str) -> Iterator[Path]:
    """A file that can be read from the beginning again: of a pipe, what came through it."""
    try:
        flows = argument == _STDIN or stat.S_ISFIFO(os.stat(argument).st_mode)
    except (OSError, ValueError):
        flows = False
    if not flows:
        yield Path(argument)
        return
    with tempfile.TemporaryDirectory() as scratch:
        # What is said of it names the argument: the suffix says what is in it.
        file = Path(scratch, f"{Path(argument).name}.csv")
        file.write_bytes(Path(argument).read_bytes())
        try:
            yield file
        except UserError as error:
            raise UserError(str(error).replace(str(file), argument)) from error


def _text(argument: str) -> str:
    """The text of a .txt file or of standard input, or the argument itself.

    Raises:
        UserError: the file cannot be read, or it is no text in UTF-8.
    """
    file = Path(argument)
    from_file = argument == _STDIN or file.suffix.lower() == ".txt"
    try:
        given = file.read_bytes() if from_file else os.fsencode(argument)
        return given.decode("utf-8-sig" if from_file else "utf-8")
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeError:
        named = file if from_file else ascii(argument)
        raise UserError(f"{named}: no text in UTF-8; convert it (iconv)") from None


def _documents(argument: str) -> list[str]:
    """The texts of a file, or the argument itself."""
    file = Path(argument)
    if file.suffix.lower() in TABLES:
        table = read_delimited(file)
        name = "text" if "text" in table.names else table.names[0]
        if name != "text" and len(table.names) > 1:
            raise UserError(f"{file}: which column is the text? Call it 'text'")
        return table.column(name).to_pylist()
    return [_text(argument)]


def _points(file: Path, features: int) -> np.ndarray:
    table = read_delimited(file)
    try:
        values = np.array(table.columns, np.float32).T
    except ValueError as error:
        raise UserError(f"{file}: a point is a row of numbers: {error}") from error
    if values.shape[1] != features:
        raise UserError(f"{file}: {values.shape[1]} columns, but a point has {features} numbers")
    return values


def _series(
    file: Path, features: Sequence[str] = (), notes: list[str] | None = None
) -> tuple[list[str], np.ndarray]:
    """Names and values [n, steps, features] of the series of a file, with or without labels.

    Args:
        file: which.
        features: their names in a table, in the order of the model's.
        notes: what should be known of it is appended.
    """
    kind = file.suffix.lower()
    if kind in TABLES:
        steps = read_steps(file, wanted=features)
        if notes is not None:
            notes += steps.notes
        for name, one in zip(steps.names, steps.series, strict=True):
            if not len(one) or np.isnan(one).any():
                raise UserError(f"{file}, series {name}: a value is missing; fill gaps in before")
        return steps.names, Ragged.of(steps.series).padded()
    if kind == ".ts":
        values = series_files.read_ts(file).values
        values = values.padded() if isinstance(values, Ragged) else values
    elif kind in (".npy", ".npz"):
        try:
            held = np.load(file, allow_pickle=False)
            values = held if kind == ".npy" else held[_array(file, held.files)]
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"{file}: cannot be read as an array: {error}") from error
    else:
        raise UserError(f"{file}: series come as .csv, .parquet, .npy, .npz or .ts")
    values = values[..., None] if values.ndim == 2 else values
    if values.dtype.kind not in "iufb":
        raise UserError(f"{file}: an array of {values.dtype}; numbers are wanted")
    if values.ndim != 3:
        raise UserError(f"{file}: an array of {values.ndim} axes; [n, steps, features] is wanted")
    return [str(number) for number in range(len(values))], values.astype(np.float32)


def _array(file: Path, names: list[str]) -> str:
    for name in ("x", "x_test", "x_train"):
        if name in names:
            return name
    raise UserError(f"{file}: there is no array x, x_test or x_train")
