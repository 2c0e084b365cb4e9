"""Two tasks that only a network with a long memory can solve, made of random numbers.

Both are functions of a seed, in graph mode, so that a fixed set and fresh batches are the same
code. What they cost without any memory is known exactly: `BASELINES`.
"""

from __future__ import annotations

import math

import tensorflow as tf

from kapps.errors import UserError

SYMBOLS, MARKED = 8, 10  # of the copying task: different symbols, and how many are to be kept
COPY_FEATURES = SYMBOLS + 2  # and a blank, and the sign to begin
SHORTEST = 4


def adding(count: int, length: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The adding problem: which two of many numbers are marked, and what is their sum?

    At each step stand a number, uniform in [0, 1), and a mark, 1 at one step of the first half and
    at one of the second, else 0. Hochreiter and Schmidhuber 1997, experiment 4, as in
    arXiv:1504.00941, section 4.1. Who always answers 1 has a mean squared error of 1/6, the
    variance of the sum.

    Args:
        count: how many series.
        length: their steps.
        seed: int32 [2].

    Returns:
        Series float32 [count, length, 2] and sums float32 [count, 1].
    """
    numbers = tf.random.stateless_uniform([count, length], seed)
    half = length // 2
    first = tf.random.stateless_uniform([count], seed + [0, 1], 0, half, tf.int32)
    second = tf.random.stateless_uniform([count], seed + [0, 2], half, length, tf.int32)
    marks = tf.one_hot(first, length) + tf.one_hot(second, length)
    target = tf.reduce_sum(numbers * marks, axis=1, keepdims=True)
    return tf.stack([numbers, marks], axis=-1), target


def copying(count: int, length: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The copying task: say ten symbols again after `length` steps of nothing.

    Ten of eight symbols, `length - 1` blanks, a sign to begin, ten blanks; the answer is blank
    until the sign, then the ten symbols. Hochreiter and Schmidhuber 1997, as in arXiv:1511.06464,
    section 4.1. Who knows when to answer but not what has a cross-entropy of
    `10 log 8 / (length + 20)` nats a step.

    Args:
        count: how many series.
        length: steps over which to remember.
        seed: int32 [2].

    Returns:
        One-hot series float32 [count, length + 20, 10] and classes int32 [count, length + 20].
    """
    symbols = tf.random.stateless_uniform([count, MARKED], seed, 0, SYMBOLS, tf.int32)
    blank = tf.fill([count, length + MARKED], SYMBOLS)
    begin = tf.fill([count, 1], SYMBOLS + 1)
    shown = tf.concat([symbols, blank[:, : length - 1], begin, blank[:, :MARKED]], axis=1)
    return tf.one_hot(shown, COPY_FEATURES), tf.concat([blank, symbols], axis=1)


def copy_baseline(length: int) -> float:
    """Nats a step of who does not remember: `10 log 8 / (length + 20)`."""
    return MARKED * math.log(SYMBOLS) / (length + 2 * MARKED)


# By name: the function, values per step, and what is reached without memory.
TASKS = {
    "adding": (adding, 2, lambda length: 1.0 / 6.0),
    "copy": (copying, COPY_FEATURES, copy_baseline),
}


def check_length(length: int) -> None:
    """Refuse a length that leaves nothing to remember.

    Raises:
        UserError: it is too short.
    """
    if length < SHORTEST:
        raise UserError(f"--length {length}: a memory task needs at least {SHORTEST} steps")
