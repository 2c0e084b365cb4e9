"""Where numbers lie among bins: what a network reads steps and bends from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kapps.models.tables.columns import Columns

_NARROWEST = 1e-5  # of a bin, in deviations: beyond, float32 does not tell its ends apart


@keras.saving.register_keras_serializable("kapps")
class PiecewiseLinear(keras.layers.Layer):
    """Encoded rows float32 [batch, features] -> the same, and what fills the bins of some features.

    A bin with the edges a < b is filled by the value x to `clip((x - a) / (b - a), 0, 1)`: the
    piecewise-linear encoding of arXiv:2203.05556, equation 1. What lies beyond the outermost edges
    the feature itself says, which stays.

    Args:
        columns: (feature, ascending edges) of each feature with bins.
    """

    def __init__(self, columns: Sequence[tuple[int, Sequence[float]]], **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.columns = [(int(feature), list(map(float, edges))) for feature, edges in columns]
        most = max(len(edges) - 1 for _, edges in self.columns)
        self._low = np.zeros((len(self.columns), most), np.float32)
        self._slope = np.zeros((len(self.columns), most), np.float32)
        for i, (_, edges) in enumerate(self.columns):
            self._low[i, : len(edges) - 1] = edges[:-1]
            self._slope[i, : len(edges) - 1] = 1.0 / np.diff(edges)
        self._there = np.flatnonzero(self._slope).astype(np.int32)  # the others have fewer bins

    def call(self, x):
        """The features, and beside them their bins."""
        own = tf.gather(x, [feature for feature, _ in self.columns], axis=-1)
        filled = (own[..., None] - tf.constant(self._low)) * tf.constant(self._slope)
        filled = tf.reshape(tf.clip_by_value(filled, 0.0, 1.0), (-1, self._low.size))
        return tf.concat([x, tf.gather(filled, tf.constant(self._there), axis=-1)], axis=-1)

    def compute_output_shape(self, input_shape):
        """[batch, features and bins]."""
        return (*input_shape[:-1], input_shape[-1] + len(self._there))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "columns": self.columns}


def binned(encoded: Any, encoder: Columns, bins: Mapping[str, Sequence[float]]) -> Any:
    """Encoded rows [batch, features], and beside them the bins of columns of numbers.

    Args:
        encoded: what the encoder says.
        encoder: the layer.
        bins: edges by the column's name, in its own units, ascending.
    """
    columns, feature = [], 0
    for name, facts in encoder.columns.items():
        if name in bins:
            edges = (np.asarray(bins[name], np.float64) - facts["mean"]) / facts["std"]
            kept = edges[:1]
            for edge in edges[1:]:
                if edge - kept[-1] >= _NARROWEST:
                    kept = np.append(kept, edge)
            if len(kept) > 1:
                columns.append((feature, kept.tolist()))
        feature += encoder.size(name)
    return PiecewiseLinear(columns, name="bins")(encoded) if columns else encoded
