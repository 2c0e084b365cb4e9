"""A network beside simple models: counted by hand."""

import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_digits

from evaluation.verdicts.histories import HISTORIES
from kapps import data, evaluation
from kapps.evaluation.images.peers import logistic_labels
from kapps.evaluation.peers import R2, beside_answers


def network(right, count=100):
    labels = np.arange(count) % 2
    said = np.where(np.arange(count) < right, labels, 1 - labels)
    verdict = evaluation.Judgement("well fitted", "It is.")
    logits = np.eye(2)[said]
    return labels, evaluation.Explanation(
        {"a": 1}, verdict, [], [("t", (), [])], test_logits=logits
    )


def test_a_peer_that_surely_wins_is_named_in_the_verdict():
    labels, found = network(right=60)
    peer = evaluation.Peer("a rule of thumb", labels)
    told = evaluation.beside_peers(found, labels, {"rule": peer})
    assert told.metrics["rule_accuracy"] == 1
    assert told.metrics["ahead_of_rule_accuracy"] == pytest.approx(-0.4)
    assert told.metrics["ahead_of_rule_high"] < 0 and told.metrics["a"] == 1
    assert told.verdict.label == "well fitted"
    assert "a rule of thumb, by 40.0" in told.verdict.sentence
    assert "a rule of thumb" in told.notes[0] and len(told.tables) == 2
    assert [row[0] for row in told.tables[0][2]] == ["this network", "a rule of thumb"]


def test_what_the_curves_left_open_a_better_peer_decides():
    """A plateau at 60 %, and who proves that more can be learned: the network under-fits."""
    case = next(case for case in HISTORIES if case.what == "low plateau")
    labels, found = network(right=60)
    verdict = evaluation.overfitting_verdict(case.rows, **case.known)
    found = dataclasses.replace(found, verdict=verdict, metrics={"verdict": verdict.label})
    told = evaluation.beside_peers(found, labels, {"rule": evaluation.Peer("x", labels)})
    assert verdict.label == "plateau" and "cannot say" in verdict.sentence
    assert told.verdict.label == told.metrics["verdict"] == "under-fitted"
    assert "cannot say" not in told.verdict.sentence and "x, by 40.0" in told.verdict.sentence
    assert told.verdict.sentence.endswith(told.verdict.advice)
    assert "larger network" in told.verdict.advice and "To find out" not in told.verdict.advice


def test_one_that_may_win_by_chance_is_not():
    labels, found = network(right=97)
    told = evaluation.beside_peers(found, labels, {"rule": evaluation.Peer("x", labels)})
    assert told.verdict.sentence == "It is." and not told.notes
    assert told.metrics["ahead_of_rule_accuracy"] == pytest.approx(-0.03)


def test_only_those_asked_are_compared():
    labels, found = network(right=60)
    rows = np.arange(50, 100)  # the network is right on ten of them
    peer = evaluation.Peer("x", labels[rows], rows)
    told = evaluation.beside_peers(found, labels, {"rule": peer})
    assert told.metrics["ahead_of_rule_accuracy"] == pytest.approx(0.2 - 1)
    assert told.tables[0][2][1][0] == "x, of 50 examples"


def test_logistic_regression_on_pixels_of_digits():
    """scikit-learn's own example reaches about 0.95 on such a split."""
    digits = load_digits()
    x, y = digits.data.astype("f4"), digits.target
    said = logistic_labels(x[:1000], y[:1000], x[1000:1400])
    assert 0.9 < (said == y[1000:1400]).mean() < 0.99


def test_numbers_of_series_beside_the_nearest_series():
    """Each test series is one of the training series: the nearest knows its number exactly."""
    rng = np.random.default_rng(0)
    values, numbers = rng.normal(size=(40, 9, 1)).astype("f4"), rng.normal(size=(40, 1))
    splits = {"train": data.SequenceSplit(values, numbers.astype("f4"))}
    splits["test"] = data.SequenceSplit(values[:20], numbers[:20].astype("f4"))
    series = data.SequenceData("npz:x", (), splits, "")
    verdict = evaluation.Judgement("well fitted", "It is.")
    own = np.full((20, 1), numbers[:20].mean(), "f4")  # explains nothing
    found = evaluation.Explanation({}, verdict, [], [], test_logits=own)
    told = evaluation.beside_series_peers(found, series)
    assert told.metrics["nearest_neighbour_r2"] == 1
    assert told.metrics["ahead_of_nearest_neighbour_r2"] == pytest.approx(-1, abs=1e-5)
    assert told.metrics["ahead_of_nearest_neighbour_high"] < -0.9
    assert np.isfinite(told.metrics["minirocket_r2"])
    assert "the nearest training series, by 100.0 points of R²" in told.verdict.sentence
    assert evaluation.beside_series_peers(dataclasses.replace(found, test_logits=None), series)


def test_shares_of_the_variance_by_hand():
    """Errors 1 and -1 of targets 0, 2, 4, 6, whose mean squared distance from 3 is 5."""
    truth, none = np.array([0.0, 2.0, 4.0, 6.0]), evaluation.Judgement("x", "It is.")
    found = evaluation.Explanation({}, none, [], [])
    said = {"rule": ("a rule", truth + [1, -1, 0, 0])}
    told = beside_answers(found, truth, truth, said, R2)
    assert told.metrics["rule_r2"] == pytest.approx(0.9)
    assert told.metrics["ahead_of_rule_r2"] == pytest.approx(0.1)
    assert told.verdict.sentence == "It is." and told.tables[0][2][0][:2] == ("this network", 1.0)
