"""Recurrent cells that draw nothing where nothing is trained.

Keras' recurrent layers draw a dropout mask at every call and use it in training only. At inference
the draw still changes the state of their seed generators, which an exported model must not do, and
a validation should not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

CELLS = (keras.layers.SimpleRNNCell, keras.layers.LSTMCell, keras.layers.GRUCell)


@contextlib.contextmanager
def cells_at_rest(model: keras.Model) -> Iterator[None]:
    """No dropout in recurrent cells of the model; what is traced meanwhile has none for good."""
    cells = [cell for cell in model._flatten_layers() if isinstance(cell, CELLS)]
    rates = [(cell.dropout, cell.recurrent_dropout) for cell in cells]
    try:
        for cell in cells:
            cell.dropout = cell.recurrent_dropout = 0.0
        yield
    finally:
        for cell, (dropout, recurrent_dropout) in zip(cells, rates, strict=True):
            cell.dropout, cell.recurrent_dropout = dropout, recurrent_dropout
