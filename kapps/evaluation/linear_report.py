"""What became of a network of one layer, in words.

converged       every training example is right: for the perceptron rule, nothing moves any more
not separable   no plane separates the classes, and the best that was found is kept
not converged   a plane separates them and was not found: more epochs are needed
separable, not separated
                the same of the delta rule, which is not after such a plane
diverged        weights or losses are no finite numbers: the step was too large
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kapps.evaluation.collapse import Judgement
from kapps.evaluation.separations import Separation


def linear_verdict(
    rule: str,
    history: Sequence[Mapping[str, Any]],
    found: Separation,
    *,
    kept: int,
    highest_rate: float | None = None,
    rate: float | None = None,
) -> Judgement:
    """Judge a training by one of the rules of `kapps.models.perceptrons`.

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
        told.append(f"The step {rate:.3g} is {sign} the {highest_rate:.3g} of the condition.")
    label = _label(rule, losses, errors[kept - 1], found)
    if label != "diverged":
        told.append(_of_the_data(found))
    told.append(
        {
            "diverged": "The loss grew. A smaller --learning-rate helps.",
            "converged": f"Every training example is right after epoch {kept}.",
        }.get(label)
        or f"From epoch to epoch {errors.min():.1%} to {errors.max():.1%} of the training examples "
        f"are wrong, with the weights that are kept {errors[kept - 1]:.1%}."
    )
    if label == "not converged":
        told.append("More --epochs will end with none.")
    elif label == "separable, not separated":
        told.append("The delta rule looks for the smallest squared error, not for this plane.")
    elif label == "not separable" and rule == "perceptron":
        told.append("--rule pocket keeps the best weights on the way.")
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
    return f"{surely} the classes, so a perceptron's walk has no end and no bound."
