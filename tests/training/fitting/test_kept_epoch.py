"""The kept epoch is the best by the figure that is asked for, and by the loss among equals."""

import numpy as np
import pytest

from kapps import training


def rows(**columns):
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def test_the_highest_accuracy_is_kept_although_the_loss_rose():
    found = rows(val_accuracy=[0.90, 0.92, 0.93, 0.91], val_loss=[0.30, 0.25, 0.40, 0.50])
    assert training.best_epoch(found, "val_accuracy", "max") == 2
    assert training.best_epoch(found) == 1


@pytest.mark.parametrize("nudge", [0.0, float(np.float32(0.9)) - 0.9])
def test_the_loss_decides_between_equals_and_then_the_first(nudge):
    found = rows(val_accuracy=[0.9, 0.9 + nudge, 0.9, 0.8], val_loss=[0.3, 0.2, 0.2, 0.1])
    assert training.best_epoch(found, "val_accuracy", "max") == 1
    assert training.best_epoch(rows(val_accuracy=[0.9, 0.9]), "val_accuracy", "max") == 0
    broken = rows(val_accuracy=[0.9, 0.9], val_loss=[float("nan"), 0.5])
    assert training.best_epoch(broken, "val_accuracy", "max") == 1


def test_one_example_of_a_hundred_thousand_is_no_tie():
    found = rows(val_accuracy=[0.99999, 1.0], val_loss=[0.1, 0.2])
    assert training.best_epoch(found, "val_accuracy", "max") == 1


def test_text_and_broken_values():
    found = rows(val_loss=["nan", "0.5", "0.4", "", "inf"])
    assert training.best_epoch(found) == 2
    assert training.best_epoch(rows(val_loss=["nan", ""])) is None
    assert training.best_epoch([]) is None
    assert training.best_epoch([{"loss": 1}]) is None
    with pytest.raises(ValueError, match="mode"):
        training.best_epoch(found, mode="most")
