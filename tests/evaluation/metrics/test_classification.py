"""Classification metrics against hand counts and scikit-learn."""

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats
from sklearn import metrics as sk

from kapps import evaluation
from kapps.errors import UserError

NAMES = ("cat", "dog", "owl")


def one_hot_logits(predicted, classes=3):
    return 5.0 * np.eye(classes)[predicted]


def test_numbers_counted_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    predicted = np.array([0, 0, 0, 1, 1, 1, 0, 2, 2, 2])
    result = evaluation.classification_metrics(labels, one_hot_logits(predicted), NAMES)
    assert result["examples"] == 10
    assert result["accuracy"] == 0.8
    # Wilson: (8 + z^2/2 -+ z sqrt(10 * 0.16 + z^2/4)) / (10 + z^2), z = 1.959964
    assert result["accuracy_low"] == pytest.approx(0.490162, abs=1e-6)
    assert result["accuracy_high"] == pytest.approx(0.943318, abs=1e-6)
    # right: ln(1 + 2 e^-5) = 0.0133859, wrong: 5 more
    assert result["loss"] == pytest.approx(1.0133859, abs=1e-6)
    assert result["balanced_accuracy"] == pytest.approx((3 / 4 + 2 / 3 + 1) / 3)
    assert result["macro_f1"] == pytest.approx((3 / 4 + 2 / 3 + 1) / 3)
    assert result["confusion_matrix"] == [[3, 1, 0], [1, 2, 0], [0, 0, 3]]
    assert result["per_class"][1] == {
        "name": "dog",
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
        "support": 3,
    }
    assert result["most_confused"] == [
        {"true": "cat", "predicted": "dog", "count": 1, "share": 0.25},
        {"true": "dog", "predicted": "cat", "count": 1, "share": pytest.approx(1 / 3)},
    ]
    assert "top_5_accuracy" not in result
    json.dumps(result, allow_nan=False)


@pytest.mark.slow
@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60), classes=st.integers(2, 9))
def test_agrees_with_scikit_learn(seed, count, classes):
    rng = np.random.default_rng(seed)
    # Drawn from a part of the classes, so that some are absent.
    labels = rng.integers(0, rng.integers(1, classes + 1), count)
    logits = rng.normal(scale=3, size=(count, classes)).astype(np.float32)
    result = evaluation.classification_metrics(labels, logits, [str(i) for i in range(classes)])
    predicted = logits.argmax(-1)
    every = list(range(classes))
    assert result["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert (
        result["confusion_matrix"] == sk.confusion_matrix(labels, predicted, labels=every).tolist()
    )
    assert result["macro_f1"] == pytest.approx(
        sk.f1_score(labels, predicted, average="macro", zero_division=0)
    )
    assert result["balanced_accuracy"] == pytest.approx(
        np.mean([(predicted[labels == c] == c).mean() for c in np.unique(labels)])
    )
    probabilities = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(-1)[:, None]
    assert result["loss"] == pytest.approx(
        sk.log_loss(labels, probabilities, labels=every), rel=1e-6
    )
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=np.nan
    )
    for row, p, r, f, s in zip(result["per_class"], precision, recall, f1, support, strict=True):
        assert row["precision"] == (None if np.isnan(p) else pytest.approx(p))
        assert row["recall"] == (None if np.isnan(r) else pytest.approx(r))
        assert row["f1"] == (None if np.isnan(f) else pytest.approx(f))
        assert row["support"] == s
    if classes > 5:
        assert result["top_5_accuracy"] == pytest.approx(
            sk.top_k_accuracy_score(labels, logits, k=5, labels=every)
        )
    json.dumps(result, allow_nan=False)


def test_one_example_and_absent_classes():
    result = evaluation.classification_metrics(np.array([1]), np.array([[0.0, 1.0, 0.0]]), NAMES)
    assert result["accuracy"] == result["balanced_accuracy"] == result["macro_f1"] == 1
    assert result["accuracy_low"] == pytest.approx(0.206549, abs=1e-6)  # 1 / (1 + z^2)
    assert result["per_class"][0] == {
        "name": "cat", "precision": None, "recall": None, "f1": None, "support": 0
    }  # fmt: skip
    assert result["most_confused"] == []


def test_a_model_that_answers_nothing_gets_no_top_5_for_free():
    labels = np.arange(10).repeat(4)
    result = evaluation.classification_metrics(labels, np.zeros((40, 10)), list("abcdefghij"))
    assert result["accuracy"] == 0.1
    assert result["top_5_accuracy"] == 0.5
    assert result["loss"] == pytest.approx(np.log(10))


def test_most_confused_is_sorted_and_leaves_the_diagonal_out():
    labels = np.array([0] * 50 + [1] * 5 + [2] * 3)
    predicted = np.array([0] * 48 + [2] * 2 + [0] * 5 + [1] * 3)
    result = evaluation.classification_metrics(labels, one_hot_logits(predicted), NAMES)
    assert [(row["true"], row["predicted"], row["count"]) for row in result["most_confused"]] == [
        ("dog", "cat", 5),
        ("owl", "dog", 3),
        ("cat", "owl", 2),
    ]


def test_large_logits_stay_finite():
    logits = np.array([[1e4, -1e4], [1e4, -1e4]], np.float32)
    result = evaluation.classification_metrics(np.array([0, 1]), logits, ["a", "b"])
    assert result["loss"] == pytest.approx(1e4)


def test_mistakes_are_named():
    good = np.zeros((2, 3))
    with pytest.raises(UserError, match="empty"):
        evaluation.classification_metrics(np.zeros(0, int), np.zeros((0, 3)), NAMES)
    with pytest.raises(UserError, match="1 of 2 examples.*diverged.*learning rate"):
        evaluation.classification_metrics(np.array([0, 1]), good + [[0], [np.nan]], NAMES)
    with pytest.raises(ValueError, match="2 class names for 3"):
        evaluation.classification_metrics(np.array([0, 1]), good, NAMES[:2])
    for labels in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match="do not fit 3 classes"):
            evaluation.classification_metrics(np.array(labels), good, NAMES)
    with pytest.raises(ValueError, match="labels .n. and logits"):
        evaluation.classification_metrics(np.array([0]), good, NAMES)


def test_top_losses_are_the_worst_first_and_stable():
    logits = np.array([[2.0, 0], [0, 2.0], [9.0, 0], [0, 2.0]])
    labels = np.array([0, 0, 1, 0])  # losses 0.127, 2.127, 9.0, 2.127
    np.testing.assert_array_equal(evaluation.top_losses(labels, logits, 3), [2, 1, 3])
    assert len(evaluation.top_losses(labels, logits, 99)) == 4


def test_the_worst_mistakes_are_wrong_answers_only():
    """Losses 0.127 (right), 2.127, 9.0, 0.69 (right, and unsure): by hand."""
    logits = np.array([[2.0, 0], [0, 2.0], [9.0, 0], [0.001, 0]])
    labels = np.array([0, 0, 1, 0])
    assert evaluation.worst_mistakes(labels, logits).tolist() == [2, 1]
    assert evaluation.worst_mistakes(labels, logits, 1).tolist() == [2]
    assert not len(evaluation.worst_mistakes(labels[:1], logits[:1]))


@pytest.mark.parametrize("count", [60, 360, 2000])
def test_the_interval_of_an_accuracy_holds_the_truth(count):
    """No draws: the probability of each count is known. Over accuracies of 50 to 99 %."""
    truths = np.linspace(0.5, 0.99, 50)
    intervals = [evaluation.wilson_interval(k, count) for k in range(count + 1)]
    low, high = np.transpose(intervals)
    chances = stats.binom.pmf(np.arange(count + 1)[:, None], count, truths)
    held = np.sum(chances * ((low[:, None] <= truths) & (truths <= high[:, None])), axis=0)
    assert 0.94 <= held.mean() <= 0.96 and held.min() > 0.9


def test_baseline_is_the_most_frequent_class():
    assert evaluation.baseline_accuracy(np.array([0, 2, 2, 2, 1])) == 0.6
    with pytest.raises(UserError, match="empty"):
        evaluation.baseline_accuracy(np.zeros(0, int))


class ArraySplit:
    """As a split of kapps.data; each picture holds its own index."""

    def __init__(self, count):
        import tensorflow as tf

        self.labels = np.zeros(count, np.int32)
        pixels = np.arange(count, dtype=np.uint8)[:, None, None, None]
        self.pixels = tf.constant(np.broadcast_to(pixels, (count, 2, 2, 1)))

    def images(self, indices):
        import tensorflow as tf

        return tf.gather(self.pixels, indices)


@pytest.mark.parametrize("count", [1, 8, 19])
def test_every_example_is_predicted_once_in_order(count):
    import keras

    inputs = keras.Input((2, 2, 1))
    outputs = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, keras.layers.Dropout(0.5)(outputs))
    logits = evaluation.predict_logits(model, ArraySplit(count), batch_size=8)
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, np.arange(count)[:, None] * np.ones((1, 4)))


def test_an_empty_split_gives_no_logits():
    import keras

    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    assert evaluation.predict_logits(model, ArraySplit(0)).shape == (0, 4)
