"""Rows of a large tensor, for input pipelines that do not copy it."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def rows_of(held: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    """A graph function from row numbers [...] to the rows [..., *row], wherever it is called.

    It keeps the tensor in a list of one. TensorFlow rewrites every pipeline before it begins, and
    fills a tensor of zeros as large as each one that the pipeline uses: a file that is mapped into
    memory would take that memory after all, and a second for each 2 GB. Of a list it only sees the
    handle. Constants within a function are no better; they are copied when it is optimized.

    Args:
        held: [n, ...], in the memory of the host; it is not copied.
    """
    shape, kind = held.shape.as_list(), held.dtype
    with tf.device("CPU:0"):
        room = tf.raw_ops.TensorListReserve(element_shape=shape, num_elements=1, element_dtype=kind)
        handle = tf.raw_ops.TensorListSetItem(input_handle=room, index=0, item=held)

    @tf.autograph.experimental.do_not_convert  # nothing in it to rewrite, which takes 15 ms
    def rows(numbers: tf.Tensor) -> tf.Tensor:
        values = tf.raw_ops.TensorListGetItem(
            input_handle=handle, index=0, element_shape=shape, element_dtype=kind
        )
        return tf.gather(values, numbers)

    return rows
