import math

import numpy as np
import pytest
import tensorflow as tf

from kapps.errors import UserError
from kapps.models.generative.vqvae.codebook import Codebook, CodeUsage

SEED = tf.constant([1, 2])


def codebook(vectors, **settings):
    vectors = np.asarray(vectors, np.float32)
    made = Codebook(*vectors.shape, **settings)
    made.build()
    made.vectors.assign(vectors)
    made.sums.assign(vectors)  # as if each had been used once
    made.updates.assign(1.0)
    return made


def test_the_nearest_vector_and_the_identity_backwards():
    book = codebook([[0, 0], [3, 4], [10, 0]])
    z = tf.constant([[[1.0, 1.0], [9.0, 1.0]], [[2.0, 4.0], [4.9, 0.0]]])
    weights = tf.constant([[[1.0, -2.0], [3.0, 4.0]], [[0.5, 7.0], [-1.0, 2.0]]])
    with tf.GradientTape() as tape:
        tape.watch(z)
        e = book(z)
        total = tf.reduce_sum(e * weights)
    # [4.9, 0] is 24.01 from the first, 19.61 from the second, 26.01 from the third.
    np.testing.assert_array_equal(book.nearest(z), [[0, 2], [1, 1]])
    np.testing.assert_allclose(e, [[[0, 0], [10, 0]], [[3, 4], [3, 4]]], atol=1e-5)
    np.testing.assert_array_equal(tape.gradient(total, z), weights)


@pytest.mark.parametrize(
    ("epsilon", "expected"),
    [
        # n = 2, 1; N = 0.5 + 0.5 * 2, 0.5 + 0.5; m = 0.5 * (1 + 2), 0.5 * 10 + 0.5 * 9
        (1e-9, [1.5 / 1.5, 9.5 / 1.0]),
        # Smoothed to (1.5 + 0.5) / (2.5 + 2 * 0.5) * 2.5 and (1 + 0.5) / 3.5 * 2.5.
        (0.5, [1.5 / (2 / 3.5 * 2.5), 9.5 / (1.5 / 3.5 * 2.5)]),
    ],
)
def test_moving_averages_by_hand(epsilon, expected):
    book = codebook([[0.0], [10.0]], decay=0.5, epsilon=epsilon)
    book.update(tf.constant([[1.0], [9.0], [2.0]]), SEED)
    np.testing.assert_allclose(np.ravel(book.vectors), expected, rtol=1e-6)
    np.testing.assert_allclose(book.counts, [1.5, 1.0])
    np.testing.assert_allclose(np.ravel(book.sums), [1.5, 9.5])
    assert not book.trainable_variables


def test_the_first_vectors_are_those_of_the_batch():
    book = Codebook(5, 2)
    book.build()
    z = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("f4")
    book.place(z, SEED)
    rows = {tuple(row) for row in z.reshape(-1, 2)}
    chosen = {tuple(row) for row in np.array(book.vectors)}
    assert len(chosen) == 5 and chosen <= rows  # without replacement
    book.update(z, SEED)
    placed = np.array(book.vectors)
    book.place(z + 100, SEED)
    np.testing.assert_array_equal(book.vectors, placed)  # only once


def test_more_codes_than_vectors():
    book = Codebook(5, 1)
    book.build()
    book.place(np.array([[1.0], [2.0]]), SEED)
    assert sorted(np.ravel(book.vectors)) in ([1, 1, 1, 2, 2], [1, 1, 2, 2, 2])


def test_an_idle_vector_is_drawn_from_the_batch():
    book = codebook([[0.0], [1000.0], [-1000.0]], decay=0.9, restart_after=3)
    z = np.arange(8.0, dtype="f4")[:, None] / 8
    for _ in range(2):
        book.update(z, SEED)
    np.testing.assert_allclose(np.ravel(book.vectors)[1:], [1000, -1000], rtol=0.01)
    np.testing.assert_array_equal(book.idle, [0, 2, 2])
    before = book.vectors[0]
    book.update(z, SEED)
    restarted = np.ravel(book.vectors)[1:]
    assert set(restarted) <= set(z.ravel()) and restarted[0] != restarted[1]
    np.testing.assert_array_equal(book.idle, 0)
    np.testing.assert_array_equal(book.counts[1:], 1)
    np.testing.assert_array_equal(np.ravel(book.sums)[1:], restarted)
    # The one in use goes on as it did: towards the mean, 3.5 / 8.
    assert before[0] < book.vectors[0][0] < 3.5 / 8
    book.update(z, SEED)
    assert (np.array(book.counts) > 1).sum() >= 2  # in use now


def test_restarts_depend_on_the_seed_and_may_be_switched_off():
    z = np.random.default_rng(0).normal(size=(50, 1)).astype("f4")

    def restarted(seed, **settings):
        book = codebook([[0.0], [1000.0]], **settings)
        book.update(z, tf.constant(seed))
        return float(book.vectors[1][0])

    assert restarted([0, 1], restart_after=1) == restarted([0, 1], restart_after=1)
    assert restarted([0, 1], restart_after=1) != restarted([0, 2], restart_after=1)
    assert restarted([0, 1], restart_after=0) > 900


def test_perplexity_is_of_the_epoch_and_not_of_its_batches():
    usage = CodeUsage(8)
    usage.update_state(tf.constant([[0, 1], [0, 1]]))
    np.testing.assert_allclose(usage.result()["perplexity"], 2, rtol=1e-6)
    usage.update_state(tf.constant([2, 3, 2, 3]))
    found = usage.result()
    np.testing.assert_allclose(found["perplexity"], 4, rtol=1e-6)
    np.testing.assert_allclose(found["code_usage"], 4 / 8)
    usage.reset_state()
    usage.update_state(tf.constant([5, 5, 5]))
    found = usage.result()
    np.testing.assert_allclose([found["perplexity"], found["code_usage"]], [1, 1 / 8], rtol=1e-6)
    usage.update_state(tf.constant([6]))  # shares 3/4 and 1/4
    expected = math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    np.testing.assert_allclose(usage.result()["perplexity"], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [dict(codes=1), dict(code_dim=0), dict(decay=1.0), dict(epsilon=0), dict(restart_after=-1)],
)
def test_mistakes_are_named(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        Codebook(**{"codes": 4, "code_dim": 2, **settings})
