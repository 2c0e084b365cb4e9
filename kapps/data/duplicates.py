"""What is in the data twice: a model that has seen an example is not tested by it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np


def duplicate_notes(
    keys: Sequence[bytes],
    labels: np.ndarray,
    rows: Mapping[str, np.ndarray],
    what: str,
    names: Sequence[str] | None = None,
) -> list[str]:
    """Notes on examples that are in two splits, or twice with different labels.

    Args:
        keys: of each example something that only the same example has.
        labels: of each example.
        rows: examples of each split.
        what: what the examples are, in the plural.
        names: of each example, for an example of two that are the same.
    """
    number: dict[bytes, int] = {}
    groups = np.array([number.setdefault(key, len(number)) for key in keys], np.int64)
    if len(number) == len(keys):
        return []
    notes = []
    for first, second in itertools.combinations(rows, 2):
        if rows[first] is rows[second]:
            continue
        shared = rows[second][np.isin(groups[rows[second]], groups[rows[first]])]
        if len(shared):
            twin = rows[first][groups[rows[first]] == groups[shared[0]]][0]
            example = f", such as {names[shared[0]]} = {names[twin]}" if names else ""
            notes.append(
                f"{len(shared):,} of {len(rows[second]):,} {second} {what} are exact duplicates of "
                f"{what} in {first}{example}: a model has seen them; remove them, or keep them in "
                "one split"
            )
    values = np.asarray(labels).reshape(len(groups), -1)
    _, of_label = np.unique(values, axis=0, return_inverse=True)
    pairs = np.unique(np.stack([groups, of_label.ravel()]), axis=1)[0]
    differing = np.flatnonzero(np.bincount(pairs, minlength=len(number)) > 1)
    if len(differing):
        concerned = np.flatnonzero(np.isin(groups, differing))
        same = concerned[groups[concerned] == groups[concerned[0]]][:2]
        example = f", such as {names[same[0]]} = {names[same[1]]}" if names else ""
        notes.append(
            f"{len(concerned):,} {what} are exact duplicates of others with a different "
            f"label{example}: no model can tell them apart; one of the labels is wrong"
        )
    return notes
