"""KerasTuner's oracles, made to survive: failures, resuming, spaces that shrink.

An oracle says which point comes next. These are KerasTuner's own with four faults mended:

* what each draws depends on (seed, number of the trial) alone, so that a search that was killed
  goes on with the points it would have had (KerasTuner takes any seed for 0, and its grid does not
  keep its place);
* Hyperband promotes whatever fails: a trial that failed, or that could never be, counts as the
  worst of its round (KerasTuner waits for it, and never promotes again);
* no streak of failures ends a search;
* a point is brought into its canonical form (`kapps.tuning.spaces`) before it becomes a trial, so
  that none comes twice under two names.

Whatever is asked, the first point is the default one: what the search finds, it has to be better at
than what needed no search.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras_tuner as kt
import numpy as np
import threadpoolctl

from kapps.errors import UserError
from kapps.tuning.pareto import ranks

DRAWS = 200  # attempts to find a point that is new, before a space counts as exhausted
Values = dict[str, Any]


class _Careful:
    """What all oracles here share. Mixed in before one of KerasTuner's."""

    canonical: Callable[[Values], Values] = staticmethod(dict)
    recorded: Values | None = None  # the answer, while a journal is replayed
    cost_of: Callable[[str], float] | None = None  # the second objective of a trial, if there is

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
        return {"status": "RUNNING" if values else "STOPPED", "values": values}

    def _best_first(self, trials: Sequence[kt.engine.trial.Trial]) -> list:
        """Trials by score; with a cost, by how many fronts have to be taken away to reach them."""
        sign = -1.0 if self.objective.direction == "max" else 1.0
        scores = [sign * trial.score for trial in trials]
        if self.cost_of is None:
            keys = [(score,) for score in scores]
        else:
            costs = [self.cost_of(trial.trial_id) for trial in trials]
            keys = list(zip(ranks(list(zip(scores, costs, strict=True))), scores, strict=True))
        order = sorted(range(len(trials)), key=lambda i: keys[i])
        return [trials[i] for i in order]


class RandomOracle(_Careful, kt.oracles.RandomSearchOracle):
    """Random search."""


class BayesianOracle(_Careful, kt.oracles.BayesianOptimizationOracle):
    """A Gaussian process and its upper confidence bound."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The point of the next trial."""
        self._random_state = np.random.RandomState(draw_seed(self.seed, len(self.trials)))
        # One thread: fitting a few dozen points, more are in each other's way.
        with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
            warnings.simplefilter("ignore")  # the process on a bound of its length scale
            answer = super().populate_space(trial_id)
        return answer if self.recorded is not None else self._fresh(answer)


class GridOracle(_Careful, kt.oracles.GridSearchOracle):
    """All combinations, ten values of what is continuous."""

    replays_by_itself = True

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The point of the next trial; the first is the default one."""
        answer = super().populate_space(trial_id)
        if answer["status"] == "RUNNING" and not self.start_order:
            answer["values"] = self.canonical(answer["values"])
        return answer

    def _get_next_combination(self, values: Values) -> Values | None:
        """The next point that is canonical: the others are the same networks again."""
        while (values := super()._get_next_combination(values)) is not None:
            if self.canonical(values) == values:
                break
        return values


class HyperbandOracle(_Careful, kt.oracles.HyperbandOracle):
    """Hyperband (Li et al. 2018, arXiv:1603.06560) whose brackets end whatever fails.

    A place of a round holds the number of its trial, or None where there is nothing to run in it:
    all that was left to promote had failed, or the space has no further point.
    """

    replays_by_itself = True

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
            values = self._random_values()
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

    def _promotion(
        self, past: list[dict], present: list[dict], past_size: int, size: int
    ) -> str | None:
        """Who goes on: a trial, "nothing" for a place that stays empty, None for not yet."""
        taken = {place["past_id"] for place in present}
        trials = [self.trials[place["id"]] for place in past if place["id"] is not None]
        left = [t for t in trials if t.status == "COMPLETED" and t.trial_id not in taken]
        lost = sum(t.status in ("FAILED", "INVALID") for t in trials)
        lost += sum(place["id"] is None for place in past)
        # The best one left beats len(left) - 1 others and all that are lost. If those are as many
        # as will be thrown away, nobody who still runs can push it out.
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


# KerasTuner's class: ours, and what is copied from a given one.
OURS = {
    kt.oracles.RandomSearchOracle: (RandomOracle, ()),
    kt.oracles.GridSearchOracle: (GridOracle, ()),
    kt.oracles.BayesianOptimizationOracle: (
        BayesianOracle,
        ("num_initial_points", "alpha", "beta"),
    ),
    kt.oracles.HyperbandOracle: (
        HyperbandOracle,
        ("max_epochs", "factor", "hyperband_iterations"),
    ),
}
ALGORITHMS = ("random", "grid", "bayesian", "hyperband", "tpe")


def oracle(
    algorithm: str,
    objective: str | kt.Objective,
    space: kt.HyperParameters,
    *,
    seed: int = 0,
    epochs: int = 100,
    factor: int = 3,
) -> kt.Oracle:
    """An oracle by name.

    Args:
        algorithm: one of `ALGORITHMS`; "tpe" needs optuna.
        objective: a figure of validation, its direction guessed from its name where that is known.
        space: all hyperparameters.
        seed: of what is drawn.
        epochs: hyperband: what the last round of a bracket is trained for.
        factor: hyperband: one in how many is promoted.

    Raises:
        UserError: an unknown algorithm or objective, or optuna is missing.
    """
    goal = validation_objective(objective)
    given: dict[str, Any] = {"objective": goal, "hyperparameters": space}
    if algorithm == "hyperband":
        given |= {"max_epochs": epochs, "factor": factor}
    if algorithm == "tpe":
        from kapps.tuning.tpe import TPEOracle

        made = TPEOracle(**given)
    else:
        classes = {
            "random": RandomOracle,
            "grid": GridOracle,
            "bayesian": BayesianOracle,
            "hyperband": HyperbandOracle,
        }
        if algorithm not in classes:
            raise UserError(f"algorithm {algorithm!r}: it is one of {', '.join(ALGORITHMS)}")
        made = classes[algorithm](**given)
    return _prepared(made, seed)


def adopted(given: kt.Oracle) -> kt.Oracle:
    """KerasTuner's own oracle, as a user has made it, in its careful form.

    Raises:
        UserError: it is of a class of the user's: nothing is known of how to replay it.
    """
    if isinstance(given, _Careful):
        return given
    for theirs, (ours, names) in OURS.items():
        if type(given) is theirs:
            made = ours(
                objective=validation_objective(given.objective),
                hyperparameters=given.hyperparameters,
                tune_new_entries=given.tune_new_entries,
                allow_new_entries=given.allow_new_entries,
                **{name: getattr(given, name) for name in names},
            )
            made.limit = given.max_trials
            return _prepared(made, given.seed)
    raise UserError(
        f"an oracle of the class {type(given).__name__} cannot be resumed. Use one of KerasTuner's "
        f"own ({', '.join(theirs.__name__ for theirs in OURS)})."
    )


def validation_objective(objective: str | kt.Objective | None) -> kt.Objective:
    """The objective, which has to be measured on validation data.

    Raises:
        UserError: it is measured on training or test data, or its direction is not known.
    """
    if isinstance(objective, list | tuple):
        raise UserError(
            "several objectives: KerasTuner adds them up, which says little. Give one objective, "
            "and cost='multiply_adds', 'parameters' or 'seconds' for a Pareto front."
        )
    name = objective if isinstance(objective, str) or objective is None else objective.name
    if name is not None and name.startswith("test"):
        raise UserError(
            f"objective {name!r}: the test split is for the winner, once. Use val_..., the same "
            "figure on validation data."
        )
    plain = kt.engine.oracle.Oracle(objective=f"val_{name}") if _is_known(f"val_{name}") else None
    if name is not None and plain is not None and not name.startswith("val_"):
        raise UserError(
            f"objective {name!r} is measured on training data, which always asks for a larger "
            f"network. Use val_{name}."
        )
    try:
        return kt.engine.oracle.Oracle(objective=objective).objective
    except ValueError:
        raise UserError(
            f"objective {name!r}: is more better or worse? Say it with "
            f'keras_tuner.Objective({name!r}, direction="min") or "max" '
            f"(on the command line --objective {name}:min or {name}:max)."
        ) from None


def _is_known(name: str) -> bool:
    try:
        kt.engine.oracle.Oracle(objective=name)
    except ValueError:
        return False
    return True


def draw_seed(seed: int, number: int) -> int:
    """The seed of what is drawn for one trial."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Around calls to an oracle: KerasTuner asks Python for its thread in a deprecated way."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield


def space_changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two spaces (`HyperParameters.get_config()`), in words."""
    older, newer = ({_place(p): p for p in space["space"]} for space in (was, now))
    return [
        *(f"{_named(p)} is gone" for place, p in older.items() if place not in newer),
        *(f"{_named(p)} is new" for place, p in newer.items() if place not in older),
        *(
            f"{_named(p)} was {_bounds(older[place])}, now {_bounds(p)}"
            for place, p in newer.items()
            if place in older and older[place] != p
        ),
    ]


def _place(hp: Mapping[str, Any]) -> str:
    return f"{hp['config']['name']} {hp['config'].get('conditions')}"


def _named(hp: Mapping[str, Any]) -> str:
    return str(hp["config"]["name"])


def _bounds(hp: Mapping[str, Any]) -> str:
    config = {k: v for k, v in hp["config"].items() if k not in ("name", "conditions")}
    return f"{hp['class_name']}({', '.join(f'{k}={v!r}' for k, v in config.items())})"


def _prepared(made: kt.Oracle, seed: int) -> kt.Oracle:
    made.seed = seed  # KerasTuner takes any other for 0
    made.verbose = 0
    made.max_trials = None  # the runner counts, so that a budget may grow
    if not hasattr(made, "limit"):
        made.limit = None
    return made
