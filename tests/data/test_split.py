import numpy as np
import pytest
from hypothesis import given, strategies as st

from kapps.data.split import by_group, by_time, divide, folds, stratified
from kapps.errors import UserError


def counts(labels, positions, classes):
    return np.bincount(np.asarray(labels)[positions], minlength=classes).tolist()


def test_counts_by_hand():
    """A fifth of 50, 30 and 21 is 10, 6 and 4.2; of 101 it is 20, so nobody gets one more."""
    labels = np.repeat([0, 1, 2], [50, 30, 21])
    rest, part = stratified(labels, 0.2, seed=0)
    assert counts(labels, part, 3) == [10, 6, 4]
    assert counts(labels, rest, 3) == [40, 24, 17]


def test_largest_remainders_get_the_missing_ones():
    """A tenth of 17, 14 and 19 is 1.7, 1.4 and 1.9, together 5: the second class gives way."""
    labels = np.repeat([0, 1, 2], [17, 14, 19])
    _, part = stratified(labels, 0.1, seed=0)
    assert counts(labels, part, 3) == [2, 1, 2]


def test_tiny_classes():
    """One stays in the rest; of two, one goes, whatever the fraction."""
    labels = np.repeat([0, 1, 2, 3], [1, 2, 3, 100])
    _, part = stratified(labels, 0.1, seed=0)
    assert counts(labels, part, 4) == [0, 1, 1, 10]
    _, part = stratified(labels, 0.95, seed=0)
    assert counts(labels, part, 4)[:3] == [0, 1, 2]


@pytest.mark.slow
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.floats(0.01, 0.99),
    st.integers(0, 2**32 - 1),
)
def test_every_position_is_on_one_side(labels, fraction, seed):
    rest, part = stratified(np.array(labels), fraction, seed)
    assert sorted([*rest, *part]) == list(range(len(labels)))
    assert (np.diff(rest) > 0).all() and (np.diff(part) > 0).all()
    assert set(np.array(labels)[rest]) == set(labels)  # no class is lost to training


def test_seeds():
    labels = np.repeat([0, 1], 50)
    parts = [stratified(labels, 0.2, seed)[1].tolist() for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]


def test_it_is_no_slice_of_the_order():
    """The last rows, or the first, are what toy pipelines take."""
    _, part = stratified(np.zeros(100, int), 0.2, seed=0)
    assert part.min() < 20 and part.max() >= 80


def test_test_stays_where_it_is_and_validation_moves():
    labels = np.repeat([0, 1, 2], 40)
    first, second = (divide(labels, {"train": np.arange(120)}, 0.1, seed) for seed in (0, 1))
    np.testing.assert_array_equal(first["test"], second["test"])
    assert first["validation"].tolist() != second["validation"].tolist()
    assert [len(first[name]) for name in ("train", "validation", "test")] == [86, 10, 24]
    assert sorted(np.concatenate(list(first.values()))) == list(range(120))


def test_given_splits_are_left_alone():
    labels = np.tile([0, 1], 60)
    given = {
        "train": np.arange(100),
        "test": np.arange(100, 110),
        "validation": np.arange(110, 120),
    }
    divided = divide(labels, given, 0.1, 0)
    for name in given:
        np.testing.assert_array_equal(divided[name], given[name])


def test_too_few():
    with pytest.raises(UserError, match="no examples are left for the test split.*2 examples of 2"):
        divide(np.array([0, 1]), {"train": np.arange(2)}, 0.1, 0)
    with pytest.raises(UserError, match="left for the validation split"):
        divide(np.array([0, 0, 1, 1]), {"train": np.arange(4)}, 0.1, 0)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fractions_that_are_none(fraction):
    with pytest.raises(UserError, match="between 0 and 1"):
        divide(np.zeros(9, int), {"train": np.arange(9)}, fraction, 0)


@pytest.mark.slow
@given(
    st.lists(st.integers(0, 9), min_size=12, max_size=80).filter(lambda g: len(set(g)) > 2),
    st.integers(0, 2**31),
)
def test_groups_are_on_one_side(groups, seed):
    groups = np.array(groups)
    labels = np.arange(len(groups)) % 2
    rest, part = by_group(labels, groups, 0.2, seed)
    assert sorted([*rest, *part]) == list(range(len(groups))) and len(rest) and len(part)
    assert not set(groups[rest]) & set(groups[part])


def test_groups_in_proportion():
    """Of 100 groups of 10 rows, half of them of each class, a fifth is 10 groups of each."""
    groups = np.repeat(np.arange(100), 10)
    labels = (groups % 2).astype(int)
    _, part = by_group(labels, groups, 0.2, 0)
    assert np.bincount(labels[part]).tolist() == [100, 100]
    assert by_group(labels, groups, 0.2, 1)[1].tolist() != part.tolist()


def test_no_class_is_lost_to_the_rest():
    labels, groups = np.array([0] * 20 + [1] * 5), np.arange(25) // 5
    for seed in range(5):
        rest, _ = by_group(labels, groups, 0.2, seed)
        assert set(labels[rest]) == {0, 1}
    with pytest.raises(UserError, match="one group only"):
        by_group(labels, np.zeros(25), 0.2, 0)


def test_a_split_by_patient_is_honest():
    """Labels that a patient's rows share and nothing else tells: by patient, chance; else not."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 20)
    labels = rng.integers(0, 2, 40)[groups]
    marks = rng.normal(size=(40, 5))[groups] + 0.1 * rng.normal(size=(800, 5))

    def accuracy(rest, part):
        nearest = ((marks[part][:, None] - marks[rest][None]) ** 2).sum(-1).argmin(1)
        return (labels[rest][nearest] == labels[part]).mean()

    assert accuracy(*stratified(labels, 0.2, 0)) > 0.95
    assert accuracy(*by_group(labels, groups, 0.2, 0)) < 0.8


def test_time():
    times = np.array([3, 1, 2, 2, 5, 4, 1, 2, 3, 5])
    rest, part = by_time(times, 0.2)
    assert part.tolist() == [4, 9] and times[rest].max() < 5
    # What happened at once is not torn apart.
    rest, part = by_time(np.array([1, 1, 2, 2, 2]), 0.2)
    assert part.tolist() == [2, 3, 4]
    with pytest.raises(UserError, match="same time"):
        by_time(np.ones(4), 0.2)
    divided = divide(np.zeros(100, int), {"train": np.arange(100)}, 0.25, 0, times=np.arange(100))
    assert [divided[name][0] for name in ("train", "validation", "test")] == [0, 60, 80]


def test_folds():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    found = list(folds(labels, 5))
    assert sorted(np.concatenate([part for _, part in found])) == list(range(100))
    for rest, part in found:
        assert np.bincount(labels[part]).tolist() == [10, 6, 4] and len(rest) == 80
    groups = np.arange(100) // 4
    for rest, part in folds(labels, 5, groups=groups):
        assert not set(groups[rest]) & set(groups[part]) and 16 <= len(part) <= 24
    for rest, part in folds(labels, 4, times=np.arange(100)):
        assert rest.max() < part.min() and len(part) in (19, 20, 21)
    for count in (1, 101):
        with pytest.raises(UserError, match="folds"):
            list(folds(labels, count))


def test_a_fold_is_the_test_split():
    labels, given_rows = np.arange(40) % 2, {"train": np.arange(30), "test": np.arange(30, 40)}
    tests = [divide(labels, given_rows, 0.2, 0, fold=(i, 4))["test"] for i in range(4)]
    assert sorted(np.concatenate(tests)) == list(range(40))
    with pytest.raises(UserError, match="from 0"):
        divide(labels, given_rows, 0.2, 0, fold=(4, 4))


def test_a_group_in_two_given_splits():
    with pytest.raises(UserError, match="train and in test"):
        divide(
            np.zeros(6, int),
            {"train": np.arange(3), "test": np.arange(3, 6)},
            0.5,
            0,
            groups=np.zeros(6, int),
        )
