"""Losses of classifiers, and of networks that give any number of labels."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("kapps")
def softmax_cross_entropy(y_true: keras.KerasTensor, logits: keras.KerasTensor):
    """Cross-entropy of the softmax of the logits, in nats.

        -sum_k y_k log softmax(logits)_k

    `y_true` and `logits` are `[batch, classes]`; the rows of `y_true` are one-hot or soft labels
    (smoothed: arXiv:1512.00567, section 7; mixed: arXiv:1710.09412). Returns `[batch]`. With soft
    labels the smallest value is their entropy, not zero.

    Rows that do not sum to 1 (weights in the labels) get the gradient of the formula, where
    TensorFlow's fused operation assumes that they do.
    """
    log_probabilities = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    return -ops.sum(ops.cast(y_true, "float32") * log_probabilities, axis=-1)


@keras.saving.register_keras_serializable("kapps")
def sigmoid_cross_entropy(y_true: keras.KerasTensor, logits: keras.KerasTensor):
    """Binary cross-entropy of the sigmoid of the logits, in nats, the mean over the labels.

        1/L sum_l  softplus(logits_l) - y_l logits_l

    `y_true`, from 0 to 1, and `logits` are `[batch, labels]`. Returns `[batch]`.
    """
    logits = ops.cast(logits, "float32")
    return ops.mean(ops.softplus(logits) - ops.cast(y_true, "float32") * logits, axis=-1)
