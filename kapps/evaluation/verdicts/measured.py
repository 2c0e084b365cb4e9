"""What the verdicts on learning curves stand on: every quantity, computed once and named.

The epoch that is kept is judged; the path to it, and beyond, is described apart. Epochs with a
loss that is no number are left out, and so the arrays here are [epochs that are whole].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kapps.evaluation.metrics.history import column
from kapps.evaluation.verdicts.words import loss

MATERIAL = 1e-3  # of the loss of who knows nothing: a smaller rise matters to nobody
WINDOW = 4  # epochs at least, or a quarter of them: where "at the end" is measured
FALLING = 0.05  # of the validation loss over the last quarter
SKILL = 0.5  # of what can be learned: below, a larger network may help
LEARNED = 0.99  # of what can be learned: whoever knows it all has nothing left to improve
ALL = 0.9995  # of a score: nothing is left that could be seen
HARDLY = 0.002  # of a score: a change that nobody would name
FAR_ABOVE = 10.0  # times the loss of a guess: inputs are not scaled, or the steps are too large


@dataclass(frozen=True)
class Terms:
    """What differs between the verdicts on a classifier, a regression and a language model.

    A score is a share of which 1 is all there is: the accuracy, the explained variance, the share
    of the bits that is saved.
    """

    interval: Callable[[float, float, float, float], tuple[float, float]]
    """95 % interval of train - validation score, from (train score, validation score, train loss,
    validation loss) of one epoch."""
    scores: Callable[[Measured], str]
    """How good the kept weights are on training and on validation examples: a clause."""
    unit: str = "points"
    """Of a gap of 0.01."""
    score: str = "accuracy"
    """What the score is called."""
    trivial: float = 0.0
    """The score of who knows nothing of the input."""
    trivial_words: str = ""
    """What reaches it: a sentence, or nothing."""
    chance: Callable[[Measured], bool] = lambda run: run.skill < 0.05
    """Whether the kept weights are no better than that, as far as can be told."""
    ceiling: float | None = None
    """The highest score that the labels allow, where that is known."""
    reference: float | None = None
    """The score that another, simple model reaches: it proves that as much can be learned."""
    reference_words: str = ""
    """What that is: a sentence, or nothing."""
    skill: float | None = None
    """The share of what can be learned that is learned, where the scores do not say it."""
    ignorance: float = math.inf
    """The loss of who knows nothing."""
    test_score: float | None = None
    """On the test split."""
    test_examples: int = 0
    """How many of them."""
    test_interval: Callable[[float, int | None], tuple[float, float]] | None = None
    """95 % interval of a score on so many examples minus that on the test split."""
    counts: tuple[int | None, int | None] = (None, None)
    """Training and validation examples that the scores are measured on."""
    doubts: tuple[str, ...] = ()
    """Sentences on what the figures do not say."""
    shift: float = 0.0
    """What was added to the losses, so that they are relative to something; words take it off."""
    relative: str = "%"
    """Of a hundredth of such a loss."""


class Measured:
    """The quantities that the rules of `kapps.evaluation.verdicts.overfitting` speak of.

    Args:
        curves: `loss`, `train_loss`, `val_loss`, `train_score`, `val_score`, `learning_rate` and
            perhaps `score` (running, while training), float64 [epochs] each.
        terms: what the scores are.
        kept: the epoch whose weights are kept, from 0.

    Attributes:
        number: of the epochs that are whole, from 1.
        kept: index of the kept epoch in these arrays.
        lowest: index of the epoch with the lowest validation loss.
        gap, gap_interval: train - validation score of the kept weights; NaN if one is unknown.
        below_train, below_validation: 95 % intervals of these scores minus that on the test split;
            infinite where that is unknown.
        skill: share of what can be learned that the kept weights know on training examples.
        noise: standard deviation of the validation loss from epoch to epoch, without its trend.
        after: epochs after the one with the lowest validation loss.
        level, train_level: the losses at the end: the median of the last three.
        raw_rise: how far the validation loss ends above its minimum, relative to it.
        rise: the part of that which luck does not explain; 0 if it is immaterial.
        slope: of the validation loss after its minimum, per epoch; None with fewer than three.
        train_rise: the same as `rise`, of the training loss after its own minimum, in its unit.
        fall: how far the validation loss fell over the last quarter, relative to where it began to;
            0 unless it surely falls.
        annealed: whether the learning rate ended below a tenth of its highest.
        lost: epochs without a finite loss after which the training went on, from 1.
    """

    def __init__(self, curves: Mapping[str, np.ndarray], terms: Terms, kept: int):
        whole = np.isfinite([curves["loss"], curves["train_loss"], curves["val_loss"]]).all(axis=0)
        places = np.flatnonzero(whole)
        self.terms = terms
        self.number = places + 1
        self.last_epoch = int(self.number[-1])
        self.lost = np.setdiff1d(np.arange(1, self.last_epoch), self.number)
        self.train_loss, self.val_loss = curves["train_loss"][places], curves["val_loss"][places]
        self.train_score, self.val_score = (
            curves["train_score"][places],
            curves["val_score"][places],
        )
        running = curves.get("score")
        self.first_running = math.nan if running is None else float(running[places[0]])
        self.learning_rate = curves["learning_rate"][places]
        self.kept = int(np.argmin(np.abs(places - kept)))
        self.lowest = int(np.argmin(self.val_loss))
        self.noise = second_difference_noise(self.val_loss)
        self.after = len(places) - 1 - self.lowest
        tail = min(3, self.after)
        self.level, self.train_level = (
            level(values, tail) for values in (self.val_loss, self.train_loss)
        )
        # One epoch after the best one says nothing: every second epoch is worse than the last.
        self.raw_rise = self.level / max(self.minimum, 1e-12) - 1 if self.after > 1 else 0.0
        self.slope: float | None = None
        self.rise = self._rise() / max(self.minimum, 1e-12)
        self.train_rise = self._train_rise()
        self.fall = self._fall()
        rates = self.learning_rate
        self.annealed = bool(rates[-1] < 0.1 * np.max(rates))  # False with NaN: no such column
        self.gap = self.gap_at(self.kept)
        self.gap_interval = self.interval_at(self.kept)
        # How far the test score is below that on training, and on validation examples.
        self.below_train, self.below_validation = (
            self._below(scores, count)
            for scores, count in zip((self.train_score, self.val_score), terms.counts, strict=True)
        )
        self.skill = self._skill()

    @property
    def minimum(self) -> float:
        """The lowest validation loss."""
        return float(self.val_loss[self.lowest])

    @property
    def kept_epoch(self) -> int:
        """From 1."""
        return int(self.number[self.kept])

    @property
    def lowest_epoch(self) -> int:
        """The epoch with the lowest validation loss, from 1."""
        return int(self.number[self.lowest])

    @property
    def loss_ratio(self) -> float:
        """Validation loss / training loss of the kept weights."""
        return float(self.val_loss[self.kept] / max(self.train_loss[self.kept], 1e-12))

    @property
    def scale(self) -> float:
        """The loss of who knows nothing; where that is unknown, the loss to begin with."""
        if math.isfinite(self.terms.ignorance):
            return self.terms.ignorance
        return float(max(self.train_loss[0], self.val_loss[0]))

    @property
    def unchanged(self) -> bool:
        """Whether neither loss moved in three epochs or more."""
        both = self.train_loss, self.val_loss
        return len(self.number) >= 3 and not any(np.ptp(values) for values in both)

    @property
    def nothing_left(self) -> bool:
        """Whether every example is right: for training, validation and, where known, for test."""
        test = 1.0 if self.terms.test_score is None else self.terms.test_score
        scores = self.train_score[self.kept], self.val_score[self.kept], test
        return bool(min(scores) >= ALL and self.skill >= LEARNED)

    @property
    def restarted(self) -> bool:
        """Whether the learning rate had fallen by the best epoch, and was raised again after it."""
        rates = self.learning_rate
        best = rates[self.lowest]
        return bool(best <= 0.5 * np.max(rates[: self.lowest + 1]) and rates[-1] >= 2 * best)

    @property
    def improving(self) -> bool:
        """Whether more epochs would surely lower the validation loss, and that is worth a thing."""
        ended = self.annealed and not self.skill < SKILL  # a schedule's end always lowers the loss
        return self.fall >= FALLING and not ended and not self.skill >= LEARNED

    @property
    def far_above_a_guess(self) -> bool:
        """Whether the validation loss is beyond what a network can do by knowing nothing."""
        return bool(self.val_loss[self.kept] > FAR_ABOVE * self.terms.ignorance)

    def told(self, value: float) -> str:
        """A loss of these arrays in words, as it was before it was made relative."""
        return loss(float(value) - self.terms.shift)

    def gap_at(self, place: int) -> float:
        """Train - validation score of one epoch."""
        return float(self.train_score[place] - self.val_score[place])

    def interval_at(self, place: int) -> tuple[float, float]:
        """The 95 % interval of that; NaN where a score is unknown."""
        if not math.isfinite(self.gap_at(place)):
            return math.nan, math.nan
        return self.terms.interval(
            float(self.train_score[place]),
            float(self.val_score[place]),
            float(self.train_loss[place]),
            float(self.val_loss[place]),
        )

    def score_trend(self) -> int:
        """The validation score after its loss was lowest: 1 rose, -1 fell, 0 hardly changed."""
        values = self.val_score
        if self.after == 0 or not np.isfinite(values).all():
            return 0
        noise = second_difference_noise(values)
        end = float(np.median(values[-min(3, self.after) :]))
        change = end - float(values[self.lowest])
        return int(np.sign(change)) if abs(change) > max(2 * noise, HARDLY) else 0

    def stalled(self) -> bool:
        """Whether the second half of the training gained nothing on validation examples."""
        early = self.lowest < len(self.val_loss) / 2
        return len(self.val_loss) >= 8 and early and self.score_trend() <= 0

    def _below(self, scores: np.ndarray, count: int | None) -> tuple[float, float]:
        interval = self.terms.test_interval
        unknown = self.terms.test_score is None or not math.isfinite(scores[self.kept])
        if interval is None or unknown:
            return -math.inf, math.inf
        return interval(float(scores[self.kept]), count)

    def _skill(self) -> float:
        terms = self.terms
        if terms.skill is not None:
            return terms.skill
        most = 1.0 if terms.ceiling is None else terms.ceiling
        if most <= terms.trivial:
            return 1.0
        return float((self.train_score[self.kept] - terms.trivial) / (most - terms.trivial))

    def _rise(self) -> float:
        """Of the validation loss above its minimum, in its unit, beyond luck; 0 if immaterial.

        The lowest of n noisy epochs lies about sigma sqrt(2 ln n) too low by luck alone.
        """
        luck = self.noise * math.sqrt(2 * math.log(len(self.val_loss)))
        excess = self.level - self.minimum - luck if self.after > 1 else 0.0
        # 1.1 sigma: the 95 % point of a median of three.
        found = excess if excess > 2 * self.noise else 0.0
        if self.after >= 3:
            number = self.number[self.lowest + 1 :]
            self.slope, error = line(number, self.val_loss[self.lowest + 1 :], self.noise)
            # Too slow for that test, and yet three standard errors of a fitted line.
            if self.after >= 5 and self.slope > 3 * error:
                found = max(found, self.slope * self.after)
        return found if found > self._material() else 0.0

    def _train_rise(self) -> float:
        lowest = int(np.argmin(self.train_loss))
        after = len(self.train_loss) - 1 - lowest
        if after < 2:
            return 0.0
        noise = second_difference_noise(self.train_loss)
        luck = noise * math.sqrt(2 * math.log(len(self.train_loss)))
        excess = level(self.train_loss, min(3, after)) - float(self.train_loss[lowest]) - luck
        return float(excess) if excess > max(2 * noise, self._material()) else 0.0

    def _material(self) -> float:
        return MATERIAL * self.scale

    def _fall(self) -> float:
        epochs = len(self.val_loss)
        window = min(epochs, max(WINDOW, epochs // 4))
        if window < 3:
            return 0.0
        recent = self.val_loss[-window:]
        slope, error = line(self.number[-window:], recent, 0.0)
        fall = -slope * (self.number[-1] - self.number[-window])
        begin = abs(recent.mean() + fall / 2)  # of the line
        return float(fall / max(begin, 1e-12)) if slope < -2 * error else 0.0


def curves_of(
    history: Sequence[Mapping], names: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Columns of a history and its learning rate, float64 [epochs] each; NaN for what is no number.

    Raises:
        ValueError: a column of `names` is missing.
    """
    missing = [name for name in names if any(name not in row for row in history)]
    if missing:
        raise ValueError(f"the history lacks {', '.join(missing)}; it needs {', '.join(names)}")
    return {name: column(history, name) for name in (*names, *optional, "learning_rate")}


def second_difference_noise(values: np.ndarray) -> float:
    """Standard deviation around a smooth curve, from the median second difference.

    For independent noise v[i-1] - 2 v[i] + v[i+1] has variance 6 sigma^2; a straight trend drops
    out, and the median leaves the steep first epochs and single spikes aside.
    """
    if len(values) < 3:
        return 0.0
    return float(1.4826 * np.median(np.abs(np.diff(values, 2))) / math.sqrt(6))


def level(values: np.ndarray, tail: int) -> float:
    """The median of the last `tail` values, the lower one of two: a single spike is no level."""
    return float(np.quantile(values[-max(tail, 1) :], 0.5, method="lower"))


def line(x: np.ndarray, y: np.ndarray, noise: float) -> tuple[float, float]:
    """Slope of the least-squares line and its standard error, from `noise` at least."""
    x = x - x.mean()
    spread = float(np.sum(x**2))
    slope = float(np.sum(x * y) / spread)
    residuals = y - y.mean() - slope * x
    scatter = math.sqrt(float(np.sum(residuals**2)) / max(len(x) - 2, 1))
    return slope, max(scatter, noise) / math.sqrt(spread)
