"""Curves of several labels, judged by the share of the uncertainty that is removed."""

from kapps.evaluation.verdicts.labels import labels_verdict

IGNORANCE = 0.4


def rows(train, validation):
    pairs = zip(train, validation, strict=True)
    return [{"loss": t, "train_loss": t, "val_loss": v, "learning_rate": 0.1} for t, v in pairs]


def verdict(train, validation, **changes):
    sizes = dict(validation_examples=500, train_examples=2000, ignorance=IGNORANCE, spread=1.0)
    return labels_verdict(rows(train, validation), **{**sizes, **changes})


FALLING = [0.4 * 0.8**i for i in range(8)]


def test_the_share_is_of_what_frequencies_leave_open():
    found = verdict(FALLING, FALLING)
    share = 100 * (1 - FALLING[-1] / IGNORANCE)
    assert f"remove {share:.1f} % of the uncertainty" in found.reasons
    assert found.gap == 0.0 and found.kept_epoch == 8


def test_memory_is_over_fitting():
    found = verdict(FALLING, [0.4, 0.38, 0.36, 0.35, 0.36, 0.38, 0.41, 0.45], kept=8)
    assert found.label == "over-fitted"
    assert abs(found.gap - (0.45 - FALLING[-1]) / IGNORANCE) < 1e-9


def test_who_only_knows_frequencies_has_not_learned():
    assert verdict([0.4] * 8, [0.401] * 8).label == "not learned"


def test_the_interval_is_that_of_two_means():
    """By hand: 1.96 * sqrt((0.2 / 20)^2 + (0.4 / 10)^2) where losses are half and all of it."""
    found = verdict(
        [0.2] * 4, [0.4] * 4, validation_examples=100, train_examples=400, spread=0.4, kept=1
    )
    low, high = found.gap_interval
    width = 1.959964 * ((0.5 * 0.4 / 20) ** 2 + (1.0 * 0.4 / 10) ** 2) ** 0.5
    assert abs(low - (0.5 - width)) < 1e-6 and abs(high - (0.5 + width)) < 1e-6
