"""Spectral normalization: a layer whose kernel has the largest singular value 1."""

import keras
import tensorflow as tf

from kapps.errors import UserError


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
