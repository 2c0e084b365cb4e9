"""LSTM-FCN and GRU-FCN: a recurrent layer beside a convolutional network."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from kapps.blocks import BATCH_NORMALIZATION_MOMENTUM
from kapps.layers import BatchNormalization
from kapps.models import arguments, padding
from kapps.models.recurrent import CELLS

FCN = ((128, 8), (256, 5), (128, 3))  # filters and kernel of each convolution


def rnn_fcn(
    features: int,
    outputs: int,
    *,
    cell: str = "lstm",
    units: int = 8,
    dropout: float = 0.8,
    shuffle_steps: int = 0,
    feature_mean: float | Sequence[float] = 0.0,
    feature_std: float | Sequence[float] = 1.0,
    per_series: bool = False,
    name: str = "rnn_fcn",
) -> keras.Model:
    """LSTM-FCN or GRU-FCN: a recurrent layer beside three convolutions over time.

    The convolutions have 128, 256 and 128 filters over 8, 5 and 3 steps, batch normalization and
    ReLU, and are averaged over the valid steps; the recurrent layer's last valid step goes through
    `dropout`; both together go into the linear layer. LSTM-FCN: arXiv:1709.05206, section III;
    GRU-FCN: arXiv:1812.07683. Padding counts in none of it, the statistics included.

    Args:
        features: values per step.
        outputs: logits of as many classes.
        cell: "lstm", "gru" or "simple".
        units: of the recurrent layer; the papers choose 8, 64 or 128.
        dropout: part of the recurrent features that is dropped while training.
        shuffle_steps: with the papers' "dimension shuffle" the recurrent layer sees one step per
            feature, whose values are all steps of the series: the longest series there may be
            (what is beyond is not seen by it). 0: it runs along the series.
        feature_mean: of the training split, one number or one per feature.
        feature_std: the same, positive.
        per_series: bring each series to mean 0 and deviation 1 first.
        name: of the model.

    Returns:
        A functional model: "sequence" float32 [batch, steps, features] -> "logits"
        [batch, outputs].

    Raises:
        UserError: an argument is out of its range.
    """
    arguments.one_of("cell", cell, tuple(CELLS))
    arguments.integer("units", units)
    arguments.integer("outputs", outputs)
    arguments.integer("shuffle_steps", shuffle_steps, minimum=0)
    arguments.rate("dropout", dropout)
    sequence, x, lengths = padding.sequence_input(features, feature_mean, feature_std, per_series)
    kind, further = CELLS[cell]
    layer = kind(units, return_sequences=not shuffle_steps, name=cell, **further)
    if shuffle_steps:
        shuffled = padding.ZeroPadding(shuffle_steps, name="all_steps")(x, lengths)
        memory = layer(keras.layers.Permute((2, 1), name="shuffle")(shuffled))
    else:
        memory = padding.ReadOut(name="last_step")(layer(x), lengths)
    if dropout:
        memory = keras.layers.Dropout(dropout, name="dropout")(memory)

    valid = padding.ValidMask(name="valid")(x, lengths)
    for i, (filters, kernel_size) in enumerate(FCN, start=1):
        x = keras.layers.Conv1D(
            filters,
            kernel_size,
            padding="same",
            use_bias=False,
            kernel_initializer="he_uniform",
            name=f"conv{i}",
        )(x)
        normalize = BatchNormalization(momentum=BATCH_NORMALIZATION_MOMENTUM, name=f"conv{i}_bn")
        x = normalize(x, mask=valid)
        x = keras.layers.Activation("relu", name=f"conv{i}_relu")(x)
        x = padding.ZeroPadding(name=f"conv{i}_valid")(x, lengths)
    x = padding.ReadOut("mean", name="global_pool")(x, lengths)
    x = keras.layers.Concatenate(name="concat")([memory, x])
    logits = keras.layers.Dense(outputs, dtype="float32", name="logits")(x)
    return keras.Model(sequence, logits, name=name)
