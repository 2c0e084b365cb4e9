"""Recurrent networks: simple cells, LSTM and GRU.

Series are [batch, steps, features], those of unequal lengths padded with NaN
(`kapps.models.padding`).
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from kapps.errors import UserError
from kapps.layers import GRU, LSTM
from kapps.models import arguments, padding

# Recurrent kernels are orthogonal, forget gates open (bias 1; Jozefowicz 2015): Keras' defaults,
# written down because everything here depends on them.
CELLS = {
    "simple": (keras.layers.SimpleRNN, {}),
    "lstm": (LSTM, {"unit_forget_bias": True}),
    "gru": (GRU, {}),
}
STATES = {"simple": 1, "lstm": 2, "gru": 1}  # vectors that a layer hands on from step to step
POOLINGS = ("last", "mean", "max")
KEEPING = {"lstm": (4, 1, 0), "gru": (3, 0, None)}  # gates, the one that keeps, its opposite


@keras.saving.register_keras_serializable("kapps")
class Chrono(keras.initializers.Initializer):
    """Biases of gates that keep a state for 1 to `memory` steps (arXiv:1804.11188, equation 16).

    The gate that keeps begins at log u, u uniform from 1 to memory - 1; the one that lets in, of
    an LSTM, at the opposite. All else begins at 0.
    """

    def __init__(self, cell: str, memory: int):
        self.cell, self.memory = cell, memory

    def __call__(self, shape, dtype=None):
        """[gates * units], or [2, gates * units], whose second row is a GRU's recurrent bias."""
        gates, keeps, opposite = KEEPING[self.cell]
        units = shape[-1] // gates
        drawn = keras.random.uniform((units,), 1.0, self.memory - 1.0)
        biases = [keras.ops.zeros((units,)) for _ in range(gates)]
        biases[keeps] = keras.ops.log(drawn)
        if opposite is not None:
            biases[opposite] = -biases[keeps]
        row = keras.ops.concatenate(biases)
        if len(shape) == 2:
            row = keras.ops.stack([row, keras.ops.zeros_like(row)])
        return keras.ops.cast(row, dtype or "float32")

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {"cell": self.cell, "memory": self.memory}


def rnn(
    features: int,
    outputs: int,
    *,
    cell: str = "gru",
    units: int | Sequence[int] = 64,
    activation: str = "tanh",
    bidirectional: bool = False,
    residual: bool = False,
    projection: int = 0,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    frame: int = 1,
    pooling: str = "last",
    return_sequences: bool = False,
    carry_state: bool = False,
    embedding: int = 0,
    feature_mean: float | Sequence[float] = 0.0,
    feature_std: float | Sequence[float] = 1.0,
    per_series: bool = False,
    memory: int = 0,
    output_mean: float = 0.0,
    output_std: float = 1.0,
    name: str = "rnn",
) -> keras.Model:
    """A stack of recurrent layers and a linear one: a vector for each series, or for each step.

    Padding does not change any answer: of a layer that runs forwards the last valid step is read,
    and one that runs backwards begins at it.

    Args:
        features: values per step; with `embedding`, the number of symbols.
        outputs: logits of as many classes, or numbers to predict.
        cell: "simple", "lstm" (Hochreiter and Schmidhuber 1997; Gers 2000) or "gru"
            (arXiv:1406.1078, the variant that cuDNN has).
        units: of each layer.
        activation: "tanh", or "relu" for the simple cell alone: an IRNN, whose recurrent kernel
            begins as the identity and whose input kernel is small (arXiv:1504.00941, section 3).
        bidirectional: a second layer of the same width runs backwards beside each.
        residual: `layer(x)` becomes `x + LayerNormalization(layer(x))`; where the widths differ, x
            goes through a linear layer first.
        projection: width of a linear layer after each recurrent one (and direction); 0 has none.
        dropout: rate on the inputs of each layer, with one mask for all steps of a series
            (variational dropout, arXiv:1512.05287), and on those of the last layer.
        recurrent_dropout: the same, on the state that a layer hands on to its next step.
        frame: consecutive steps that are joined into one before the first layer.
        pooling: what of the steps goes into the vector: the "last" valid one, or "mean" or "max".
        return_sequences: an output for each step instead; those of padded steps are 0.
        carry_state: the model also takes the states of its layers, and returns them as they are
            after the last step. Its series have no padding.
        embedding: the input is int32 symbols "tokens" [batch, steps], each of which becomes a
            learned vector of that length; 0 is none.
        feature_mean: of the training split, one number or one per feature.
        feature_std: the same, positive.
        per_series: bring each series to mean 0 and deviation 1 first.
        memory: steps over which the gates of an LSTM or GRU begin with keeping what is there:
            their biases begin at log u, u uniform from 1 to memory - 1 (chrono initialization,
            arXiv:1804.11188, equation 16). With Keras' defaults, which 0 keeps, the gradient has
            vanished after some fifty steps.
        output_mean: of the numbers to predict, over the training split; 0 for logits.
        output_std: the same; the last layer's outputs are multiplied by it, then shifted.
        name: of the model.

    Returns:
        A functional model: "sequence" float32 [batch, steps, features] -> "logits"
        [batch, outputs], or [batch, steps, outputs] with `return_sequences`. With `carry_state`,
        [sequence, *states] -> [logits, *states]: for each layer a state [batch, units], for an
        LSTM two (output and cell).

    Raises:
        UserError: an argument is out of its range, or does not go with another.
    """
    units = arguments.integers("units", units)
    if not units:
        raise UserError("units is empty: at least one recurrent layer is needed.")
    arguments.one_of("cell", cell, tuple(CELLS))
    arguments.one_of("activation", activation, ("tanh", "relu"))
    arguments.one_of("pooling", pooling, POOLINGS)
    arguments.integer("outputs", outputs)
    arguments.integer("frame", frame)
    if arguments.integer("memory", memory, minimum=0) and (cell == "simple" or memory < 3):
        raise UserError(f"memory {memory}: it is 3 steps or more, of the gates of LSTM and GRU.")
    for what, value in (("projection", projection), ("embedding", embedding)):
        arguments.integer(what, value, minimum=0)
    for what, value in (("dropout", dropout), ("recurrent_dropout", recurrent_dropout)):
        arguments.rate(what, value)
    if activation == "relu" and cell != "simple":
        raise UserError(f"activation relu is for the simple cell: the gates of {cell} need tanh.")
    _refuse_contradictions(bidirectional, return_sequences, carry_state, frame, embedding)

    lengths = None
    if embedding:
        arguments.integer("features", features)
        sequence = keras.Input((None,), name="tokens", dtype="int32")
        x = keras.layers.Embedding(features, embedding, name="embedding")(sequence)
    else:
        sequence, x, lengths = padding.sequence_input(
            features, feature_mean, feature_std, per_series
        )
    if frame > 1:
        x, lengths = padding.Frames(frame, name="frames")(x, lengths)

    def recurrent(n, part):
        kind, arguments_ = CELLS[cell]
        starts = {"recurrent_initializer": "orthogonal"}
        if activation == "relu":
            starts = {
                "recurrent_initializer": keras.initializers.Identity(),
                "kernel_initializer": keras.initializers.RandomNormal(stddev=0.001),
            }
        if memory:
            starts["bias_initializer"] = Chrono(cell, memory)
            arguments_ = {}
            if cell == "lstm":
                arguments_["unit_forget_bias"] = False  # ours are set by the initializer
        return kind(
            n,
            activation=activation,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            return_sequences=True,
            return_state=carry_state,
            name=part,
            **arguments_,
            **starts,
        )

    def projected(y, part):
        return keras.layers.Dense(projection, name=part)(y) if projection else y

    states, left = [], []
    for i, n in enumerate(units, start=1):
        below = x
        if carry_state:
            given = [keras.Input((n,), name=f"state{len(states) + j}") for j in range(STATES[cell])]
            x, *after = recurrent(n, f"{cell}{i}")(x, initial_state=given)
            states += given
            left += after
        else:
            x = recurrent(n, f"{cell}{i}")(x)
        x = projected(x, f"projection{i}")
        if bidirectional:
            y = padding.TurnSteps(name=f"turn{i}")(below, lengths)
            y = projected(recurrent(n, f"{cell}{i}_backwards")(y), f"projection{i}_backwards")
            y = padding.TurnSteps(name=f"turn{i}_back")(y, lengths)
            x = keras.layers.Concatenate(name=f"concat{i}")([x, y])
        if residual:
            x = _residual(below, x, i)

    if not return_sequences:
        backwards = x.shape[-1] // 2 if bidirectional else 0
        x = padding.ReadOut(pooling, backwards, name="read_out")(x, lengths)
    if dropout:  # the same for every step here, too
        shape = (None, 1, None) if return_sequences else None
        x = keras.layers.Dropout(dropout, noise_shape=shape, name="dropout")(x)
    x = keras.layers.Dense(outputs, dtype="float32", name="logits")(x)
    if (output_mean, output_std) != (0.0, 1.0):
        scale = keras.layers.Rescaling(output_std, output_mean, dtype="float32", name="numbers")
        x = scale(x)
    if return_sequences and lengths is not None and not carry_state:
        x = padding.ZeroPadding(dtype="float32", name="zero_padding")(x, lengths)
    if carry_state:
        return keras.Model([sequence, *states], [x, *left], name=name)
    return keras.Model(sequence, x, name=name)


def _residual(x, y, i):
    """The sum of x, made as wide as y, and LayerNormalization(y)."""
    if x.shape[-1] != y.shape[-1]:
        x = keras.layers.Dense(y.shape[-1], use_bias=False, name=f"shortcut{i}")(x)
    y = keras.layers.LayerNormalization(name=f"norm{i}")(y)
    return keras.layers.Add(name=f"add{i}")([x, y])


def _refuse_contradictions(bidirectional, return_sequences, carry_state, frame, embedding) -> None:
    if carry_state and bidirectional:
        raise UserError("carry_state: a layer that runs backwards has no state to hand on.")
    if embedding and (bidirectional or not return_sequences):
        raise UserError(
            "embedding: symbols have no padding, so it goes with return_sequences and without "
            "bidirectional."
        )
    if carry_state and not return_sequences:
        raise UserError("carry_state goes with return_sequences.")
    if frame > 1 and (return_sequences or embedding):
        raise UserError("frame: merging several steps into one leaves no output for each step.")
