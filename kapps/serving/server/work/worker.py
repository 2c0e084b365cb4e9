"""What runs in a worker process: one version of one model, asked over a socket.

After "load" it answers with what the version is, or why it cannot be loaded. Then each frame holds
requests, and the answers come as they are ready.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

from kapps.serving.savedmodel import input_statistics, out_of_distribution
from kapps.serving.savedmodel.onnx_files import read_labels
from kapps.serving.savedmodel.warmup import read_warmup, request_to_predict
from kapps.serving.server.protocols import reading, rest_v2
from kapps.serving.server.protocols.tensors import STRING, Signature, Spec
from kapps.serving.server.work import engines, execution, frames


def serve(connection: socket.socket) -> None:
    """Loads what the first frame names, and answers until the connection is closed."""
    _die_first()
    stream = connection.makefile("rb", 2**18)
    asked = frames.receive(stream)
    if asked is None:
        return
    order = asked[0][0]
    try:
        loaded = Loaded(Path(order["directory"]), order["engine"])
        began = time.perf_counter()
        played = loaded.warm_up(order["together"])
        seconds = time.perf_counter() - began
    except Exception as error:  # of whatever kind: the version cannot be served, and this is why
        message = str(error).strip() or type(error).__name__
        connection.sendall(frames.pack([({"error": message[:2000]}, b"")]))
        return
    about = {**loaded.about(), "warm_up_requests": played, "warm_up_seconds": round(seconds, 3)}
    gc.collect()
    gc.freeze()  # the model stays: nothing of it has to be looked through again and again
    connection.sendall(frames.pack([(about, b"")]))
    del asked
    while (parts := frames.receive(stream)) is not None:
        read, parts = loaded.read, [loaded.meant(*part) for part in parts]
        for numbers, answers in execution.run(parts, read, loaded.functions, order["together"]):
            said = [({"started": numbers}, b"")]
            if answers is not None:
                said = [
                    ({**head, "number": number}, body)
                    for number, (head, body) in zip(numbers, answers, strict=True)
                ]
                if seen := loaded.watch.take():
                    said[-1][0]["seen"] = seen
                if scored := loaded.scores.take():
                    said[-1][0]["scored"] = scored
            connection.sendall(frames.pack(said))


class Loaded:
    """A SavedModel in memory.

    Attributes:
        functions: what computes the signatures, by name.
        signatures: what they take and return, by name.
        engines: which runtime that is, where it might be another one than TensorFlow.
        watch: what counts inputs that are unlike those of the training.
        scores: what counts out-of-distribution scores.
    """

    def __init__(self, directory: Path, engine: str):
        self.directory = directory
        self._model = tf.saved_model.load(str(directory))  # holds the variables
        self._definitions = _definitions(directory)
        self.signatures = {
            name: _signature(name, definition)
            for name, definition in self._definitions.items()
            if name in self._model.signatures
        }
        if not self.signatures:
            raise ValueError("the SavedModel has no signatures")
        self.labels = read_labels(directory)
        self._requests = read_warmup(directory)
        self._played: list[frames.Part] = []  # what was answered well in the warm-up
        self._statistics = input_statistics.read(directory)
        self.watch = input_statistics.Watch(self._statistics)
        self._detected = out_of_distribution.read(directory)
        self.scores = out_of_distribution.ScoreWatch(self._detected.get("threshold", np.inf))
        functions = {
            name: engines.tensorflow(self._model.signatures[name]) for name in self.signatures
        }
        self.functions, self.engines = engines.chosen(
            engine, directory, functions, self.signatures, self._requests, self.labels
        )
        if self._detected:
            self.functions = {name: self._scored(f) for name, f in self.functions.items()}

    def meant(self, head: dict[str, Any], body: bytes) -> frames.Part:
        """The request itself; of a turn of the warm-up, what is played in it."""
        if frames.TURN in head and self._played:
            return self._played[head[frames.TURN] % len(self._played)]
        return head, body

    def read(self, head: dict[str, Any], body: bytes):
        """A request as a call."""
        call = reading.read(head, body, self.signatures, self.labels)
        self.watch.see(call.inputs)
        return call

    def _scored(self, function: engines.Function) -> engines.Function:
        """The same function, whose out-of-distribution scores are counted."""

        def ask(inputs: Any) -> dict[str, np.ndarray]:
            said = function(inputs)
            if (scores := said.get(out_of_distribution.OUTPUT)) is not None:
                self.scores.see(scores)
            return said

        return ask

    def warm_up(self, together: int) -> int:
        """Plays the requests that the version brings, or made-up ones; how many.

        They take the way of a client's, so that the first one finds nothing to be done for the
        first time.
        """
        asked = self._requests or list(self._made_up())
        head = {"protocol": "grpc", "method": "Predict", "model": "", "version": 0}
        for name, inputs in asked:
            whole = request_to_predict("", name, inputs)
            refused = self._refused({**head, "signature": name}, whole, together)
            if refused and self._requests:
                raise ValueError(f"warm-up request of {name}: {refused}")
            with contextlib.suppress(KeyError):  # a type that V2 does not have
                self._refused(*rest_v2.request(name, inputs), together)  # by another reader
        self.watch.take()  # those were nobody's
        self.scores.take()
        return len(self._requests)

    def _refused(self, head: dict[str, Any], body: bytes, together: int) -> str:
        """Answers a request; why it is refused, or nothing."""
        words = ""
        for _, answers in execution.run([(head, body)], self.read, self.functions, together):
            for said, text in answers or ():
                words = text.decode() if "code" in said else ""
        if not words:
            self._played.append((head, body))
        return words

    def _made_up(self):
        """A request of zeros to each signature that takes numbers in arrays of known rank."""
        for name, signature in self.signatures.items():
            specs = signature.inputs.values()
            if all(spec.shape is not None and spec.dtype != STRING for spec in specs):
                yield (
                    name,
                    {
                        key: np.zeros([length or 1 for length in spec.shape or ()], spec.dtype)
                        for key, spec in signature.inputs.items()
                    },
                )  # zeros may be no request at all, which is no fault of the version

    def about(self) -> dict[str, Any]:
        """What the server has to know."""
        definitions = self._definitions.items()
        return {
            "signatures": {
                name: _described(definition, self._columns())
                for name, definition in definitions
                if name in self.signatures
            },
            "definitions": {
                name: definition.SerializeToString().hex()
                for name, definition in definitions
                if name in self.signatures
            },
            "labels": self.labels,
            "engines": self.engines,
            "statistics": self._statistics,
            "out_of_distribution": self._detected,
            "played": len(self._played),
        }

    def _columns(self) -> list[str]:
        """The columns of a table in the order that they had in training."""
        try:
            held = json.loads((self.directory / "assets" / "columns.json").read_text("utf-8"))
        except (OSError, ValueError):
            return []
        return list(held) if isinstance(held, dict) else []


def _described(definition: Any, columns: list[str]) -> dict[str, Any]:
    """A signature in JSON: inputs in the order of the columns, all others by name."""
    said = json_format.MessageToDict(
        definition, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    places = {name: place for place, name in enumerate(columns)}
    for side in ("inputs", "outputs"):
        names = sorted(said[side], key=lambda name: (places.get(name, len(places)), name))
        said[side] = {name: said[side][name] for name in names}
    return said


def _definitions(directory: Path) -> dict[str, Any]:
    contents = (directory / "saved_model.pb").read_bytes()
    saved = saved_model_pb2.SavedModel.FromString(contents)
    for graph in saved.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            return dict(sorted(graph.signature_def.items()))
    raise ValueError("the SavedModel has no graph for serving")


def _signature(name: str, definition: Any) -> Signature:
    return Signature(
        name,
        {key: _spec(info) for key, info in sorted(definition.inputs.items())},
        {key: _spec(info) for key, info in sorted(definition.outputs.items())},
        definition.method_name,
    )


def _spec(info: Any) -> Spec:
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if d.size < 0 else d.size for d in info.tensor_shape.dim)
    return Spec(tf.dtypes.as_dtype(info.dtype).name, shape, info.name)


def _die_first() -> None:
    """Where memory runs out, Linux ends a worker, not the server or another program."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")
    with contextlib.suppress(OSError):
        os.nice(1)  # the server takes requests also while models compute
