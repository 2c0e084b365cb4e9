"""Upsampling that computes nothing twice."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("kapps")
class DepthToSpace(keras.layers.Layer):
    """[h, w, 4 c] -> [2 h, 2 w, c]: four channels become a square of pixels.

    Channels of the upper left pixel come first, then upper right, lower left, lower right. A
    convolution before it upsamples without computing anything twice (arXiv:1609.05158, section
    2.2).
    """

    def call(self, x):
        """As the class says."""
        return tf.nn.depth_to_space(x, 2)

    def compute_output_shape(self, input_shape):
        """As the class says."""
        batch, height, width, channels = input_shape
        sides = (None if side is None else 2 * side for side in (height, width))
        return (batch, *sides, channels // 4)
