"""Truncated back-propagation through time, on streams that go on from batch to batch.

BPTT(k2; k1) of Williams and Peng (1990): every k1 steps, the error of these steps is propagated
back through the last k2. Row i of a batch continues row i of the batch before (a lane); what the
network remembers is carried in weights of the model that no gradient moves, so that a checkpoint
carries it, too. Training and validation each have a memory of their own.

A step sees a window of k2 steps, which begins with the state that was kept of that moment:

    k1 = k2       | new                 |      the state at the end is kept
    k2 > k1       | seen before | new   |      the state k1 steps into the window is kept
    k2 < k1       | new | new           |      only the last k2 steps have a gradient

Steps that were seen before are computed again, with the weights as they are now; the original
algorithm keeps the activations of the older weights. The two agree in the limit of a small step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kapps import replicas
from kapps.errors import UserError
from kapps.models import arguments, objectives
from kapps.models.resting_cells import cells_at_rest

LOSSES = ("cross_entropy", "squared_error")


@keras.saving.register_keras_serializable("kapps")
class TruncatedBPTT(keras.Model):
    """A recurrent network trained on streams: a sequence from its beginning -> an output per step.

    A batch of a stream is a mapping:

        x       k1 steps of input, [lanes, k1] int32 or [lanes, k1, features]
        y       their targets: numbers of classes [lanes, k1], or [lanes, k1, outputs] (one-hot or
                a distribution over the classes; for "squared_error" the numbers to predict)
        lane    int32 [lanes], which lane each row continues
        first   int32 [lanes], 1: the row begins a stream, what came before is forgotten; or 0
        weight  float32 [lanes, k1] or [lanes], how much each step counts; optional

    A pair (x, y), or (x, y, weight), stands for streams that are one batch long. Validation takes
    batches of any length and of up to `validation_lanes` rows. Metrics: `loss` per step, and for
    "cross_entropy" (in nats) also `bits_per_character` and `accuracy`. Regularizers of the network
    are part of what a step minimizes, and not of `loss`.

    On several replicas each moves the lanes whose rows it got, and all remember all lanes. The
    network's layers draw a dropout mask per call, which is one per piece of a window (`unroll`);
    after `training.patch_for_replicas` each replica draws its own.

    Args:
        network: [x, *states] -> [outputs, *states], as `rnn(..., carry_state=True)` builds it.
        k1: steps between updates: the length of a training batch.
        k2: steps through which an error is propagated back; default: k1.
        lanes: rows of a training batch, over all replicas.
        validation_lanes: most rows of a validation batch.
        loss: "cross_entropy" or "squared_error".
        clip: highest global norm of the gradient, summed over replicas; 0 is off.
        vocabulary: the character of each class, for `Generator`; "" if they are none.

    Raises:
        UserError: an argument is out of its range, or the network does not carry its state.
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        k1: int,
        k2: int | None = None,
        lanes: int,
        validation_lanes: int = 1,
        loss: str = "cross_entropy",
        clip: float = 0.0,
        vocabulary: str = "",
        name: str = "truncated_bptt",
        **kwargs: Any,
    ):
        k1 = arguments.integer("k1", k1)
        k2 = k1 if k2 is None else arguments.integer("k2", k2)
        for what, value in (("lanes", lanes), ("validation_lanes", validation_lanes)):
            arguments.integer(what, value)
        arguments.one_of("loss", loss, LOSSES)
        if not (clip >= 0 and math.isfinite(clip)):
            raise UserError(f"clip {clip}: it must be 0 or more")
        if len(network.inputs) < 2 or len(network.inputs) != len(network.outputs):
            raise UserError(
                "the network must take its states after its input, and return them after its "
                "output: build it with carry_state=True"
            )
        if vocabulary and len(vocabulary) != network.outputs[0].shape[-1]:
            raise UserError(
                f"{len(vocabulary)} characters for {network.outputs[0].shape[-1]} outputs"
            )
        given = network.inputs[0]
        sequence = keras.Input(given.shape[1:], dtype=given.dtype, name=given.name)
        sizes = [state.shape[-1] for state in network.inputs[1:]]
        outputs = network([sequence, *_zeros(sequence, sizes)])[0]
        super().__init__(sequence, outputs, name=name, **kwargs)
        self.network = network
        self.settings = {
            "k1": k1,
            "k2": k2,
            "lanes": lanes,
            "validation_lanes": validation_lanes,
            "loss": loss,
            "clip": clip,
            "vocabulary": vocabulary,
        }
        self.vocabulary = vocabulary
        past = (max(0, k2 - k1), *given.shape[2:])
        self.memory = Memory(lanes, sizes, past, given.dtype, name="memory")
        self.validation_memory = Memory(validation_lanes, sizes, name="validation_memory")
        # Before 3.15, Keras leaves layers that are attributes out of the variables of a functional
        # model, hence out of its checkpoints.
        for layer in (self.memory, self.validation_memory):
            if not any(layer is tracked for tracked in self._layers):
                self._layers.append(layer)
        self.trackers = [keras.metrics.Mean("loss")]
        if loss == "cross_entropy":
            self.trackers += [
                keras.metrics.Mean("bits_per_character"),
                keras.metrics.Mean("accuracy"),
            ]

    # What Keras calls ---------------------------------------------------------------------------

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **kwargs: Any) -> None:
        """As Keras' own, of which it takes what concerns the optimizer and the running.

        Raises:
            UserError: a loss or metrics: the model has its own.
        """
        objectives.refuse_loss(
            self,
            {"loss": loss, **kwargs},
            'say loss="cross_entropy" or "squared_error" to the model',
        )
        super().compile(optimizer, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiled as before it was saved."""
        objectives.compile_from_config(self, config)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update, after k1 steps of every lane."""
        batch = self._batch(data)
        self._check_length(batch["x"])

        def objective():
            loss, found, left = self._window_loss(batch, training=True)
            return loss, (found, left)

        found, left = replicas.minimize(
            self.optimizer, objective, self.trainable_variables, self.settings["clip"]
        )
        self.memory.write(batch["lane"], left)
        return self._log(found)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The same figures, without dropout, with a memory apart from that of training."""
        batch = self._batch(data)
        states = self.validation_memory.read(batch["lane"], batch["first"])["states"]
        outputs, *states = self.answer(batch["x"], states)
        self.validation_memory.write(batch["lane"], {"states": states})
        return self._log(self._figures(batch, outputs))

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All that is reported; Keras resets them at the start of every epoch."""
        return self.trackers

    def training_loss(self, data: Any) -> tf.Tensor:
        """What `train_step` minimizes, this replica's part, float32 []; nothing is remembered."""
        return self._window_loss(self._batch(data), training=True)[0]

    def answer(self, x: tf.Tensor, states: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Outputs [batch, steps, outputs] and the states after the last step, float32; no training.

        Args:
            x: [batch, steps, ...].
            states: as they were before the first step; `fresh_states` at a beginning.
        """
        with cells_at_rest(self.network):
            outputs, *states = self.network([tf.convert_to_tensor(x), *states], training=False)
        return [outputs, *(tf.cast(state, tf.float32) for state in states)]

    def fresh_states(self, rows: int | tf.Tensor) -> list[tf.Tensor]:
        """The states at the beginning of a stream, float32 [rows, units] each."""
        return [tf.zeros([rows, state.shape[-1]]) for state in self.network.inputs[1:]]

    # The equations ------------------------------------------------------------------------------

    def unroll(
        self, x: tf.Tensor, remembered: Mapping[str, Any], training: bool = False
    ) -> tuple[tf.Tensor, dict[str, Any]]:
        """Runs the network over one window.

        Args:
            x: the new steps, [batch, k1, ...].
            remembered: as `Memory.read` gives it.
            training: whether layers train.

        Returns:
            The outputs of the new steps, float32 [batch, k1, outputs]; of these, gradients flow
            back through the last k2 steps of the window and no further. And what is to be
            remembered.
        """
        k1, k2 = self.settings["k1"], self.settings["k2"]
        states, seen = [tf.stop_gradient(s) for s in remembered["states"]], max(0, k2 - k1)
        if not seen:
            outputs = []
            for start, end in ((0, k1 - k2), (max(0, k1 - k2), k1)):
                if end > start:
                    states = [tf.stop_gradient(state) for state in states]
                    said, *states = self.network([x[:, start:end], *states], training=training)
                    outputs.append(said)
            return _joined(outputs), {"states": states}

        window = tf.concat([remembered["past"], x], axis=1)
        # Rows that began a stream less than k2 steps ago: the window begins before the stream does.
        missing = seen - remembered["age"]
        outputs, kept = [], states
        for start, end in _segments(k1, k2):
            said, *after = self.network([window[:, start:end], *states], training=training)
            there = (start >= missing)[:, None]
            states = [
                tf.where(there, new, tf.cast(old, new.dtype))
                for new, old in zip(after, states, strict=True)
            ]
            if end == k1:
                kept = states
            if start >= seen:
                outputs.append(said)
        left = {
            "states": kept,
            "past": window[:, k1:],
            "age": tf.minimum(remembered["age"] + k1, seen),
        }
        return _joined(outputs), left

    def _window_loss(self, batch, training):
        remembered = self.memory.read(batch["lane"], batch["first"])
        outputs, left = self.unroll(batch["x"], remembered, training)
        found = self._figures(batch, outputs)
        # An error older than k2 steps is not propagated.
        recent = slice(max(0, self.settings["k1"] - self.settings["k2"]), None)
        weight = found["weight"][:, recent]
        total = tf.reduce_sum(found["loss"][:, recent] * weight)
        total = total / tf.maximum(_over_replicas(tf.reduce_sum(weight)), 1e-9)
        return objectives.with_regularizers(total, self), found, left

    def _figures(self, batch, outputs):
        """Figures of every step, float32 [batch, steps], and their weights."""
        y, outputs = batch["y"], tf.cast(outputs, tf.float32)
        weight = batch.get("weight")
        if self.settings["loss"] == "squared_error":
            loss = tf.reduce_mean(tf.square(outputs - tf.cast(y, tf.float32)), axis=-1)
            found = {"loss": loss}
        else:
            if y.shape.rank == outputs.shape.rank:  # distributions instead of numbers of classes
                loss = -tf.reduce_sum(tf.cast(y, tf.float32) * tf.nn.log_softmax(outputs), axis=-1)
                y = tf.argmax(y, axis=-1)
            else:
                y = y if y.dtype.is_integer else tf.cast(y, tf.int32)
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=outputs)
            right = tf.argmax(outputs, axis=-1) == tf.cast(y, tf.int64)
            found = {
                "loss": loss,
                "bits_per_character": loss / math.log(2.0),
                "accuracy": tf.cast(right, tf.float32),
            }
        if weight is None:
            return found | {"weight": tf.ones_like(loss)}
        weight = tf.cast(weight, tf.float32)
        if weight.shape.rank == 1:  # of a row
            weight = weight[:, None] * tf.ones_like(loss)
        return found | {"weight": weight}

    def _batch(self, data):
        if isinstance(data, Mapping):
            return dict(data)
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        rows = tf.shape(x)[0]
        context = tf.distribute.get_replica_context()
        number = context.replica_id_in_sync_group if context else 0
        return {
            "x": x if x.dtype == self.inputs[0].dtype else tf.cast(x, self.inputs[0].dtype),
            "y": y,
            "lane": tf.range(rows) + rows * number,
            "first": tf.ones([rows], tf.int32),
        } | ({} if weight is None else {"weight": weight})

    def _check_length(self, x):
        if x.shape[1] not in (None, self.settings["k1"]):
            raise UserError(
                f"a training batch has {x.shape[1]} steps, and k1 is {self.settings['k1']}"
            )

    def _log(self, found):
        # Flat: of a matrix Keras would take the mean of each row, whatever its length.
        weight = tf.reshape(found["weight"], [-1])
        for tracker in self.trackers:
            tracker.update_state(tf.reshape(found[tracker.name], [-1]), sample_weight=weight)
        return {tracker.name: tracker.result() for tracker in self.trackers}

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        network = keras.saving.serialize_keras_object(self.network)
        return {"name": self.name, "trainable": self.trainable, "network": network, **self.settings}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> TruncatedBPTT:
        """The model that `get_config` describes."""
        network = keras.saving.deserialize_keras_object(config["network"], custom_objects)
        return cls(**{**config, "network": network})


@keras.saving.register_keras_serializable("kapps")
class Memory(keras.layers.Layer):
    """What is remembered of each lane from one batch to the next: weights that no gradient moves.

    Every replica holds all lanes, and reads and writes by their numbers; so it does not matter how
    a batch is divided, and a checkpoint of one device serves two.

    Args:
        lanes: how many.
        sizes: length of each state vector.
        past: shape of the steps that a window shows again, of one lane; (0,) is none.
        dtype_of_past: their type.
    """

    def __init__(self, lanes, sizes, past=(0,), dtype_of_past="float32", **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.with_past = past[0] > 0

        def weight(shape, dtype, name):
            return self.add_weight(
                shape=(lanes, *shape),
                dtype=dtype,
                initializer="zeros",
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
                name=name,
            )

        self.states = [weight((n,), "float32", f"state{i}") for i, n in enumerate(sizes)]
        if self.with_past:
            self.past = weight(past, dtype_of_past, "past")
            self.age = weight((), "int32", "age")
        self.built = True

    def read(self, lane: tf.Tensor, first: tf.Tensor) -> dict[str, Any]:
        """What is remembered of these lanes: nothing of those whose `first` is not 0.

        Returns:
            `states`, and with a past: `past`, the last steps, and `age`, how many of them the lane
            has seen.
        """

        def rows(weight):
            value = tf.gather(tf.convert_to_tensor(weight.value), lane)
            forget = tf.reshape(tf.cast(first, tf.bool), [-1] + [1] * (len(weight.shape) - 1))
            return tf.where(forget, tf.zeros_like(value), value)

        found = {"states": [rows(state) for state in self.states]}
        return found | ({"past": rows(self.past), "age": rows(self.age)} if self.with_past else {})

    def write(self, lane: tf.Tensor, left: Mapping[str, Any]) -> None:
        """Remember `left`, which has the form of what `read` returns, of these lanes."""
        weights, values = [*self.states], [*left["states"]]
        if self.with_past:
            weights += [self.past, self.age]
            values += [left["past"], left["age"]]
        places = _gathered(lane)[:, None]
        for weight, value in zip(weights, values, strict=True):
            value = _gathered(tf.cast(tf.stop_gradient(value), weight.dtype))
            before = tf.convert_to_tensor(weight.value)
            weight.assign(tf.tensor_scatter_nd_update(before, places, value))


def _segments(k1: int, k2: int) -> list[tuple[int, int]]:
    """A window of k2 > k1 steps in pieces.

    It is cut where a stream may begin in it (whole multiples of k1 before its end), and after k1
    steps, where the next window begins.
    """
    cuts = sorted({0, k1, *range(k2 % k1, k2 + 1, k1)})
    return list(zip(cuts, cuts[1:], strict=False))


def _joined(outputs: list[tf.Tensor]) -> tf.Tensor:
    return outputs[0] if len(outputs) == 1 else tf.concat(outputs, axis=1)


def _zeros(sequence: keras.KerasTensor, sizes: list[int]) -> list[keras.KerasTensor]:
    """States at the beginning of a stream, for as many rows as the sequence has."""
    one = ops.cast(ops.zeros_like(sequence[:, :1]), "float32")
    while len(one.shape) > 2:
        one = one[..., 0]
    return [ops.tile(one, (1, n)) for n in sizes]


def _over_replicas(value: tf.Tensor) -> tf.Tensor:
    """The sum over the replicas."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def _gathered(value: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    # A copy is on this replica's device; what comes from the input pipeline may be on none, and
    # several machines cannot send that.
    return context.all_gather(tf.identity(value), axis=0)
