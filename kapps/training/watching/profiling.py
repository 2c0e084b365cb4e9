"""Where the time of a training step goes, by kind of operation: what `--profile N` measures.

TensorFlow's profiler notes when each operation begins and ends, on which thread. Operations run
side by side, so that their sum exceeds the clock; shares of the sum are what is to be read. What a
step waits for its batch is on the clock.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import re
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from kapps import files
from kapps.training.flags.groups import CommonFlags
from kapps.training.run_directory import run as runs

if TYPE_CHECKING:
    from kapps.training.fitting.phases import Phase

SKIPPED = 5  # steps before it: the first ones are traced and fill caches
WAITING = "IteratorGetNextOp::DoCompute"
COMPILED = "CpuExecutable::ExecuteAsyncOnStream"  # what XLA has made of several operations
# Kind of operation: what its type matches. The first that does; all else is elementwise.
KINDS = {
    "waiting for data": r"^IteratorGetNext",
    "convolution": r"Conv\d|Conv2D|DepthwiseConv",
    "matrix product": r"MatMul|Einsum|Gemm",
    "batch normalization": r"FusedBatchNorm",
    "pooling": r"Pool",
    "recurrent cell": r"LSTM|GRU|BlockLSTM|^While|^StatelessWhile",
    "compiled by XLA": r"^XLA$",
    "reduction": r"^(Sum|Mean|Max|Min|Prod|All|Any|ArgMax|ArgMin|AddN|L2Loss|SquaredNorm)$|Softmax",
    "random numbers": r"Random|Multinomial|Shuffle",
    "cast": r"^Cast$",
    "copying": r"Transpose|Concat|Split|Slice|Pad|Tile|Reshape|Gather|Scatter|Pack|Identity|Fill|"
    r"ZerosLike|OnesLike|BroadcastTo|Where|Select|Reverse|OneHot|Image|Space",
    "weights": r"VariableOp$|^Resource|ReadVariable|Assign",
}
ELEMENTWISE = "elementwise"
_RENAMED = re.compile(r"^_?(Mkl)?(Native)?(Fused(?!BatchNorm))?(OneDnn)?")
_OPTIMIZERS = re.compile(r"(^|/)(\w*(adam|sgd|muon|rmsprop|adadelta)\w*)(_\d+)?/", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Profile:
    """What N steps of a training spent their time on.

    Attributes:
        steps: how many.
        step_milliseconds: a step takes, by the clock; the profiler slows it a little.
        waiting_milliseconds: of these it waits for its batch.
        kinds: milliseconds a step by kind of operation, summed over threads, largest first.
        layers: the same by layer; the optimizer is one of them.
        operations: how many a step runs.
        precision: the number format of the training.
    """

    steps: int
    step_milliseconds: float
    waiting_milliseconds: float
    kinds: Mapping[str, float]
    layers: Mapping[str, float]
    operations: float
    precision: str = "float32"

    @property
    def total(self) -> float:
        """Milliseconds a step of all operations on all threads."""
        return sum(self.kinds.values())


class StepProfile(keras.callbacks.Callback):
    """Profiles some steps of a training and leaves it as it is.

    Args:
        steps: how many; fewer if the training ends before.
        path: JSON file for what was found; None keeps it in memory only.

    Attributes:
        found: the profile, or None as long as there is none.
    """

    def __init__(self, steps: int, path: pathlib.Path | None = None):
        super().__init__()
        self.steps, self.path = steps, path
        self.found: Profile | None = None
        self._seen, self._begun, self._clock = 0, 0, 0.0
        self._directory: tempfile.TemporaryDirectory | None = None

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Begin after the first few steps."""
        if self.found is None and self._directory is None and self._seen >= SKIPPED:
            self._directory = tempfile.TemporaryDirectory()
            tf.profiler.experimental.start(self._directory.name)
            self._begun, self._clock = self._seen, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """End after that many."""
        self._seen += 1
        if self._directory is not None and self._seen - self._begun == self.steps:
            self._stop(self._directory)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """End: validation is another thing."""
        if self._directory is not None:
            self._stop(self._directory)

    def _stop(self, directory: tempfile.TemporaryDirectory) -> None:
        seconds, steps = time.perf_counter() - self._clock, self._seen - self._begun
        tf.profiler.experimental.stop()
        self._directory = None
        with directory as path:
            events = events_of(path)
        names = {layer.name for layer in self.model._flatten_layers()}
        precision = self.model.dtype_policy.name
        self.found = summarize(events, steps, seconds, precision, names=names)
        if self.path is not None:
            files.write_json(self.path, dataclasses.asdict(self.found))

    def get_state(self) -> dict[str, Any]:
        """What was found: a resumed training does not measure again."""
        return {"found": self.found and dataclasses.asdict(self.found)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Back to what was found."""
        self.found = Profile(**state["found"]) if state["found"] else None


def step_profile(config: CommonFlags, run: runs.Run | Phase | None) -> list[StepProfile]:
    """What `--profile` adds to the callbacks of a recipe: one, or none without the flag.

    Args:
        config: a recipe's configuration.
        run: where profile.json goes.
    """
    steps = getattr(config, "profile", 0)
    if not steps:
        return []
    return [StepProfile(steps, run.path / "profile.json" if run else None)]


def events_of(directory: str) -> list[tuple[str, float]]:
    """Name and milliseconds of all that the profiler has noted, of accelerators if there are any.

    Args:
        directory: where the profiler wrote.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (path,) = pathlib.Path(directory).rglob("*.xplane.pb")
    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    return [
        (plane.event_metadata[event.metadata_id].name, event.duration_ps / 1e9)
        for plane in space.planes
        if plane.name.startswith(("/host:CPU", "/device:GPU"))
        for line in plane.lines
        for event in line.events
    ]


def summarize(
    events: Iterable[tuple[str, float]],
    steps: int,
    seconds: float,
    precision: str = "float32",
    *,
    names: Collection[str] = (),
) -> Profile:
    """Sums of events by kind of operation and by layer.

    Operations are called PATH:TYPE, StatefulPartitionedCall/cnn/stage1_conv1/Conv2D:Conv2D for one.

    Args:
        events: name and milliseconds of each.
        steps: in which they were.
        seconds: that these took.
        precision: of the training.
        names: of the model's layers.
    """
    kinds: dict[str, float] = collections.defaultdict(float)
    layers: dict[str, float] = collections.defaultdict(float)
    events, count = list(events), 0
    waiting = sum(milliseconds for name, milliseconds in events if name == WAITING)
    for path, operation, milliseconds in operations(events):
        count += 1
        kinds[kind_of(operation)] += milliseconds
        layers[layer_of(path, names)] += milliseconds
    return Profile(
        steps=steps,
        step_milliseconds=1000.0 * seconds / steps,
        waiting_milliseconds=waiting / steps,
        kinds=_largest_first(kinds, steps),
        layers=_largest_first(layers, steps),
        operations=count / steps,
        precision=precision,
    )


def operations(events: Iterable[tuple[str, float]]) -> Iterator[tuple[str, str, float]]:
    """Path, type and milliseconds of each operation among the events.

    Args:
        events: name and milliseconds of each, of `events_of`.
    """
    for name, milliseconds in events:
        if name == COMPILED:
            yield name, "XLA", milliseconds
            continue
        path, _, kind = name.rpartition(":")
        if not re.fullmatch(r"[\w./\-]+", path) or not re.fullmatch(r"_?[A-Z]\w*", kind):
            continue  # the runtime's own: "EagerLocalExecute: ...", "Iterator::Root"
        if kind.endswith("PartitionedCall") or kind.startswith(("Iterator", "Optional")):
            continue  # what is inside has events of its own
        yield path, kind, milliseconds


def kind_of(operation: str) -> str:
    """The kind, a key of `KINDS` or elementwise, of a type of operation, _MklConv2D for one."""
    plain = _RENAMED.sub("", operation)
    return next((k for k, pattern in KINDS.items() if re.search(pattern, plain)), ELEMENTWISE)


def layer_of(path: str, names: Collection[str] = ()) -> str:
    """Its layer, or "optimizer", "compiled by XLA", or "loss and the rest".

    Args:
        path: of the operation.
        names: of layers; TensorFlow puts a number behind them when they are called again.
    """
    parts = [part for part in path.split("/") if part not in ("StatefulPartitionedCall", "")]
    if path == COMPILED:
        return "compiled by XLA"
    if _OPTIMIZERS.search(path):
        return "optimizer"
    if parts[:1] == ["gradient_tape"]:
        parts = parts[1:]
    # model/layer/.../operation; what has no layer above it is the step's own
    if len(parts) <= 2:
        return "loss and the rest"
    plain = re.sub(r"_\d+$", "", parts[1])
    return plain if parts[1] not in names and plain in names else parts[1]


def _largest_first(sums: Mapping[str, float], steps: int) -> dict[str, float]:
    ordered = sorted(sums.items(), key=lambda item: -item[1])
    return {name: milliseconds / steps for name, milliseconds in ordered}
