"""Hyperband that promotes whatever fails."""

from __future__ import annotations

import math
from typing import Any

import keras_tuner as kt

from kapps.tuning.oracles.base import ResumableOracle, Values, draw_seed


class HyperbandOracle(ResumableOracle, kt.oracles.HyperbandOracle):
    """Hyperband (Li et al. 2018, arXiv:1603.06560) whose brackets end whatever fails.

    A place of a round holds the number of its trial, or None where there is nothing to run in it:
    all that was left to promote had failed, or the space has no further point.

    Attributes:
        rounds: most rounds of a bracket; None: until the first round has one epoch.
    """

    rounds: int | None = None

    def limit_rounds(self, rounds: int | None) -> None:
        """Let no bracket have more rounds; before the first trial."""
        self.rounds, self._brackets = rounds, []
        self._current_bracket = self._get_num_brackets() - 1
        self._start_new_bracket()

    def settings(self) -> dict[str, Any]:
        """What may not change under a search."""
        own = {n: getattr(self, n) for n in ("max_epochs", "factor", "hyperband_iterations")}
        return super().settings() | own | {"rounds": self.rounds}

    def adopt(self, settings: dict[str, Any]) -> None:
        """Take what was left open from the journal."""
        super().adopt(settings)
        if "rounds" in self.open and settings.get("rounds") != self.rounds:
            self.limit_rounds(settings.get("rounds"))

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The point of the next trial: a promotion where one is due, or else a new one."""
        self._seed_state = draw_seed(self.seed, len(self.trials))
        while True:
            for bracket in self._brackets:
                answer = self._next_of(bracket, trial_id)
                if answer is not None:
                    return answer
            last = self._current_bracket == 0
            if last and self._current_iteration + 1 == self.hyperband_iterations:
                return {"status": "IDLE" if self.ongoing_trials else "STOPPED"}
            self._increment_bracket_num()
            self._start_new_bracket()

    def _next_of(self, bracket: dict[str, Any], trial_id: str) -> dict[str, Any] | None:
        number, rounds = bracket["bracket_num"], bracket["rounds"]
        if len(rounds[0]) < self._get_size(number, 0):
            values = self._new_values(number)
            if values is not None:
                rounds[0].append({"past_id": None, "id": trial_id})
                return self._running(values, number, 0)
            missing = self._get_size(number, 0) - len(rounds[0])
            rounds[0] += [{"past_id": None, "id": None}] * missing
        for i in range(1, len(rounds)):
            while len(rounds[i]) < self._get_size(number, i):
                sizes = self._get_size(number, i - 1), self._get_size(number, i)
                promoted = self._promotion(rounds[i - 1], rounds[i], *sizes)
                if promoted is None:
                    break
                if promoted == "nothing":
                    rounds[i].append({"past_id": None, "id": None})
                    continue
                rounds[i].append({"past_id": promoted, "id": trial_id})
                values = dict(self.trials[promoted].hyperparameters.values)
                return self._running(values, number, i, promoted)
        return None

    def _new_values(self, bracket: int) -> Values | None:
        """A new point; while a journal is replayed, the one that was drawn then, if one was."""
        if self.recorded is None:
            return self._random_values()
        here = self.recorded.get("tuner/bracket") == bracket
        return dict(self.recorded) if here and self.recorded["tuner/round"] == 0 else None

    def _promotion(
        self, past: list[dict], present: list[dict], past_size: int, size: int
    ) -> str | None:
        """What is promoted: a trial, "nothing" for a place that stays empty, None for not yet."""
        taken = {place["past_id"] for place in present}
        trials = [self.trials[place["id"]] for place in past if place["id"] is not None]
        left = [t for t in trials if t.status == "COMPLETED" and t.trial_id not in taken]
        lost = sum(t.status in ("FAILED", "INVALID") for t in trials)
        lost += sum(place["id"] is None for place in past)
        # The best one left beats len(left) - 1 others and all that are lost. If those are as many
        # as will be thrown away, no trial that still runs can push it out.
        certain = len(left) + lost > past_size - size
        if left and certain:
            return self._best_first(left)[0].trial_id
        ended = lost + sum(t.trial_id in taken for t in trials)
        return "nothing" if ended == past_size else None

    def _running(self, values: Values, bracket: int, number: int, past: str | None = None) -> dict:
        values["tuner/epochs"] = self._get_epochs(bracket, number)
        values["tuner/initial_epoch"] = self._get_epochs(bracket, number - 1) if number else 0
        values["tuner/bracket"], values["tuner/round"] = bracket, number
        if past is not None:
            values["tuner/trial_id"] = past
        return {"status": "RUNNING", "values": values}

    def _get_num_brackets(self) -> int:
        brackets = super()._get_num_brackets()
        return min(brackets, self.rounds) if self.rounds else brackets

    def _get_size(self, bracket_num: int, round_num: int) -> int:
        if self.rounds is None:
            return super()._get_size(bracket_num, round_num)
        share = self._get_num_brackets() / (bracket_num + 1)
        return math.ceil(share * self.factor ** (bracket_num - round_num))
