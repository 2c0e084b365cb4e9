"""Figures and sentences of a comparison, on numbers made up so that the answers are known."""

import numpy as np
import pytest
from scipy import stats

from kapps.evaluation import Contestant, optimizer_findings
from kapps.evaluation.classic import optimizers, standings
from kapps.evaluation.classic.standings import Standing, paired_interval, standing


def made(label, steps, losses, batch_size=64, rate=0.1, at_edge=""):
    steps, losses = np.array(steps, float), np.array(losses, float)
    return Standing(label, batch_size, rate, at_edge, steps, losses / 2, losses, 1 - losses, 2)


def curve(val_loss, val_accuracy):
    return {
        "examples": [128 * i for i in range(len(val_loss))],
        "val_loss": val_loss,
        "val_accuracy": val_accuracy,
        "train_loss": [0.5 * loss for loss in val_loss],
    }


def test_a_standing_from_curves():
    """Two measurements an epoch, three epochs; only ends of epochs choose the loss."""
    one = curve([2, 1.0, 0.5, 0.1, 0.3, 0.6, 0.4], [0.1, 0.5, 0.7, 0.95, 0.92, 0.8, 0.9])
    other = curve([2, 1.5, 0.9, 0.8, 0.7, 0.6, 0.5], [0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85])
    found = standing(
        "x", [one, other], batch_size=64, learning_rate=0.1, at_edge="", measurements=2, target=0.9
    )
    np.testing.assert_array_equal(found.val_loss, [0.3, 0.5])
    np.testing.assert_array_equal(found.val_accuracy, [0.92, 0.85])
    np.testing.assert_array_equal(found.train_loss, [0.2, 0.25])
    np.testing.assert_array_equal(found.steps_to_target, [6, np.nan])  # 3 x 128 / 64
    np.testing.assert_array_equal(found.pictures_to_target, [384, np.nan])
    assert found.resolution == 2
    assert "(1 of 2 seeds)" in found.row()[3] and found.row()[6].startswith("0.4000 ± 0.1414")


def test_a_diverged_training_is_the_worst():
    nan = float("nan")
    broken = curve([2, nan, nan], [0.1, nan, nan])
    found = standing(
        "x", [broken], batch_size=1, learning_rate=1, at_edge="", measurements=1, target=0.9
    )
    assert found.val_loss[0] == np.inf
    fine = made("fine", [3], [0.4])
    assert "Fine" in standings.judge_standings([found, fine]).sentence


def test_the_interval_is_that_of_students_paired_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1.0, 0.3, 6), rng.normal(0.8, 0.3, 6)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    np.testing.assert_allclose(
        paired_interval(a, b), [np.mean(a - b), expected.low, expected.high], rtol=1e-12
    )


def test_intervals_that_know_nothing():
    assert paired_interval([1.0], [2.0]) == (-1.0, -np.inf, np.inf)
    assert not np.isfinite(paired_interval([1.0, np.nan], [2.0, 1.0])[1:]).any()
    # Equal differences are no certainty where steps are counted by fours.
    assert paired_interval([8, 8, 8], [4, 4, 4], resolution=4) == (4.0, 0.0, 8.0)


def test_who_wins_and_whether_it_is_clear():
    good = made("adam", [10, 12, 11], [0.10, 0.11, 0.12])
    near = made("sgd", [30, 31, 33], [0.12, 0.10, 0.13])
    far = made("rmsprop", [40, 41, 43], [0.30, 0.31, 0.33])
    close = standings.judge_standings([far, near, good])
    assert close.label == "no clear winner" and close.sentence.startswith("Adam")
    assert "3 seeds do not settle" in close.sentence
    clear = standings.judge_standings([far, good])
    assert clear.label == "clear winner" and "nats more (95 % interval" in clear.sentence
    alone = standings.judge_standings([made("adam", [1], [0.1]), made("sgd", [1], [0.9])])
    assert alone.label == "no clear winner" and "1 seed does not settle" in alone.sentence


def contestants(*members):
    return [
        Contestant(groups, m, [], dict.fromkeys(tried, m.val_loss)) for m, groups, tried in members
    ]


def test_sentences_follow_the_numbers():
    sgd = made("sgd", [100, 110, 105], [0.2, 0.21, 0.22])
    momentum = made("momentum", [40, 44, 45], [0.15, 0.16, 0.15], at_edge="highest")
    never = made("rmsprop", [np.nan, 50, 60], [0.4, 0.4, 0.5])
    big = made("sgd, batch 256", [50, 52, 54], [0.4, 0.41, 0.4], batch_size=256)
    cosine = made("momentum, cosine", [40, 41, 42], [0.10, 0.10, 0.11])
    said = optimizer_findings(
        contestants(
            (sgd, ("optimizers", "batch sizes"), (0.1, 0.3)),
            (momentum, ("optimizers", "schedules"), (0.1, 0.3)),
            (never, ("optimizers",), (0.1, 0.3)),
            (big, ("batch sizes",), (0.1, 0.3)),
            (cosine, ("schedules",), (0.1, 0.3)),
        ),
        0.9,
    )
    text = "\n".join(said)
    assert "Quickest to 90 % validation accuracy: momentum, 43 ± 3 steps" in text
    assert "Did not reach 90 % with every seed: rmsprop" in text
    assert "To 90 %, momentum needed 43 ± 3 steps; sgd, 105 ± 5, 62 steps more" in text
    assert "a batch 4 times as large took 2 times fewer steps and more images" in text
    assert "Lowest validation loss with momentum, cosine: 0.1033" in text
    assert "edge of those tried for momentum (highest)" in text
    assert "nesterov" not in text and "adam" not in text


def test_nothing_is_claimed_of_what_is_not_settled_or_not_there():
    slow = made("momentum", [40, 10, 30], [0.2, 0.3, 0.1])
    sgd = made("sgd", [20, 30, 10], [0.2, 0.1, 0.3])
    said = optimizer_findings(
        contestants((slow, ("optimizers",), (0.1,)), (sgd, ("optimizers",), (0.1,))), 0.9
    )
    assert len(said) == 2 and all("do not settle" in sentence for sentence in said)


@pytest.mark.parametrize(("large", "words"), [([50, 52, 54], "more images"), ([1, 1, 2], "fewer")])
def test_batch_trade_goes_either_way(large, words):
    small = made("sgd", [100, 110, 105], [0.2, 0.2, 0.2])
    big = made("sgd, batch 256", large, [0.4, 0.4, 0.4], batch_size=256)
    assert words in standings.batch_trade([small, big], 0.9)
    slower = made("sgd, batch 256", [300, 310, 320], [0.4, 0.4, 0.4], batch_size=256)
    assert "no fewer steps" in standings.batch_trade([small, slower], 0.9)


@pytest.mark.slow
def test_pictures_of_a_comparison_are_drawn():
    from kapps.evaluation import plots

    rng = np.random.default_rng(0)
    curves = [
        {
            **curve(rng.uniform(0.1, 1, 7).tolist(), rng.uniform(0, 1, 7).tolist()),
            "learning_rate": [0.1] * 7,
        }
        for _ in range(2)
    ]
    curves[0]["val_loss"][3:] = [float("nan")] * 4
    standing_ = made("sgd", [1, 2], [0.3, np.inf])
    groups = ("optimizers", "batch sizes", "schedules")
    tried = {0.1: np.array([0.2, 0.3]), 1.0: np.array([0.2, np.inf])}
    members = [
        Contestant(groups, made(f"{i}", [1, 2], [0.3, 0.4]), curves, tried) for i in range(8)
    ]
    members.append(Contestant(groups, standing_, curves, tried))
    figures = optimizers.comparison_figures(members)
    assert [title for title, _, _ in figures] == [
        "Optimizers", "Batch sizes", "Schedules", "Learning rates"
    ]  # fmt: skip
    for _, figure, _ in figures:
        assert len(plots.png_bytes(figure, dpi=40)) > 3000


def test_the_curve_of_pictures_counts_pictures():
    curves = [curve([2.0, 1.0, 0.5], [0.1, 0.2, 0.3])]
    members = [
        Contestant(("batch sizes",), made(f"sgd{b}", [1], [0.3], batch_size=b), curves, {})
        for b in (32, 64)
    ]
    ((_, figure, _),) = optimizers.comparison_figures(members)
    by_step, by_picture = figure.axes
    np.testing.assert_array_equal(by_step.lines[0].get_xdata(), [4, 8])
    np.testing.assert_array_equal(by_step.lines[1].get_xdata(), [2, 4])
    for line in by_picture.lines:
        np.testing.assert_array_equal(line.get_xdata(), [0, 128, 256])


def test_surface_sentences_and_table():
    def ending(distance):
        return np.array([[1.0, 1.0], [distance, 0.0]])

    paths = {
        "quadratic": {"sgd": ending(0.5), "adam": ending(1e-9)},
        "rotated quadratic": {"sgd": ending(0.5), "adam": ending(0.25)},
    }
    said = optimizers.surface_findings(paths)
    assert said[0] == ("On quadratic, adam reached a minimum; sgd ended farthest away, at 5.0e-01.")
    assert "adam ended nearest to a minimum, at a distance of 2.5e-01" in said[1]
    assert "adam under 1e-06 and 2.5e-01" in said[2]
    rates = {surface: {"sgd": 0.1, "adam": 0.01} for surface in paths}
    title, columns, rows = optimizers.surface_table(paths, rates)
    assert "after 1 steps" in title and columns == ("optimizer", *paths)
    assert rows[1] == ("adam", "under 1e-06 (0.01)", "2.5e-01 (0.01)")
