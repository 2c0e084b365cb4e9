"""What all oracles here share: they survive failures and go on after a kill."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras_tuner as kt
import numpy as np

from kapps.tuning.spaces import steps

DRAWS = 200  # attempts to find a point that is new, before a space counts as exhausted
Values = dict[str, Any]

if TYPE_CHECKING:  # what a `ResumableOracle` is mixed into
    _Oracle = kt.Oracle
else:
    _Oracle = object

steps.mend()


class ResumableOracle(_Oracle):
    """What all oracles here share. Mixed in before one of KerasTuner's.

    Attributes:
        canonical: brings the values of a point into the form that they are tried in.
        recorded: the values that a journal has for the next trial, while it is replayed.
        takes_cost: whether it looks for a second objective, or minds none.
        cost_of: the second objective of a trial by its identifier, if there is one.
        open: settings that were not given: a search that goes on takes them from its journal.
        limit: most trials.
    """

    canonical: Callable[[Values], Values] = dict
    recorded: Values | None = None
    takes_cost = False
    cost_of: Callable[[str], float] | None = None
    open: frozenset[str] = frozenset()
    limit: int | None = None

    def settings(self) -> dict[str, Any]:
        """What may not change under a search."""
        return {"seed": self.seed}

    def adopt(self, settings: dict[str, Any]) -> None:
        """Take what was left open from the journal."""
        if "seed" in self.open:
            self.seed = settings["seed"]

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The point of the next trial."""
        self._seed_state = draw_seed(self.seed, len(self.trials))
        if self.recorded is not None and not self.replays_by_itself:
            return {"status": "RUNNING", "values": dict(self.recorded)}
        return super().populate_space(trial_id)

    # Whether the answers also move a state (the place in a grid, brackets), so that a journal is
    # replayed by asking again.
    replays_by_itself = False

    def save(self) -> None:
        """Nothing: the journal is the memory."""

    def _save_trial(self, trial: kt.engine.trial.Trial) -> None:
        pass

    def _check_consecutive_failures(self) -> None:
        pass

    def _random_values(self) -> Values | None:
        """A point that is new, drawn evenly over what is active; None if there seems to be none.

        The first of a search is not drawn: it is the default point.
        """
        if not self.trials:
            return self._values(lambda hp: hp.default)
        for _ in range(DRAWS):
            values = self._values(self._drawn)
            if not self._duplicate(values):
                return values
        return None

    def _drawn(self, hp: kt.engine.hyperparameters.HyperParameter) -> Any:
        self._seed_state += 1
        return hp.random_sample(self._seed_state - 1)

    def _values(self, value_of: Callable[[Any], Any]) -> Values:
        """The canonical point with a value for each active hyperparameter."""
        hps = kt.HyperParameters()
        for hp in self.hyperparameters.space:
            hps.merge([hp])
            if hps.is_active(hp):
                hps.values[hp.name] = value_of(hp)
        return self.canonical(hps.values)

    def _fresh(self, answer: dict[str, Any]) -> dict[str, Any]:
        """An answer in canonical form; a random one where it has been tried."""
        if answer["status"] != "RUNNING":
            return answer
        values = {k: getattr(v, "item", lambda v=v: v)() for k, v in answer["values"].items()}
        values = self.canonical(values)
        if self._duplicate(values):
            values = self._random_values()
        return {"status": "STOPPED" if values is None else "RUNNING", "values": values}

    def _best_first(self, trials: Sequence[kt.engine.trial.Trial]) -> list:
        """Trials by score."""
        sign = -1.0 if self.objective.direction == "max" else 1.0
        return sorted(trials, key=lambda trial: sign * trial.score)


def draw_seed(seed: int, number: int) -> int:
    """The seed of what is drawn for one trial."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Around calls to an oracle: KerasTuner asks Python for its thread in a deprecated way."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
