"""A request that has been read: which signature, with which arrays, and how the answer is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kapps.serving.server.protocols.tensors import Signature, check_shape
from kapps.serving.server.refusals import invalid

Arrays = Mapping[str, np.ndarray]
JSON = {"type": "application/json"}


@dataclass(frozen=True)
class Call:
    """A call of a signature.

    Attributes:
        signature: what is called.
        inputs: arrays by name, each of the type and shape that the signature has.
        encode: outputs by name -> head and bytes of the answer.
        rows: how many examples, where requests of this signature may be put together; or None.
    """

    signature: Signature
    inputs: Arrays
    encode: Callable[[Arrays], tuple[dict[str, Any], bytes]]
    rows: int | None


def call(
    signature: Signature,
    inputs: Arrays,
    encode: Callable[[Arrays], tuple[dict[str, Any], bytes]],
) -> Call:
    """A call whose inputs have been checked.

    Raises:
        Refused: an input is missing, not known or of another shape, or they count differently many
            examples.
    """
    if inputs.keys() != signature.inputs.keys():
        raise invalid(
            f"inputs are {', '.join(sorted(inputs))}, but signature {signature.name} takes "
            f"{', '.join(sorted(signature.inputs))}"
        )
    for name, spec in signature.inputs.items():
        check_shape(inputs[name], name, spec)
    if not signature.batchable:
        return Call(signature, inputs, encode, None)
    counts = {len(array) for array in inputs.values()}
    if len(counts) > 1:
        raise invalid(f"inputs have {sorted(counts)} rows; as many of each are needed")
    return Call(signature, inputs, encode, counts.pop())
