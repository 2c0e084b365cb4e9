"""Collapsed models are called collapsed, and real pictures are not."""

import dataclasses
import html
import json
import math
import pathlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from kapps import evaluation
from kapps.evaluation.report.page import TONES
from kapps.evaluation.verdicts import collapse, samples
from kapps.evaluation.verdicts.variety import class_shares, some, variety

DIGITS = load_digits()
PICTURES = (DIGITS.images[..., None] / 16).astype(np.float32)
NAMES = [f"digit {i}" for i in range(10)]
RESULTS = pathlib.Path(__file__).parents[3] / "benchmarks" / "results"
REAL, OTHER = slice(0, 900), slice(897, 1797)


def gan(samples, classes=None, **more):
    return evaluation.gan_verdict(
        samples,
        PICTURES[REAL],
        sample_classes=classes,
        real_classes=None if classes is None else DIGITS.target[REAL],
        class_names=NAMES,
        **more,
    )


def posterior(*args, **more):
    return evaluation.posterior_verdict(*args, **more)


def labels_of(verdicts):
    return [verdict.label for verdict in verdicts]


def test_spacing_does_not_depend_on_how_many_there_are_of_the_others():
    """Uniform points of a line: the nearest of n is 1 / (2 n) away; of four times as many, nearer.

    As many of both are compared, and so real points look like real points.
    """
    rng = np.random.default_rng(0)
    found = variety(rng.random((500, 1)), rng.random((2000, 1)), "")
    assert found["spacing"] == pytest.approx(1.0, abs=0.2)
    assert len(some(np.zeros((4100, 2)))) == 2000 and len(some(np.zeros((30, 2)))) == 30


# -- posterior of a VAE


def test_no_active_unit_is_a_collapsed_posterior():
    verdict = posterior(np.full(16, 1e-4), 0, reconstruction=385.0, mean_picture=385.02)
    assert verdict.label == "posterior collapsed"
    assert "0 of 16 latent units" in verdict.sentence and "0.00 nats" in verdict.sentence
    assert "385" in verdict.sentence and "KL warm-up" in verdict.sentence
    assert "alone" not in verdict.sentence
    # A strong decoder reconstructs without the code: it collapsed all the same.
    alone = posterior(np.zeros(16), 0, reconstruction=240.0, mean_picture=385.0)
    assert alone.label == "posterior collapsed" and "without it" in alone.sentence


def test_a_code_that_the_decoder_ignores_is_collapsed():
    verdict = posterior(np.full(8, 2.0), 8, reconstruction=384.0, mean_picture=385.0)
    assert verdict.label == "posterior collapsed"
    assert "does not use the code" in verdict.sentence


@pytest.mark.parametrize(
    ("active", "units", "label"),
    [
        (1, 2, "partly collapsed"),
        (2, 2, "healthy"),
        (2, 8, "partly collapsed"),
        (3, 8, "healthy"),
        (10, 40, "partly collapsed"),
        (18, 40, "healthy"),
        (1, 1, "healthy"),
    ],
)
def test_few_active_units_are_a_collapse_in_part(active, units, label):
    kl = np.where(np.arange(units) < active, 4.5, 0.001)
    by_count, by_mask, by_kl = posterior(kl, active), posterior(kl, kl > 1), posterior(kl)
    assert labels_of([by_count, by_mask, by_kl]) == [label] * 3
    assert f"{active} of {units} latent units are active" in by_count.sentence
    assert by_count.numbers["active_units"] == active
    if label == "partly collapsed":
        assert f"the other {units - active} are unused" in by_count.sentence
        assert "free bits" in by_count.sentence and "lower beta" in by_count.sentence
        assert "smaller latent space" not in by_count.sentence


def test_ten_of_forty_units_get_one_piece_of_advice():
    kl = np.where(np.arange(40) < 10, 1.5, 0.001)
    bad = posterior(kl, 10, reconstruction=0.02, mean_picture=0.09, pca_error=0.0135)
    good = posterior(kl, 10, reconstruction=0.013, mean_picture=0.09, pca_error=0.0135)
    assert (bad.label, good.label) == ("partly collapsed", "healthy")
    assert "free bits" in bad.sentence and "smaller" not in bad.sentence
    assert "smaller latent space" in good.sentence and "free bits" not in good.sentence


def test_mush_is_not_healthy():
    """2 nats tell e^2 = 7 images apart, of ten classes; four times PCA's error is a smear."""
    few = posterior(np.array([1.0, 1.0]), 2)
    assert few.label == "blurred" and "7 images" in few.sentence
    error = posterior(np.full(8, 2.0), 8, reconstruction=0.04, mean_picture=0.09, pca_error=0.01)
    assert error.label == "blurred" and "4.0 times that of PCA" in error.sentence
    unlike = posterior(np.full(8, 2.0), 8, coverage=0.02, coverage_floor=0.95)
    assert unlike.label == "blurred" and "2.0 %" in unlike.sentence
    fine = posterior(
        np.full(8, 2.0), 8, reconstruction=0.012, mean_picture=0.09, pca_error=0.01,
        coverage=0.5, coverage_floor=0.95,
    )  # fmt: skip
    assert fine.label == "healthy"


def curves(train, val):
    return [{"loss": t, "train_loss": t, "val_loss": v} for t, v in zip(train, val, strict=True)]


def fit(history, **more):
    settings = dict(validation_examples=6000, train_examples=6000, nothing=385.0)
    return evaluation.reconstruction_fit(history, **settings | more)


def test_models_that_reconstruct_are_judged_for_over_fitting():
    """Nats: from 385 to 232 on validation, and then back to 250 while training goes on to 200."""
    train = np.interp(np.arange(40), [0, 10, 39], [300, 232, 190])
    rising = np.interp(np.arange(40), [0, 10, 39], [305, 235, 260])
    flat = np.interp(np.arange(40), [0, 10, 39], [305, 235, 231])
    memory = fit(curves(train, rising), kept=40)
    # Kept is the last: (260 - 190) / (385 - 235) = 47 % of what was learned.
    assert memory.label == "over-fitted" and memory.gap == pytest.approx(70 / 150)
    assert fit(curves(flat - 3, flat)).label in ("well fitted", "still improving")
    # The same with negative nats, as those of densities are.
    assert fit(curves(train - 900, rising - 900), nothing=-515, kept=40).gap == pytest.approx(
        70 / 150
    )
    for judge in (
        lambda fit: posterior(np.full(8, 2.0), 8, fit=fit),
        lambda fit: evaluation.autoencoder_verdict(0.01, mean_error=0.09, fit=fit),
        lambda fit: evaluation.codebook_verdict(
            0.01, mean_error=0.09, counts=np.full(8, 5), fit=fit
        ),
    ):
        assert judge(memory).label == "over-fitted" and "190" in judge(memory).sentence
        assert judge(fit(curves(flat - 3, flat))).label == judge(None).label == "healthy"
    assert fit([]) is None and fit([{"loss": 1.0}]) is None
    assert fit(curves(flat, flat), nothing=200.0) is None


def test_the_residual_autoencoder_of_the_benchmarks_is_no_case_of_over_fitting():
    """MSE 0.0036 and 0.0052, of a mean image's 0.0866: two points of what was learned."""
    history = json.loads((RESULTS / "autoencoder_residual_64_seed0.json").read_text())["epochs"]
    found = fit(history, nothing=0.0866 * 784)
    assert found.gap == pytest.approx((0.0052 - 0.0036) / (0.0866 - 0.0052), abs=0.003)
    assert found.label == "well fitted"


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_not_finite_diverged(broken):
    assert posterior([1.0, broken]).label == "diverged"
    assert posterior([1.0], 1, reconstruction=broken, mean_picture=1.0).label == "diverged"
    samples = np.full((20, 8, 8, 1), broken)
    assert gan(samples).label == "diverged"
    verdict = gan(PICTURES[OTHER], history=[{"generator_loss": 1.0}, {"generator_loss": broken}])
    assert verdict.label == "diverged" and "generator_loss is not" in verdict.sentence
    history = [{"loss": broken, "val_frechet": math.nan}, {"loss": 1.0, "val_frechet": math.nan}]
    assert gan(PICTURES[OTHER], history=history).label == "healthy"
    assert evaluation.autoencoder_verdict(broken, mean_error=0.1).label == "diverged"


# -- samples of a GAN


def test_real_pictures_as_samples_are_healthy():
    verdict = gan(PICTURES[OTHER], DIGITS.target[OTHER], coverage=0.95, coverage_floor=0.96)
    assert verdict.label == "healthy"
    assert "10 of 10 classes occur" in verdict.sentence
    for name in ("spread", "spacing"):
        assert 0.9 < verdict.numbers[name] < 1.1
    assert gan((255 * PICTURES[OTHER]).astype(np.uint8)).label == "healthy"


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_a_constant_generator_collapsed(noise):
    rng = np.random.default_rng(0)
    samples = np.clip(PICTURES[:1] + noise * rng.normal(size=(300, 8, 8, 1)), 0, 1)
    verdict = gan(samples, np.zeros(300, int))
    assert verdict.label == "collapsed"
    assert "the same image" in verdict.sentence
    assert gan(np.zeros((300, 8, 8, 1), np.uint8)).label == "collapsed"


@pytest.mark.slow
def test_spread_is_the_distance_of_two_members():
    """Two black and two white pictures: a pair differs in 4 of 6 cases, by sqrt(pixels)."""
    two = np.zeros((4, 8, 8, 1))
    two[2:] = 1
    by_hand = math.sqrt(4 / 6 * 64)
    pairs = PICTURES[REAL].reshape(900, -1).astype(float)
    squares = ((pairs[:, None, :8] - pairs[None, :, :8]) ** 2).sum(-1)
    for part in range(8, 64, 8):
        squares += ((pairs[:, None, part : part + 8] - pairs[None, :, part : part + 8]) ** 2).sum(
            -1
        )
    real = math.sqrt(squares.sum() / (900 * 899))
    assert gan(two).numbers["spread"] == pytest.approx(by_hand / real, rel=1e-6)


def test_one_class_alone_is_a_collapse_in_part_that_names_the_others():
    ones = PICTURES[DIGITS.target == 1]
    verdict = gan(ones, np.ones(len(ones), int))
    # A class of 182 samples should have 18: too few to judge it by, so more are drawn.
    many = np.concatenate([ones, ones])
    verdict = gan(many, np.ones(len(many), int))
    assert verdict.label == "mode collapse in part"
    assert "lack digit 0, digit 2, digit 3" in verdict.sentence
    assert "digit 8 and digit 9" in verdict.sentence and "lack digit 1" not in verdict.sentence
    assert "1 of 10 classes occur" in verdict.sentence
    assert verdict.numbers["class_imbalance"] == pytest.approx(0.9, abs=0.01)


def test_one_missing_class_is_named():
    kept = DIGITS.target[OTHER] != 8
    verdict = gan(PICTURES[OTHER][kept], DIGITS.target[OTHER][kept])
    assert verdict.label == "mode collapse in part"
    assert "The samples lack digit 8." in verdict.sentence


def test_a_rare_class_is_not_missed_in_few_samples():
    few = np.flatnonzero(DIGITS.target != 8)[:60]
    assert gan(PICTURES[few], DIGITS.target[few]).label == "healthy"


def test_repeated_pictures_are_told_from_many():
    ten = PICTURES[np.arange(1000) % 10]
    verdict = gan(ten, DIGITS.target[np.arange(1000) % 10])
    assert verdict.label == "mode collapse in part"
    assert "repeat one another" in verdict.sentence
    assert verdict.numbers["spread"] > 0.9 and verdict.numbers["spacing"] == 0


@pytest.mark.parametrize(
    ("coverage", "label"), [(0.9, "healthy"), (0.4, "under-trained"), (0.05, "not learned")]
)
def test_coverage_counts_beside_its_floor(coverage, label):
    verdict = gan(PICTURES[OTHER], coverage=coverage, coverage_floor=0.95)
    assert verdict.label == label
    assert f"cover {100 * coverage:.1f} %" in verdict.sentence and "95.0 %" in verdict.sentence


def test_45_percent_of_one_image_is_a_collapse_in_part():
    """The median spacing does not see it: more than half of the samples are different."""
    samples = PICTURES[OTHER].copy()
    rows = np.random.default_rng(0).permutation(900)[:405]
    samples[rows] = samples[0]
    verdict = gan(samples)
    assert verdict.label == "mode collapse in part" and "45 %" in verdict.sentence
    assert verdict.numbers["spacing"] > 0.25
    assert verdict.numbers["duplicates"] == pytest.approx(0.45, abs=0.01)
    few = PICTURES[OTHER].copy()
    few[rows[:40]] = few[0]
    assert gan(few).label == "healthy"


def test_800_copies_of_training_images_are_memory():
    train = PICTURES[OTHER]
    exact = gan(train[:800], DIGITS.target[OTHER][:800], coverage=0.95, train=train)
    assert exact.label == "memorized" and "100 % of the samples" in exact.sentence
    # Three images are in both halves: copies that the data make by themselves.
    assert exact.numbers["copies"] > 0.98 and exact.numbers["nearer_train"] > 0.98
    noise = 0.005 * np.random.default_rng(0).normal(size=(800, 8, 8, 1))
    assert gan(np.clip(train[:800] + noise, 0, 1), train=train).label == "memorized"


def test_unseen_images_are_no_copies():
    thirds = PICTURES[:599], PICTURES[599:1198], PICTURES[1198:]
    samples, train, real = thirds
    verdict = evaluation.gan_verdict(samples, real, train=train)
    assert verdict.label == "healthy" and verdict.numbers["copies"] < 0.02
    # Binomial: half of 500, three standard errors; handwriting differs from third to third.
    assert verdict.numbers["nearer_train"] == pytest.approx(0.5, abs=0.12)


def test_classes_far_from_their_shares():
    target = DIGITS.target[OTHER]
    kept = np.concatenate([np.flatnonzero(target == 1), np.flatnonzero(target != 1)[::4]])
    ones = np.concatenate([np.flatnonzero(target == 1)] * 3)
    rows = np.concatenate([kept, ones])
    noise = 0.1 * np.random.default_rng(0).normal(size=(len(rows), 8, 8, 1))
    verdict = gan(PICTURES[OTHER][rows] + noise, target[rows])
    assert verdict.label == "mode collapse in part" and "prefers some classes" in verdict.sentence


def test_imbalance_by_chance_is_what_two_draws_have():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        a, b = rng.integers(0, 10, (2, 400))
        shares = [np.bincount(x, minlength=10) / 400 for x in (a, b)]
        found.append(0.5 * np.abs(shares[0] - shares[1]).sum())
    _, numbers = class_shares(a, b, NAMES)
    assert numbers["class_imbalance_by_chance"] == pytest.approx(np.mean(found), rel=0.05)


def test_an_under_trained_generator_did_not_collapse():
    """All classes, neighbours at 150 %: noisy, and not alike."""
    noise = 0.25 * np.random.default_rng(0).normal(size=(900, 8, 8, 1))
    samples = PICTURES[OTHER] + noise
    verdict = gan(samples, DIGITS.target[OTHER], coverage=0.4, coverage_floor=0.95)
    assert verdict.numbers["spacing"] > 1.3
    assert verdict.label == "under-trained" and "not a collapse" in verdict.sentence
    assert "Train longer." in verdict.sentence and "penalties" not in verdict.sentence


def test_more_training_is_no_advice_where_the_discriminator_won():
    """It teaches nothing more: 'Train longer' would contradict that."""
    rng = np.random.default_rng(0)
    noisy = PICTURES[OTHER] + 0.25 * rng.normal(size=(900, 8, 8, 1))
    for drawn, coverage, label in (
        (noisy, 0.4, "under-trained"),
        (rng.uniform(size=(500, 8, 8, 1)), 0.01, "not learned"),
    ):
        won = gan(drawn, coverage=coverage, coverage_floor=0.95, discriminator_accuracy=1.0)
        assert won.label == label and "saturated" in won.sentence
        assert "Train longer" not in won.sentence
        open_game = gan(drawn, coverage=coverage, coverage_floor=0.95)
        assert "Train longer." in open_game.sentence
    real = gan(PICTURES[OTHER], coverage=0.95, coverage_floor=0.95, discriminator_accuracy=1.0)
    assert real.label == "healthy" and "Try" not in real.sentence


def test_noise_that_covers_nothing_has_not_learned():
    noise = np.random.default_rng(0).uniform(size=(500, 8, 8, 1))
    assert gan(noise, coverage=0.01, coverage_floor=0.95).label == "not learned"


def test_features_can_show_what_pixels_hide():
    features = np.random.default_rng(0).normal(size=(900, 5))
    same = gan(PICTURES[OTHER], sample_features=0.01 * features, real_features=features)
    assert same.label == "collapsed" and "In features" in same.sentence
    half = gan(PICTURES[OTHER], sample_features=0.4 * features, real_features=features)
    assert half.label == "mode collapse in part" and "40 % as far apart" in half.sentence
    healthy = gan(PICTURES[OTHER], sample_features=features[::-1] + 1, real_features=features)
    assert healthy.label == "healthy"


def test_a_saturated_discriminator_is_named_where_something_is_wrong():
    constant = np.zeros((50, 8, 8, 1))
    verdict = gan(constant, discriminator_accuracy=1.0)
    assert "100.0 % of the images right: it is saturated" in verdict.sentence
    assert "learning rate for the discriminator" in verdict.sentence
    assert "saturated" not in gan(constant, discriminator_accuracy=0.8).sentence


def test_pictures_sorted_by_class_are_sampled_from_all_over():
    order = np.argsort(np.tile(DIGITS.target, 3), kind="stable")
    pictures = np.tile(PICTURES, (3, 1, 1, 1))[order]
    noise = np.random.default_rng(0).normal(size=(2, *pictures.shape)) * 0.02
    verdict = evaluation.gan_verdict(pictures + noise[0], pictures[::-1] + noise[1])
    assert verdict.numbers["spread"] == pytest.approx(1, abs=0.02)


# -- autoencoders


def test_autoencoders_against_the_mean_picture_and_pca():
    codes = np.random.default_rng(0).normal(size=(100, 6))

    def judge(error, codes=codes, **more):
        return evaluation.autoencoder_verdict(
            error, mean_error=0.09, pca_error=0.01, codes=codes, **more
        )

    assert judge(0.0899).label == "collapsed" and "0.09" in judge(0.0899).sentence
    assert judge(0.05, codes * 0 + 3).label == "collapsed"
    assert judge(0.0100).label == judge(0.02).label == "no better than PCA"
    assert "PCA with 6 components is 0.01" in judge(0.02).sentence
    assert judge(0.006).label == "healthy"
    assert judge(0.01005, linear=True).label == "healthy"
    assert judge(0.0103, linear=True).label == "no better than PCA"
    assert "not yet reached PCA" in judge(0.0103, linear=True).sentence
    dying = codes * (np.arange(6) < 2)
    assert judge(0.006, dying).label == "dead code"
    assert "4 of 6 units" in judge(0.006, dying).sentence
    assert judge(0.006, codes * (np.arange(6) < 5)).label == "healthy"
    assert evaluation.autoencoder_verdict(0.03, mean_error=0.09).label == "healthy"


def test_codebooks():
    def judge(error, counts):
        return evaluation.codebook_verdict(error, mean_error=0.09, counts=counts)

    even, few = np.full(8, 5), np.array([10, 10, 0, 0, 0, 0, 0, 0])
    assert judge(0.01, even).label == "healthy" and "8 of 8 codes" in judge(0.01, even).sentence
    assert judge(0.01, even).numbers["perplexity"] == pytest.approx(8)
    assert judge(0.01, few).label == "dead code" and "2 of 8 codes" in judge(0.01, few).sentence
    assert judge(0.01, few).numbers["perplexity"] == pytest.approx(2)
    assert judge(0.01, [10, 10, 1, 0, 0, 0, 0, 0]).label == "healthy"
    assert judge(0.0899, even).label == judge(0.01, [9, 0, 0]).label == "collapsed"
    assert judge(math.nan, even).label == "diverged"
    three = np.bincount([5, 5, 70, 70, 301], minlength=512)
    assert judge(0.02, three).label == "dead code"
    assert "3 of 512 codes" in judge(0.02, three).sentence


# -- what is done with a verdict


def test_reports_say_that_it_collapsed(tmp_path):
    constant = np.zeros((50, 8, 8, 1))
    for verdict in (gan(constant), posterior(np.zeros(4), 0)):
        path = evaluation.write_report(tmp_path / "report.html", title="x", verdict=verdict)
        page = html.unescape(path.read_text(encoding="utf-8"))
        assert 'class="card verdict bad"' in page
        assert verdict.sentence in page and "collapsed" in page.split("<h2>")[1].lower()
        assert json.loads(json.dumps(dataclasses.asdict(verdict)))["label"] == verdict.label


def test_every_label_has_a_colour():
    rules = " ".join(f"{collapse.__doc__} {samples.__doc__}".split())
    for label in (
        "diverged",
        "posterior collapsed",
        "partly collapsed",
        "healthy",
        "collapsed",
        "mode collapse in part",
        "not learned",
        "memorized",
        "under-trained",
        "blurred",
        "dead code",
        "no better than PCA",
    ):
        assert label in TONES and label in rules


@pytest.mark.parametrize(
    ("nats", "classes", "label"),
    [(2.2, 10, "blurred"), (2.4, 10, "healthy"), (1.0, 2, "healthy"), (4.5, 100, "blurred")],
)
def test_a_code_has_to_name_the_class_at_least(nats, classes, label):
    """log 10 = 2.303, log 2 = 0.693, log 100 = 4.605 nats."""
    verdict = evaluation.posterior_verdict(np.full(4, nats / 4), 4, classes=classes)
    assert verdict.label == label
    if label == "blurred":
        assert f"fewer than there are classes ({classes})" in verdict.sentence
