"""Runs beside one another: the test by hand, the settings, and a page."""

import json

import numpy as np
import pytest
from scipy import stats

from kapps import evaluation
from kapps.evaluation.report import comparing


def run(root, name, right, *, fingerprint="a", accuracy=0.9, **config):
    path = root / name
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"recipe": "cnn", "config": config}))
    (path / "metrics.json").write_text(json.dumps({"test_accuracy": accuracy, "test_loss": 0.5}))
    (path / "metrics.csv").write_text(
        "epoch,loss,val_loss,val_accuracy\n1,1,0.9,0.5\n2,1,0.8,0.6\n"
    )
    right = np.asarray(right, bool)
    labels = np.zeros(len(right), np.int32)
    np.savez(path / "predictions.npz", labels=labels, said=labels + ~right, fingerprint=fingerprint)
    return path


def test_the_paired_test_by_hand(tmp_path):
    """Of 100 examples the first alone is right on 12, the second alone on 2: p of 2 of 14 heads."""
    first = run(tmp_path, "a", [True] * 92 + [False] * 8)
    second = run(tmp_path, "b", [True] * 80 + [False] * 12 + [True] * 2 + [False] * 6)
    pair = comparing.paired(first, second)
    assert pair.difference == pytest.approx(0.10)
    assert pair.p == pytest.approx(2 * stats.binom.cdf(2, 14, 0.5))
    assert comparing.in_a_sentence(("a", "b"), pair).startswith("a is better than b")
    back = comparing.paired(second, first)
    assert back.difference == pytest.approx(-0.10)
    assert comparing.in_a_sentence(("b", "a"), back).startswith("a is better than b")
    close = run(tmp_path, "c", [True] * 91 + [False] * 9)
    assert "cannot be told apart" in comparing.in_a_sentence(
        ("a", "c"), comparing.paired(first, close)
    )


def test_other_examples_are_not_compared(tmp_path):
    first = run(tmp_path, "a", [True] * 5)
    assert comparing.paired(first, run(tmp_path, "b", [True] * 5, fingerprint="b")) is None
    bare = run(tmp_path, "c", [True] * 5)
    (bare / "predictions.npz").write_bytes(b"broken")
    assert comparing.paired(first, bare) is None
    (bare / "predictions.npz").unlink()
    assert comparing.paired(first, bare) is None


@pytest.mark.slow
def test_a_page_with_curves_settings_and_the_test(tmp_path):
    paths = [
        run(tmp_path, "a", [True] * 92 + [False] * 8, accuracy=0.92, dropout=0.5, epochs=2),
        run(tmp_path, "b", [True] * 80 + [False] * 20, accuracy=0.80, dropout=0.1, epochs=2),
    ]
    text = evaluation.compare(paths, tmp_path / "c.html").read_text(encoding="utf-8")
    assert "a is better than b on the same test examples: +12.00 points" in text
    assert "<td>dropout</td><td>0.5</td><td>0.1</td>" in text and "<td>epochs</td>" not in text
    assert "92.00\u202f% ★" in text and "80.00\u202f%</td>" in text and "<svg" in text
    assert "a: best accuracy 60.00 %, epoch 2" in text  # the legend is text of the page
    assert "<title>b, epoch 1: 50.00 %</title>" in text
    png = evaluation.compare(paths, tmp_path / "c.png").read_bytes()
    assert png.startswith(b"\x89PNG")


def test_a_run_on_other_data_is_no_run_before(tmp_path):
    """By hand: its accuracy is of other pictures."""
    run(tmp_path, "old", [True] * 8, accuracy=0.8, dataset="digits")
    new = run(tmp_path, "new", [True] * 9, accuracy=0.9, dataset="folder:pictures")
    assert comparing.beside_previous(new, {"test_accuracy": 0.9}) == []


def test_a_run_stands_beside_the_one_before(tmp_path):
    assert comparing.beside_previous(run(tmp_path / "x", "a", [True]), {}) == []
    old = run(tmp_path / "y", "old", [True] * 80 + [False] * 20, accuracy=0.8, dropout=0.1)
    new = run(tmp_path / "y", "new", [True] * 92 + [False] * 8, accuracy=0.92, dropout=0.5)
    [(title, columns, rows)] = comparing.beside_previous(new, {"test_accuracy": 0.92})
    assert title == "Beside the previous run" and columns == ("", old.name, "this run")
    assert ("Accuracy (test)", "80.00\u202f%", "92.00\u202f% ★") in rows
    assert ("--dropout", "0.1", "0.5") in rows
    told = next(row for row in rows if row[0].startswith("Accuracy of this run minus"))
    low = float(told[2].split(" to ")[0])
    assert 0 < low < 12
