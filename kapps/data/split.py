"""Division of row numbers into train, validation and test: stratified, seeded, by group or time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kapps.errors import UserError

TEST_FRACTION = 0.2
TEST_SEED = 7411  # never the user's seed: a test split that moves with the seed is soon trained on
# What people call the splits, in small letters.
NAMES = {
    "train": "train",
    "training": "train",
    "trainset": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "testset": "test",
    "holdout": "test",
}


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
    for positions, count in zip(_of_each_class(labels, counts), taken, strict=True):
        part[random.permutation(positions)[:count]] = True
    return np.flatnonzero(~part), np.flatnonzero(part)


def by_group(
    labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of (the rest, the part), every group on one side.

    Classes are as near to proportion as whole groups allow. Groups come in an order drawn by the
    seed, the large ones first, and each goes to the part if that brings the part's classes nearer
    to their share. No class is lost to the rest.

    Raises:
        UserError: there is one group only.
    """
    counts, members = _group_counts(labels, groups)
    if len(counts) < 2:
        raise UserError("there is one group only: nothing can be kept apart from it")
    wanted = fraction * counts.sum(axis=0)
    left = counts.sum(axis=0)
    weight = 1 / np.maximum(wanted, 1)  # a rare class counts as much as a frequent one
    taken, part = np.zeros(counts.shape[1]), np.zeros(len(counts), bool)
    for group in _large_first(counts, seed):
        with_it = taken + counts[group]
        nearer = ((with_it - wanted) ** 2 * weight).sum() < ((taken - wanted) ** 2 * weight).sum()
        loses = ((left == counts[group]) & (counts[group] > 0)).any()
        if nearer and not loses:
            taken, part[group], left = with_it, True, left - counts[group]
    if not part.any():  # all groups are too large: the smallest that loses no class
        sizes = counts.sum(axis=1)
        loses = ((left == counts) & (counts > 0)).any(axis=1)
        part[np.lexsort((sizes, loses))[0]] = True
    return np.flatnonzero(~part[members]), np.flatnonzero(part[members])


def by_time(times: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of (the rest, the part), each ascending: the part is the latest.

    What happened at the same time is on one side.

    Args:
        times: numbers [n], larger is later.
        fraction: of the positions, at most, so long as the part is not empty.

    Raises:
        UserError: all times are the same.
    """
    times = np.asarray(times, np.float64)
    last = times.max(initial=-np.inf)
    if not (times < last).any():
        raise UserError(
            f"all rows have the same time, or too few different ones: {len(times):,} rows of one "
            "time cannot be parted; train, validation and test need three times at least"
        )
    ordered = np.sort(times)
    first = ordered[min(len(times) - max(1, round(fraction * len(times))), len(times) - 1)]
    later = times >= first if (times >= first).mean() <= max(fraction, 0.5) else times > first
    if not later.any() or later.all():
        later = times == last
    return np.flatnonzero(~later), np.flatnonzero(later)


def folds(
    labels: np.ndarray,
    count: int,
    *,
    seed: int = TEST_SEED,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions of (the rest, the fold) for each of K folds: every position is in one fold.

    Classes are in proportion, as near as groups allow. By time, the positions are divided into
    K + 1 stretches, and each fold but the first stretch is predicted from what was before it.

    Args:
        labels: class numbers [n]; zeros for a regression.
        count: K, at least 2.
        seed: of which position is in which fold.
        groups: group numbers [n]: a group is in one fold.
        times: numbers [n].

    Raises:
        UserError: fewer than two folds, or fewer examples or groups than folds.
    """
    labels = np.asarray(labels)
    there = len(labels) if groups is None else len(np.unique(groups))
    if count < 2 or there < count + (times is not None):
        what = "examples" if groups is None else "groups"
        raise UserError(
            f"{count} folds of {there} {what}: at least 2 folds, and as many {what}, are needed"
        )
    if times is not None:
        ranks = np.searchsorted(np.unique(times), times)
        ends = [np.quantile(ranks, i / (count + 1)) for i in range(1, count + 1)] + [np.inf]
        for start, end in zip(ends, ends[1:], strict=False):
            yield np.flatnonzero(ranks <= start), np.flatnonzero((ranks > start) & (ranks <= end))
        return
    number = _dealt(labels, count, seed) if groups is None else _packed(labels, groups, count, seed)
    for fold in range(count):
        yield np.flatnonzero(number != fold), np.flatnonzero(number == fold)


def divide(
    labels: np.ndarray,
    given: dict[str, np.ndarray],
    validation_fraction: float,
    seed: int,
    *,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
    fold: tuple[int, int] | None = None,
) -> dict[str, np.ndarray]:
    """Row numbers of train, validation and test; what is not given is carved from train.

    Args:
        labels: class numbers of all rows.
        given: row numbers of the splits that come with the data; `train` is always there.
        validation_fraction: the part of train (after test was carved) kept for validation.
        seed: moves the validation split, and never the test split.
        groups: group number of each row: all rows of a group are in the same split.
        times: a number for each row: validation is later than train, and test later than both.
        fold: (i, K): all rows together are divided into K folds, of which number i, from 0, is
            the test split.

    Raises:
        UserError: the fraction is not between 0 and 1, a split would be empty, or a group is in
            two of the splits that come with the data.
    """
    if not 0 < validation_fraction < 1:
        raise UserError(
            f"the validation fraction must lie between 0 and 1, not {validation_fraction}"
        )
    if groups is not None and times is not None:
        raise UserError("rows are kept apart by group or by time, not by both")
    labels, rows = np.asarray(labels), dict(given)
    if fold is not None:
        rows = _fold(labels, given, fold, groups, times)
    elif groups is not None:
        _check_given(groups, given)
    for name, fraction, name_seed in (
        ("test", TEST_FRACTION, TEST_SEED),
        ("validation", validation_fraction, seed),
    ):
        if name not in rows:
            train = rows["train"]
            if groups is not None:
                rest, part = by_group(labels[train], groups[train], fraction, name_seed)
            elif times is not None:
                rest, part = by_time(times[train], fraction)
            else:
                rest, part = stratified(labels[train], fraction, name_seed)
            rows["train"], rows[name] = train[rest], train[part]
        if not len(rows[name]):
            raise UserError(
                f"no examples are left for the {name} split: each class keeps one for train, and "
                f"{len(given['train'])} examples of {len(np.unique(labels))} classes are too few"
            )
    if not len(rows["train"]):
        raise UserError("the training split is empty")
    return rows


def joined_note(given: dict[str, np.ndarray], fold: tuple[int, int] | None) -> list[str]:
    """What should be known where folds are made of splits that come with the data."""
    if fold is None or len(given) < 2:
        return []
    return [
        f"the splits that come with the data ({', '.join(given)}) were joined: fold {fold[0]} of "
        f"{fold[1]} of all is the test split"
    ]


def _fold(labels, given, fold, groups, times) -> dict[str, np.ndarray]:
    number, count = fold
    if not 0 <= number < count:
        raise UserError(f"fold {number} of {count}: folds are numbered from 0")
    together = np.sort(np.concatenate(list(given.values())))
    pick = [None if each is None else each[together] for each in (groups, times)]
    for i, (rest, part) in enumerate(folds(labels[together], count, groups=pick[0], times=pick[1])):
        if i == number:
            return {"train": together[rest], "test": together[part]}
    raise AssertionError  # pragma: no cover


def _check_given(groups: np.ndarray, given: dict[str, np.ndarray]) -> None:
    seen: dict[int, str] = {}
    for name, rows in given.items():
        for group in np.unique(groups[rows]).tolist():
            if group in seen:
                raise UserError(
                    f"a group has rows in {seen[group]} and in {name}, which come with the data: "
                    "divide the data by group there, or give them as one"
                )
            seen[group] = name


def _of_each_class(labels: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """The positions of each class, ascending, in the order of the classes."""
    return np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])


def _group_counts(labels: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of each class every group has, [groups, classes], and the group of each row."""
    _, classes = np.unique(labels, return_inverse=True)
    _, members = np.unique(groups, return_inverse=True)
    counts = np.zeros((members.max(initial=-1) + 1, classes.max(initial=-1) + 1))
    np.add.at(counts, (members, classes), 1)
    return counts, members


def _large_first(counts: np.ndarray, seed: int) -> np.ndarray:
    """Groups by falling size in steps of two, those of about one size in a drawn order."""
    order = np.random.RandomState(seed).permutation(len(counts))
    size = np.floor(np.log2(np.maximum(counts.sum(axis=1), 1)))
    return order[np.argsort(-size[order], kind="stable")]


def _dealt(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A fold for each position: the positions of each class are shuffled and dealt in turn."""
    random, number, turn = np.random.RandomState(seed), np.zeros(len(labels), int), 0
    _, counts = np.unique(labels, return_counts=True)
    for positions in _of_each_class(labels, counts):
        number[random.permutation(positions)] = (turn + np.arange(len(positions))) % count
        turn += len(positions)  # so that the folds have equal sizes, too
    return number


def _packed(labels: np.ndarray, groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A fold for each position: groups, the large ones first, where their classes lack most."""
    counts, members = _group_counts(labels, groups)
    filled, of_group = np.zeros((count, counts.shape[1])), np.zeros(len(counts), int)
    weight = 1 / np.maximum(counts.sum(axis=0), 1)
    empty = count
    for place, group in enumerate(_large_first(counts, seed)):
        cost = ((filled + counts[group]) ** 2 - filled**2) @ weight
        if len(counts) - place <= empty:  # what is left must fill what is empty
            cost = np.where(filled.any(axis=1), np.inf, cost)
        fold = int(np.argmin(cost))
        empty -= not filled[fold].any()
        filled[fold] += counts[group]
        of_group[group] = fold
    return of_group[members]
