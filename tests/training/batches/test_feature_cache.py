"""Features kept on the disk: the right ones, whole or not at all, and as good as none."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data, losses, models, training
from kapps.models.pretrained import transfer
from kapps.training.batches import feature_cache
from models.pretrained.small_backbone import backbone, stages

FACTS = {"data": "f00d", "split": "train"}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", seed=0, image_size=12, channels=3)


@pytest.fixture(scope="module")
def small(digits):
    """Forty pictures: two batches, the second one smaller."""
    split = digits.splits["train"]
    return data.Split(split.labels[:40], split.images)


def extractor(seed=0):
    keras.utils.set_random_seed(seed)
    return transfer.features_of(models.transfer_classifier(backbone(), 10))


def cached(model, split, directory, **options):
    return training.cached_features(model, split, directory, FACTS, batch_size=32, **options)


def flip(pictures, seed):
    return data.Augmentation(flip=True, crop=0.2)(pictures, None, seed)[0]


@pytest.fixture
def no_backbone(monkeypatch):
    """From here on, looking at a picture is an error."""

    def refuse():
        def run(*_):
            raise AssertionError("computed again")
            yield

        monkeypatch.setattr(feature_cache, "_run", run)

    return refuse


@pytest.mark.slow
def test_features_are_those_of_the_backbone_and_computed_once(tmp_path, small, no_backbone):
    model = extractor()
    found = cached(model, small, tmp_path / "new/features")
    expected = model.predict(small.take(range(40)).astype(np.float32), verbose=0)
    assert found.shape == (1, 40, 8) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(cached(model, small, None), found)
    no_backbone()
    np.testing.assert_array_equal(cached(model, small, tmp_path / "new/features"), found)
    mapped = cached(model, small, tmp_path / "new/features", in_memory=0)
    assert isinstance(mapped, np.memmap) and not isinstance(found, np.memmap)
    np.testing.assert_array_equal(mapped, found)


@pytest.mark.slow
def test_the_key_is_what_features_depend_on():
    model = extractor()
    key = feature_cache.key
    assert key(model, FACTS) == key(extractor(), FACTS)  # names of layers are numbered anew
    others = [key(model, FACTS), key(extractor(seed=1), FACTS), key(model, FACTS | {"data": "b"})]
    keras.utils.set_random_seed(0)
    base = backbone()
    image = keras.Input((12, 12, 3))
    x = keras.layers.Rescaling(1 / 128, -1.0)(image)  # the same weights, other preprocessing
    for layer in base.layers[2:]:
        x = layer(x)
    other = models.transfer_classifier(keras.Model(image, x), 10)
    others.append(key(transfer.features_of(other), FACTS))
    moved = extractor()
    moved.get_layer("block2_bn").moving_mean.assign_add(np.full(8, 1e-6, "float32"))
    others.append(key(moved, FACTS))
    assert len(set(others)) == len(others)


@pytest.mark.slow
def test_options_have_files_of_their_own(tmp_path, small):
    model = extractor()
    for options in ({}, {"copies": 1}, {"copies": 2}, {"copies": 2, "seed": 1}):
        cached(model, small, tmp_path, augment=flip, **options)
    assert len(list(tmp_path.glob("*.npy"))) == 4
    assert json.loads(next(tmp_path.glob("*.json")).read_text())["facts"]["data"] == "f00d"


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["truncated", "one bit", "no digest"])
def test_a_damaged_file_is_made_again(tmp_path, small, damage):
    model = extractor()
    whole = cached(model, small, tmp_path)
    (path,) = tmp_path.glob("*.npy")
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[:-100])
    elif damage == "one bit":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        path.with_suffix(".json").unlink()
    np.testing.assert_array_equal(cached(model, small, tmp_path), whole)
    assert path.read_bytes() == content


def test_a_writer_that_is_stopped_leaves_nothing(tmp_path, small, monkeypatch):
    run = feature_cache._run

    def stopped(*arguments):
        yield next(run(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(feature_cache, "_run", stopped)
    with pytest.raises(KeyboardInterrupt):
        cached(extractor(), small, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


@pytest.mark.slow
def test_what_another_run_is_writing_stays(tmp_path, small):
    """Two runs at once share the directory: only leftovers of the same key go."""
    theirs = tmp_path / ".0123456789abcdef01234567.npy.0.tmp"
    theirs.write_bytes(b"half of it")
    model = extractor()
    whole = cached(model, small, tmp_path)
    (made,) = tmp_path.glob("*.npy")
    assert theirs.exists()
    made.unlink()
    own = tmp_path / f".{made.name}.1.tmp"
    own.write_bytes(b"half of it")
    np.testing.assert_array_equal(cached(model, small, tmp_path), whole)
    assert made.exists() and not own.exists()


@pytest.mark.slow
def test_augmented_copies(small):
    model = extractor()
    found = cached(model, small, None, copies=3, augment=flip)
    assert found.shape == (3, 40, 8)
    assert len({copy.tobytes() for copy in found}) == 3
    np.testing.assert_array_equal(cached(model, small, None, copies=3, augment=flip), found)
    assert not np.array_equal(cached(model, small, None, copies=3, augment=flip, seed=1), found)
    # The second batch of the second copy, by hand.
    rows = tf.range(32, 40, dtype=tf.int64)
    pictures = flip(small.images(rows), tf.constant([1, 40 + 32], tf.int64))
    expected = model(tf.cast(pictures, tf.float32), training=False)
    np.testing.assert_allclose(found[1, 32:], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="3 augmented copies"):
        cached(model, small, None, copies=3)


@pytest.mark.parametrize("mapped", [False, True])
def test_batches_draw_from_all_copies(tmp_path, mapped):
    """The feature of copy c of example i is (c, i)."""
    copies, examples = 3, 50
    features = np.stack(np.meshgrid(range(copies), range(examples), indexing="ij"), -1)
    features = features.astype(np.float32)
    if mapped:
        np.save(tmp_path / "features.npy", features)
        features = np.load(tmp_path / "features.npy", mmap_mode="r")
    batches = training.FeatureBatches(features, 25, seed=3, targets=lambda rows: (rows, rows * 2))
    seen = []
    for x, rows, twice in batches.dataset(0, 8):
        assert x.shape == (25, 2)
        np.testing.assert_array_equal(x[:, 1], rows)
        np.testing.assert_array_equal(twice, rows * 2)
        seen += x[:, 0].numpy().tolist()
    counts = np.bincount(np.array(seen, int), minlength=copies)
    # 400 draws, 133 of each expected, standard deviation sqrt(400 * 1/3 * 2/3) = 9.4.
    assert len(counts) == copies and np.abs(counts - 400 / 3).max() < 4 * 9.4


def probe(images, features):
    """Three epochs of the head, on pictures or on features: its weights, and the history."""
    training.seed_everything(0)
    base = backbone()
    model = models.transfer_classifier(base, 10, dropout=0.3)
    transfer.unfreeze(model, stages(base))
    exact, split = data.classification_targets(10), images.splits["train"]
    validation = images.splits["validation"]
    if features:
        looked = transfer.features_of(model)
        labels = tf.constant(split.labels)
        batches = training.FeatureBatches(
            cached(looked, split, None),
            64,
            seed=5,
            targets=lambda rows: (exact(tf.gather(labels, rows)),),
        )
        held = cached(looked, validation, None)[0], exact(validation.labels)
        held = tf.data.Dataset.from_tensor_slices(held).batch(64)
        model = transfer.head_of(model)
    else:
        batches = data.TrainingBatches(split, 64, seed=5, prepare=lambda x, y, seed: (x, exact(y)))
        held = data.evaluation_batches(validation, 64, prepare=lambda x, y: (x, exact(y)))
    model.compile(
        training.optimizer("adamw", 0.2, weight_decay=0.05),
        losses.softmax_cross_entropy,
        metrics=["accuracy"],
    )
    history = training.fit(model, batches, held, epochs=3, verbose=0)
    return model.get_layer("logits").get_weights(), history.rows


@pytest.mark.slow
def test_a_probe_on_cached_features_is_the_probe_without(digits):
    """The same order, the same units dropped; only sums are rounded in other places."""
    (weights, rows), (without, rows_without) = (probe(digits, f) for f in (True, False))
    for one, other in zip(weights, without, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    for one, other in zip(rows, rows_without, strict=True):
        assert one["val_accuracy"] == pytest.approx(other["val_accuracy"], abs=1.5 / 144)
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.1  # it learns
