"""Changes of colour, and the policy that draws among changes, beside Pillow and by hand."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from kapps import data
from kapps.data import Augmentation, OwnAugmentation
from kapps.data.images import colours
from kapps.data.images.augmentation import move
from kapps.errors import UserError

KEY = tf.constant([3, 4], tf.int64)


def pictures(count=6, height=9, width=7, channels=3):
    rng = np.random.default_rng(0)
    return tf.constant(rng.integers(1, 256, (count, height, width, channels)), tf.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32])
@pytest.mark.parametrize(
    "settings", [{"jitter": 0.5}, {"randaugment": 9.0}, {"resized_crop": 0.3}], ids=str
)
def test_seeded_and_in_the_dtype_given(settings, dtype, channels):
    augmentation, images = Augmentation(**settings), tf.cast(pictures(40, channels=channels), dtype)
    graph = tf.function(lambda x, seed: augmentation(x, None, seed)[0])
    first, again = (f(images, KEY) for f in (graph, lambda x, s: augmentation(x, None, s)[0]))
    np.testing.assert_allclose(first, again, atol=1 if dtype == tf.uint8 else 1e-2)
    np.testing.assert_array_equal(first, graph(images, KEY))
    assert first.dtype == dtype and first.shape == images.shape
    assert np.any(first.numpy() != graph(images, KEY + 1).numpy())
    assert first.numpy().min() >= 0 and first.numpy().max() <= 255


def test_a_strength_of_nothing_changes_nothing():
    np.testing.assert_array_equal(colours.jitter(pictures(), KEY, 0.0), pictures())
    moved = move(pictures(), KEY, False, 0.0, 0.0, resized_crop=1.0)
    # All of the area, of an aspect ratio of its own: it is the whole picture where that is 1:1.
    assert moved.shape == pictures().shape


ENHANCED = {
    "brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "colour": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "sharpness": lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    "autocontrast": lambda image, factor: ImageOps.autocontrast(image),
    "posterize": lambda image, factor: ImageOps.posterize(image, 6),
    "solarize": lambda image, factor: ImageOps.solarize(image, 128),
}


@pytest.mark.parametrize("name", ENHANCED)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_light_is_that_of_pillow(name, sign):
    """At half the magnitude: 1 + or - 0.45, six bits, a threshold of one half."""
    assert set(ENHANCED) == set(colours.LIGHT)
    images = pictures(3, 16, 12)
    found = colours._lit(name, tf.cast(images, tf.float32), tf.fill([3], sign), 0.5)
    found = colours.as_dtype(found, tf.uint8).numpy().astype(int)
    for image, row in zip(images.numpy(), found, strict=True):
        expected = np.asarray(ENHANCED[name](Image.fromarray(image), 1 + 0.45 * sign)).astype(int)
        np.testing.assert_allclose(row, expected, atol=2)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_so_small_that_some_changes_have_no_picture(channels):
    images = pictures(2, channels=channels)
    for number in range(20):
        changed = colours.policy(images, KEY + number, 9.0)
        assert changed.shape == images.shape


def test_hue_turns_and_keeps_the_luma():
    red = tf.constant([[[[200.0, 60.0, 60.0]]]])
    for angle in (0.3, -0.3):
        turned = colours._turned_hue(red, tf.constant([angle])).numpy()[0, 0, 0]
        luma = np.dot(turned, colours.LUMA)
        assert luma == pytest.approx(np.dot([200, 60, 60], colours.LUMA), abs=0.2)
        hue = colorsys.rgb_to_hsv(*(turned / 255))[0]
        assert min(hue, 1 - hue) > 0.02
    np.testing.assert_allclose(colours._turned_hue(red, tf.zeros([1])), red, atol=0.05)


def test_jitter_draws_brightness_from_its_range():
    """Of grey pictures contrast does nothing: what is left is the factor, uniform on 0.6 to 1.4."""
    images = tf.fill([2000, 2, 2, 1], 100.0)
    factor = colours.jitter(images, KEY, 0.4).numpy()[:, 0, 0, 0] / 100
    assert 0.6 <= factor.min() < 0.61 and 1.39 < factor.max() <= 1.4001
    assert abs(factor.mean() - 1) < 5 * (0.8 / np.sqrt(12)) / np.sqrt(2000)


def test_the_policy_draws_every_change_and_each_by_itself():
    """What a picture gets depends on its place and the seed, and not on its neighbours."""
    images = pictures(200)
    changed = colours.policy(images, KEY, 9.0).numpy()
    same = (changed == images.numpy()).all((1, 2, 3)).mean()
    assert same < 0.2  # identity twice, 1 of 169, and what changes nothing in these pictures
    others = tf.concat([images[:100], tf.zeros_like(images[100:])], axis=0)
    np.testing.assert_array_equal(colours.policy(others, KEY, 9.0)[:100], changed[:100])
    drawn = tf.random.stateless_uniform([200], tf.random.fold_in(KEY, 0), maxval=13, dtype=tf.int32)
    assert len(colours.DRAWN) == 13 and set(drawn.numpy()) == set(range(13))


@pytest.mark.parametrize("name, row, column", [("translate_x", 4, 7), ("translate_y", 7, 4)])
def test_moves_by_whole_pixels(name, row, column):
    """0.3 of 10 pixels to the left or up: what was at 7 comes to 4."""
    image = np.zeros((1, 10, 10, 1), np.float32)
    image[0, row, column] = 255
    which = tf.constant([colours.DRAWN.index(name)])
    moved = colours._moved(tf.constant(image), which, tf.constant([1.0])).numpy()
    assert np.argwhere(moved[0, ..., 0] > 0).tolist() == [[4, 4]]


def test_a_resized_crop_lies_in_the_picture_and_has_its_part_of_the_area():
    """Each pixel holds its place: the corners of what comes out are those of the crop."""
    side = 41
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    images = tf.constant(np.tile(np.stack([rows, columns], -1)[None], (500, 1, 1, 1)))
    found = move(images, KEY, False, 0.0, 0.0, resized_crop=0.25).numpy()
    top, left = found[:, 0, 0, 0], found[:, 0, 0, 1]
    bottom, right = found[:, -1, -1, 0], found[:, -1, -1, 1]
    height, width = (bottom - top) / (side - 1), (right - left) / (side - 1)
    area, aspect = height * width, width / height
    assert area.min() > 0.24 and area.max() <= 1.001 and 0.55 < area.mean() < 0.68
    assert 0.74 < aspect.min() < 0.78 and 1.29 < aspect.max() < 1.35
    assert top.min() >= -0.01 and bottom.max() <= side - 0.99
    assert left.min() < 1 and right.max() > side - 2  # it goes everywhere


def darker(images, seed):
    drawn = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed)
    return tf.cast(images, tf.float32) * drawn


def test_a_function_of_ones_own_may_have_an_if_over_tensors():
    """TensorFlow rewrites it, as everything in a pipeline; our own parts are left as they are."""

    def lighter_if_dark(images, seed):
        if tf.reduce_mean(tf.cast(images, tf.float32)) < 50.0:
            images = images + 100
        return images

    augmentation = Augmentation(own=OwnAugmentation(lighter_if_dark), crop=0.01)
    for level, expected in ((10, 110), (90, 90)):
        images = tf.fill([2, 4, 4, 1], tf.constant(level, tf.uint8))
        batches = tf.data.Dataset.from_tensors(images).map(lambda x: augmentation(x, x, KEY)[0])
        assert set(batches.get_single_element().numpy().flat) == {expected}


def test_a_function_of_ones_own():
    own = OwnAugmentation(darker)
    augmentation = Augmentation(own=own)
    first, _ = augmentation(pictures(), None, KEY)
    assert first.dtype == tf.uint8 and np.any(first.numpy() != pictures().numpy())
    np.testing.assert_array_equal(first, augmentation(pictures(), None, KEY)[0])
    assert repr(own) == repr(OwnAugmentation(darker)) and "0x" not in repr(augmentation)
    assert repr(own) != repr(OwnAugmentation(lambda images, seed: images))
    with pytest.raises(UserError, match=r"makes \(6, 9, 7\) of images \(6, 9, 7, 3\)"):
        Augmentation(own=OwnAugmentation(lambda x, seed: x[..., 0]))(pictures(), None, KEY)


@pytest.mark.slow
def test_batches_do_not_depend_on_where_they_begin():
    """What a killed run goes on with is what it would have seen."""
    augmentation = Augmentation(
        jitter=0.4, randaugment=9.0, resized_crop=0.5, own=OwnAugmentation(darker)
    )
    train = data.TrainingBatches(
        data.load("digits").splits["train"],
        128,
        prepare=lambda x, y, seed: augmentation(x, tf.one_hot(y, 10), seed),
    )
    whole = [batch[0].numpy() for batch in train.dataset(0, 2)]
    rest = [batch[0].numpy() for batch in train.dataset(1, 2, start=3)]
    for one, other in zip(whole[train.steps + 3 :], rest, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.any(whole[0] != whole[train.steps])


@pytest.mark.parametrize("bad", [{"jitter": 1.5}, {"randaugment": 11.0}, {"resized_crop": -0.1}])
def test_meaningless_strengths_are_refused(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        Augmentation(**bad)
