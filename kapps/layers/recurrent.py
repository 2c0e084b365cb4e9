"""LSTM and GRU that train quickly on a CPU.

TensorFlow computes some eighty small operations for each step of a series and each layer, forwards
and backwards. Here they are a product of matrices each way and one kernel, compiled by XLA, of all
the rest; two halves of a batch are computed side by side. What the inputs contribute, and the
gradients of the weights, are one product for all steps.
"""

import dataclasses
import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from kapps.layers.on_cpu import gradient_scope, trains_on_cpu

_FIRST = "Recurrent layers of kapps have gradients of first order alone, and not in forward mode."
_MOST_STEPS = 128  # each is in the graph by itself: tracing takes some 10 ms of each


@keras.saving.register_keras_serializable("kapps")
class LSTM(keras.layers.LSTM):
    """`keras.layers.LSTM` that trains quickly on a CPU.

    A step of training is 1 to 1.3 times as fast in float32, 1.4 to 1.7 times in bfloat16
    (`benchmarks/layers.py`); before the first XLA compiles for a third of a second for each size
    of batch and of layer. In bfloat16 only the outputs and the products of matrices are: gates and
    state are float32.

    Longer series, series of no known length, masks, `recurrent_dropout`, `go_backwards`, `unroll`,
    other activations, other devices, predictions, and training that XLA compiles as a whole are
    left to Keras. There are no gradients of second order.
    """

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """As in Keras' layer: last output, outputs [batch, steps, units], [output, state]."""
        if not _pays(self, sequences, initial_state, mask, training):
            return super().inner_loop(sequences, initial_state, mask, training)
        bias = self.cell.bias if self.use_bias else tf.zeros(4 * self.units)
        last, outputs, state = _run(_LSTM, self, sequences, initial_state, bias)
        return last, outputs, [last, state]


@keras.saving.register_keras_serializable("kapps")
class GRU(keras.layers.GRU):
    """`keras.layers.GRU` that trains quickly on a CPU, as `LSTM` does: 1.2 to 1.7 times as fast.

    The variant without `reset_after` is left to Keras, too.
    """

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """As in Keras' layer: last output, outputs [batch, steps, units], [output]."""
        pays = _pays(self, sequences, initial_state, mask, training)
        if not (pays and self.reset_after):
            return super().inner_loop(sequences, initial_state, mask, training)
        both = self.cell.bias if self.use_bias else tf.zeros([2, 3 * self.units])
        of_input, bias = tf.unstack(tf.convert_to_tensor(both))
        (first,) = tf.nest.flatten(initial_state)
        last, outputs, _ = _run(_GRU, self, sequences, (first, first), bias, of_input)
        return last, outputs, [last]


def _pays(layer, sequences, initial_state, mask, training):
    rows = {each.shape[0] for each in (sequences, *tf.nest.flatten(initial_state))}
    return (
        trains_on_cpu(training)
        and mask is None
        and tf.__internal__.get_enclosing_xla_context() is None  # a loop is compiled a lot sooner
        and 1 <= (sequences.shape[1] or 0) <= _MOST_STEPS
        and len(rows) == 1  # Keras' layer takes one state for all rows, too
        and layer.compute_dtype in ("float32", "bfloat16")
        and not (layer.recurrent_dropout or layer.go_backwards or layer.unroll)
        and layer.use_cudnn != True  # noqa: E712 ("auto" is true)
        and type(layer.cell) in (keras.layers.LSTMCell, keras.layers.GRUCell)
        and layer.cell.implementation == 2
        and layer.activation is keras.activations.tanh
        and layer.recurrent_activation is keras.activations.sigmoid
    )


@dataclasses.dataclass(frozen=True)
class _Cell:
    """A kind of cell; everything is [batch, units] and float32 where nothing else is said.

    Attributes:
        gates: how many vectors a step computes of its inputs, and of the output before.
        forward: products with the inputs and with the output before, [batch, gates * units] and in
            the layer's type, bias [gates * units], state -> output in the layer's type, state
            after the step, and four vectors more that `backward` needs.
        backward: gradients of the output, as others have it and as the next step has it, both in
            the layer's type, gradient of the state after the step, state before it, what `forward`
            gave for it -> gradients of the products in the layer's type, one for both if they are
            the same, and of the state before.
    """

    gates: int
    forward: Callable
    backward: Callable

    @functools.cache  # noqa: B019 (there are two, for good)
    def compiled(self, units, dtype):
        """Both functions, compiled for any batch."""

        def compile_(function, *signature):
            signature = [tf.TensorSpec(shape, kind) for *shape, kind in signature]
            options = {"jit_compile": True, "autograph": False, "input_signature": signature}
            return tf.function(function, **options).get_concrete_function()

        wide, state = (None, self.gates * units, dtype), (None, units, tf.float32)
        bias = (self.gates * units, tf.float32)
        output = (None, units, dtype)
        with tf.init_scope():
            return (
                compile_(self.forward, wide, wide, bias, state),
                compile_(self.backward, output, output, *[state] * 6),
            )


def _lstm_forward(of_input, of_output, bias, state):
    """State c' = f c + i g, h = o tanh c' (Gers 2000); i, f, g, o in Keras' order."""
    sums = tf.cast(of_input, tf.float32) + tf.cast(of_output, tf.float32) + bias
    i, f, g, o = tf.split(sums, 4, axis=1)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    after = f * state + i * g
    return tf.cast(o * tf.tanh(after), of_output.dtype), after, i, f, g, o


def _lstm_backward(of_output, of_later, of_state, state, i, f, g, o):
    squashed = tf.tanh(f * state + i * g)
    of_output = tf.cast(of_output, tf.float32) + tf.cast(of_later, tf.float32)
    of_state += of_output * o * (1 - squashed**2)
    of_sums = [
        of_state * g * i * (1 - i),
        of_state * state * f * (1 - f),
        of_state * i * (1 - g**2),
        of_output * squashed * o * (1 - o),
    ]
    return tf.cast(tf.concat(of_sums, axis=1), of_later.dtype), of_state * f


def _gru_forward(of_input, of_output, bias, state):
    """Output h' = z h + (1 - z) tanh(x + r q) (arXiv:1406.1078, as cuDNN has it), also the state.

    Gates z, r, g in Keras' order.
    """
    x_z, x_r, x_g = tf.split(tf.cast(of_input, tf.float32), 3, axis=1)
    h_z, h_r, q = tf.split(tf.cast(of_output, tf.float32) + bias, 3, axis=1)
    z, r = tf.sigmoid(x_z + h_z), tf.sigmoid(x_r + h_r)
    g = tf.tanh(x_g + r * q)
    after = z * state + (1 - z) * g
    return tf.cast(after, of_output.dtype), after, z, r, g, q


def _gru_backward(of_output, of_later, of_state, state, z, r, g, q):
    of_state += tf.cast(of_output, tf.float32) + tf.cast(of_later, tf.float32)
    of_z = of_state * (state - g) * z * (1 - z)
    of_g = of_state * (1 - z) * (1 - g**2)
    of_r = of_g * q * r * (1 - r)
    of_input = tf.cast(tf.concat([of_z, of_r, of_g], axis=1), of_later.dtype)
    of_output = tf.cast(tf.concat([of_z, of_r, of_g * r], axis=1), of_later.dtype)
    return of_input, of_output, of_state * z


_LSTM = _Cell(4, _lstm_forward, _lstm_backward)
_GRU = _Cell(3, _gru_forward, _gru_backward)


def _run(cell, layer, sequences, initial_state, bias, input_bias=None):
    """A layer over sequences [batch, steps, features], from output and state [batch, units].

    Returns:
        Its last output, its outputs [batch, steps, units], and the state after the last step.
    """
    sequences = tf.cast(sequences, layer.compute_dtype)
    if 0 < layer.dropout < 1:
        sequences *= layer.cell.get_dropout_mask(sequences[:, 0])[:, None]
    kernel, recurrent_kernel = (
        tf.cast(tf.convert_to_tensor(each), sequences.dtype)
        for each in (layer.cell.kernel, layer.cell.recurrent_kernel)
    )
    of_inputs = tf.tensordot(tf.transpose(sequences, [1, 0, 2]), kernel, 1)
    if input_bias is not None:
        of_inputs += tf.cast(input_bias, of_inputs.dtype)
    bias = tf.cast(tf.convert_to_tensor(bias), tf.float32)
    sizes = _halves(sequences)
    done = [
        _unrolled(cell, *part, recurrent_kernel, bias)
        for part in zip(
            tf.split(of_inputs, sizes, axis=1),
            *(tf.split(each, sizes) for each in initial_state),
            strict=True,
        )
    ]
    outputs = tf.concat([outputs for outputs, _ in done], axis=1)
    state = tf.concat([state for _, state in done], axis=0)
    return outputs[-1], tf.transpose(outputs, [1, 0, 2]), state


def _halves(sequences):
    """Rows of two halves of a batch: one is computed while the other waits for a thread."""
    rows = sequences.shape[0]
    if rows == 1:  # an empty half is more than TensorFlow's vectorized_map can take
        return [1]
    rows = rows or tf.shape(sequences)[0]
    return [rows // 2, rows - rows // 2]


def _unrolled(cell, of_inputs, output, state, recurrent_kernel, bias):
    """Products with the inputs [steps, batch, gates * units], output and state before them.

    Returns:
        Outputs [steps, batch, units], and the state after the last, in the inputs' type.
    """
    functions = cell.compiled(recurrent_kernel.shape[0], of_inputs.dtype)
    scope = gradient_scope()

    @tf.custom_gradient
    def run(*arguments):
        outputs, state, kept = _forwards(functions[0], *arguments)

        def gradient(of_outputs, of_state):
            with scope:
                of_state = _anchored(of_state, *arguments)
                found = _backwards(functions[1], of_outputs, of_state, outputs, kept, arguments[3])
                return [tf.raw_ops.PreventGradient(input=each, message=_FIRST) for each in found]

        return (outputs[1:], state), gradient

    return run(of_inputs, output, state, recurrent_kernel, bias)


def _anchored(of_state, of_inputs, output, state, recurrent_kernel, bias):
    """The same numbers, which now depend on all that gradients of second order may be asked of.

    What each step keeps is nothing to a tape, so that such gradients would be wrong. Asked for,
    they meet an operation that refuses them.
    """
    units = state.shape[1]
    others = of_inputs[-1, :, :units] + output + state + recurrent_kernel[:1, :units]
    return tf.where(False, others + tf.cast(bias[:units], others.dtype), of_state)


def _forwards(step, of_inputs, output, state, recurrent_kernel, bias):
    """As `_unrolled`, but outputs have the one before in front; and what each step keeps."""
    outputs, kept, after = [output], [], tf.cast(state, tf.float32)
    for of_input in tf.unstack(of_inputs):
        before = after
        of_output = tf.matmul(outputs[-1], recurrent_kernel)
        output, after, *gates = step(of_input, of_output, bias, before)
        outputs.append(tf.ensure_shape(output, state.shape))
        kept.append((before, *gates))
    return tf.stack(outputs), tf.cast(after, of_inputs.dtype), kept


def _backwards(step, of_outputs, of_state, outputs, kept, recurrent_kernel):
    """Gradients of the arguments of `_forwards`, from those of what it returns."""
    of_products = []  # with the inputs, and with the output before; by step, the last first
    of_later, of_state = tf.zeros_like(outputs[0]), tf.cast(of_state, tf.float32)
    for of_output, of_step in zip(tf.unstack(of_outputs)[::-1], kept[::-1], strict=True):
        *both, of_state = step(of_output, of_later, of_state, *of_step)
        of_products.append((both[0], both[-1]))
        of_later = tf.matmul(both[-1], recurrent_kernel, transpose_b=True)
    of_inputs, of_recurrent = (tf.stack(each[::-1]) for each in zip(*of_products, strict=True))
    of_recurrent = tf.reshape(of_recurrent, [-1, recurrent_kernel.shape[1]])
    before = tf.reshape(outputs[:-1], [-1, recurrent_kernel.shape[0]])
    return (
        of_inputs,
        of_later,
        tf.cast(of_state, outputs.dtype),
        tf.matmul(before, of_recurrent, transpose_a=True),
        tf.reduce_sum(tf.cast(of_recurrent, tf.float32), axis=0),
    )
