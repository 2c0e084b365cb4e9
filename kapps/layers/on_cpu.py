"""What the layers share that train quickly on a CPU."""

import contextlib

import tensorflow as tf


def trains_on_cpu(training: object) -> bool:
    """Not so where a tensor says whether it trains: Keras' layer has no need to know."""
    known = isinstance(training, bool | int)
    return known and bool(training) and not tf.config.get_visible_devices("GPU")


def gradient_scope() -> contextlib.AbstractContextManager:
    """Names of operations under that of the layer at work, as TensorFlow names its own gradients.

    Those of custom gradients would be nobody's in a profile.
    """
    scope = tf.get_current_name_scope()
    return tf.name_scope(f"gradient_tape/{scope}/" if scope else "gradient_tape/")
