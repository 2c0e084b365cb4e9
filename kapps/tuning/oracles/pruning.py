"""When a trial is not worth its next epoch: Optuna's pruners."""

from __future__ import annotations

import importlib.util
import math
import warnings

from kapps.errors import UserError

RULES = ("none", "median", "asha")
FACTOR = 3  # ASHA: one in how many goes on
STARTUP = 5  # median: trials that have to be completed first


def can_prune() -> bool:
    """Whether Optuna is there. Quick: it is not imported."""
    return importlib.util.find_spec("optuna") is not None


def check_rule(rule: str) -> None:
    """Refuse a rule that there is not.

    Raises:
        UserError: an unknown name, or Optuna is missing.
    """
    if rule not in RULES:
        raise UserError(f"stop_early {rule!r}: it is one of {', '.join(RULES)}")
    if rule != "none" and not can_prune():
        raise UserError(f"stop_early {rule!r} needs Optuna: pip install 'kapps[optuna]'")


def first_epoch(epochs: int | None, *, least: int = 2) -> int:
    """The first epoch at which ASHA compares trials: `epochs / 3**k`, `least` or more.

    What is measured earlier says more of the schedule than of the trial: a rate that has to rise
    first looks poor until it falls.

    Args:
        epochs: of a trial; None if they are not known.
        least: epochs before which nothing is compared.
    """
    first = epochs or 1
    while first // FACTOR >= least:
        first //= FACTOR
    return first


class Pruner:
    """Tells which trials to end early.

    "median" is the median stopping rule (Golovin et al. 2017, Google Vizier, section 3.2.2) as
    `optuna.pruners.MedianPruner` has it: the best value so far is worse than the median of what
    completed trials had at this epoch. "asha" is asynchronous successive halving (Li et al. 2018,
    arXiv:1810.05934), `optuna.pruners.SuccessiveHalvingPruner` with a factor of 3.

    Args:
        rule: a name in `RULES`.
        direction: "min" or "max": where the objective is best.
        epochs: of a trial, None if they are not known.
    """

    def __init__(self, rule: str, direction: str, epochs: int | None = None):
        check_rule(rule)
        self.rule, self._study, self._trials = rule, None, {}
        if rule == "none":
            return
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._states = optuna.trial.TrialState
        self._worst = -math.inf if direction == "max" else math.inf
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is experimental
            pruner = {
                # No trial is pruned after its first epoch.
                "median": lambda: optuna.pruners.MedianPruner(STARTUP, n_warmup_steps=2),
                "asha": lambda: optuna.pruners.SuccessiveHalvingPruner(
                    min_resource=first_epoch(epochs), reduction_factor=FACTOR
                ),
            }[rule]()
            self._study = optuna.create_study(
                direction="maximize" if direction == "max" else "minimize", pruner=pruner
            )

    def is_poor(self, trial: str, epoch: int, value: float) -> bool:
        """Whether a trial is to end, now that it has this value after this epoch (from 1)."""
        if self._study is None:
            return False
        if trial not in self._trials:
            self._trials[trial] = self._study.ask(), set()
        mine, known = self._trials[trial]
        if epoch in known:  # a worker that was killed tells again what its trial had
            return False
        known.add(epoch)
        if math.isnan(value):
            value = self._worst
        mine.report(value, epoch)
        with warnings.catch_warnings():
            # Where most trials had no number, the median is none, and none is worse.
            warnings.simplefilter("ignore", RuntimeWarning)
            poor = mine.should_prune()
        # With fewer than FACTOR trials there is none to be thrown away.
        return poor and mine.number >= FACTOR - 1

    def end(self, trial: str, status: str, score: float | None) -> None:
        """A trial has ended: "completed", "pruned" or "failed"."""
        if self._study is not None and trial in self._trials:
            state = {"completed": "COMPLETE", "pruned": "PRUNED"}.get(status, "FAIL")
            self._study.tell(
                self._trials[trial][0],
                score if state == "COMPLETE" else None,
                state=self._states[state],
            )
