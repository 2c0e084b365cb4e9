import numpy as np
import pytest
from hypothesis import given, strategies as st

from kapps.data.split import divide, stratified
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
