"""One registry: what a figure is called and how it is printed, wherever it is shown."""

import numpy as np
import pytest

from kapps.evaluation.report import measures, quantities

SPACE = "\u202f"


@pytest.mark.parametrize(
    ("name", "value", "words", "shown"),
    [
        ("test_accuracy", 0.9825, "Accuracy (test)", f"98.25{SPACE}%"),
        ("val_loss", 0.25, "Loss (validation)", f"0.2500{SPACE}nats"),
        ("test_nll_samples", 500, "Importance samples per image (test)", "500"),
        ("test_nll", 98.761, "Negative log-likelihood, at most (test)", f"98.76{SPACE}nats"),
        ("test_frechet_floor", 0.0712, "Fréchet distance of real images (test)", "0.0712"),
        ("parameters", 1_234_567, "Parameters", f"1{SPACE}234{SPACE}567"),
        ("train_seconds", 83.2, "Training time", f"1{SPACE}min 23{SPACE}s"),
        ("test_mse", 1e-7, "Mean squared error (test)", "1e-07"),
        ("linear_accuracy", 0.5, "Linear accuracy", f"50.00{SPACE}%"),
        ("share_of_class_0", 0.08333, "Share of class 0", f"8.33{SPACE}%"),
        ("unheard_of", np.float32(1.5), "Unheard of", "1.5"),
        ("verdict", "well fitted", "Verdict", "well fitted"),
        ("test_r2", float("nan"), "R² (test)", "not a number"),
        ("exported", None, "Published as", "–"),
    ],
)
def test_names_and_units(name, value, words, shown):
    assert (quantities.in_words(name), quantities.shown(name, value)) == (words, shown)


def test_the_table_of_runs_takes_forms_from_the_registry():
    assert measures.MEASURES.keys() <= quantities.QUANTITIES.keys()
    assert measures.headline({"test_nll": 98.761}) == "NLL 98.76"
    history = [{"val_accuracy": 0.8}, {"val_accuracy": 0.9}, {"val_accuracy": 0.7}]
    assert measures.best_validation(history) == "90.00 %"  # higher is better
    assert measures.best_validation([{"val_mse": 0.2}, {"val_mse": 0.1}]) == "MSE 0.10000"


def test_what_is_large_comes_first_and_is_a_number():
    names = quantities.headlines(
        {"parameters": 3, "test_loss": 1.0, "test_accuracy": 0.5, "test_r2": "none"}, 2
    )
    assert names == ["test_accuracy", "test_loss"]
    assert all(quantities.quantity(name).words for name in quantities.HEADLINES)
