"""How fast a published model answers, and how well, without a server, by the runtimes that can.

tensorflow          the version as it is
tensorflow, frozen  weights as constants, batch normalization folded: `kapps publish --freeze`
onnx                the file that the version brings (`kapps publish --onnx`), or one made now
openvino            the same file
litert              a file made now
"""

from __future__ import annotations

import functools
import importlib.util
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from kapps.errors import UserError
from kapps.serving.formats import inference
from kapps.serving.formats.conversion import quietly
from kapps.serving.formats.requirements import FORMATS
from kapps.serving.prediction import load
from kapps.serving.savedmodel import onnx_files
from kapps.serving.savedmodel.versions import version_directory
from kapps.serving.savedmodel.warmup import read_warmup
from kapps.serving.server.work import engines

if TYPE_CHECKING:
    from rich.table import Table

BATCHES = (1, 32)
_LEAST = 20  # calls of a measurement
_READ_TEXTS = ("tensorflow, frozen",)  # the others have no strings to be read
Arrays = Mapping[str, np.ndarray]


def bench(
    path: str | os.PathLike,
    *,
    seconds: float = 3.0,
    batches: tuple[int, ...] = BATCHES,
    kept: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[dict[str, Any]]:
    """Times each signature of a model with the warm-up requests that its version brings.

    Args:
        path: a version directory, or the directory above: its highest version is taken.
        seconds: for each measurement, at least; twenty calls are made in any case.
        batches: examples in a call. A signature that takes single numbers is called as the warm-up
            request has it, for batch 1.
        kept: of an image classifier, images that it was not trained on, uint8 [n, H, W, C], and
            their labels, int [n].

    Returns:
        A dictionary per measurement: `runtime`, `signature`, `batch`, `p50_ms`, `p99_ms`,
        `examples_per_second`, and `difference`, the largest one of a number to what TensorFlow
        says. With `kept`, of the signature that takes pixels also `accuracy`. Of a runtime that
        cannot have a signature: `reason`.

    Raises:
        UserError: there is no model, or its version brings no warm-up requests.
    """
    directory = version_directory(path)
    loaded = load(directory)  # kept: the signatures alone do not keep its variables alive
    signatures = loaded.signatures
    requests = {name: inputs for name, inputs in read_warmup(directory) if name in signatures}
    if not requests:
        raise UserError(
            f"{directory}: there are no warm-up requests in assets.extra; publish it again"
        )
    others = _runtimes(directory, signatures)
    rows = []
    for name, inputs in requests.items():
        scalars = any(np.ndim(value) == 0 for value in inputs.values())
        judged = _judge(kept if set(inputs) == {"image"} else None)
        for batch in (1,) if scalars else batches:
            asked = {key: _of_size(value, batch) for key, value in inputs.items()}
            ask = engines.tensorflow(signatures[name])
            call = functools.partial(ask, asked)
            expected = call()
            row = {"signature": name, "batch": batch}
            measured = _timed(call, batch, seconds) | judged("tensorflow", ask)
            rows.append({"runtime": "tensorflow", **row, **measured})
            texts = any(value.dtype.kind in "OS" for value in asked.values())
            for runtime, prepare in others.items():
                if texts and runtime not in _READ_TEXTS:
                    continue
                try:
                    ask = prepare(name)
                    call = functools.partial(ask, asked)
                    difference = _difference(expected, call())
                except Exception as error:  # of whatever kind: the converter's, not the user's
                    reason = str(error).strip().splitlines() or [type(error).__name__]
                    rows.append({"runtime": runtime, **row, "reason": reason[0][:100]})
                    continue
                measured = _timed(call, batch, seconds) | judged(runtime, ask)
                rows.append({"runtime": runtime, **row, **measured, "difference": difference})
    return rows


def bench_table(rows: list[dict[str, Any]]) -> Table:
    """What `bench` found, a line per measurement."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("runtime", "signature"):
        table.add_column(name)
    judged = any("accuracy" in row for row in rows)
    numbers = ("batch", "p50 ms", "p99 ms", "examples/s", "difference")
    for name in (*numbers, *(["accuracy"] if judged else [])):
        table.add_column(name, justify="right")
    for row in rows:
        first = (row["runtime"], row["signature"], str(row["batch"]))
        if "reason" in row:
            table.add_row(*first, "", "", "", Text(row["reason"]))
            continue
        numbers = (f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}")
        difference = f"{row['difference']:.0e}" if "difference" in row else ""
        accuracy = [f"{row['accuracy']:.2%}" if "accuracy" in row else ""] if judged else []
        speed = f"{row['examples_per_second']:,.0f}"
        table.add_row(*first, *numbers, speed, difference, *accuracy)
    return table


def _judge(kept: tuple[np.ndarray, np.ndarray] | None) -> Callable[[str, Callable], dict]:
    """A function of a runtime and what asks it: its accuracy, worked out once per runtime."""
    found: dict[str, dict[str, float]] = {}

    def judged(runtime: str, ask: Callable[[Arrays], Any]) -> dict[str, float]:
        if kept is None or runtime in found:
            return found.get(runtime, {})
        images, labels = kept
        parts = [images[i : i + max(BATCHES)] for i in range(0, len(images), max(BATCHES))]
        said = np.concatenate([ask({"image": part})["probabilities"] for part in parts])
        found[runtime] = {"accuracy": float(np.mean(said.argmax(axis=-1) == labels))}
        return found[runtime]

    return judged


def _of_size(value: Any, batch: int) -> np.ndarray:
    array = np.asarray(value)
    return array if array.ndim == 0 else np.resize(array, (batch, *array.shape[1:]))


def _runtimes(
    directory: Path, signatures: Mapping[str, Any]
) -> dict[str, Callable[[str], Callable[[Arrays], Any]]]:
    """By runtime, what makes a function of arrays of the name of a signature."""

    def frozen(name: str) -> Callable[[Arrays], Any]:
        asked = onnx_files.stated_inputs(read_warmup(directory), name)
        return engines.tensorflow(inference.frozen(signatures[name], asked).get_concrete_function())

    def litert(name: str) -> Callable[[Arrays], Any]:
        with quietly():
            converter = tf.lite.TFLiteConverter.from_saved_model(
                str(directory), signature_keys=[name]
            )
            runner = tf.lite.Interpreter(model_content=converter.convert())
        runner = runner.get_signature_runner(name)
        return lambda inputs: runner(**inputs)

    @functools.cache
    def file(name: str) -> Path | bytes:
        brought = onnx_files.onnx_file(directory, name)
        return brought if brought.is_file() else inference.onnx_of(signatures[name])

    def onnx(name: str, runtime: str = "onnx") -> Callable[[Arrays], Any]:
        labels = onnx_files.read_labels(directory)
        return inference.ask_onnx(file(name), signatures[name], labels, runtime)

    found = {"tensorflow, frozen": frozen, "litert": litert}
    if all(importlib.util.find_spec(package) for package in FORMATS["onnx"]):
        found["onnx"] = onnx
        if importlib.util.find_spec("openvino"):
            found["openvino"] = functools.partial(onnx, runtime="openvino")
    return {runtime: functools.cache(make) for runtime, make in found.items()}


def _timed(call: Callable[[], Any], batch: int, seconds: float) -> dict[str, float]:
    call()
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < _LEAST:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    middle, high = np.percentile(times, [50, 99])
    return {
        "p50_ms": 1e3 * float(middle),
        "p99_ms": 1e3 * float(high),
        "examples_per_second": batch * len(times) / sum(times),
    }


def _difference(expected: Arrays, said: Arrays) -> float:
    return max(
        (
            float(np.max(np.abs(value.astype(float) - said[name].astype(float)), initial=0.0))
            for name, value in expected.items()
            if value.dtype.kind in "fiu" and name not in onnx_files.DERIVED
        ),
        default=0.0,
    )
