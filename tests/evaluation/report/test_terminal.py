import numpy as np
import pytest

from kapps.evaluation import file_name, plots, summary


def test_summary_shows_shares_intervals_and_places(tmp_path):
    metrics = {
        "test_accuracy": 0.98888,
        "test_accuracy_low": 0.9717,
        "test_accuracy_high": 0.9957,
        "test_loss": 0.035241,
        "best_epoch": 15,
        "verdict": "well fitted",
        "exported": "saved_models/x/1",
    }
    lines = summary(metrics, tmp_path).splitlines()
    assert lines[0].split() == "test accuracy 98.89% (95 % interval 97.17% to 99.57%)".split()
    assert lines[-1].endswith("saved_models/x/1") and "report.html" in lines[-2]
    columns = {len(line) - len(line[24:].lstrip()) for line in lines}
    assert columns == {24}


def test_summary_shows_what_generative_models_have(tmp_path):
    vae = {"test_nll": 228.7134, "test_nll_error": 0.8361, "test_nll_samples": 5000,
           "test_nll_floor": 189.86, "test_negative_elbo": 231.5, "verdict": "healthy"}  # fmt: skip
    lines = [line.split(maxsplit=2) for line in summary(vae, tmp_path).splitlines()]
    assert lines[0] == [
        "test",
        "nll",
        "228.71 nats  (standard error 0.84, samples 5000, floor 189.86)",
    ]
    assert " ".join(" ".join(lines[1]).split()) == "test negative elbo 231.50 nats"
    assert lines[2] == ["verdict", "healthy"]
    gan = {"test_frechet": 3.14159, "test_frechet_floor": 0.0712, "test_coverage": 0.871,
           "test_coverage_floor": 0.96, "test_kid": float("nan"), "test_recall": 0.5}  # fmt: skip
    text = summary(gan, tmp_path)
    assert "3.14  (real against real 0.0712)" in text and "87.10%  (real 96.00%)" in text
    assert "kid" not in text
    assert "0.00583  (PCA 0.01041)" in summary({"test_mse": 0.005834, "pca_mse": 0.010412}, "x")


@pytest.mark.parametrize(
    ("title", "name"), [("Learning curves", "learning_curves"), ("Is 90 % sure?", "is_90_sure")]
)
def test_file_names(title, name):
    assert file_name(title) == name


def test_range_test_keeps_divergence_out_of_the_picture():
    rates = np.geomspace(1e-6, 1, 50)
    losses = np.concatenate([np.linspace(2.3, 1.0, 45), np.geomspace(2.0, 1e6, 5)])
    axes = plots.range_test(rates, losses, 1e-3, 1e-2).axes[0]
    low, high = axes.get_ylim()
    assert low < 1.0 and 2.3 < high < 4.0
    assert [line.get_xdata()[0] for line in axes.lines[1:]] == [1e-3, 1e-2]
