"""What a model costs: multiply-adds of one forward pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from kapps.errors import UserError
from kapps.layers import SpectralNormalization

_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_RECURRENT = (keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU)
_NOT_COUNTED = (
    keras.layers.Attention,
    keras.layers.AdditiveAttention,
    keras.layers.GroupQueryAttention,
    keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D,
)


def size(model: keras.Model) -> str:
    """Parameters and multiply-adds of one forward pass, in words."""
    return f"{model.count_params():,} parameters, {multiply_adds(model) / 1e6:.1f} M multiply-adds"


def trainable_parameters(model: keras.Model) -> int:
    """How many numbers training moves; averages and other statistics are not among them."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def multiply_adds(model: keras.Model, steps: int = 1) -> int:
    """Multiply-adds of the layers with kernels, and of attention, for one example.

    Every kernel entry is used once per output position (per input position for transposed
    convolutions, per step for recurrent layers). Counted are dense and einsum-dense layers,
    convolutions of every kind, simple RNN, LSTM and GRU, and multi-head attention with the products
    of queries, keys and values. Left out, as papers do: normalizations, activations, pooling,
    embeddings, additions of biases, and what layers other than Keras' and kapps' compute.

    Args:
        model: built, with known sides of images.
        steps: what stands for sizes that the model leaves open, such as the length of series.

    Raises:
        UserError: a layer of Keras that multiplies in a way that is not counted: other attention,
            convolutional LSTMs, recurrent layers of cells of one's own.
    """
    layers = list(model._flatten_layers(include_self=False, recursive=True))
    once = sum(
        _of_layer(layer, node.input_tensors, node.output_tensors, steps)
        for layer in layers
        for node in getattr(layer, "_inbound_nodes", ())
    )
    # A model inside that is called again does not call its layers anew.
    nested = [layer for layer in layers if isinstance(layer, keras.Model)]
    called = [
        node.operation
        for outer in (model, *nested)
        for nodes in getattr(outer, "_nodes_by_depth", {}).values()
        for node in nodes
    ]
    again = [(each, sum(each is operation for operation in called) - 1) for each in nested]
    return once + sum(times * multiply_adds(each, steps) for each, times in again if times > 0)


def _of_layer(layer: Any, inputs: Sequence[Any], outputs: Sequence[Any], steps: int) -> int:
    """One call of a layer; 0 of a model, whose layers have calls of their own."""
    if isinstance(layer, _NOT_COUNTED) or type(layer) is keras.layers.RNN:
        raise UserError(
            f"the multiply-adds of {layer.name} are not counted: {type(layer).__name__} is a layer "
            "that kapps has no formula for"
        )
    if isinstance(layer, keras.layers.TimeDistributed | SpectralNormalization):
        return _of_layer(layer.layer, inputs, outputs, steps)
    if isinstance(layer, keras.layers.Bidirectional):
        directions = layer.forward_layer, layer.backward_layer
        return sum(_of_layer(one, inputs, outputs, steps) for one in directions)
    if isinstance(layer, keras.layers.MultiHeadAttention):
        return _of_attention(layer, steps)
    if isinstance(layer, _RECURRENT):
        kernels = (layer.cell.kernel, layer.cell.recurrent_kernel)
        return _sizes(inputs[0].shape[1:2], steps) * sum(math.prod(k.shape) for k in kernels)
    if isinstance(layer, keras.layers.EinsumDense):
        return _of_einsum(layer, inputs[0].shape, steps)
    places = inputs if isinstance(layer, _TRANSPOSED) else outputs
    if isinstance(layer, _SEPARABLE):
        kernels = layer.depthwise_kernel, layer.pointwise_kernel
    else:
        kernel = getattr(layer, "kernel", None)
        kernels = () if kernel is None else (kernel,)
    if not kernels or isinstance(layer, keras.Model) or not places:
        return 0
    shape = places[0].shape
    channels_first = getattr(layer, "data_format", None) == "channels_first"
    positions = _sizes(shape[2:] if channels_first else shape[1:-1], steps)
    return positions * sum(math.prod(kernel.shape) for kernel in kernels)


def _of_attention(layer: keras.layers.MultiHeadAttention, steps: int) -> int:
    """Four projections, the scores of every query and key, and the sums of values they weigh."""
    shapes = layer.get_build_config()["shapes_dict"]
    queries, keys = (_sizes(shapes[f"{name}_shape"][1:-1], steps) for name in ("query", "value"))
    query, key, value, output = (
        math.prod(dense.kernel.shape)
        for dense in (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense)
    )
    products = queries * keys * layer.num_heads * (layer.key_dim + layer.value_dim)
    return queries * (query + output) + keys * (key + value) + products


def _of_einsum(layer: keras.layers.EinsumDense, shape: tuple[int | None, ...], steps: int) -> int:
    """The product of the sizes of all indices of the equation but the batch's."""
    given, _ = layer.equation.replace(" ", "").split("->")
    given, of_kernel = given.split(",")
    more = len(shape) - len(given.replace("...", ""))
    given = given.replace(
        "...", "".join(map(chr, range(0x3B1, 0x3B1 + more)))
    )  # letters: alpha ...
    sizes = dict(zip(given, shape, strict=True))
    sizes |= dict(zip(of_kernel.replace("...", ""), layer.kernel.shape, strict=True))
    del sizes[given[0]]
    return _sizes(tuple(sizes.values()), steps)


def _sizes(shape: Sequence[int | None], steps: int) -> int:
    return math.prod(steps if side is None else side for side in shape)
