"""Stratified, seeded division of row numbers into train, validation and test."""

import numpy as np

from kapps.errors import UserError

TEST_FRACTION = 0.2
TEST_SEED = 7411  # never the user's seed: a test split that moves with the seed is soon trained on


def stratified(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of (the rest, the part), each ascending, every class in proportion.

    The part has round(fraction * n) positions, shared out by largest remainders. Unlike
    scikit-learn's splitters, which refuse such labels, a class of one stays in the rest and a
    larger one, however small, has at least one position on each side; the size of the part then
    gives way. `RandomState` is used because its stream is frozen across versions of NumPy.
    """
    labels = np.asarray(labels)
    classes, counts = np.unique(labels, return_counts=True)
    exact = fraction * counts
    taken = np.floor(exact).astype(int)
    missing = round(fraction * len(labels)) - taken.sum()
    taken[np.argsort(taken - exact, kind="stable")[:missing]] += 1
    taken = np.clip(taken, np.minimum(1, counts - 1), counts - 1)
    random = np.random.RandomState(seed)
    part = np.zeros(len(labels), bool)
    for value, count in zip(classes, taken, strict=True):
        part[random.permutation(np.flatnonzero(labels == value))[:count]] = True
    return np.flatnonzero(~part), np.flatnonzero(part)


def divide(
    labels: np.ndarray, given: dict[str, np.ndarray], validation_fraction: float, seed: int
) -> dict[str, np.ndarray]:
    """Row numbers of train, validation and test; what is not given is carved from train.

    Args:
        labels: class numbers of all rows.
        given: row numbers of the splits that come with the data; `train` is always there.
        validation_fraction: the part of train (after test was carved) kept for validation.
        seed: moves the validation split, and never the test split.

    Raises:
        UserError: the fraction is not between 0 and 1, or a split would be empty.
    """
    if not 0 < validation_fraction < 1:
        raise UserError(
            f"the validation fraction must lie between 0 and 1, not {validation_fraction}"
        )
    rows = dict(given)
    for name, fraction, name_seed in (
        ("test", TEST_FRACTION, TEST_SEED),
        ("validation", validation_fraction, seed),
    ):
        if name not in rows:
            rest, part = stratified(labels[rows["train"]], fraction, name_seed)
            rows["train"], rows[name] = rows["train"][rest], rows["train"][part]
        if not len(rows[name]):
            raise UserError(
                f"no examples are left for the {name} split: each class keeps one for train, and "
                f"{len(given['train'])} examples of {len(np.unique(labels))} classes are too few"
            )
    if not len(rows["train"]):
        raise UserError("the training split is empty")
    return rows
