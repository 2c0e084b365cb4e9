"""What the learning curves say, in words: over-fitted, well fitted, under-fitted ...

The rules, in the order in which they are tried (the constants below hold the thresholds):

diverged             a loss is not finite at the end, or training ends far worse than it began
too short to say     fewer than three epochs
unstable             validation *and* training loss rose: the steps are too large
over-fitted          validation loss rose by 20 % or more after its minimum while training went on,
                     and the accuracy gap is real; or the gap is at least 10 points and validation
                     no longer gets better
slightly over-fitted the same with 5 %, or 5 points and twice the loss on unseen data; or a gap
                     that is real and seems to be 10 points, on too few examples to be sure
still improving      validation loss falls by 2 % or more per epoch, the learning rate is not yet
                     annealed, and there is something left to learn on the training examples
under-fitted         more than half of the baseline's mistakes are still made on training examples
well fitted          everything else

"Real" and "at least" speak of the lower end of the gap's 95 % interval (Newcombe 1998, method 10:
the hybrid of two Wilson intervals), so that a small validation split does not cry wolf. A rise
counts beyond the noise of the curve only: the lowest of n noisy epochs lies about
sigma sqrt(2 ln n) too low by luck alone; sigma comes from second differences, which a smooth trend
does not reach. A rise too slow for that test counts if its fitted slope is three standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kapps.evaluation.metrics.classification import wilson_interval
from kapps.evaluation.metrics.history import best_epoch, column

COLUMNS = ("loss", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
STRONG_RISE, SLIGHT_RISE = 0.20, 0.05  # of the validation loss, relative to its minimum
STRONG_GAP, SLIGHT_GAP = 0.10, 0.05  # train - validation accuracy, lower end of the interval
LOSS_RATIO = 2.0  # validation loss / training loss that goes with a slight gap
EXPLODED = 1.5  # final / first training loss
UNSTABLE = 1.1  # final training loss / that of the best epoch
IMPROVING = 0.02  # fall of the validation loss per epoch, relative
ANNEALED = 0.1  # final / highest learning rate: below, the schedule has ended
LEARNED = 0.99  # share of the baseline's mistakes that training examples no longer show
SKILL = 0.5  # the same share below which a network under-fits
SHORTEST = 3  # epochs


@dataclass(frozen=True)
class Verdict:
    """The judgement of one training run; `dataclasses.asdict` of it is valid JSON."""

    label: str
    """One of the rules of this module, from "diverged" to "well fitted"."""
    sentence: str
    """The reasons with their numbers, and what to try next."""
    epochs: int
    best_epoch: int | None = None
    """The epoch (counted from 1) with the lowest validation loss."""
    gap: float | None = None
    """Training minus validation accuracy at the last epoch, 0.05 is five points. Of a regression:
    of the share of the variance that is explained."""
    gap_interval: tuple[float, float] | None = None
    """95 % interval of `gap`."""
    best_gap: float | None = None
    """The same gap at the best epoch."""
    val_loss_rise: float | None = None
    """How far the validation loss ends above its minimum, relative to it: 0.2 is 20 %."""
    val_loss_slope: float | None = None
    """Nats per epoch after the best epoch; None with fewer than three epochs after it."""
    val_loss_noise: float | None = None
    """Standard deviation of the validation loss from epoch to epoch, without its trend."""
    loss_ratio: float | None = None
    """Validation loss / training loss at the last epoch."""


def overfitting_verdict(
    history: Sequence[Mapping],
    *,
    validation_examples: int,
    train_examples: int | None = None,
    baseline_accuracy: float = 0.0,
) -> Verdict:
    """Judge the learning curves of a classifier.

    `history` has a mapping per epoch, as the rows of metrics.csv (numbers or their text):
    `loss`, `train_loss`, `train_accuracy` (in inference mode and without augmentation; the running
    average of an epoch makes the gap fiction), `val_loss`, `val_accuracy`, and if there is a
    schedule `learning_rate`. `validation_examples` and `train_examples` say how many examples the
    accuracies are shares of (without the latter, the training accuracy is taken as exact).
    `baseline_accuracy` is that of always answering the most frequent class.

    Raises:
        ValueError: a column is missing.
    """
    curves = curves_of(history, COLUMNS)

    def interval(run: Run) -> tuple[float, float]:
        return _gap_interval(
            run.train_accuracy[-1], train_examples, run.val_accuracy[-1], validation_examples
        )

    def skill(run: Run) -> float:
        """Share of the baseline's mistakes that are gone on the training examples."""
        if baseline_accuracy >= 1:
            return 1.0
        return float(1 - (1 - run.train_accuracy[-1]) / (1 - baseline_accuracy))

    def scores(run: Run) -> str:
        return (
            f"It is right on {percent(run.train_accuracy[-1])} of the training examples and on "
            f"{percent(run.val_accuracy[-1])} of the validation examples"
        )

    guess = (
        f"Always answering the most frequent class would reach {percent(baseline_accuracy)}."
        if baseline_accuracy
        else ""
    )
    return judge_curves(curves, Terms(interval, skill, SKILL, scores, guess))


@dataclass(frozen=True)
class Terms:
    """What differs between the verdicts on a classifier and on a regression."""

    interval: Callable[[Run], tuple[float, float]]
    """95 % interval of the gap at the last epoch."""
    skill: Callable[[Run], float]
    """Of the training examples at the last epoch: 0 has learned nothing, 1 all there is."""
    enough: float
    """The skill below which a network under-fits."""
    scores: Callable[[Run], str]
    """How good it is on training and on validation examples: a sentence without its end."""
    guess: str
    """What is reached without a network: a sentence, or nothing."""


def judge_curves(curves: Mapping[str, np.ndarray], terms: Terms) -> Verdict:
    """The verdict on `COLUMNS` and the learning rate, float64 [epochs] each.

    `train_accuracy` and `val_accuracy` may be any score of which 1 is the best.
    """
    epochs = len(curves["val_loss"])
    if epochs == 0:
        return Verdict("too short to say", "No epoch has been trained yet.", 0)
    best = best_epoch([{"val_loss": value} for value in curves["val_loss"]])
    broken = ~np.all([np.isfinite(curves[c]) for c in COLUMNS if c.endswith("loss")], axis=0)
    if broken[-1]:
        return _diverged(curves, broken, best)

    run = Run(curves, best, broken, terms)
    label, reasons, advice = _judge(run)
    return Verdict(
        label=label,
        sentence=f"{reasons} {advice}",
        epochs=epochs,
        best_epoch=best + 1,
        gap=float(run.train_accuracy[-1] - run.val_accuracy[-1]),
        gap_interval=run.gap_interval,
        best_gap=float(curves["train_accuracy"][best] - curves["val_accuracy"][best]),
        val_loss_rise=run.raw_rise,
        val_loss_slope=run.slope,
        val_loss_noise=run.noise,
        loss_ratio=run.loss_ratio,
    )


class Run:
    """The numbers that the rules speak of; broken epochs in the middle are left out."""

    def __init__(self, curves, best, broken, terms):
        kept = np.flatnonzero(~broken)
        self.number = kept + 1
        self.best_epoch = best + 1
        self.last_epoch = int(self.number[-1])
        self.train_loss = curves["train_loss"][kept]
        self.val_loss = curves["val_loss"][kept]
        self.train_accuracy = curves["train_accuracy"][kept]
        self.val_accuracy = curves["val_accuracy"][kept]
        self.learning_rate = curves["learning_rate"][kept]
        self.terms = terms
        self.best = int(np.argmin(self.val_loss))
        self.lowest = float(self.val_loss[self.best])
        self.noise = _noise(self.val_loss)
        self.after = len(kept) - 1 - self.best
        tail = min(3, self.after)
        self.level = _level(self.val_loss, tail)
        # One epoch after the best one says nothing: every second epoch is worse than the last.
        self.raw_rise = self.level / max(self.lowest, 1e-12) - 1 if self.after > 1 else 0.0
        self.slope = None
        self.rise = self._rise_beyond_noise()
        self.train_level = _level(self.train_loss, tail)
        self.loss_ratio = float(self.val_loss[-1] / max(self.train_loss[-1], 1e-12))
        self.gap_interval = terms.interval(self)
        self.skill = terms.skill(self)

    def _rise_beyond_noise(self) -> float:
        """Relative rise of the validation loss that luck does not explain, 0 if none."""
        luck = self.noise * math.sqrt(2 * math.log(len(self.val_loss)))
        excess = self.level - self.lowest - luck if self.after > 1 else 0.0
        # 1.1 sigma: the 95 % point of a median of three.
        by_level = excess if excess > 2 * self.noise else 0.0
        by_slope = 0.0
        if self.after >= 3:
            number = self.number[self.best + 1 :]
            self.slope, error = _line(number, self.val_loss[self.best + 1 :], self.noise)
            if self.after >= 5 and self.slope > 3 * error:
                by_slope = self.slope * self.after
        return max(by_level, by_slope) / max(self.lowest, 1e-12)

    @property
    def gap(self) -> float:
        """Training minus validation accuracy at the last epoch."""
        return float(self.train_accuracy[-1] - self.val_accuracy[-1])

    @property
    def improving(self) -> bool:
        """Whether the validation loss still falls, and there is something left to learn."""
        window = min(len(self.val_loss), max(4, min(10, len(self.val_loss) // 4)))
        recent = self.val_loss[-window:]
        slope, error = _line(self.number[-window:], recent, 0.0)
        rates = self.learning_rate
        annealed = rates[-1] < ANNEALED * np.max(rates)  # False with NaN: no such column
        return bool(
            slope < -2 * error
            and -slope >= IMPROVING * recent.mean()
            and not annealed
            and self.skill < LEARNED
        )


def _judge(run: Run) -> tuple[str, str, str]:
    """Label, reasons, advice."""
    start = run.train_loss[0]
    if run.train_level > max(EXPLODED * start, start + 0.1) and len(run.val_loss) > 1:
        return (
            "diverged",
            f"The training diverged: the loss on the training examples ended at "
            f"{_loss(run.train_level)}, above the {_loss(start)} of the first epoch.",
            "Try a tenth of the learning rate, a warm-up, or gradient clipping.",
        )
    scores = f"{run.terms.scores(run)}, {_gap(run)}."
    if len(run.val_loss) < SHORTEST:
        return (
            "too short to say",
            f"{_epochs(run.last_epoch)} cannot show a trend. {scores}",
            f"Train for at least {SHORTEST} epochs, better 10, before you judge.",
        )
    went_on = run.train_level <= UNSTABLE * run.train_loss[run.best]
    if run.rise >= STRONG_RISE and not went_on:
        return (
            "unstable",
            f"The training became unstable after epoch {run.best_epoch}: the validation loss rose "
            f"from {_loss(run.lowest)} to {_loss(run.level)}, and so did the loss on the training "
            f"examples, from {_loss(run.train_loss[run.best])} to {_loss(run.train_level)}. "
            "That is not over-fitting, which lowers the training loss.",
            "Try a third of the learning rate, a schedule that lowers it, or gradient clipping.",
        )
    rise = run.rise if went_on else 0.0
    certain_gap = run.gap_interval[0]
    if (rise >= STRONG_RISE and certain_gap > 0) or (
        certain_gap >= STRONG_GAP and not run.improving
    ):
        return (
            "over-fitted",
            f"The network over-fits: it learned the training examples by heart. {scores} "
            f"{_loss_story(run)}",
            f"Try data augmentation, more dropout or weight decay, a smaller network, more data, "
            f"or stop near epoch {run.best_epoch}.",
        )
    apart = (certain_gap >= SLIGHT_GAP and run.loss_ratio >= LOSS_RATIO) or (
        certain_gap > 0 and run.gap >= STRONG_GAP
    )
    if rise >= SLIGHT_RISE or (apart and not run.improving):
        return (
            "slightly over-fitted",
            f"The network begins to over-fit. {scores} {_loss_story(run)}",
            f"Try a little more augmentation, dropout or weight decay, or stop near epoch "
            f"{run.best_epoch}.",
        )
    if run.improving:
        return (
            "still improving",
            f"The training stopped too early: the validation loss was still falling at epoch "
            f"{run.last_epoch}, to {_loss(run.val_loss[-1])}. {scores}",
            "Train for more epochs, or with a higher learning rate.",
        )
    if run.skill < run.terms.enough:
        return (
            "under-fitted",
            f"The network under-fits: it has not even learned its training examples. {scores} "
            f"{run.terms.guess}".rstrip(),
            "Try a larger network, another learning rate (ten times lower or higher), less "
            "dropout and augmentation, or more epochs; and look whether the labels are right.",
        )
    return (
        "well fitted",
        f"The network fits well: what it learned holds for examples it has not seen. {scores} "
        f"{_loss_story(run)}",
        "To get further, try a larger network, more data, or a longer schedule.",
    )


def _loss_story(run: Run) -> str:
    ratio = f"the training loss ended at {_loss(run.train_loss[-1])}"
    if run.rise < SLIGHT_RISE:
        if run.after == 0:
            return f"The validation loss was lowest at the end ({_loss(run.lowest)}); {ratio}."
        return (
            f"The validation loss did not rise beyond its noise: lowest at epoch {run.best_epoch} "
            f"({_loss(run.lowest)}), {_loss(run.val_loss[-1])} at epoch {run.last_epoch}; {ratio}."
        )
    story = (
        f"The validation loss was lowest at epoch {run.best_epoch} ({_loss(run.lowest)}) and rose "
        f"to {_loss(run.level)}, by {100 * run.raw_rise:.0f} %, while {ratio}."
    )
    if run.val_accuracy[-1] >= run.val_accuracy[run.best]:
        story += (
            " Its validation accuracy did not fall: it became too sure of its answers rather than "
            "worse at them."
        )
    return story


def _diverged(curves: dict, broken: np.ndarray, best: int | None) -> Verdict:
    kept = np.flatnonzero(~broken)
    first = int(kept[-1]) + 2 if len(kept) else 1
    before = (
        f" Until then the best epoch was {best + 1}, with a validation loss of "
        f"{_loss(curves['val_loss'][best])}."
        if best is not None
        else ""
    )
    return Verdict(
        "diverged",
        f"The training diverged: from epoch {first} on the loss is not a finite number.{before} "
        "Try a tenth of the learning rate, a warm-up or gradient clipping, and check that the "
        "inputs hold no NaN and are scaled.",
        epochs=len(broken),
        best_epoch=None if best is None else best + 1,
    )


def curves_of(history: Sequence[Mapping], names: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns of a history and its learning rate, float64 [epochs] each.

    Raises:
        ValueError: a column is missing.
    """
    missing = [name for name in names if any(name not in row for row in history)]
    if missing:
        raise ValueError(f"the history lacks {', '.join(missing)}; it needs {', '.join(names)}")
    return {name: column(history, name) for name in (*names, "learning_rate")}


def _noise(values: np.ndarray) -> float:
    """Standard deviation around a smooth curve, from the median second difference.

    For independent noise v[i-1] - 2 v[i] + v[i+1] has variance 6 sigma^2; a straight trend drops
    out, and the median leaves the steep first epochs and single spikes aside.
    """
    if len(values) < 3:
        return 0.0
    return float(1.4826 * np.median(np.abs(np.diff(values, 2))) / math.sqrt(6))


def _level(values: np.ndarray, tail: int) -> float:
    """The median of the last `tail` values, the lower one of two: a single spike is no level."""
    return float(np.quantile(values[-max(tail, 1) :], 0.5, method="lower"))


def _line(x: np.ndarray, y: np.ndarray, noise: float) -> tuple[float, float]:
    """Slope of the least-squares line and its standard error, from `noise` at least."""
    x = x - x.mean()
    spread = float(np.sum(x**2))
    slope = float(np.sum(x * y) / spread)
    residuals = y - y.mean() - slope * x
    scatter = math.sqrt(float(np.sum(residuals**2)) / max(len(x) - 2, 1))
    return slope, max(scatter, noise) / math.sqrt(spread)


def _interval(share: float, examples: int | None) -> tuple[float, float]:
    if not examples:
        return float(share), float(share)
    return wilson_interval(round(share * examples), examples)


def _gap_interval(train, train_examples, val, val_examples) -> tuple[float, float]:
    """95 % interval of train - val (Newcombe 1998, Statistics in Medicine 17, method 10)."""
    train_low, train_high = _interval(train, train_examples)
    val_low, val_high = _interval(val, val_examples)
    gap = float(train - val)
    return (
        gap - math.hypot(train - train_low, val_high - val),
        gap + math.hypot(train_high - train, val - val_low),
    )


def _gap(run: Run) -> str:
    low, high = (100 * end for end in run.gap_interval)
    words = f"a gap of {100 * run.gap:.1f} points (95 % interval {low:.1f} to {high:.1f})"
    return words.replace("-", "\N{MINUS SIGN}")


def _epochs(count: int) -> str:
    return "One epoch" if count == 1 else f"{count} epochs"


def percent(share: float) -> str:
    """A share with one digit after the point."""
    return f"{100 * share:.1f} %"


def _loss(value: float) -> str:
    return f"{value:.3f}" if value >= 0.01 else f"{value:.2g}"
