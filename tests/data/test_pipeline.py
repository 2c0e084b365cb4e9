import numpy as np
import pytest
import tensorflow as tf

from kapps.data import (
    TrainingBatches,
    classification_targets,
    evaluation_batches,
    smooth,
    text_stream,
    without_autotune,
)
from kapps.data.images.dataset import Split
from kapps.errors import UserError


def numbered(count):
    """Pictures whose every pixel is their own row number."""
    pictures = np.broadcast_to(np.arange(count)[:, None, None, None], (count, 2, 2, 1))
    pictures = tf.constant(pictures.astype(np.uint8))
    return Split(np.arange(count, dtype=np.int32), lambda i: tf.gather(pictures, i))


def batches(count=50, batch_size=8, seed=0):
    prepare = lambda images, labels, key: (images[:, 0, 0, 0], labels, key)  # noqa: E731
    return TrainingBatches(numbered(count), batch_size, seed=seed, prepare=prepare)


def rows(dataset):
    return [tuple(part.numpy().tolist() for part in batch) for batch in dataset]


@pytest.mark.slow
def test_every_epoch_is_another_order_of_examples_seen_once():
    train = batches()
    assert train.steps == 6  # 50 // 8: the incomplete batch is dropped
    epochs = [rows(train.dataset(e, e + 1)) for e in range(2)]
    orders = [[i for batch in epoch for i in batch[0]] for epoch in epochs]
    for order in orders:
        assert len(order) == len(set(order)) == 48
    assert orders[0] != orders[1]
    assert orders[0] != sorted(orders[0])


def test_pictures_keep_their_labels():
    for images, labels, _ in rows(batches().dataset(0, 2)):
        assert images == labels


@pytest.mark.slow
def test_beginning_at_a_step_continues_the_same_stream():
    whole = rows(batches().dataset(0, 3))
    assert len(whole) == 18
    assert rows(batches().dataset(0, 3, start=4)) == whole[4:]
    assert rows(batches().dataset(1, 3)) == whole[6:]
    assert rows(batches().dataset(2, 3, start=5)) == whole[17:]


def test_augmentation_seeds_never_repeat_and_follow_the_seed():
    keys = [tuple(key) for *_, key in rows(batches().dataset(0, 3))]
    assert len(set(keys)) == len(keys)
    other = [tuple(key) for *_, key in rows(batches(seed=1).dataset(0, 3))]
    assert not set(keys) & set(other)


def test_what_prepares_a_batch_may_ask_of_tensors():
    """It is rewritten (AutoGraph), although what is around it is not."""

    def prepare(images, labels, seed):
        if labels[0] % 2 == 0:
            labels = -labels
        return images, labels

    made = TrainingBatches(numbered(50), 8, prepare=prepare)
    plain = TrainingBatches(numbered(50), 8, prepare=lambda images, labels, seed: (images, labels))
    for (_, found), (_, own) in zip(made.dataset(0, 1), plain.dataset(0, 1), strict=True):
        np.testing.assert_array_equal(found, own if own[0] % 2 else -own)


def test_seed_moves_the_order():
    assert rows(batches(seed=0).dataset(0, 1)) != rows(batches(seed=1).dataset(0, 1))


def test_a_batch_larger_than_the_split_is_the_split():
    train = batches(count=5, batch_size=64)
    assert (train.steps, train.batch_size) == (1, 5)
    assert sorted(rows(train.dataset(0, 1))[0][0]) == [0, 1, 2, 3, 4]


def test_cardinality_is_known():
    assert batches().dataset(0, 2, start=3).cardinality() == 9


def test_mistakes_are_named():
    with pytest.raises(UserError, match="batch size 0"):
        batches(batch_size=0)
    with pytest.raises(UserError, match="empty"):
        batches(count=0)


def test_evaluation_sees_every_example_once_in_order():
    dataset = evaluation_batches(numbered(11), 4, prepare=lambda images, labels: labels)
    assert [b.numpy().tolist() for b in dataset] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_a_limited_evaluation_is_a_fixed_random_part():
    def part(seed):
        dataset = evaluation_batches(
            numbered(100), 10, prepare=lambda images, labels: labels, limit=20, seed=seed
        )
        return np.concatenate([b.numpy() for b in dataset]).tolist()

    assert part(0) == part(0) != part(1)
    assert len(set(part(0))) == 20
    assert part(0) != list(range(20))


def test_smoothed_targets_by_hand():
    targets = smooth(classification_targets(4)(tf.constant([1, 3])), 0.2)
    np.testing.assert_allclose(targets, [[0.05, 0.85, 0.05, 0.05], [0.05, 0.05, 0.05, 0.85]])
    with pytest.raises(UserError, match="smoothing"):
        smooth(targets, 1.0)


def test_no_pipeline_waits_for_the_tuning_thread():
    once = evaluation_batches(numbered(9), 4, prepare=lambda images, labels: (images, labels))
    text = text_stream(np.arange(99, dtype=np.int32), steps=8)
    assert [batches.options().autotune.enabled for batches in (once, text)] == [False, False]


def test_without_tuning_the_batches_are_the_same_and_their_count_is_known():
    train = batches().dataset(0, 2)
    assert train.options().autotune.enabled is None  # TensorFlow's default is to tune
    untuned = without_autotune(train)
    assert rows(untuned) == rows(train) and int(untuned.cardinality()) == 12


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_no_class_has_is_refused(label):
    """tf.one_hot gives zeros for it, on which nothing would be learned."""
    targets = classification_targets(4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="outside 0 .. 3"):
        targets(tf.constant([1, label]))
    batches = tf.data.Dataset.from_tensors(tf.constant([1, label])).map(targets)
    with pytest.raises(tf.errors.InvalidArgumentError, match="outside 0 .. 3"):
        next(iter(batches))


@pytest.mark.slow
def test_alternating_flips_show_every_picture_both_ways_in_two_epochs():
    """Pictures [[2 i, 2 i + 1]]: mirrored ones begin with the odd number."""
    count = 40
    pictures = np.arange(2 * count, dtype=np.uint8).reshape(count, 1, 2, 1)
    split = Split(np.arange(count, dtype=np.int32), lambda i: tf.gather(pictures, i))

    def mirrored(epoch, seed=0):
        prepare = lambda images, labels, key: (images[:, 0, 0, 0], labels)  # noqa: E731
        train = TrainingBatches(split, 8, seed=seed, prepare=prepare, alternate_flips=True)
        seen = [
            pair for batch in train.dataset(epoch, epoch + 1) for pair in zip(*batch, strict=True)
        ]
        assert all(int(first) // 2 == int(label) for first, label in seen)
        return {int(label): int(first) % 2 for first, label in seen}

    epochs = [mirrored(epoch) for epoch in range(4)]
    assert epochs[0] == epochs[2] and epochs[1] == epochs[3]
    assert all(epochs[0][i] + epochs[1][i] == 1 for i in range(count))
    assert 10 <= sum(epochs[0].values()) <= 30  # a fair coin each: 20, give or take 3.2
    assert mirrored(0, seed=1) != epochs[0]


@pytest.mark.slow
@pytest.mark.parametrize("of", [2, 4])
@pytest.mark.parametrize("replicas", [1, 2])
def test_parts_are_the_rows_of_the_batch_and_load_no_others(of, replicas):
    """Picture i has the value i, and `prepare` adds that of the row before it, going round."""
    loaded = []
    source = numbered(50)

    def images(rows):
        tf.py_function(lambda found: loaded.append(found.numpy().tolist()), [rows], [])
        return source.images(rows)

    def prepare(images, labels, key, part):
        values = tf.cast(images[:, 0, 0, 0], tf.int32)
        return values + 100 * tf.roll(values, 1, 0), labels

    train = TrainingBatches(Split(source.labels, images), 8, seed=3, prepare=prepare, neighbours=1)
    assert train.by_part and not batches().by_part
    whole = rows(train.dataset(0, 3, start=4))
    del loaded[:]
    for first in range(0, of, replicas):
        own = range(first, first + replicas)
        parts = train.parts(0, 3, start=4, replicas=own, of=of)
        assert parts.cardinality() == len(whole) * replicas
        found = iter(rows(parts))
        for batch in whole:
            for replica in own:
                part = slice(replica * 8 // of, (replica + 1) * 8 // of)
                assert next(found) == tuple(values[part] for values in batch)
    assert sum(map(len, loaded)) == len(whole) * of * (8 // of + 1)


def test_batches_that_are_made_as_a_whole_have_no_parts():
    with pytest.raises(ValueError, match="as a whole"):
        batches().parts(0, 1, replicas=range(1), of=2)
