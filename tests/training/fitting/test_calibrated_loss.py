"""The loss after the best temperature, by SciPy, and the epochs that it tells apart."""

import keras
import numpy as np
import pytest
from scipy import optimize, special

from kapps import training
from kapps.training.fitting.stateful_callbacks import BestWeights


def examples(n=300, classes=5, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    one_hot = np.eye(classes, dtype="float32")[labels]
    return labels, one_hot, (one_hot + random.normal(0, 0.6, (n, classes))).astype("float32")


def best_loss(labels, logits):
    """The lowest loss over all temperatures, by SciPy's minimization."""

    def loss(log_t):
        log_p = special.log_softmax(logits.astype("float64") / np.exp(log_t), axis=-1)
        return -log_p[np.arange(len(labels)), labels].mean()

    return optimize.minimize_scalar(loss, bounds=(-0.69, 1.38), method="bounded").fun


@pytest.mark.parametrize("sure", [1.0, 2.5, 6.0])
def test_it_is_the_loss_at_the_best_temperature_batch_by_batch(sure):
    labels, one_hot, logits = examples()
    metric = training.CalibratedLoss()
    for rows in (slice(0, 100), slice(100, 107), slice(107, 300)):
        metric.update_state(one_hot[rows], sure * logits[rows])
    expected = best_loss(labels, sure * logits)
    assert float(metric.result()) == pytest.approx(expected, rel=0.005)
    if sure == 6.0:  # far surer than it is right: the loss itself is another figure
        log_p = special.log_softmax(sure * logits, axis=-1)
        assert -log_p[np.arange(300), labels].mean() > 1.3 * expected


def test_weights_count_and_steps_of_series_too():
    labels, one_hot, logits = examples()
    metric, other = training.CalibratedLoss(), training.CalibratedLoss()
    metric.update_state(one_hot, logits, sample_weight=np.arange(300) < 100)
    other.update_state(one_hot[:100].reshape(20, 5, 5), logits[:100].reshape(20, 5, 5))
    assert float(metric.result()) == pytest.approx(float(other.result()), rel=1e-6)
    assert float(metric.result()) == pytest.approx(best_loss(labels[:100], logits[:100]), rel=0.005)


def test_among_equal_accuracies_the_loss_after_temperature_decides():
    """By the loss itself epoch 2 would be kept, because it is less sure."""
    rows = [
        {"val_accuracy": 0.9, "val_loss": 0.40, "val_calibrated_loss": 0.30},
        {"val_accuracy": 0.9, "val_loss": 0.31, "val_calibrated_loss": 0.30},
        {"val_accuracy": 0.9, "val_loss": 0.50, "val_calibrated_loss": 0.25},
        {"val_accuracy": 0.8, "val_loss": 0.10, "val_calibrated_loss": 0.10},
    ]
    assert training.best_epoch(rows, "val_accuracy", "max") == 2
    assert training.best_epoch(rows, "val_accuracy", "max", ties="val_loss") == 1
    # Weights are kept as the epochs go by, and a restart in between changes nothing.
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    first, second = (BestWeights("val_accuracy", "max") for _ in range(2))
    for callback in (first, second):
        callback.set_model(model)
    for epoch, row in enumerate(rows):
        model.weights[0].assign([[epoch + 1.0]])
        callback = first if epoch < 2 else second
        callback.on_epoch_end(epoch, row)
        if epoch == 1:
            second.set_state(first.get_state())
    second.restore()
    assert second.best_epoch == 3 == model.weights[0].numpy()[0, 0]


class Flags:
    best_by = "accuracy"


def test_flags_say_what_is_kept():
    assert training.kept_by(Flags()) == ("val_accuracy", "max")
    assert training.kept_by(None) == ("val_loss", "min")
    rows = [{"val_accuracy": a, "val_loss": v} for a, v in ((0.9, 0.2), (0.95, 0.4))]
    phases = {
        name: training.History([row], 1, 0.0, 0.0)
        for name, row in zip(("probe", "tuned"), rows, strict=True)
    }
    assert training.better_phase(phases, "val_accuracy", "max") == "tuned"
    assert training.better_phase(phases, "val_loss", "min") == "probe"


@pytest.mark.parametrize(
    ("train", "validation", "measured"),
    [(1294, 144, 1294), (50_000, 144, 2000), (54_000, 6000, 6000), (372, 93, 372)],
)
def test_a_small_training_split_is_measured_whole(train, validation, measured):
    assert training.clean_examples({"train": train, "validation": validation}) == measured
