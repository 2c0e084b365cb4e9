"""A request of any protocol as a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from kapps.serving.server.protocols import grpc_messages, rest_v1, rest_v2, tensors
from kapps.serving.server.protocols.calls import Call
from kapps.serving.server.protocols.tensors import Signature
from kapps.serving.server.refusals import invalid


def read(
    head: dict[str, Any],
    body: bytes,
    signatures: Mapping[str, Signature],
    labels: Sequence[str],
) -> Call:
    """Reads a request.

    Args:
        head: "protocol", and what the protocol needs beside the body.
        body: of the request.
        signatures: of the model, by name.
        labels: of its classes.

    Raises:
        Refused: it is not as the protocol or the signature has it.
    """
    if head["protocol"] == "v1":
        return rest_v1.read(head["verb"], body, signatures, labels, example)
    if head["protocol"] == "v2":
        return rest_v2.read(head, body, signatures)
    return grpc_messages.read(head, body, signatures, labels)


def example(features: dict[str, Any]) -> bytes:
    """A `tf.train.Example` of the features of a request.

    Raises:
        Refused: a value is no number, text or list of these.
    """
    made = tf.train.Example()
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        feature = made.features.feature[name]
        try:
            if all(isinstance(v, int) for v in values):
                feature.int64_list.value.extend(int(v) for v in values)
            elif all(isinstance(v, int | float) for v in values):
                feature.float_list.value.extend(float(v) for v in values)
            else:
                feature.bytes_list.value.extend(tensors.to_bytes(v) for v in values)
        except (OverflowError, ValueError) as error:
            raise invalid(f"Feature: {name} has a number that is too large") from error
    return made.SerializeToString()
