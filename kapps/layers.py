"""Keras layers that Keras lacks or does slowly."""

import keras
import tensorflow as tf

from kapps import keras_setup
from kapps.errors import UserError

keras_setup.check()

# What the FusedBatchNormV3 kernel computes in; scale, offset and statistics are float32 in each.
_FUSED_DTYPES = ("float32", "bfloat16", "float16")


@keras.saving.register_keras_serializable("kapps")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` on TensorFlow's fused kernel, for feature maps.

    Keras 3 composes batch normalization of moments and elementwise operations, which makes several
    passes over every activation. This layer hands `[batch, height, width, channels]` inputs to the
    FusedBatchNormV3 kernel and leaves everything else as it is: arguments, names and order of the
    weights, outputs, gradients (second ones too), and the moving averages

        moving <- momentum * moving + (1 - momentum) * batch statistic

    of mean and biased variance. Under a 16-bit policy only the activations are 16-bit.

    What the kernel cannot do is left to Keras' own `call`: another rank, an axis that is not the
    last, a mask, `renorm=True`, float64.

    With `synchronized=True` the batch is that of all replicas. The kernel finds each replica's
    statistics and normalizes with those of all; two short messages go between the replicas, and
    one on the way back. Its gradients cannot be differentiated once more.

    One case differs on purpose: a replica that gets no example of the last, smaller batch adds
    nothing to the gradients and leaves its moving averages alone, where Keras' layer turns both
    them and gamma, hence the model, into NaN.

    A saved model that contains this layer loads after `import kapps`.

    Batch normalization: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1.
    """

    def call(self, inputs, training=None, mask=None):
        """Normalizes with the batch's statistics while training, else with the moving averages."""
        if not self._can_fuse(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        channels = inputs.shape[-1]
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones([channels])
        beta = tf.convert_to_tensor(self.beta) if self.center else tf.zeros([channels])
        if not (training and self.trainable):
            outputs, _, _ = tf.compat.v1.nn.fused_batch_norm(
                inputs,
                gamma,
                beta,
                mean=tf.convert_to_tensor(self.moving_mean),
                variance=tf.convert_to_tensor(self.moving_variance),
                epsilon=self.epsilon,
                is_training=False,
            )
            return outputs
        count = tf.size(inputs, tf.int64) // channels
        context = tf.distribute.get_replica_context()
        if self.synchronized and context and context.num_replicas_in_sync > 1:
            mean, variance, count = _moments_of_all(inputs, count)
            self._update_moving_averages(mean, variance, count)
            return _normalized_by_all(
                inputs, gamma, beta, mean, variance, tf.cast(count, tf.float32), self.epsilon
            )
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, gamma, beta, epsilon=self.epsilon, is_training=True
        )
        self._update_moving_averages(mean, _of_sample(variance, count), count)
        return outputs

    def _can_fuse(self, inputs, mask) -> bool:
        return (
            mask is None
            and not getattr(self, "renorm", False)  # Keras 3.13 and newer
            and keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and inputs.shape[-1] is not None
            and self.variable_dtype == "float32"
            and self.compute_dtype in _FUSED_DTYPES
            and keras.backend.standardize_dtype(inputs.dtype) == self.compute_dtype
        )

    def _update_moving_averages(self, mean, variance, count):
        for moving, statistic in ((self.moving_mean, mean), (self.moving_variance, variance)):
            old = tf.convert_to_tensor(moving)
            new = old * self.momentum + statistic * (1.0 - self.momentum)
            moving.assign(tf.where(count > 0, new, old))


def _of_sample(variance, count):
    """The kernel returns the variance of the population, sum / (count - 1); this is sum / count.

    With one value per channel the kernel may return 0 or NaN.
    """
    count = tf.cast(count, variance.dtype)
    return tf.math.multiply_no_nan(variance, (count - 1.0) / count)


def _moments_of_all(inputs, count):
    """Mean, variance of the sample and number of values per channel, over all replicas."""
    channels = inputs.shape[-1]
    one, zero = tf.ones([channels]), tf.zeros([channels])
    # For its statistics, in one pass over the values; what it normalizes is not used.
    _, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        tf.stop_gradient(inputs), one, zero, is_training=True
    )
    variance, weight = _of_sample(variance, count), tf.cast(count, tf.float32)
    context, add = tf.distribute.get_replica_context(), tf.distribute.ReduceOp.SUM
    of_mean = tf.concat([tf.math.multiply_no_nan(mean, weight), [weight]], axis=0)
    of_mean = context.all_reduce(add, of_mean)
    everywhere = of_mean[-1]
    total_mean = of_mean[:-1] / everywhere
    # From the distances to the common mean: a difference of squares would lose what is small.
    spread = tf.math.multiply_no_nan(variance + tf.square(mean - total_mean), weight)
    return total_mean, context.all_reduce(add, spread) / everywhere, tf.cast(everywhere, tf.int64)


def _normalized_by_all(inputs, gamma, beta, mean, variance, count, epsilon):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, where the moments depend on all x.

    With m values of a channel on all replicas, y' the gradient by y and n = (x - mean) / sqrt(..),
    the gradient by x is  gamma / sqrt(..) (y' - sum(y') / m - n sum(y' n) / m): equation block at
    the end of section 3 in arXiv:1502.03167, its sums over all replicas.
    """

    @tf.custom_gradient
    def normalize(inputs, gamma, beta):
        outputs, _, _ = tf.compat.v1.nn.fused_batch_norm(
            inputs, gamma, beta, mean=mean, variance=variance, epsilon=epsilon, is_training=False
        )

        def gradient(of_outputs):
            # y' gamma / sqrt(..), sum(y' n) and sum(y'), of this replica
            of_inputs, of_gamma, of_beta, _, _ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=of_outputs,
                x=inputs,
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=mean,
                epsilon=epsilon,
                is_training=False,
            )
            sums = tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.SUM, tf.stack([of_gamma, of_beta])
            )
            inverse = tf.math.rsqrt(variance + epsilon)
            slope = gamma * tf.square(inverse) * sums[0] / count
            offset = gamma * inverse * sums[1] / count - slope * mean
            through_moments = slope * tf.cast(inputs, tf.float32) + offset
            of_inputs -= tf.cast(through_moments, of_inputs.dtype)
            return of_inputs, of_gamma, of_beta

        return outputs, gradient

    return normalize(inputs, gamma, beta)


@keras.saving.register_keras_serializable("kapps")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` that finds the gradient of wide kernels quickly on a CPU.

    For kernels wider than three pixels oneDNN's gradient takes two to six times as long per pixel
    of the kernel as for others, and longer than TensorFlow's own (`benchmarks/depthwise.py`).
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
        on_cpu = not tf.config.get_visible_devices("GPU")
        if not (training and self.wide and known and on_cpu):
            return super().call(inputs)
        kernel = tf.convert_to_tensor(self.kernel)
        outputs = _depthwise(inputs, kernel, self.strides[0], self.padding.upper())
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias))
        return outputs if self.activation is None else self.activation(outputs)


def _depthwise(inputs, kernel, stride, padding):
    """Images [batch, h, w, in], kernel [height, width, in, n] -> [batch, h', w', in n]."""
    strides = [1, stride, stride, 1]
    pads = [0, 0]
    for size, width in zip(inputs.shape[1:3], kernel.shape[:2], strict=True):
        total = max((-(-size // stride) - 1) * stride + width - size, 0)
        pads += [total // 2, total - total // 2] if padding == "SAME" else [0, 0]
    pads += [0, 0]

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradient(of_outputs):
            of_inputs = tf.nn.depthwise_conv2d_backprop_input(
                tf.shape(inputs), kernel, of_outputs, strides, padding
            )
            of_kernel = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                input=inputs,
                filter_sizes=kernel.shape,
                out_backprop=of_outputs,
                strides=strides,
                padding="EXPLICIT",
                explicit_paddings=pads,
            )
            return of_inputs, of_kernel

        return tf.nn.depthwise_conv2d(inputs, kernel, strides, padding), gradient

    return convolve(inputs, kernel)


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


@keras.saving.register_keras_serializable("kapps")
class SpectralNormalization(keras.layers.Wrapper):
    """Divides the kernel of a layer by its largest singular value whenever the layer is called.

    The matrix W of a kernel has a column per output; with unit vectors u and v that `update` turns
    towards its first singular vectors

        sigma(W) = v' W u,    the layer computes with  W / sigma(W),

    where the gradient goes through sigma and not through u and v, so it is orthogonal to W as long
    as those have converged. The stored kernel is the unnormalized one, and calling the layer
    changes nothing, as often as one may do so. `update()` makes one step of the power iteration;
    call it once before each step of the optimizer (`kapps.models.GAN` does). sigma is computed in
    float32 under every policy. A kernel of zeros stays one.

    `keras.layers.SpectralNormalization` is another thing: it overwrites the kernel with the
    normalized one at every call that trains, so its gradient lacks the term of sigma, and two
    calls in a step are two changes of the weights.

    Miyato et al. 2018, arXiv:1802.05957, algorithm 1 and section 2.1.

    Args:
        layer: what has a `kernel` (dense, convolution, transposed convolution) or `embeddings`.
        power_iterations: steps of the power iteration per `update`.
        kwargs: name, dtype and the like.

    Raises:
        UserError: the layer has no kernel.
    """

    def __init__(self, layer: keras.layers.Layer, power_iterations: int = 1, **kwargs):
        # The wrapped layer casts for itself; sigma has to see the kernel as it is stored.
        super().__init__(layer, autocast=False, **kwargs)
        self.power_iterations = power_iterations

    def build(self, input_shape=None):
        """Builds the layer and draws the first u."""
        super().build(input_shape)
        self.u = self.add_weight(
            shape=(self._matrix(self.kernel).shape[-1],),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            trainable=False,
            dtype="float32",
            name="u",
        )

    @property
    def kernel(self) -> keras.Variable:
        """The kernel of the wrapped layer, not normalized."""
        for name in ("kernel", "embeddings"):
            if isinstance(getattr(self.layer, name, None), keras.Variable):
                return getattr(self.layer, name)
        raise UserError(f"{type(self.layer).__name__} {self.layer.name!r} has no kernel.")

    def update(self) -> None:
        """Turn u towards the first right singular vector: to be called once per step."""
        matrix = tf.stop_gradient(self._matrix(self.kernel))
        u = tf.convert_to_tensor(self.u)
        for _ in range(self.power_iterations):
            u = _unit(tf.linalg.matvec(matrix, self._v(matrix, u), transpose_a=True))
        self.u.assign(u)

    def sigma(self) -> tf.Tensor:
        """Estimate of the largest singular value, from below, float32 []."""
        matrix = self._matrix(self.kernel)
        u = _unit(tf.convert_to_tensor(self.u))
        v = tf.stop_gradient(self._v(matrix, u))
        return tf.tensordot(v, tf.linalg.matvec(matrix, tf.stop_gradient(u)), 1)

    def call(self, inputs):
        """The wrapped layer, computing with the normalized kernel."""
        sigma = self.sigma()
        kernel = tf.convert_to_tensor(self.kernel.value)
        kernel = kernel / tf.cast(tf.where(sigma > 0.0, sigma, 1.0), kernel.dtype)
        values = [
            (variable, kernel if variable is self.kernel else variable.value)
            for variable in self.layer.variables
        ]
        with keras.StatelessScope(state_mapping=values):
            return self.layer(inputs)

    def compute_output_shape(self, input_shape):
        """That of the wrapped layer."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "power_iterations": self.power_iterations}

    def _matrix(self, kernel):
        """[all else, outputs]; the outputs of transposed convolutions are the axis but one."""
        kernel = tf.cast(tf.convert_to_tensor(kernel.value), tf.float32)
        if "Transpose" in type(self.layer).__name__:
            kernel = tf.linalg.matrix_transpose(kernel)
        return tf.reshape(kernel, [-1, kernel.shape[-1]])

    def _v(self, matrix, u):
        return _unit(tf.linalg.matvec(matrix, u))


def _unit(vector):
    return tf.math.l2_normalize(vector, epsilon=1e-24)


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


def with_fused_batch_normalization(model: keras.Model) -> keras.Model:
    """Rebuilds a functional or sequential model on the fused `BatchNormalization`.

    Works on nested models and on `keras.applications`. The result has its own weights, equal to
    those of `model`, in the same order and under the same names, and is not compiled.

    Raises:
        ValueError: `model` is neither functional nor sequential (from `keras.models.clone_model`).
    """

    def clone(layer):
        # Only the class itself: a subclass has its own reasons.
        fused = type(layer) is keras.layers.BatchNormalization
        return (BatchNormalization if fused else type(layer)).from_config(layer.get_config())

    rebuilt = keras.models.clone_model(model, clone_function=clone, recursive=True)
    rebuilt.set_weights(model.get_weights())
    return rebuilt
