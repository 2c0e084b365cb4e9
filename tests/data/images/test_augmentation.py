import numpy as np
import pytest
import tensorflow as tf

from kapps.data import Augmentation
from kapps.data.images.augmentation import cutmix, erase, mixup, move
from kapps.data.pipeline import Part
from kapps.errors import UserError

KEY = tf.constant([3, 4], tf.int64)
EYE = tf.eye(8)[:6]


def pictures(count=6, height=9, width=7, channels=2):
    rng = np.random.default_rng(0)
    return tf.constant(rng.integers(1, 256, (count, height, width, channels)), tf.uint8)


def test_the_same_seed_gives_the_same_result_and_another_one_another():
    everything = Augmentation(flip=True, crop=0.2, rotation=20, erasing=0.5, mixup=0.4, cutmix=1.0)
    first = everything(pictures(), EYE, KEY)
    again = everything(pictures(), EYE, KEY)
    other = everything(pictures(), EYE, KEY + 1)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert np.any(first[0].numpy() != other[0].numpy())


def test_nothing_asked_changes_nothing():
    images, targets = Augmentation()(pictures(), EYE, KEY)
    np.testing.assert_array_equal(images, pictures())
    np.testing.assert_array_equal(targets, EYE)
    assert images.dtype == tf.uint8


def test_flip_mirrors_about_half_of_the_pictures_exactly():
    images = tf.tile(pictures(1), [400, 1, 1, 1])
    moved = move(images, KEY, flip=True, crop=0.0, rotation=0.0).numpy()
    mirrored = images.numpy()[:, :, ::-1]
    is_mirrored = (moved == mirrored).all((1, 2, 3))
    is_same = (moved == images.numpy()).all((1, 2, 3))
    assert np.all(is_mirrored ^ is_same)
    assert 150 < is_mirrored.sum() < 250  # five standard deviations around 200


def test_crop_shifts_by_whole_pixels_up_to_the_limit_and_fills_with_zero():
    image = np.zeros((1, 9, 9, 1), np.uint8)
    image[0, 4, 4] = 255
    images = tf.tile(tf.constant(image), [500, 1, 1, 1])
    moved = move(images, KEY, flip=False, crop=2 / 9, rotation=0.0).numpy()[..., 0]
    assert np.all(moved.sum((1, 2)) == 255)  # the dot is whole wherever it went
    places = {tuple(np.argwhere(picture)[0]) for picture in moved}
    assert places == {(row, column) for row in range(2, 7) for column in range(2, 7)}


def test_rotation_turns_around_the_centre_by_at_most_the_limit():
    image = np.zeros((1, 41, 41, 1), np.uint8)
    image[0, 20, 36] = 255  # 16 pixels to the right of the centre
    images = tf.tile(tf.constant(image), [300, 1, 1, 1])
    moved = move(images, KEY, flip=False, crop=0.0, rotation=30.0).numpy()[..., 0].astype(float)
    grid = np.arange(41) - 20.0
    mass = moved.sum((1, 2))
    angle = np.degrees(
        np.arctan2((moved.sum(2) * grid).sum(1) / mass, (moved.sum(1) * grid).sum(1) / mass)
    )
    assert np.all(np.abs(angle) <= 31)
    assert angle.min() < -25 and angle.max() > 25
    assert abs(angle.mean()) < 5 * (30 / np.sqrt(3)) / np.sqrt(300)


def test_erasing_replaces_one_rectangle_of_the_right_area():
    images = tf.zeros([400, 30, 30, 1], tf.uint8)
    changed = erase(images, KEY, probability=1.0).numpy()[..., 0] > 0
    area = changed.mean((1, 2))
    assert 0.25 < area.max() <= (np.sqrt(0.33) + 1 / 30) ** 2  # a third, to whole pixels
    assert 0.05 < area.mean() < 0.2  # uniform on 2..33 %, cut at the border
    for picture in changed[:50]:
        rows, columns = np.where(picture)
        if len(rows) > 10:  # the noise is zero in one of 256 places
            filled = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert filled.mean() > 0.9
    untouched = erase(images, KEY, probability=0.25).numpy().max((1, 2, 3)) == 0
    assert 0.6 < untouched.mean() < 0.9


def test_mixup_mixes_pictures_and_targets_by_the_same_share():
    images = pictures()
    mixed, targets = mixup(images, EYE, KEY, alpha=1.0)
    share = tf.linalg.diag_part(targets[:, :6]).numpy()
    assert np.all((share >= 0) & (share <= 1)) and share.std() > 0.05
    partner = np.roll(images.numpy().astype(np.float32), 1, axis=0)
    weight = share[:, None, None, None]
    expected = weight * images.numpy() + (1 - weight) * partner
    np.testing.assert_allclose(mixed, expected, atol=1e-3)
    np.testing.assert_allclose(tf.reduce_sum(targets, 1), 1.0, atol=1e-6)


def test_mixup_share_has_the_moments_of_beta():
    alpha, count = 0.4, 20_000
    blank = tf.zeros([count, 1, 1, 1])
    one = tf.one_hot(tf.range(count) % 2, 2)  # neighbours differ
    _, targets = mixup(blank, one, KEY, alpha)
    share = tf.reduce_sum(targets * one, 1).numpy()
    variance = 1 / (4 * (2 * alpha + 1))  # of Beta(alpha, alpha)
    assert abs(share.mean() - 0.5) < 5 * np.sqrt(variance / count)
    assert abs(share.var() - variance) < 0.01


def test_cutmix_targets_are_the_shares_of_pixels():
    images = tf.reshape(tf.range(6, dtype=tf.float32), [6, 1, 1, 1]) * tf.ones([1, 20, 20, 1])
    mixed, targets = cutmix(images, EYE, KEY, alpha=1.0)
    for i in range(6):
        values = mixed[i].numpy()
        own = np.mean(values == i)
        assert set(np.unique(values)) <= {i, (i - 1) % 6}
        np.testing.assert_allclose(targets[i, i], own, atol=1e-6)
        np.testing.assert_allclose(targets[i, (i - 1) % 6], 1 - own, atol=1e-6)


@pytest.mark.parametrize("bad", [{"crop": -0.1}, {"erasing": 1.5}, {"mixup": -1.0}])
def test_meaningless_strengths_are_refused(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        Augmentation(**bad)


EVERYTHING = {"flip": True, "crop": 0.2, "rotation": 20, "erasing": 0.7}
MIXUP, CUTMIX = {"mixup": 0.4}, {"cutmix": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "shards", "mixing"),
    [  # values of a row: 126, and 75, odd
        ((9, 7, 2), 4, {}),
        ((9, 7, 2), 2, MIXUP),
        ((9, 7, 2), 2, MIXUP | CUTMIX),
        ((5, 5, 3), 2, {}),
        ((5, 5, 3), 4, CUTMIX),
        ((5, 5, 3), 4, MIXUP | CUTMIX),
    ],
)
def test_parts_of_a_batch_are_the_same_bits(shards, mixing, shape):
    """Both coins of mixup or cutmix fall in eight seeds."""
    augmentation = Augmentation(**EVERYTHING, **mixing)
    images, targets = pictures(8, *shape), tf.eye(8)
    augmented, count = tf.function(augmentation), 8 // shards
    for step in range(8):
        whole = augmented(images, targets, KEY + step)
        for shard in range(shards):
            part = Part(8, count, shard * count, augmentation.neighbours)
            found = augmented(
                tf.gather(images, part.rows), tf.gather(targets, part.rows), KEY + step, part
            )
            own = slice(shard * count, (shard + 1) * count)
            for a, b in zip(whole, found, strict=True):
                np.testing.assert_array_equal(a[own], b[part.before :])


COLOURS = [
    {"resized_crop": 0.25},
    {"jitter": 0.4},
    {"randaugment": 9.0},
    {"resized_crop": 0.25, "jitter": 0.4, "randaugment": 9.0, "erasing": 0.5, "mixup": 0.4},
]


@pytest.mark.slow
@pytest.mark.parametrize("settings", COLOURS, ids=lambda settings: " ".join(settings))
@pytest.mark.parametrize("shape", [(9, 7, 1), (5, 5, 3)])
def test_parts_of_a_batch_have_the_same_colours_to_the_bit(settings, shape):
    augmentation = Augmentation(**settings)
    images, targets = pictures(8, *shape), tf.eye(8)
    augmented = tf.function(augmentation)
    for step in range(4):
        whole = augmented(images, targets, KEY + step)
        assert (whole[0].numpy() != images.numpy()).any(axis=(1, 2, 3)).sum() > 4
        for first in (0, 4):
            part = Part(8, 4, first, augmentation.neighbours)
            found = augmented(
                tf.gather(images, part.rows), tf.gather(targets, part.rows), KEY + step, part
            )
            for a, b in zip(whole, found, strict=True):
                np.testing.assert_array_equal(a[first : first + 4], b[part.before :])
