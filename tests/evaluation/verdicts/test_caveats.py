"""When a figure does not mean what it seems to."""

from types import SimpleNamespace

import numpy as np
import pytest

from kapps import evaluation
from kapps.data.images.near_duplicates import NearDuplicate


def test_a_wide_interval_is_said():
    low, high = evaluation.wilson_interval(85, 100)
    sentence = evaluation.enough_data(0.85, low, high, 100)
    assert "with 100 test images the accuracy may be anywhere between 77% and 91%" in sentence
    # 1.96^2 * 0.85 * 0.15 / 0.05^2 = 195.9 by the formula without Wilson's terms.
    assert 190 <= int(sentence.split("About ")[1].split()[0]) <= 200


@pytest.mark.parametrize("accuracy", [0.5, 0.85, 0.95])
def test_the_number_that_is_asked_for_is_enough(accuracy):
    count = 40
    low, high = evaluation.wilson_interval(round(accuracy * count), count)
    wanted = int(evaluation.enough_data(accuracy, low, high, count).split("About ")[1].split()[0])
    low, high = evaluation.wilson_interval(round(accuracy * wanted), wanted)
    assert 0.095 < high - low <= 0.105
    assert evaluation.enough_data(accuracy, accuracy - 0.04, accuracy + 0.04, wanted) is None


def test_uneven_and_tiny_classes_are_named():
    said = evaluation.class_caveats([90, 30, 9], [20, 8, 2], ["cat", "dog", "eel"])
    assert len(said) == 3
    assert "90 training images of cat, 9 of eel" in said[0] and "--class-weights" in said[0]
    assert "training images: eel (9)" in said[1] and "test images: eel (2)" in said[2]
    weighted = evaluation.class_caveats([90, 9], [20, 20], ["cat", "eel"], weighted=True)
    assert "--class-weights" not in weighted[0]
    assert evaluation.class_caveats([30, 11], [5, 5], ["cat", "eel"]) == []
    many = evaluation.class_caveats([5] * 8, [9] * 8, [f"class{i}" for i in range(8)])
    assert "class4 (5) and 3 more" in many[0]


def test_twins_are_taken_out_of_the_accuracy():
    splits = {
        "test": SimpleNamespace(labels=np.array([0, 1, 1, 0]), origins=("a", "b", "c", "d")),
        "train": SimpleNamespace(labels=np.array([0, 0, 1]), origins=None),
    }
    images = SimpleNamespace(splits=splits, class_names=("cat", "dog"), kind="classes")
    twins = [NearDuplicate(1, 0, 2.5), NearDuplicate(0, 1, 0.5)]
    correct = np.array([True, True, False, True])
    metrics, (sentence,), ((_, _, rows),) = evaluation.near_duplicate_findings(
        images, twins, correct
    )
    assert metrics == {"near_duplicates": 2, "test_accuracy_without_twins": 0.5}
    assert sentence.startswith("2 of 4 test images") and "on the others is 50.00%" in sentence
    assert "1 has another label there. The accuracy" in sentence
    assert rows == [("a", "cat", "train[1]", "cat", 0.5), ("b", "dog", "train[0]", "cat", 2.5)]
    assert evaluation.near_duplicate_findings(images, [], correct) == (
        {"near_duplicates": 0},
        [],
        [],
    )
