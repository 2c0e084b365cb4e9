"""What is said of models of series: memory tasks, validation that was not kept, pictures."""

import keras
import numpy as np
import pytest

from kapps import data, evaluation
from kapps.evaluation import plots


class Answers:
    """Stands for a model whose answers are known: a function of the series."""

    def __init__(self, answer):
        self.answer = answer

    def predict(self, x, **_):
        return self.answer(x)


def history(epochs=4):
    names = ("loss", "train_loss", "val_loss")
    rows = [{name: 1.0 / (e + 1) for name in names} for e in range(epochs)]
    accuracies = dict.fromkeys(("accuracy", "train_accuracy", "val_accuracy"), 0.9)
    return [{"epoch": e + 1, **row, **accuracies} for e, row in enumerate(rows)]


@pytest.mark.parametrize(
    "value, label",
    [
        (0.0099, "solved"),
        (0.0101, "solved in part"),
        (0.149, "solved in part"),
        (0.151, "not solved"),
        (np.nan, "diverged"),
    ],
)
def test_the_adding_problem_is_solved_below_a_hundredth(value, label):
    assert evaluation.memory_verdict("adding", value, 1 / 6, "MSE").label == label


@pytest.mark.slow
def test_a_perfect_adder_and_one_without_memory():
    adding = data.load_sequences("adding", length=8, examples=20)

    def perfect(x):
        return np.sum(x[..., 0] * x[..., 1], axis=1, keepdims=True)

    found = evaluation.explain_sequences(Answers(perfect), adding, history(), memory_task=True)
    assert found.metrics["test_mse"] == pytest.approx(0, abs=1e-12)
    assert found.metrics["trivial_mse"] == pytest.approx(1 / 6)
    assert found.verdict.label == "solved"
    wild = Answers(lambda x: 1.0 + 0.01 * np.random.default_rng(0).normal(size=(len(x), 1)))
    found = evaluation.explain_sequences(wild, adding, history(), memory_task=True)
    # 1/6 and the noise; the sampling error of 2000 squares is 0.0045.
    assert found.metrics["test_mse"] == pytest.approx(1 / 6, abs=5 * 0.0045)
    assert found.verdict.label == "not solved"


def test_copying_counts_symbols_and_not_blanks():
    copy = data.load_sequences("copy", length=6, examples=20)

    def forgetful(x):
        """Right about the blanks; says symbol 0 with one eighth otherwise."""
        logits = np.full((*x.shape[:2], 9), -50.0)
        logits[:, :16, 8] = 0.0
        logits[:, 16:, :8] = 0.0
        return logits

    found = evaluation.explain_sequences(Answers(forgetful), copy, history(), memory_task=True)
    assert found.metrics["test_nats_per_step"] == pytest.approx(10 * np.log(8) / 26)
    assert found.metrics["test_symbol_accuracy"] == pytest.approx(1 / 8, abs=0.02)
    assert found.verdict.label == "not solved"


@pytest.mark.slow
def test_without_validation_nothing_is_said_of_over_fitting(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5, 1)), np.arange(40) % 2
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y)
    model = Answers(lambda x: np.stack([np.zeros(len(x)), x[:, 0, 0]], axis=1))
    for fraction, label in ((0.0, "not judged"), (0.3, None)):
        series = data.load_sequences(f"npz:{tmp_path / 'a.npz'}", validation_fraction=fraction)
        found = evaluation.explain_sequences(model, series, history())
        assert (found.verdict.label == "not judged") == (label is not None)
        assert found.temperature == 1.0  # ten series are too few for one
        test = series.splits["test"]
        expected = np.mean((test.values[:, 0, 0] > 0) == test.labels)
        assert found.metrics["test_accuracy"] == pytest.approx(expected)
        assert {title for title, *_ in found.figures} >= {"Worst mistakes", "Training series"}


def test_series_are_drawn_without_their_padding():
    x = np.random.default_rng(0).normal(size=(5, 9, 8))
    x[1, 4:] = np.nan
    figure = plots.series_grid(x, [f"series {i}" for i in range(5)], colours=["red"] * 5)
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 5
    assert [len(axes.lines) for axes in panels] == [6] * 5  # of eight features
    assert panels[1].lines[0].get_ydata().shape == (9,)
    assert np.isnan(panels[1].lines[0].get_ydata()[4:]).all()
    assert panels[2].get_title() == "series 2"


@pytest.mark.slow
def test_keras_models_are_asked_as_they_are():
    digits = data.load_sequences("digits")
    inputs = keras.Input((None, 8))
    outputs = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling1D()(inputs))
    found = evaluation.explain_sequences(keras.Model(inputs, outputs), digits, history())
    assert found.metrics["test_examples"] == 359
    assert 0 < found.metrics["test_accuracy"] < 0.5
