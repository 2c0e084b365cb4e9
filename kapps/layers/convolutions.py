"""Convolutions whose gradients are quick on a CPU.

oneDNN, by which TensorFlow computes there, is slow at the gradients of some kernels. Each layer
takes another way to the same gradient where that was measured to be quicker, and is Keras' layer in
all else: other kernels, other devices, predictions.
"""

import keras
import tensorflow as tf

from kapps import processor
from kapps.layers.on_cpu import gradient_scope, trains_on_cpu

# Of the map that leaves, and of channels: by these the quick gradient of kernels begins to pay.
_SMALL_MAP, _MANY_CHANNELS = 10, 64


@keras.saving.register_keras_serializable("kapps")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` that finds the gradient of kernels quickly in bfloat16 on a CPU.

    That of a kernel is itself a convolution: examples take the place of channels, the gradient of
    the outputs that of the kernel. oneDNN's own way takes 1.3 to 2 times as long where the outputs
    are 10 x 10 or smaller and of many channels; a step of ResNets and VGGs takes 1.1 times as long
    (`benchmarks/layers.py`). In float32, in larger maps and for kernels of one pixel there is
    nothing to gain; processors with AMX were not measured. All these are left to Keras. With XLA it
    is neither quicker nor slower. Forward mode (`tf.autodiff.ForwardAccumulator`) does not reach
    through a `tf.function` that trains with it.
    """

    def call(self, inputs, training=None):
        """As Keras' layer."""
        if not (trains_on_cpu(training) and self._pays(inputs)):
            return super().call(inputs)
        kernel = tf.convert_to_tensor(self.kernel)
        outputs = _convolution(inputs, kernel, self.strides[0], self.padding.upper())
        return _biased_and_activated(self, outputs)

    def _pays(self, inputs):
        return (
            None not in inputs.shape[1:]
            and type(self).convolution_op is keras.layers.Conv2D.convolution_op
            and self.compute_dtype == "bfloat16"
            and self.kernel_size != (1, 1)
            and self.strides[0] == self.strides[1]
            and self.dilation_rate == (1, 1)
            and self.groups == 1
            and self.data_format == "channels_last"
            and min(self.filters, inputs.shape[-1]) >= _MANY_CHANNELS
            and max(self.compute_output_shape(inputs.shape)[1:3]) <= _SMALL_MAP
            and "avx512_bf16" in processor.instructions()
            and "amx_bf16" not in processor.instructions()
        )


@keras.saving.register_keras_serializable("kapps")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` that finds the gradient of wide kernels quickly on a CPU.

    For kernels wider than three pixels oneDNN's gradient takes two to six times as long per pixel
    of the kernel as for others, and longer than TensorFlow's own (`benchmarks/layers.py`).
    TensorFlow takes its own where the padding is given as numbers. All else is as in Keras' layer:
    narrower kernels, 16 bits, other devices, predictions.
    """

    @property
    def wide(self) -> bool:
        """Whether this is such a kernel."""
        return (
            self.kernel_size[1] > 3
            and self.strides[0] == self.strides[1]
            and self.dilation_rate == (1, 1)
            and self.data_format == "channels_last"
            and self.compute_dtype == "float32"
        )

    def call(self, inputs, training=None):
        """As Keras' layer."""
        known = None not in inputs.shape[1:]
        if not (trains_on_cpu(training) and self.wide and known):
            return super().call(inputs)
        kernel = tf.convert_to_tensor(self.kernel)
        outputs = _depthwise(inputs, kernel, self.strides[0], self.padding.upper())
        return _biased_and_activated(self, outputs)


def _biased_and_activated(layer, outputs):
    """What follows the convolution in Keras' layers."""
    if layer.use_bias:
        outputs = tf.nn.bias_add(outputs, tf.convert_to_tensor(layer.bias))
    return outputs if layer.activation is None else layer.activation(outputs)


def _pads(inputs, kernel, stride, padding):
    """Zeros above, below, left and right, as "SAME" and "VALID" mean them: two pairs."""
    pads = []
    for size, width in zip(inputs.shape[1:3], kernel.shape[:2], strict=True):
        total = max((-(-size // stride) - 1) * stride + width - size, 0)
        pads.append([total // 2, total - total // 2] if padding == "SAME" else [0, 0])
    return pads


def _convolution(inputs, kernel, stride, padding):
    """Images [batch, h, w, in], kernel [height, width, in, out] -> [batch, h', w', out].

    It is linear in both, and so are its gradients: each of the three is the gradient of the others,
    as often as one differentiates.
    """
    pads = _pads(inputs, kernel, stride, padding)
    sides, (height, width) = inputs.shape[1:], kernel.shape[:2]
    scope = gradient_scope()

    @tf.custom_gradient
    def outputs_of(inputs, kernel):
        def gradient(upstream):
            with scope:
                return of_inputs(kernel, upstream), of_kernel(inputs, upstream)

        return tf.nn.conv2d(inputs, kernel, stride, padding), gradient

    @tf.custom_gradient
    def of_inputs(kernel, of_outputs):
        def gradient(upstream):
            return of_kernel(upstream, of_outputs), outputs_of(upstream, kernel)

        found = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=[tf.shape(of_outputs)[0], *sides],
            filter=kernel,
            out_backprop=of_outputs,
            strides=[1, stride, stride, 1],
            padding=padding,
        )
        return tf.ensure_shape(found, [of_outputs.shape[0], *sides]), gradient

    @tf.custom_gradient
    def of_kernel(inputs, of_outputs):
        def gradient(upstream):
            return of_inputs(upstream, of_outputs), outputs_of(inputs, upstream)

        # of_kernel[a, b, i, o] = sum over n, y, x of
        #     inputs[n, a + stride y, b + stride x, i] of_outputs[n, y, x, o]
        images = tf.transpose(inputs, [3, 1, 2, 0])
        weights = tf.transpose(of_outputs, [1, 2, 0, 3])
        summed = tf.nn.conv2d(images, weights, 1, [[0, 0], *pads, [0, 0]], dilations=stride)
        # "VALID" leaves pixels out at the end that do not fill a stride.
        return tf.transpose(summed[:, :height, :width], [1, 2, 0, 3]), gradient

    return outputs_of(inputs, kernel)


def _depthwise(inputs, kernel, stride, padding):
    """Images [batch, h, w, in], kernel [height, width, in, n] -> [batch, h', w', in n]."""
    strides = [1, stride, stride, 1]
    rows, columns = _pads(inputs, kernel, stride, padding)
    scope = gradient_scope()

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradient(of_outputs):
            with scope:
                of_inputs = tf.nn.depthwise_conv2d_backprop_input(
                    tf.shape(inputs), kernel, of_outputs, strides, padding
                )
                of_kernel = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                    input=inputs,
                    filter_sizes=kernel.shape,
                    out_backprop=of_outputs,
                    strides=strides,
                    padding="EXPLICIT",
                    explicit_paddings=[0, 0, *rows, *columns, 0, 0],
                )
            return of_inputs, of_kernel

        return tf.nn.depthwise_conv2d(inputs, kernel, strides, padding), gradient

    return convolve(inputs, kernel)
