"""The codebook of a VQ-VAE: nearest vectors, moving averages, and restarts of idle ones."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kapps.errors import UserError
from kapps.models import arguments


@keras.saving.register_keras_serializable("kapps")
class Codebook(keras.layers.Layer):
    """Vectors e_1 ... e_K of D values, moved by averages and not by gradients.

    Called on z, [..., D], it gives the nearest e of each vector; backwards the gradient passes
    as it is (straight through, arXiv:1711.00937, section 3.1). `update` moves the vectors as
    appendix A.1 there does: with n_i vectors z of a batch nearest to e_i,

        N_i <- decay N_i + (1 - decay) n_i,    m_i <- decay m_i + (1 - decay) sum of those z
        e_i  = m_i / N_i,    N_i smoothed: (N_i + epsilon) / (N + K epsilon) N,  N = sum of N_i

    over the vectors of all replicas. The first update places the vectors on vectors of its batch,
    drawn without replacement. One that has been unused for `restart_after` updates is
    drawn anew in the same way (arXiv:2005.00341, section 3.1, restarts idle codes, too).

    Args:
        codes: K.
        code_dim: D.
        decay: of the averages.
        epsilon: of the smoothing.
        restart_after: updates without use; 0 never restarts.

    Raises:
        UserError: a number out of its range.
    """

    def __init__(
        self,
        codes: int,
        code_dim: int,
        *,
        decay: float = 0.99,
        epsilon: float = 1e-5,
        restart_after: int = 100,
        **kwargs: Any,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.codes = arguments.integer("codes", codes, minimum=2)
        self.code_dim = arguments.integer("code_dim", code_dim)
        self.restart_after = arguments.integer("restart_after", restart_after, minimum=0)
        if not 0 <= decay < 1 or epsilon <= 0:
            raise UserError(f"decay {decay} must be at least 0 and below 1, epsilon {epsilon} > 0")
        self.decay, self.epsilon = decay, epsilon

    def build(self, input_shape: Any = None) -> None:
        """Vectors, averages, and how long each has been idle; all of it is saved."""
        small = keras.initializers.RandomUniform(-1.0 / self.codes, 1.0 / self.codes)
        square = (self.codes, self.code_dim)
        self.vectors = self._state(square, small, "vectors")
        self.counts = self._state((self.codes,), "ones", "counts")
        self.sums = self._state(square, "zeros", "sums")
        self.idle = self._state((self.codes,), "zeros", "idle")
        self.updates = self._state((), "zeros", "updates")

    def _state(self, shape, initializer, name):
        # Every replica computes the same new value, from sums over all of them.
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            name=name,
            trainable=False,
            aggregation="only_first_replica",
        )

    def call(self, z: Any) -> tf.Tensor:
        """The nearest vectors, of the shape of z; d output / d z is the identity."""
        z = tf.cast(z, tf.float32)
        return z + tf.stop_gradient(self.look_up(self.nearest(z)) - z)

    def nearest(self, z: Any) -> tf.Tensor:
        """Indices of the vectors nearest to z [..., D] in Euclidean distance: int32 [...]."""
        z = tf.stop_gradient(tf.cast(z, tf.float32))
        vectors = tf.convert_to_tensor(self.vectors)
        # |z - e|^2 without |z|^2, which is the same for all e.
        distance = tf.reduce_sum(tf.square(vectors), axis=1)
        distance -= 2.0 * tf.tensordot(z, vectors, axes=[[-1], [1]])
        return tf.argmin(distance, axis=-1, output_type=tf.int32)

    def look_up(self, codes: Any) -> tf.Tensor:
        """Vectors of codes: int [...] -> float32 [..., D]."""
        return tf.gather(tf.convert_to_tensor(self.vectors), codes)

    def place(self, z: Any, seed: tf.Tensor) -> None:
        """Before the first update, put the vectors onto vectors of this batch; later, nothing.

        Args:
            z: [..., D] of this replica.
            seed: int32 [2], the same on all replicas.
        """
        drawn = self._drawn(self._rows(z), seed)
        fresh = tf.equal(tf.convert_to_tensor(self.updates), 0.0)
        self.vectors.assign(tf.where(fresh, drawn, self.vectors))
        self.sums.assign(tf.where(fresh, drawn * self.counts[:, None], self.sums))

    def update(self, z: Any, seed: tf.Tensor) -> None:
        """Move the vectors towards the z that are nearest to them, and restart idle ones.

        Args:
            z: [..., D] of this replica.
            seed: int32 [2], the same on all replicas; for restarts.
        """
        z = self._rows(z)
        codes = self.nearest(z)
        count = tf.math.unsorted_segment_sum(tf.ones_like(codes, tf.float32), codes, self.codes)
        total = tf.math.unsorted_segment_sum(z, codes, self.codes)
        count, total = _sum_over_replicas([count, total])
        counts = self.decay * self.counts + (1.0 - self.decay) * count
        sums = self.decay * self.sums + (1.0 - self.decay) * total
        all_counts = tf.reduce_sum(counts)
        smoothed = (counts + self.epsilon) / (all_counts + self.codes * self.epsilon) * all_counts
        vectors = sums / smoothed[:, None]
        idle = tf.where(count > 0, 0.0, self.idle + 1.0)
        if self.restart_after:
            dead = idle >= self.restart_after
            drawn = self._drawn(z, seed)
            vectors = tf.where(dead[:, None], drawn, vectors)
            sums = tf.where(dead[:, None], drawn, sums)
            counts, idle = tf.where(dead, 1.0, counts), tf.where(dead, 0.0, idle)
        for variable, value in (
            (self.vectors, vectors),
            (self.counts, counts),
            (self.sums, sums),
            (self.idle, idle),
            (self.updates, self.updates + 1.0),
        ):
            variable.assign(value)

    def _rows(self, z):
        return tf.stop_gradient(tf.reshape(tf.cast(z, tf.float32), [-1, self.code_dim]))

    def _drawn(self, z, seed):
        """A vector of the global batch for each code, without replacement if there are enough."""
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync if context else 1
        own = tf.shape(z)[0]
        everywhere = own * replicas
        order = tf.argsort(tf.random.stateless_uniform([everywhere], seed))
        rows = tf.gather(order, tf.range(self.codes) % everywhere)
        if replicas == 1:
            return tf.gather(z, rows)
        # Each replica gives those that it has, the others give zeros.
        rows -= own * context.replica_id_in_sync_group
        mine = (rows >= 0) & (rows < own)
        given = tf.where(mine[:, None], tf.gather(z, tf.clip_by_value(rows, 0, own - 1)), 0.0)
        return _sum_over_replicas(given)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = ("codes", "code_dim", "decay", "epsilon", "restart_after")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("kapps")
class CodeUsage(keras.metrics.Metric):
    """How a codebook is used over all images since the last reset, an epoch.

    `perplexity` is exp of the entropy in nats of the codes' frequencies: K when all are used alike,
    1 when one is. A mean of the perplexities of batches would be lower. `code_usage` is the share
    of codes that occur at all.

    Args:
        codes: K.
    """

    def __init__(self, codes: int, name: str = "code_usage", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.codes = codes
        self.counts = self.add_variable((codes,), "zeros", name="counts")

    def update_state(self, codes: tf.Tensor, sample_weight: Any = None) -> None:
        """Count codes, int of any shape."""
        flat = tf.reshape(codes, [-1])
        ones = tf.ones_like(flat, tf.float32)
        self.counts.assign_add(tf.math.unsorted_segment_sum(ones, flat, self.codes))

    def result(self) -> dict[str, tf.Tensor]:
        """Both figures."""
        counts = tf.convert_to_tensor(self.counts)
        share = counts / tf.maximum(tf.reduce_sum(counts), 1.0)
        entropy = -tf.reduce_sum(tf.math.xlogy(share, share))
        used = tf.reduce_mean(tf.cast(counts > 0, tf.float32))
        return {"perplexity": tf.exp(entropy), "code_usage": used}

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "codes": self.codes}


def _sum_over_replicas(tensors):
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)
