import numpy as np
import pytest

from kapps.tuning import stopping

PEERS = [[0.1, 0.3], [0.2, 0.6], [0.3, 0.9], [0.4, 1.2], [0.5, 1.5]]
# Their means over two epochs: 0.2, 0.4, 0.6, 0.8, 1.0; the median is 0.6.


@pytest.mark.parametrize(
    ("curve", "stopped"),
    [
        ([0.59, 0.1], True),  # its best value is below
        ([0.6, 0.1], False),  # not worse
        ([0.1, 0.61], False),
        ([0.0], False),  # the first epoch is everybody's
        ([float("nan"), float("nan")], True),
    ],
)
def test_median_rule(curve, stopped):
    assert stopping.median(curve, PEERS) is stopped


def test_median_rule_waits_for_enough_peers_that_have_come_as_far():
    assert not stopping.median([0.0, 0.0], PEERS[:4])
    assert not stopping.median([0.0, 0.0, 0.0], PEERS)
    assert stopping.median([0.0, 0.0], PEERS[:4], startup=4)


@pytest.mark.parametrize(
    ("epochs", "rung"),
    [(1, 1), (2, 2), (5, 5), (6, 2), (9, 3), (27, 3), (60, 2), (None, 1)],
)
def test_the_first_rung_is_an_epoch_or_more_into_the_schedule(epochs, rung):
    assert stopping.first_rung(epochs) == rung
    halving = stopping.rule("asha", epochs)
    peers = [[0.5] * 100] * 5
    assert halving([0.1] * rung, peers) and halving([0.1] * 3 * rung, peers)
    assert not any(halving([0.1] * epoch, peers) for epoch in range(1, rung))
    assert stopping.rule("median", epochs) is stopping.median


def test_halving_keeps_a_third_at_each_rung():
    """Rungs of factor 3 are after 1, 3, 9 epochs."""
    peers = [[value] * 9 for value in (0.1, 0.2, 0.3, 0.4, 0.5)]  # with the trial itself, six: two
    assert not stopping.halving([0.45] * 3, peers)
    assert stopping.halving([0.35] * 3, peers)
    assert stopping.halving([0.35], peers) and stopping.halving([0.35] * 9, peers)
    for between in (2, 4, 8):
        assert not stopping.halving([0.0] * between, peers)
    assert not stopping.halving([0.0], peers[:1])  # two cannot be thirded
    assert stopping.halving([0.0], peers[:2])


def test_no_rule_stops_the_best():
    rng = np.random.default_rng(0)
    peers = [list(np.maximum.accumulate(rng.random(9))) for _ in range(20)]
    for epoch in range(1, 10):
        assert not any(rule([2.0] * epoch, peers) for rule in stopping.RULES.values())
