"""A frozen first layer, whose outputs are not correlated."""

import keras


@keras.saving.register_keras_serializable("kapps")
class Whitening(keras.layers.Layer):
    """A convolution whose kernel is frozen; its offsets are trained.

    What `kapps.data.whitening_kernel` has made of the training images goes in with `kernel`'s
    `assign`. Give it `dtype="float32"`: directions in which patches vary little are differences of
    nearly equal pixels, which 16 bits lose.

    arXiv:2404.00498, section 3.2.

    Args:
        filters: how many channels leave.
        kernel_size: side of the patches.
        strides: from one patch to the next; sides of ceil(side / strides) leave.
        kwargs: name, dtype and the like.
    """

    def __init__(self, filters: int, kernel_size: int, strides: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.strides = filters, kernel_size, strides

    def build(self, input_shape):
        """Makes the weights; the kernel is zero until it is assigned."""
        side = self.kernel_size
        self.kernel = self.add_weight(
            shape=(side, side, input_shape[-1], self.filters),
            initializer="zeros",
            trainable=False,
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, inputs):
        """[batch, h, w, channels] -> [batch, ceil(h / strides), ceil(w / strides), filters]."""
        kernel, bias = self.kernel, self.bias
        return keras.ops.conv(inputs, kernel, strides=self.strides, padding="same") + bias

    def compute_output_shape(self, input_shape):
        """As the class says."""
        batch, *sides, _ = input_shape
        fewer = [None if side is None else -(-side // self.strides) for side in sides]
        return (batch, *fewer, self.filters)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        names = ("filters", "kernel_size", "strides")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
