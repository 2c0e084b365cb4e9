import numpy as np
import pytest

from kapps.tuning.oracles.pareto import ranks

UNKNOWN = float("nan")
INFINITE = float("inf")


def test_ranks_by_hand():
    assert ranks([(1, 5), (2, 3), (3, 4), (4, 1), (2, 3), (5, 1)]) == [0, 0, 1, 0, 0, 1]
    assert ranks([]) == []


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, INFINITE), (2, INFINITE)], [0, 1]),
        ([(1, UNKNOWN), (2, 3), (1, UNKNOWN)], [0, 0, 0]),
        ([(UNKNOWN, UNKNOWN), (1, 1)], [1, 0]),
        ([(INFINITE, 1), (-INFINITE, 2), (0, 0)], [1, 0, 0]),
    ],
)
def test_what_is_unknown_or_infinite_is_worst_and_everybody_gets_a_rank(points, expected):
    assert ranks(points) == expected


def test_ranks_agree_with_the_definition():
    rng = np.random.default_rng(0)
    points = [tuple(map(float, p)) for p in rng.integers(0, 8, (60, 2))]
    found = np.array(ranks(points))

    def dominates(a, b):
        return a != b and a[0] <= b[0] and a[1] <= b[1]

    for rank in range(found.max() + 1):
        left = [i for i in range(60) if found[i] >= rank]
        free = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        assert free == {i for i in left if found[i] == rank}
