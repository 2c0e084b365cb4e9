import numpy as np

from kapps.tuning.oracles.pareto import front, ranks


def test_a_front_by_hand():
    points = [(1, 5), (2, 3), (3, 4), (4, 1), (2, 3), (5, 1)]
    assert sorted(front(points)) == [0, 1, 3, 4]
    assert ranks(points) == [0, 0, 1, 0, 0, 1]
    assert front([]) == [] and ranks([]) == []


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
