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
