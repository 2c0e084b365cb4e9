"""What a comparison of optimizers shows: a line for each candidate, and sentences on the whole.

All candidates have trained with the same seeds, so two of them are compared pairwise: the
differences of their figures, seed by seed, and the 95 % interval of Student's t for their mean
(Student 1908, Biometrika 6). A difference whose interval holds 0 is said not to be settled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from kapps.evaluation.verdicts.collapse import Judgement

COLUMNS = (
    "candidate",
    "batch",
    "learning rate",
    "steps to target",
    "pictures to target",
    "final training loss",
    "validation loss",
    "validation accuracy",
)


@dataclasses.dataclass(frozen=True)
class Standing:
    """One candidate at its rate, a number per seed in each array.

    Attributes:
        label: what it is called.
        batch_size: pictures per step.
        learning_rate: the one it is judged by.
        at_edge: "lowest" or "highest" if it is that of all rates that were tried, else "".
        steps_to_target: steps until the target was first measured, NaN if it was not, [seeds].
        train_loss: at the end, in inference mode, nats, [seeds].
        val_loss: lowest of all ends of an epoch, nats, [seeds].
        val_accuracy: at that epoch, [seeds].
        resolution: steps between two measurements.
    """

    label: str
    batch_size: int
    learning_rate: float
    at_edge: str
    steps_to_target: np.ndarray
    train_loss: np.ndarray
    val_loss: np.ndarray
    val_accuracy: np.ndarray
    resolution: int

    @property
    def pictures_to_target(self) -> np.ndarray:
        """Pictures seen until the target was first measured, [seeds]."""
        return self.steps_to_target * self.batch_size

    def row(self) -> tuple[str, ...]:
        """Its line in the table, under `COLUMNS`."""
        return (
            self.label,
            str(self.batch_size),
            f"{self.learning_rate:.2g}" + f" ({self.at_edge} tried)" * bool(self.at_edge),
            _spread(self.steps_to_target, ".0f"),
            _spread(self.pictures_to_target, ",.0f"),
            _spread(self.train_loss, ".4f"),
            _spread(self.val_loss, ".4f"),
            _spread(100 * self.val_accuracy, ".1f") + " %",
        )


def standing(
    label: str,
    curves: Sequence[Mapping[str, Sequence[float]]],
    *,
    batch_size: int,
    learning_rate: float,
    at_edge: str,
    measurements: int,
    target: float,
) -> Standing:
    """A line from the curves of all seeds, each as `training.Cells.run` returns it.

    Args:
        label: what the candidate is called.
        curves: one per seed, the same seeds in the same order for every candidate.
        batch_size: pictures per step.
        learning_rate: that of the curves.
        at_edge: as in `Standing`.
        measurements: how many there are in an epoch.
        target: validation accuracy that is to be reached.
    """
    accuracy = np.array([curve["val_accuracy"] for curve in curves])
    losses = np.array([curve["val_loss"] for curve in curves])[:, measurements::measurements]
    ends = np.where(np.isfinite(losses), losses, np.inf)
    best = ends.argmin(1)
    seeds = np.arange(len(curves))
    steps = np.array(curves[0]["examples"]) / batch_size
    reached = accuracy >= target
    first = np.where(reached.any(1), steps[reached.argmax(1)], np.nan)
    return Standing(
        label=label,
        batch_size=batch_size,
        learning_rate=learning_rate,
        at_edge=at_edge,
        steps_to_target=first,
        train_loss=np.array([curve["train_loss"][-1] for curve in curves]),
        val_loss=ends[seeds, best],
        val_accuracy=accuracy[:, measurements::measurements][seeds, best],
        resolution=int(round(steps[1] - steps[0])),
    )


def paired_interval(
    first: np.ndarray, second: np.ndarray, resolution: float = 0.0
) -> tuple[float, float, float]:
    """Mean of `first - second`, and its 95 % interval; that of one seed, or of NaN, is infinite.

    Args:
        first: a figure per seed, [seeds].
        second: the same of another candidate, same seeds.
        resolution: what the figures are multiples of; the interval is not narrower than that on
            either side, or equal numbers would seem certain.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    mean, count = float(difference.mean()), len(difference)
    if count < 2 or not np.isfinite(difference).all():
        return mean, -np.inf, np.inf
    error = float(difference.std(ddof=1)) / np.sqrt(count)
    half = max(float(stats.t.ppf(0.975, count - 1)) * error, resolution)
    return mean, mean - half, mean + half


def judge_standings(standings: Sequence[Standing]) -> Judgement:
    """Which candidate has the lowest validation loss, and whether the next one is really behind.

    The label is "clear winner" if the difference to the second is settled, else "no clear winner".
    """
    ranked = sorted(standings, key=lambda s: float(s.val_loss.mean()))
    winner = ranked[0]
    seeds = _seeds(winner)
    of_seeds = seeds if seeds == "1 seed" else f"mean and standard deviation of {seeds}"
    sentence = (
        f"{_first(winner.label)} at a learning rate of {winner.learning_rate:.2g} has the lowest "
        f"validation loss, {_spread(winner.val_loss, '.4f')} nats ({of_seeds})."
    )
    numbers = {"val_loss": float(winner.val_loss.mean())}
    settled = False
    if len(ranked) > 1:
        second = ranked[1]
        mean, low, high = paired_interval(second.val_loss, winner.val_loss)
        settled = low > 0
        numbers |= {"second_val_loss": float(second.val_loss.mean()), "difference": mean}
        sentence += (
            f" Next is {second.label}, {_spread(second.val_loss, '.4f')}: "
            f"{_more(mean, low, high, 'nats more', '.4f', seeds)}."
        )
    return Judgement("clear winner" if settled else "no clear winner", sentence, numbers)


def quickest(standings: Sequence[Standing], target: float) -> list[str]:
    """Who needed the fewest steps to the target, and who did not reach it."""
    reached = [s for s in standings if np.isfinite(s.steps_to_target).all()]
    missed = [s.label for s in standings if s not in reached]
    goal, sentences = _percent(target), []
    if reached:
        ranked = sorted(reached, key=lambda s: float(s.steps_to_target.mean()))
        first = ranked[0]
        sentence = (
            f"Quickest to {goal} validation accuracy: {first.label}, "
            f"{_spread(first.steps_to_target, '.0f')} steps."
        )
        if len(ranked) > 1:
            second = ranked[1]
            sentence += f" Next: {second.label}, " + _steps_more(second, first)
        sentences.append(sentence)
    if missed:
        sentences.append(f"Did not reach {goal} with every seed: {', '.join(missed)}.")
    return sentences


def steps_between(better: Standing, other: Standing, target: float) -> str:
    """Does `better` need fewer steps than `other`? A sentence, whichever way it went."""
    goal = _percent(target)
    if not (np.isfinite(better.steps_to_target).all() and np.isfinite(other.steps_to_target).all()):
        return ""
    return (
        f"To {goal}, {better.label} needed {_spread(better.steps_to_target, '.0f')} steps; "
        f"{other.label}, {_steps_more(other, better)}"
    )


def losses_between(first: Standing, second: Standing) -> str:
    """The validation losses of two candidates, and whether their difference is settled."""
    mean, low, high = paired_interval(second.val_loss, first.val_loss)
    if not np.isfinite(mean):
        return ""
    return (
        f"Lowest validation loss with {first.label}: {_spread(first.val_loss, '.4f')}; with "
        f"{second.label}: {_spread(second.val_loss, '.4f')}, "
        f"{_more(mean, low, high, 'nats more', '.4f', _seeds(first))}."
    )


def batch_trade(standings: Sequence[Standing], target: float) -> str:
    """What the smallest and the largest batch pay for the target, in steps and in pictures."""
    reached = [s for s in standings if np.isfinite(s.steps_to_target).all()]
    if len(reached) < 2:
        return ""
    small = min(reached, key=lambda s: s.batch_size)
    large = max(reached, key=lambda s: s.batch_size)
    ratio = large.batch_size / small.batch_size
    steps = small.steps_to_target.mean() / large.steps_to_target.mean()
    _, low, high = paired_interval(
        large.pictures_to_target,
        small.pictures_to_target,
        small.resolution * small.batch_size,
    )
    words = "about as many images, as far as these seeds can tell"
    if low > 0:
        words = "more images, so fewer steps cost more computation"
    elif high < 0:
        words = "fewer images"
    return (
        f"To {_percent(target)}, {small.label} needed {_spread(small.steps_to_target, '.0f')} "
        f"steps, that is {_spread(small.pictures_to_target, ',.0f')} pictures; {large.label}, "
        f"{_spread(large.steps_to_target, '.0f')} steps, that is "
        f"{_spread(large.pictures_to_target, ',.0f')} pictures: a batch {ratio:.3g} times as "
        f"large took {steps:.2g} times fewer steps and {words}."
        if steps > 1
        else f"To {_percent(target)}, {large.label} needed no fewer steps than {small.label}: "
        f"{_spread(large.steps_to_target, '.0f')} against "
        f"{_spread(small.steps_to_target, '.0f')}."
    )


def edges(standings: Sequence[Standing]) -> str:
    """Whose best rate is the lowest or highest of those that were tried."""
    found = [f"{s.label} ({s.at_edge})" for s in standings if s.at_edge]
    if not found:
        return ""
    return (
        f"The best learning rate is at the edge of those tried for {', '.join(found)}: "
        "rates beyond it were not tried."
    )


def _steps_more(behind: Standing, ahead: Standing) -> str:
    resolution = max(behind.resolution, ahead.resolution)
    mean, low, high = paired_interval(behind.steps_to_target, ahead.steps_to_target, resolution)
    return (
        f"{_spread(behind.steps_to_target, '.0f')}, "
        f"{_more(mean, low, high, 'steps more', '.0f', _seeds(ahead))}."
    )


def _more(mean: float, low: float, high: float, words: str, form: str, seeds: str) -> str:
    if mean < 0:
        mean, low, high = -mean, -high, -low
        words = words.replace("more", "fewer" if "steps" in words else "less")
    if low > 0:
        return f"{mean:{form}} {words} (95 % interval {low:{form}} to {high:{form}})"
    return f"a difference that {seeds} do{'es' * (seeds == '1 seed')} not settle"


def _spread(values: np.ndarray, form: str) -> str:
    """Mean ± standard deviation; of one seed the number, of what is missing a dash."""
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        count = int(np.isfinite(values).sum())
        return f"– ({count} of {len(values)} seeds)"
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{values.mean():{form}} ± {values.std(ddof=1):{form}}"


def _seeds(standing: Standing) -> str:
    count = len(standing.val_loss)
    return f"{count} seed{'s' * (count > 1)}"


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
