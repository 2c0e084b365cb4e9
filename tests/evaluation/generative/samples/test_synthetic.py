"""Training on samples: perfect ones, wrongly labelled ones, and what is refused."""

import numpy as np
import pytest

from kapps import data, evaluation
from kapps.errors import UserError
from kapps.evaluation.generative.samples import small_classifiers
from kapps.evaluation.metrics.classification import wilson_interval


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.mark.slow
def test_real_pictures_as_samples_teach_as_real_ones(digits):
    train = digits.splits["train"]
    samples = train.take(range(len(train)))
    found = evaluation.train_on_synthetic(samples, train.labels, digits, epochs=5)
    # The same pictures, order and weights: the same network.
    assert found.real == found.accuracy > 0.8
    assert found.examples == len(train)
    tests = len(digits.splits["test"])
    hits = round(found.accuracy * tests)
    assert (found.low, found.high) == wilson_interval(hits, tests)


@pytest.mark.slow
def test_labels_that_lie_teach_lies(digits):
    train = digits.splits["train"]
    samples = train.take(range(len(train)))
    found = evaluation.train_on_synthetic(
        samples, (train.labels + 1) % 10, digits, real=False, epochs=4
    )
    assert found.accuracy < 0.1 and found.real is None


def test_it_is_the_test_split_that_is_measured_on(digits, monkeypatch):
    seen = []
    monkeypatch.setattr(small_classifiers, "train", lambda *args, **kw: None)
    monkeypatch.setattr(small_classifiers, "accuracy", lambda m, split: seen.append(split) or 0.5)
    samples = np.zeros((3, 8, 8, 1), np.uint8)
    evaluation.train_on_synthetic(samples, np.arange(3), digits)
    assert seen == [digits.splits["test"]] * 2


def test_samples_and_labels_are_checked(digits):
    samples, labels = np.zeros((3, 8, 8, 1), np.uint8), np.arange(3)
    for wrong in (samples / 255, samples[:, :7], samples[:0]):
        with pytest.raises(UserError, match=r"Samples uint8 \[n, 8, 8, 1\]"):
            evaluation.train_on_synthetic(wrong, labels, digits)
    for wrong in (labels[:2], labels + 8, labels - 1, labels / 1.0, np.eye(3, 10)):
        with pytest.raises(UserError, match=r"Labels int \[3\] of 0 to 9"):
            evaluation.train_on_synthetic(samples, wrong, digits)
