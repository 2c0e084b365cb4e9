"""One seed for everything, and operations that give the same bits twice."""

from __future__ import annotations

import keras
import tensorflow as tf


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, TensorFlow and Keras, and ask TensorFlow for deterministic operations.

    Deterministic operations cost nothing that could be measured on a CPU; without them, sums
    over threads differ in their last bits from run to run.

    Args:
        seed: any whole number from 0 on.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
