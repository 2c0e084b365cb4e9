import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import models
from kapps.errors import UserError
from kapps.models.generative.vqvae.code_prior import CodePrior

LABELS = np.eye(3, dtype="f4")


def biased(shares, shape=(2, 3), classes=0):
    """A prior of independent codes with these probabilities."""
    keras.utils.set_random_seed(0)
    prior = models.code_prior(shape, len(shares), filters=2, depth=0, classes=classes)
    last = prior.network.get_layer("logits")
    last.kernel.assign(tf.zeros_like(last.kernel))
    last.bias.assign(np.log(shares))
    return prior


@pytest.mark.slow
@pytest.mark.parametrize("classes", [0, 3])
def test_a_code_depends_on_those_before_and_on_all_of_them(classes):
    keras.utils.set_random_seed(0)
    height, width, codes = 4, 3, 5
    prior = models.code_prior((height, width), codes, filters=16, depth=4, classes=classes)
    flat = np.random.default_rng(0).integers(0, codes, (1, height * width)).astype(np.int32)

    def logits(flat):
        maps = flat.reshape(-1, height, width)
        inputs = [maps, np.repeat(LABELS[:1], len(maps), 0)] if classes else maps
        return prior(inputs).numpy().reshape(len(flat), height * width, codes)

    before = logits(flat)[0]
    for i in range(height * width):
        changed = flat.copy()
        changed[0, i] = (flat[0, i] + 1) % codes
        after = logits(changed)[0]
        differs = np.abs(after - before).max(axis=-1) > 0
        assert not differs[: i + 1].any()
        assert differs[i + 1 :].all()  # no blind spot, in a map this small


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_how_far_a_position_sees(depth):
    """By gradient, from the middle of the last row: depth + 2 rows up and positions left."""
    keras.utils.set_random_seed(1)
    height, width, i, j = 8, 15, 7, 7
    prior = models.code_prior((height, width), 3, filters=8, depth=depth)
    network = prior.network
    embedded = keras.Model(network.get_layer("embed").output, network.output)
    x = tf.random.stateless_normal((1, height, width, 8), (0, 1))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(embedded(x)[0, i, j] ** 2)
    seen = np.abs(tape.gradient(y, x)[0]).max(axis=-1) > 0
    assert seen[:, j].nonzero()[0].tolist() == list(range(i - depth - 2, i))  # not itself
    assert seen[i].nonzero()[0].tolist() == list(range(j - depth - 2, j))  # nothing to the right
    assert not seen[: i - depth - 2].any()


@pytest.mark.slow
def test_nats_per_picture_by_hand():
    codes = np.array([[[0, 1, 1], [1, 0, 1]]])
    nll = biased([0.25, 0.75]).negative_log_likelihood(codes)
    assert nll.numpy()[0] == pytest.approx(2 * math.log(4) + 4 * math.log(4 / 3), rel=1e-5)
    prior = biased([0.2] * 5, shape=(3, 4))
    prior.compile("sgd")
    found = prior.evaluate(np.zeros((7, 3, 4), np.int32), verbose=0, return_dict=True)
    assert found["code_nats"] == pytest.approx(12 * math.log(5), rel=1e-5)
    assert found["loss"] == pytest.approx(found["code_nats"])


@pytest.mark.slow
def test_samples_have_the_frequencies_of_the_prior():
    prior = biased([0.1, 0.6, 0.3])
    drawn = prior.sample(600, seed=3)
    assert drawn.shape == (600, 2, 3) and drawn.dtype == np.int32
    shares = np.bincount(drawn.ravel(), minlength=3) / drawn.size
    np.testing.assert_allclose(shares, [0.1, 0.6, 0.3], atol=4 * 0.5 / math.sqrt(drawn.size))
    np.testing.assert_array_equal(drawn, prior.sample(600, seed=3))
    assert np.any(drawn != prior.sample(600, seed=4))
    assert np.any(drawn[:256] != drawn[256:512])  # the parts are not alike
    assert prior.sample(0).shape == (0, 2, 3)


def test_each_code_is_drawn_given_the_one_before():
    """A network that is sure of one thing: a code is its left neighbour's successor."""
    codes = 4
    inputs = keras.Input((2, 5), dtype="int32")
    one_hot = keras.layers.Embedding(codes, codes, weights=[np.eye(codes)])(inputs)
    left = keras.layers.ZeroPadding2D(((0, 0), (1, 0)))(one_hot)
    left = keras.layers.Cropping2D(((0, 0), (0, 1)))(left)
    successor = keras.layers.Dense(codes, use_bias=False)
    logits = successor(left)
    successor.set_weights([100 * np.roll(np.eye(codes), 1, axis=1)])
    drawn = CodePrior(keras.Model(inputs, logits)).sample(50)
    np.testing.assert_array_equal(np.diff(drawn, axis=-1) % codes, 1)
    assert set(drawn[:, :, 0].ravel()) == set(range(codes))  # nothing is left of those


@pytest.mark.slow
def test_a_conditional_one_learns_the_class():
    keras.utils.set_random_seed(0)
    labels = np.repeat(LABELS, 40, axis=0)
    codes = np.repeat(np.arange(3), 40)[:, None, None] * np.ones((1, 2, 2), int)
    prior = models.code_prior((2, 2), 3, filters=8, depth=1, classes=3)
    prior.compile(keras.optimizers.Adam(0.02))
    history = prior.fit(codes, labels, epochs=25, batch_size=40, verbose=0).history
    # Given the class nothing is left to say; without it there would be ln 3 nats.
    assert history["code_nats"][-1] < 0.3
    drawn = prior.sample(30, labels=labels[::4])
    assert (drawn == codes[::4]).mean() > 0.9
    assert len(np.unique(prior.sample(30)[:, 0, 0])) == 3  # classes are drawn where none are given
    with pytest.raises(UserError, match="one-hot labels of 3"):
        prior.negative_log_likelihood(codes)


def test_logits_that_do_not_fit_are_refused():
    codes = keras.Input((2, 3), dtype="int32")
    wrong = keras.layers.Flatten()(keras.layers.Embedding(4, 4)(codes))
    with pytest.raises(UserError, match="do not fit"):
        CodePrior(keras.Model(codes, wrong))
    with pytest.raises(UserError, match="code_shape"):
        models.code_prior((2, 3, 4), 5)
