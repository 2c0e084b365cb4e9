"""ONNX files that a version brings beside its SavedModel, a file per signature.

They are `assets.extra/onnx/SIGNATURE.onnx`. Inputs and outputs have the names of the signature, but
for an output of the name of an input, which is `NAME_output` in the file; texts are left out of it.
Of those, the `label` of a classifier is put back in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kapps.serving.savedmodel import out_of_distribution

FOLDER = Path("assets.extra", "onnx")
TOLERANCE = 1e-5  # of a number, relative to the largest one of its tensor or 1
# Outputs that magnify roundings: distances in units of small variances, products of gradients.
DERIVED, DERIVED_TOLERANCE = (out_of_distribution.OUTPUT, "heat_map"), 1e-3
Arrays = Mapping[str, np.ndarray | np.generic]
Ask = Callable[[Arrays], dict[str, np.ndarray]]
Run = Callable[[Sequence[str], Arrays], Sequence[np.ndarray]]  # names of outputs, inputs


class Differs(Exception):
    """A file does not answer what the SavedModel answers, with the reason."""


def onnx_file(directory: Path, signature: str) -> Path:
    """Where the file of a signature is, if there is one."""
    return directory / FOLDER / f"{signature}.onnx"


def name_in_file(output: str, inputs: Iterable[str]) -> str:
    """What an output is called in the file: the converter takes equal names for one tensor."""
    return f"{output}_output" if output in inputs else output


def open_onnx(
    file: Path | bytes,
    inputs: Sequence[str],
    outputs: Sequence[str],
    labels: Sequence[str],
    runtime: str = "onnx",
) -> Ask:
    """A file as a function: arrays by name -> arrays by name.

    Args:
        file: its path, or what is in it.
        inputs: names of the signature's inputs.
        outputs: names of its outputs.
        labels: of the classes, in the order of `probabilities`.
        runtime: "onnx" for ONNX Runtime, or "openvino".

    Raises:
        ImportError: the runtime is not installed.
        Differs: the file has not the outputs of the signature.
        Exception: whatever the runtime raises of a broken file.
    """
    held, run = (_by_openvino if runtime == "openvino" else _by_onnxruntime)(file)
    asked = {name: name_in_file(name, inputs) for name in outputs}
    numeric = {name: inner for name, inner in asked.items() if inner in held}
    texts = sorted(asked.keys() - numeric.keys())
    if texts and not (texts == ["label"] and "probabilities" in numeric and labels):
        raise Differs(f"it answers no {', '.join(texts)}")
    names = np.array([label.encode() for label in labels], object)
    wanted = list(numeric.values())

    def ask(given: Arrays) -> dict[str, np.ndarray]:
        said = dict(zip(numeric, run(wanted, given), strict=True))
        if texts:
            said["label"] = names[said["probabilities"].argmax(axis=-1)]
        return said

    return ask


def _by_onnxruntime(file: Path | bytes) -> tuple[set[str], Run]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Threads that wait for work by running in circles take the core that the server needs.
    options.log_severity_level = 3  # errors: it warns of each batch of another size
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        file if isinstance(file, bytes) else str(file),
        options,
        providers=["CPUExecutionProvider"],
    )
    held = {output.name for output in session.get_outputs()}
    return held, lambda wanted, given: session.run(wanted, dict(given))


def _by_openvino(file: Path | bytes) -> tuple[set[str], Run]:
    import openvino  # type: ignore[import-not-found]

    core = openvino.Core()
    model = core.read_model(file if isinstance(file, bytes) else str(file))
    # By itself it computes in sixteen bits where the processor can, and differs by 1e-3.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    held = {name for output in compiled.outputs for name in output.get_names()}

    def run(wanted: Sequence[str], given: Arrays) -> list[np.ndarray]:
        said = request.infer(dict(given), share_inputs=True)
        return [np.array(said[name]) for name in wanted]  # its memory is used again

    return held, run


def read_labels(directory: Path) -> list[str]:
    """The classes of a version, in the order of `probabilities`; none where it names none."""
    labels = directory / "assets" / "labels.txt"
    return labels.read_text(encoding="utf-8").splitlines() if labels.is_file() else []


def stated_inputs(
    requests: Iterable[tuple[str, Mapping[str, Any]]], signature: str
) -> list[dict[str, Any]]:
    """What two runtimes have to agree on: the warm-up requests of a signature.

    Of series, the same also with padding at the end: the converter takes an LSTM for one that does
    not mask.
    """
    found = [dict(inputs) for name, inputs in requests if name == signature]
    for inputs in list(found):
        series = np.asarray(inputs.get("sequence", 0))
        if series.ndim == 3 and series.dtype.kind == "f" and series.shape[1] > 1:
            padded = series.copy()
            padded[0, series.shape[1] // 2 :] = np.nan
            found.append({**inputs, "sequence": padded})
    return found


def difference(expected: Arrays, said: Arrays, tolerance: float = TOLERANCE) -> float:
    """The largest difference of a number, relative to the largest one of its tensor or 1.

    Args:
        expected: what the SavedModel answers.
        said: what another runtime answers.
        tolerance: the largest that is allowed; whole numbers and texts have to be equal. Of
            out-of-distribution scores and heat maps it is 1e-3, and they do not count for the
            largest.

    Raises:
        Differs: it is larger, or the answers have other names, types or shapes.
    """
    if expected.keys() != said.keys():
        raise Differs(f"it answers {', '.join(sorted(said))}, not {', '.join(sorted(expected))}")
    largest = 0.0
    for name, wanted in expected.items():
        answer = np.asarray(said[name])
        if answer.shape != wanted.shape or answer.dtype.kind != wanted.dtype.kind:
            raise Differs(
                f"{name} is {answer.dtype} {answer.shape}, not {wanted.dtype} {wanted.shape}"
            )
        if wanted.dtype.kind != "f":
            if not np.array_equal(answer, wanted):
                raise Differs(f"{name} is another one")
            continue
        scale = max(1.0, float(np.max(np.abs(wanted), initial=0.0)))
        found = float(np.max(np.abs(answer.astype(float) - wanted), initial=0.0)) / scale
        allowed = max(tolerance, DERIVED_TOLERANCE) if name in DERIVED else tolerance
        if not found <= allowed:  # NaN, too
            raise Differs(f"{name} differs by {found:.1e}; {allowed:.0e} is allowed")
        if name not in DERIVED:
            largest = max(largest, found)
    return largest
