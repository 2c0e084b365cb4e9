"""Requests through the signatures of a loaded model, in batches where they may be put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from kapps.serving.server.protocols.calls import Arrays, Call
from kapps.serving.server.refusals import NAMES, Refused
from kapps.serving.server.work.engines import Function

Answer = tuple[dict[str, Any], bytes]
# How lines begin that say where an error came up, not what it is.
_NOISE = (
    "Graph execution error",
    "Detected at node",
    "<stack traces",
    "File ",
    "[[",
    "Stack trace",
)
Read = Callable[[dict[str, Any], bytes], Call]


def run(
    parts: Sequence[tuple[dict[str, Any], bytes]],
    read: Read,
    functions: dict[str, Function],
    together: int,
) -> Iterator[tuple[list[int], list[Answer] | None]]:
    """Answers requests.

    Args:
        parts: head and body of each request.
        read: makes a call of them.
        functions: by the signature's name, arrays by name -> arrays by name.
        together: most examples in one call of a function.

    Yields:
        The numbers of some requests with their answers; and before that, where not all of the
        requests are computed together, with None, so that whoever listens knows which of them a
        process died of.
    """
    calls: dict[int, Call] = {}
    for number, (head, body) in enumerate(parts):
        try:
            calls[number] = read(head, body)
        except Refused as refused:
            yield [number], [refusal(refused)]
        except MemoryError:
            yield [number], [refusal(Refused("RESOURCE_EXHAUSTED", "not enough memory"))]
        except Exception as error:  # a fault of the reader costs this request, not the worker
            yield [number], [refusal(_fault(error))]
    groups = list(_groups(calls, together))
    for numbers in groups:
        if len(groups) > 1:
            yield numbers, None
        group = [calls[number] for number in numbers]
        answers = _answers(group, functions, together)
        yield numbers, answers


def refusal(refused: Refused) -> Answer:
    """The answer that says why there is none."""
    return {"code": refused.code, "status": refused.status}, refused.message.encode(
        "utf-8", "replace"
    )


def _groups(calls: dict[int, Call], together: int) -> Iterator[list[int]]:
    """Calls of one signature with rows of one shape, in the order in which the first came."""
    groups: dict[Any, list[int]] = {}
    rows: dict[Any, int] = {}
    for number, call in calls.items():
        key: Any = number
        if call.rows is not None:
            shapes = (call.inputs[name].shape[1:] for name in call.signature.inputs)
            key = (call.signature.name, *shapes)
            if key in groups and rows[key] + call.rows > together:
                yield groups.pop(key)
                rows.pop(key)
        groups.setdefault(key, []).append(number)
        rows[key] = rows.get(key, 0) + (call.rows or 0)
    yield from groups.values()


def _answers(group: list[Call], functions: dict[str, Function], together: int) -> list[Answer]:
    try:
        outputs = _outputs(group, functions, together)
    except Refused as refused:
        if len(group) == 1:
            return [refusal(refused)]
        # One of them is at fault, and the message has to be about that one.
        return [answer for call in group for answer in _answers([call], functions, together)]
    return [_encoded(call, said) for call, said in zip(group, outputs, strict=True)]


def _encoded(call: Call, outputs: Arrays) -> Answer:
    try:
        return call.encode(outputs)
    except Refused as refused:
        return refusal(refused)
    except MemoryError:
        return refusal(Refused("RESOURCE_EXHAUSTED", "not enough memory for the answer"))
    except Exception as error:
        return refusal(_fault(error))


def _fault(error: Exception) -> Refused:
    return Refused("INTERNAL", f"{type(error).__name__}: {error}")


def _outputs(group: list[Call], functions: dict[str, Function], together: int) -> list[Arrays]:
    first = group[0]
    function = functions[first.signature.name]
    if first.rows is None:
        return [_called(function, first.inputs)]
    counts = [call.rows or 0 for call in group]
    inputs = first.inputs
    if len(group) > 1:
        inputs = {n: np.concatenate([call.inputs[n] for call in group]) for n in first.inputs}
    # Many examples are computed part by part: memory has to do for `together` of them only.
    starts = range(0, max(sum(counts), 1), together)
    parts = [
        _called(function, {n: array[start : start + together] for n, array in inputs.items()})
        for start in starts
    ]
    outputs = parts[0]
    if len(parts) > 1:
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in outputs}
    if len(group) == 1:
        return [outputs]
    ends = np.cumsum(counts)
    return [
        {name: array[end - count : end] for name, array in outputs.items()}
        for count, end in zip(counts, ends, strict=True)
    ]


def _called(function: Function, inputs: Arrays) -> dict[str, np.ndarray]:
    try:
        return function(inputs)
    except tf.errors.OpError as error:
        code = NAMES.get(error.error_code, "UNKNOWN")
        raise Refused(code, _first_line(error.message)) from error
    except (ValueError, TypeError) as error:
        raise Refused("INVALID_ARGUMENT", _first_line(str(error))) from error
    except MemoryError as error:
        raise Refused("RESOURCE_EXHAUSTED", "not enough memory for this request") from error


def _first_line(message: str) -> str:
    """What is wrong, without the nodes and the source lines that the error went through."""
    for line in message.splitlines():
        text = line.partition(" [Op:")[0].strip()
        if text and not text.startswith(_NOISE):
            # What tf.debugging asserts comes as [message:] [value] [value] ...
            said = text.removeprefix("assertion failed: [")
            return text if said == text else said.partition("] [")[0].rstrip("]").rstrip(":")
    return "the model refuses the request"
