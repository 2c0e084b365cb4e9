"""The verdict on a one-layer network, or on many small two-layer ones, in words.

One layer (`linear_verdict`):

converged       every training example is right: the perceptron rule makes no more updates
not separable   no plane separates the classes; the best weights found are kept
not converged   a plane separates them but was not found: more epochs are needed
separable, not separated
                the same for the delta rule, which does not look for such a plane
diverged        weights or losses are not finite: the learning rate was too large

Many networks (`mlp_verdict`): solved (at least 99 % of the seeds, or an error of at most 5 % of the
function's standard deviation), solved in part (half of the seeds, or 25 %), not solved, diverged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kapps.evaluation.classic.separation import Separation
from kapps.evaluation.verdicts.collapse import Judgement

SMALL_ERROR, LARGE_ERROR = 0.05, 0.25  # of a function's standard deviation


def linear_verdict(
    rule: str,
    history: Sequence[Mapping[str, Any]],
    found: Separation,
    *,
    kept: int,
    highest_rate: float | None = None,
    rate: float | None = None,
) -> Judgement:
    """Judge a training by one of the rules of `kapps.models.classic.perceptron`.

    Args:
        rule: perceptron, pocket or delta.
        history: rows of metrics.csv, with `train_error`, and `updates` unless it is delta.
        found: of the training examples.
        kept: the epoch whose weights are kept, from 1.
        highest_rate: of the delta rule, below which it converges.
        rate: its learning rate.
    """
    errors = np.array([row["train_error"] for row in history], np.float64)
    losses = np.array([row["loss"] for row in history], np.float64)
    numbers = {"train_error": float(errors[kept - 1]), "last_train_error": float(errors[-1])}
    if found.bound is not None:
        numbers["bound"] = found.bound
    told = []
    if rule != "delta":
        numbers["updates"] = float(sum(row["updates"] for row in history))
        told.append(f"{numbers['updates']:,.0f} updates in {len(history)} epochs.")
    elif rate is not None and highest_rate is not None:
        sign = "below" if rate < highest_rate else "not below"
        told.append(f"The learning rate {rate:.3g} is {sign} the limit of {highest_rate:.3g}.")
    label = _label(rule, losses, errors[kept - 1], found)
    if label != "diverged":
        told.append(_of_the_data(found))
    told.append(
        {
            "diverged": "The loss grew. Try a smaller --learning-rate.",
            "converged": f"Every training example is right after epoch {kept}.",
        }.get(label)
        or f"Over the epochs {errors.min():.1%} to {errors.max():.1%} of the training examples "
        f"are wrong; with the kept weights, {errors[kept - 1]:.1%}."
    )
    if label == "not converged":
        told.append("With more --epochs none will be.")
    elif label == "separable, not separated":
        told.append("The delta rule minimizes the squared error, and does not look for this plane.")
    elif label == "not separable" and rule == "perceptron":
        told.append("--rule pocket keeps the best weights seen so far.")
    return Judgement(label, " ".join(told), numbers)


def _label(rule: str, losses: np.ndarray, error: float, found: Separation) -> str:
    if not np.isfinite(losses).all() or (rule == "delta" and losses[-1] > 2 * losses[0]):
        return "diverged"
    if error == 0:
        return "converged"
    if not found.separable:
        return "not separable"
    return "separable, not separated" if rule == "delta" else "not converged"


def _of_the_data(found: Separation) -> str:
    if found.separable:
        return (
            f"A plane separates the classes with margin {found.margin:.3g} (R {found.radius:.3g}), "
            f"so a perceptron makes at most {found.bound:,.0f} updates."
        )
    surely = "No plane separates" if found.certain else "No plane was found that separates"
    return f"{surely} the classes, so a perceptron never settles, and there is no bound."


def mlp_verdict(
    measured: Mapping[str, float],
    history: Sequence[Mapping[str, Any]],
    *,
    networks: int,
    best_linear: float | None = None,
    scale: float = 1.0,
) -> Judgement:
    """Judge many networks that learned exclusive or, or a function.

    Args:
        measured: `test_solved`, the share of networks with all points right, or `test_rmse`, their
            median error, with `test_rmse_lowest` and `test_rmse_highest`.
        history: rows of metrics.csv.
        networks: how many.
        best_linear: the highest accuracy of a network of one layer.
        scale: standard deviation of the function.
    """
    numbers = {name: float(value) for name, value in measured.items()}
    if not np.isfinite([*numbers.values(), history[-1]["loss"]]).all():
        return Judgement("diverged", "The loss grew: lower --learning-rate.", {})
    if best_linear is not None:
        solved = numbers["test_solved"]
        places = (solved >= 0.99, solved >= 0.5)
        sentence = (
            f"{round(solved * networks)} of {networks} seeds have all points right after "
            f"{len(history)} epochs; one layer reaches {best_linear:.0%} at best."
        )
    else:
        share = numbers["test_rmse"] / scale
        places = (share <= SMALL_ERROR, share <= LARGE_ERROR)
        sentence = (
            f"The median root mean squared error on test points over {networks} seeds is "
            f"{numbers['test_rmse']:.3g} ({numbers['test_rmse_lowest']:.3g} to "
            f"{numbers['test_rmse_highest']:.3g}), {share:.1%} of the function's standard "
            "deviation."
        )
    label = "solved" if places[0] else "solved in part" if places[1] else "not solved"
    if label != "solved":
        sentence += " More --units, more --epochs or another --optimizer may help."
    return Judgement(label, sentence, numbers)
