"""Batch normalization on TensorFlow's fused kernel, of one replica's batch or of all."""

import keras
import tensorflow as tf

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
