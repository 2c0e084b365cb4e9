"""A model of a table becomes a SavedModel that needs neither kapps nor Keras, and is asked.

What is in the graph: the encoding of the raw columns, the network, the temperature of the
calibration, the softmax and the labels, or the units of the target.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kapps import files
from kapps.data.delimited import read_delimited
from kapps.data.tables import columns as kinds
from kapps.data.tables.reading import read_file
from kapps.errors import UserError
from kapps.models.tables.columns import NumberColumn
from kapps.models.tables.mlp import column_layers, described_columns
from kapps.serving.prediction import load
from kapps.serving.savedmodel import graph, input_statistics
from kapps.serving.savedmodel.card import beginning, calls_block, python_block, rest_block
from kapps.serving.savedmodel.endpoints import CHECKED_BATCHES
from kapps.serving.savedmodel.input_statistics import Statistics
from kapps.serving.savedmodel.self_check import check_endpoint, full_float32, refuse_state
from kapps.serving.savedmodel.versions import version_directory, write_version
from kapps.serving.savedmodel.warmup import BATCHES, write_warmup

SIGNATURE = "serving_default"
TOGETHER = 4096  # rows
COLUMNS = "columns.json"  # how files are read, beside the labels
_KINDS = {
    tf.float32: "number",
    tf.float64: "number",
    tf.string: "string",
    tf.int32: "integer",
}
_MISSING = {
    tf.float32: "NaN",
    tf.float64: "NaN",
    tf.string: '""',
    tf.int32: str(kinds.MISSING_INTEGER),
}


def export_table(
    model: keras.Model,
    export_dir: str | os.PathLike,
    class_names: Sequence[str] = (),
    *,
    temperature: float = 1.0,
    card: str | None = None,
    statistics: Statistics | None = None,
) -> Path:
    """Publishes a model of a table as the next version under `export_dir`.

    `serving_default` takes every column by its name, [N] or [N, 1]: numbers as float32 with NaN
    where there is none, texts as strings, whole numbers that are categories as int32. It returns
    `probabilities` float32 [N, classes] and `label` string [N], or `prediction` float32 [N] in the
    units of the target. Categories that were not there in training are taken as none of the known.

    Before it appears, the version is loaded again and compared with the model on one and on five
    rows with missing values and unknown categories among them.

    Args:
        model: Raw columns -> logits or prediction, as `kapps.models.tabular_mlp` makes it.
        export_dir: The directory that a server watches; made when missing.
        class_names: One label per logit; none for a regression.
        temperature: The logits are divided by it before the softmax.
        card: Markdown on what was trained on what, with which result; how to call the model is
            appended to it.
        statistics: what the inputs were like in training, by name, see
            `kapps.serving.savedmodel.input_statistics`; for the counters of `kapps serve`.

    Returns:
        The directory of the published version.

    Raises:
        UserError: the labels do not fit the model, or its answers are not finite. Nothing is
            published.
        RuntimeError: the reloaded SavedModel disagrees with the model. Nothing is published.
    """
    names = graph.checked_names(class_names)
    if model.output_shape[-1] != (len(names) or 1):
        raise UserError(
            f"the model has {model.output_shape[-1]} outputs, but there are {len(names)} class "
            "names"
        )
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"temperature is {temperature}; a positive number is needed")
    export_dir = Path(export_dir)
    dtypes = {name: tf.as_dtype(tensor.dtype) for name, tensor in model.input.items()}
    # Of any rank: [N] and [N, 1] are both what people send.
    specs = {name: tf.TensorSpec(None, dtype, name=name) for name, dtype in dtypes.items()}
    answer = _answer(model, names, temperature)
    function = tf.function(answer, autograph=False)

    def write(directory: Path) -> None:
        concrete = function.get_concrete_function(**specs)
        graph.save(directory, {SIGNATURE: concrete}, names)
        (directory / "assets").mkdir(exist_ok=True)
        files.write_json(directory / "assets" / COLUMNS, described_columns(model))
        text = _card(export_dir.name, dtypes, names, card)
        (directory / "model_card.md").write_text(text, encoding="utf-8")
        requests = [(SIGNATURE, _example(model, size, flat=False)) for size in BATCHES]
        input_statistics.write(directory, statistics)
        write_warmup(directory, export_dir.name, requests)
        served = tf.saved_model.load(str(directory)).signatures[SIGNATURE]
        refuse_state(SIGNATURE, served)
        with full_float32():
            for size in CHECKED_BATCHES:
                for flat in (True, False):
                    check_endpoint(SIGNATURE, answer, served, _example(model, size, flat))

    return write_version(export_dir, write)


def is_tabular(model: keras.Model) -> bool:
    """Whether a model takes the columns of a table by name."""
    return isinstance(model.input, dict) and "encoder" in [layer.name for layer in model.layers]


def predict_table_file(
    path: str | os.PathLike, file: str | os.PathLike, notes: list[str] | None = None
) -> list[dict[str, Any]]:
    """What a published model says of every row of a CSV file.

    Further columns and the order of the columns do not matter. Cells are read as they were in
    training: numbers in its format, or in one that the whole column agrees with, truth values
    whatever their spelling, parts of dates.

    Args:
        path: A version directory, or the directory above: its highest version is taken.
        file: Its first line names the columns as the training data did, or as they are served.
        notes: What had no meaning, or was read in another way than in training, is appended.

    Returns:
        A dictionary per row: `label` and `probabilities` (by label), or `prediction`.

    Raises:
        UserError: there is no model of a table at `path`, or the file is no table or lacks a
            column.
    """
    table = read_delimited(file)
    directory = version_directory(path)
    signature = load(directory).signatures.get(SIGNATURE)
    takes = signature.structured_input_signature[1] if signature is not None else {}
    answers = signature.structured_outputs if signature is not None else {}
    columns = [spec.dtype in _KINDS and spec.shape.rank is None for spec in takes.values()]
    if signature is None or not (
        columns and all(columns) and {"label", "prediction"} & set(answers)
    ):
        raise UserError(f"{directory}: not a model of a table, so it cannot read {file}")
    inputs, warnings = read_file(table, _described(directory, takes), str(file))
    if notes is not None:
        notes += [f"{file}: {warning}" for warning in warnings]
    labels = []
    if "label" in answers:
        labels = (directory / "assets" / "labels.txt").read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = []
    for start in range(0, len(table), TOGETHER):
        part = slice(start, start + TOGETHER)
        said = signature(**{name: tf.constant(values[part]) for name, values in inputs.items()})
        if "prediction" in said:
            rows += [{"prediction": float(value)} for value in said["prediction"].numpy()]
            continue
        for label, chances in zip(
            said["label"].numpy(), said["probabilities"].numpy(), strict=True
        ):
            shares = dict(zip(labels, map(float, chances), strict=True))
            rows.append({"label": label.decode(), "probabilities": shares})
    return rows


def _described(directory: Path, takes: Mapping[str, tf.TensorSpec]) -> dict[str, dict[str, Any]]:
    """What the model was told of its columns; of older versions, of what kind they are."""
    path = directory / "assets" / COLUMNS
    if not path.is_file():
        return {name: {"kind": _KINDS[spec.dtype]} for name, spec in takes.items()}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return {name: held[name] for name in takes}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot be read: {error!r}") from error


def _answer(model: keras.Model, names: tuple[str, ...], temperature: float) -> Callable:
    def answer(**columns: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = {name: tf.reshape(column, (-1, 1)) for name, column in columns.items()}
        y = tf.cast(model(inputs, training=False), tf.float32)
        if not names:
            return {"prediction": y[:, 0]}
        probabilities = tf.nn.softmax(y / temperature)
        label = tf.gather(tf.constant(names), tf.argmax(probabilities, axis=-1))
        return {"probabilities": probabilities, "label": label}

    return answer


def _example(model: keras.Model, size: int, flat: bool) -> dict[str, np.ndarray]:
    """Rows of what the columns know, with gaps and, from the second row on, the unknown."""
    random = np.random.default_rng(size)
    inputs = {}
    for name, layer in column_layers(model).items():
        if isinstance(layer, NumberColumn):
            dtype = np.float64 if layer.wide else np.float32
            values = random.normal(layer.mean, layer.std, size).astype(dtype)
            gap, unknown = dtype(np.nan), dtype(layer.mean)
        else:
            words = model.input[name].dtype == "string"
            gap = "" if words else np.int32(kinds.MISSING_INTEGER)
            unknown = "never seen" if words else np.int32(kinds.MISSING_INTEGER + 1)
            values = np.array(
                [layer.vocabulary[i % len(layer.vocabulary)] for i in range(size)]
                if layer.vocabulary
                else [gap] * size,
                object if words else np.int32,
            )
        values[1:2], values[2:3] = gap, unknown
        inputs[name] = values if flat else values[:, None]
    return inputs


def _card(name: str, dtypes: Mapping[str, tf.DType], names: Sequence[str], card: str | None) -> str:
    rows = [
        f"| `{column}` | {dtype.name} | `{_MISSING[dtype]}` |" for column, dtype in dtypes.items()
    ]
    example = ", ".join(f"{column}=tf.constant([...])" for column in list(dtypes)[:2])
    dots = ", ..." if len(dtypes) > 2 else ""
    row = {
        column: ["" if dtype == tf.string else dtype.as_numpy_dtype(0).item()]
        for column, dtype in dtypes.items()
    }
    returns = (
        f"It returns `probabilities` float32 [N, {len(names)}] and `label` string [N]. Classes, in "
        f"the order of the probabilities (`assets/labels.txt`): {', '.join(names)}."
        if names
        else "It returns `prediction` float32 [N], in the units of the target."
    )
    parts = [
        beginning(name, card),
        "## How to call it",
        "`serving_default` takes every column by name, each of shape [N] or [N, 1]. Numbers are "
        "raw: they are imputed and standardized inside. Categories that the training data did not "
        f"have are taken as none of the known ones. {returns}",
        "\n".join(["| column | type | if it is missing |", "|---|---|---|", *rows]),
        python_block(f'answer = model.signatures["serving_default"]({example}{dots})'),
        rest_block(name, json.dumps({"inputs": row}, ensure_ascii=False)),
        calls_block({SIGNATURE: {name: tf.TensorSpec(None, d) for name, d in dtypes.items()}}),
    ]
    return "\n\n".join(parts) + "\n"
