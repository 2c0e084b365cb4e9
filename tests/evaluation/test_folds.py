"""Cross-validation: the interval against a simulation, and a table in folds."""

import numpy as np
import pytest
from scipy import stats

from kapps import evaluation
from kapps.command_line import call
from kapps.errors import UserError
from recipes import sequence_classifier, tabular


def test_mean_and_interval_by_hand():
    """Values 1, 2, 3, 4: deviation 1.29099, times the root of 1/4 + 1/3, times t of 3 degrees."""
    found = evaluation.fold_mean([1.0, 2.0, 3.0, 4.0])
    width = 3.182446 * 1.290994 * np.sqrt(1 / 4 + 1 / 3)
    assert found == pytest.approx((2.5, 2.5 - width, 2.5 + width, 1.290994), rel=1e-5)
    usual = stats.t.interval(0.95, 3, 2.5, 1.290994 / 2)
    assert found.low < usual[0]  # folds share training examples: the usual interval is too short
    with pytest.raises(ValueError, match="two or more"):
        evaluation.fold_mean([1.0])


@pytest.mark.slow
def test_every_row_is_tested_once_and_the_run_says_so(tmp_path):
    config = tabular.Config(
        dataset="iris", folds=2, epochs=2, units=(8,), export=False, run_dir=str(tmp_path / "run")
    )
    metrics = call(tabular, config)
    for folds in (2, 3):
        tested = []
        for fold in range(folds):
            alone = tabular.Config(dataset="iris", folds=folds, fold=fold)
            tested += tabular.load(alone).splits["test"].rows.tolist()
        assert sorted(tested) == list(range(150))
    rows = [(tmp_path / f"run/folds/{fold}/metrics.json").exists() for fold in range(2)]
    assert all(rows) and not (tmp_path / "run/folds/0/export").exists()
    assert metrics["fold_accuracy_low"] <= metrics["fold_accuracy"] <= metrics["fold_accuracy_high"]
    page = (tmp_path / "run/report.html").read_text()
    assert "Cross-validation over 2 folds: accuracy" in page


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"folds": 1}, "two folds or more"),
        ({"folds": 3, "fold": 3}, "below --folds 3"),
        ({"fold": 0}, "below --folds 0"),
    ],
)
def test_mistakes(flags, words):
    with pytest.raises(UserError, match=words):
        tabular.check(tabular.Config(**flags))


def test_tasks_that_are_made_have_no_folds_and_no_groups():
    for flags in ({"folds": 3}, {"group": "patient"}):
        with pytest.raises(UserError, match="is for"):
            sequence_classifier.check(sequence_classifier.Config(**flags))
