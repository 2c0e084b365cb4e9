"""A network beside simple models: counted by hand."""

import dataclasses

import numpy as np
import pytest
from sklearn.datasets import load_digits

from evaluation.verdicts.histories import HISTORIES
from kapps import evaluation
from kapps.evaluation.images.peers import logistic_labels


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
