import pytest

from kapps.errors import UserError
from kapps.tuning.oracles import pruning

CURVES = [[0.1, 0.3], [0.2, 0.6], [0.3, 0.9], [0.4, 1.2], [0.5, 1.5]]  # after two epochs: 0.9


def told(pruner, trial, curve):
    return [pruner.is_poor(trial, epoch, value) for epoch, value in enumerate(curve, start=1)]


def with_peers(rule, direction, count=5, epochs=None, status="completed"):
    pruner = pruning.Pruner(rule, direction, epochs)
    sign = 1 if direction == "max" else -1
    for i, curve in enumerate(CURVES[:count]):
        told(pruner, f"{i}", [sign * value for value in curve])
        pruner.end(f"{i}", status, sign * curve[-1])
    return pruner, sign


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize(
    ("curve", "poor"),
    [
        ([0.89, 0.1], True),  # its best value is below
        ([0.9, 0.1], False),  # not worse
        ([0.1, 0.91], False),
        ([0.1, 0.89], True),
        ([0.0], False),  # the first epoch is everybody's
        ([float("nan"), float("nan")], True),
    ],
)
def test_the_median_rule_in_both_directions(direction, curve, poor):
    pruner, sign = with_peers("median", direction)
    assert any(told(pruner, "mine", [sign * value for value in curve])) is poor


def test_the_median_rule_waits_for_enough_trials_that_were_completed():
    for count, status in ((4, "completed"), (5, "failed"), (5, "pruned")):
        pruner, _ = with_peers("median", "max", count, status=status)
        assert not any(told(pruner, "mine", [0.0, 0.0]))


@pytest.mark.parametrize(
    ("epochs", "first"),
    [(1, 1), (2, 2), (5, 5), (6, 2), (9, 3), (27, 3), (60, 2), (None, 1)],
)
def test_asha_compares_first_some_epochs_into_the_schedule(epochs, first):
    assert pruning.first_epoch(epochs) == first


def test_asha_keeps_a_third():
    """With a factor of 3 and 9 epochs trials are compared after 3 and after 9 of them."""
    pruner = pruning.Pruner("asha", "max", 9)
    for i, value in enumerate((0.9, 0.8)):  # with two there is none to be thrown away
        assert not any(told(pruner, f"{i}", [value] * 9))
    for i, value in enumerate((0.1, 0.2, 0.3), start=2):
        assert told(pruner, f"{i}", [value] * 3) == [False, False, True]
    # Of six the best two go on.
    assert told(pruner, "5", [0.85] * 3) == [False] * 3
    assert told(pruner, "6", [0.5] * 3) == [False, False, True]


def test_a_killed_worker_tells_again_and_nothing_changes():
    pruner, _ = with_peers("median", "max")
    assert told(pruner, "mine", [0.1]) == [False]
    assert told(pruner, "mine", [5.0, 0.1]) == [False, True]  # it had 0.1 after one epoch


def test_where_most_trials_had_no_number_none_is_worse():
    """The median of infinite values is no number; NumPy warns of it, and warnings are errors."""
    pruner = pruning.Pruner("median", "max")
    for i in range(5):
        told(pruner, f"{i}", [0.5, float("nan")])
        pruner.end(f"{i}", "completed", 0.5)
    assert told(pruner, "mine", [0.1, 0.2]) == [False, False]


def test_unknown_rules_and_a_missing_optuna(monkeypatch):
    with pytest.raises(UserError, match="none, median, asha"):
        pruning.check_rule("best")
    monkeypatch.setattr(pruning, "can_prune", lambda: False)
    pruning.check_rule("none")
    with pytest.raises(UserError, match="kapps.optuna"):
        pruning.check_rule("median")
