"""Series in three splits: kept splits, validation out of train, padding, statistics."""

import numpy as np
import pytest

from kapps import data
from kapps.errors import UserError


@pytest.fixture
def archive(tmp_path):
    """Forty series of two classes and unequal lengths, sorted by class, twelve of them to test."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 9, 2)).astype("float32")
    for i, row in enumerate(x):
        row[4 + i % 6 :] = np.nan
    y = np.arange(28) // 14
    np.savez(tmp_path / "a.npz", x_train=x[:28], y_train=y, x_test=x[28:], y_test=np.arange(12) % 2)
    return f"npz:{tmp_path / 'a.npz'}", x, y


def test_the_test_split_is_kept_and_validation_is_stratified(archive):
    spec, x, y = archive
    found = data.load_sequences(spec, validation_fraction=0.25, seed=1)
    assert found.counts == {"train": 21, "validation": 7, "test": 12}
    np.testing.assert_array_equal(found.splits["test"].values, x[28:])
    for split, per_class in (("train", {10, 11}), ("validation", {3, 4})):
        assert set(np.bincount(found.splits[split].labels)) <= per_class
    both = np.concatenate([found.splits[name].values for name in ("train", "validation")])
    key = lambda rows: sorted(map(tuple, np.nan_to_num(rows).reshape(28, -1)))  # noqa: E731
    assert key(both) == key(x[:28])
    assert (found.features, found.steps, found.classes) == (2, 9, 2)
    np.testing.assert_array_equal(found.splits["test"].lengths, [4 + i % 6 for i in range(28, 40)])
    other = data.load_sequences(spec, validation_fraction=0.25, seed=2)
    assert other.fingerprint != found.fingerprint
    assert data.load_sequences(spec, validation_fraction=0.25, seed=1).fingerprint == (
        found.fingerprint
    )


def test_all_of_train_can_be_trained_on(archive):
    spec, x, y = archive
    found = data.load_sequences(spec, validation_fraction=0)
    assert not found.held_out and found.counts["train"] == 28
    np.testing.assert_array_equal(found.splits["train"].values, x[:28])
    np.testing.assert_array_equal(found.splits["train"].labels, y)
    assert found.counts["test"] == 12
    assert any("no series are kept" in note for note in found.notes)


def test_statistics_are_of_valid_steps(archive):
    spec, x, _ = archive
    split = data.load_sequences(spec, validation_fraction=0).splits["train"]
    mean, std = data.sequence_statistics(split)
    valid = x[:28].astype("float64").reshape(-1, 2)
    valid = valid[~np.isnan(valid[:, 0])]
    np.testing.assert_allclose(mean, valid.mean(0), rtol=1e-6)
    np.testing.assert_allclose(std, valid.std(0), rtol=1e-6)
    same = data.SequenceSplit(np.ones((2, 3, 1), "float32"), np.zeros(2, int))
    assert data.sequence_statistics(same)[1] == [1.0]  # not 0: one divides by it


def test_some_are_drawn_and_not_the_first(archive):
    spec, _, _ = archive
    train = data.load_sequences(spec, validation_fraction=0).splits["train"]
    assert 2 <= train.some(10, 0).labels.sum() <= 8  # the first ten are all of class 0
    assert train.some(28, 0) is train


def test_rows_of_pictures_are_steps():
    found = data.load_sequences("digits")
    assert (found.features, found.steps, found.classes) == (8, 8, 10)
    pictures = data.load("digits", validation_fraction=0.2)
    np.testing.assert_array_equal(
        found.splits["test"].values, pictures.splits["test"].take(range(359))[..., 0]
    )


def test_generated_tasks_are_divided_by_seed():
    one = data.load_sequences("adding", length=12, examples=30, seed=0)
    other = data.load_sequences("adding", length=12, examples=30, seed=1)
    assert one.counts == {"train": 30, "validation": 1000, "test": 2000}
    values = {name: split.values for name, split in one.splits.items()}
    assert not np.array_equal(values["train"], values["validation"][:30])
    assert not np.array_equal(values["validation"], values["test"][:1000])
    assert not np.array_equal(values["train"], other.splits["train"].values)
    np.testing.assert_array_equal(values["test"], other.splits["test"].values)
    assert one.baseline == pytest.approx(1 / 6) and one.classes == 0
    copy = data.load_sequences("copy", length=12, examples=30)
    assert copy.per_step and copy.classes == 9 and copy.features == 10
    with pytest.raises(UserError, match="--length 2"):
        data.load_sequences("adding", length=2)


def test_a_name_that_is_none_is_answered_with_those_there_are():
    with pytest.raises(UserError, match="(?s)GunPoin.*GunPoint"):
        data.load_sequences("GunPoin")


def test_series_of_one_recording_stay_together(tmp_path):
    path = tmp_path / "s.csv"
    rows = [
        f"{i},{i % 2},p{i // 4},{t},{np.sin(t * (1 + i % 2)) + i:.3f}"
        for i in range(60)
        for t in range(6)
    ]
    path.write_text("\n".join(["series,label,patient,time,v", *rows]))
    found = data.load_sequences(f"csv:{path}", group="patient")
    assert found.features == 1 and sum(found.counts.values()) == 60
    assert found.feature_names == ("v",)
    who = [
        set((np.round(split.values[:, 0, 0]) // 4).astype(int).tolist())
        for split in found.splits.values()
    ]
    assert sum(map(len, who)) == len(set.union(*who)) == 15
    tests = [data.load_sequences(f"csv:{path}", group="patient", fold=(i, 3)) for i in range(3)]
    assert sum(len(one.splits["test"]) for one in tests) == 60
    with pytest.raises(UserError, match="'doctor'"):
        data.load_sequences(f"csv:{path}", group="doctor")


def test_more_than_may_be_held_is_refused(archive, tmp_path):
    """Forty series of nine steps of two features: 2,880 bytes of float32 in a file of more."""
    spec, _, _ = archive
    size = (tmp_path / "a.npz").stat().st_size
    assert data.load_sequences(spec, memory_limit=size).features == 2
    with pytest.raises(UserError, match="a.npz' takes .* held in memory.*--memory-limit"):
        data.load_sequences(spec, memory_limit=size - 1)
    np.savez_compressed(tmp_path / "z.npz", x=np.zeros((40, 99, 2), "f4"), y=np.arange(40) % 2)
    assert (tmp_path / "z.npz").stat().st_size < 40 * 99 * 2 * 4
    with pytest.raises(UserError, match="what npz:.*z.npz holds takes"):
        data.load_sequences(f"npz:{tmp_path / 'z.npz'}", memory_limit=40 * 99 * 2 * 4 - 1)
    data.load_sequences(f"npz:{tmp_path / 'z.npz'}", memory_limit=40 * 99 * 2 * 4)
