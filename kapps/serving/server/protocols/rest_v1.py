"""REST v1 of TensorFlow Serving: predict, classify and regress in JSON.

As in https://www.tensorflow.org/tfx/serving/api_rest. Rows: `instances` -> `predictions`; columns:
`inputs` -> `outputs`; a single output goes without its name. `classify` and `regress` take
`examples`, objects of features. A signature made for them is given `tf.train.Example`s; of another
one, as kapps publishes them, each feature is an input, and the answer is made of `probabilities`,
or of `prediction`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kapps.serving.server.json_text import dumps
from kapps.serving.server.protocols import tensors
from kapps.serving.server.protocols.calls import JSON, Arrays, Call, call
from kapps.serving.server.protocols.tensors import Signature
from kapps.serving.server.refusals import Refused, invalid

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
KINDS = {  # method of a signature, what of another one its answer is made of
    "classify": (CLASSIFY, "probabilities"),
    "regress": (REGRESS, "prediction"),
}
Signatures = Mapping[str, Signature]
MakeExample = Callable[[dict[str, Any]], bytes]


def read(
    verb: str,
    body: bytes,
    signatures: Signatures,
    labels: Sequence[str] = (),
    make_example: MakeExample | None = None,
) -> Call:
    """Reads the body of a request.

    Args:
        verb: "predict", "classify" or "regress".
        body: JSON.
        signatures: of the model, by name.
        labels: of its classes, in the order of `probabilities`.
        make_example: features by name -> a serialized `tf.train.Example`.

    Raises:
        Refused: it is not as the protocol or the signature has it.
    """
    request = tensors.parse_json(body)
    signature = tensors.signature_of(signatures, request.get("signature_name", ""))
    if verb == "predict":
        return _predict(request, signature)
    return _of_examples(verb, request, signature, labels, make_example)


def _predict(request: dict[str, Any], signature: Signature) -> Call:
    if "instances" in request and "inputs" in request:
        raise invalid(
            "JSON Value: Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "instances" in request:
        return call(signature, _rows(request["instances"], signature), _said_in_rows)
    if "inputs" in request:
        return call(signature, _columns(request["inputs"], signature), _said_in_columns)
    raise invalid("Missing 'inputs' or 'instances' key")


def _rows(instances: Any, signature: Signature) -> dict[str, np.ndarray]:
    specs = signature.inputs
    if not isinstance(instances, list):
        raise invalid("Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid("No values in 'instances' array")
    named = isinstance(instances[0], dict) and not tensors.is_base64(instances[0])
    if not named and len(specs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    columns: dict[str, list] = {name: [] for name in specs}
    for number, element in enumerate(instances):
        is_object = isinstance(element, dict) and not tensors.is_base64(element)
        if is_object != named:
            wanted, got = ("object", "list") if named else ("value/list", "object")
            raise invalid(f"Expecting {wanted} but got {got} at item {number} of input list")
        if not named:
            for column in columns.values():
                column.append(element)
            continue
        if element.keys() != specs.keys():
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{tensors.quoted(element)} keys must be equal to: {','.join(sorted(specs))}"
            )
        for name, column in columns.items():
            column.append(element[name])
    return {name: tensors.from_json(columns[name], name, specs[name]) for name in specs}


def _columns(inputs: Any, signature: Signature) -> dict[str, np.ndarray]:
    specs = signature.inputs
    if not isinstance(inputs, dict) or tensors.is_base64(inputs):
        if len(specs) != 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        inputs = dict.fromkeys(specs, inputs)
    for name in specs:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: tensors.from_json(inputs[name], name, spec) for name, spec in specs.items()}


def _said_in_columns(outputs: Arrays):
    said = {name: tensors.jsonable(array, name) for name, array in outputs.items()}
    return JSON, dumps({"outputs": _without_name(said)})


def _said_in_rows(outputs: Arrays):
    counts = {name: len(array) if array.ndim else None for name, array in outputs.items()}
    if len(set(counts.values())) != 1 or None in counts.values():
        raise invalid(
            "outputs do not have a row for each instance: "
            + ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
            + "; ask with 'inputs'"
        )
    said = {name: tensors.jsonable(array, name) for name, array in outputs.items()}
    if len(said) == 1:
        return JSON, dumps({"predictions": _without_name(said)})
    rows = zip(*said.values(), strict=True)
    return JSON, dumps({"predictions": [dict(zip(said, row, strict=True)) for row in rows]})


def _without_name(said: dict[str, Any]) -> Any:
    return next(iter(said.values())) if len(said) == 1 else said


def _of_examples(verb, request, signature, labels, make_example) -> Call:
    method, output = KINDS[verb]
    examples, context = request.get("examples"), request.get("context", {})
    if "examples" not in request:
        raise invalid(
            f"JSON Value: When method is {verb}, key 'examples' is expected and was not found"
        )
    if not isinstance(examples, list):
        raise invalid("JSON Value: Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid("JSON Value: 'examples' value is an empty array")
    for example in (context, *examples):
        if not isinstance(example, dict):
            raise invalid(f"Example must be JSON object but got {tensors.quoted(example)}")
    examples = [{**context, **example} for example in examples]
    if signature.method == method and make_example is not None:
        serialized = np.empty(len(examples), object)
        serialized[:] = [make_example(example) for example in examples]
        inputs = dict.fromkeys(signature.inputs, serialized)
    elif output in signature.outputs:
        inputs = _rows(examples, signature)
    else:
        raise invalid(
            f"Expected {verb} signature method_name to be {method}. Was: {signature.method}"
        )

    def encode(outputs: Arrays):
        return JSON, dumps({"results": results(verb, outputs, labels)})

    return call(signature, inputs, encode)


def results(verb: str, outputs: Arrays, labels: Sequence[str]) -> list:
    """What `classify` or `regress` answers: per example pairs of label and score, or a number.

    Raises:
        Refused: the outputs of the signature are of another shape.
    """
    if verb == "classify":
        scores = outputs.get("scores", outputs.get("probabilities"))
        classes = outputs.get("classes")
        if scores is None and classes is not None:
            scores = np.zeros(classes.shape, np.float32)
        if scores is None or scores.ndim != 2:
            raise Refused("FAILED_PRECONDITION", "the signature has no scores of classes")
        named: Any = [list(labels)] * len(scores)
        if classes is not None:
            named = tensors.jsonable(classes, "classes")
        elif len(labels) != (count := np.size(scores, 1)):
            named = [list(map(str, range(count)))] * len(scores)
        said = tensors.jsonable(scores, "scores")
        return [
            [[label, score] for label, score in zip(row, its_scores, strict=True)]
            for row, its_scores in zip(named, said, strict=True)
        ]
    values = outputs.get("outputs", outputs.get("prediction"))
    if values is None or values.size != (len(values) if values.ndim else -1):
        raise Refused("FAILED_PRECONDITION", "the signature has no number for each example")
    return tensors.jsonable(values.reshape(-1), "prediction")
