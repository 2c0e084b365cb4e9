import itertools

import keras_tuner as kt
import numpy as np
import pytest

from kapps.errors import UserError
from kapps.tuning import oracles, spaces
from kapps.tuning.oracles.brackets import rounds_for

MAX = kt.Objective("val_score", "max")


def space():
    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 10.0)
    kind = hp.Choice("kind", ["a", "b"])
    with hp.conditional_scope("kind", ["b"]):
        hp.Int("n", 1, 4)
    assert kind == "a"
    return hp


def run(oracle, score, trials=10_000, failing=lambda trial: False, parallel=1):
    """Drive an oracle as the runner does; values by trial, in order."""
    live, created = [], []
    with oracles.asking():
        while True:
            trial = None
            if len(created) < trials:
                trial = oracle.create_trial(f"worker-{len(created)}")
            if trial is not None and trial.status == "RUNNING":
                created.append(trial)
                live.append(trial)
            if not live:
                return created
            if trial is None or trial.status != "RUNNING" or len(live) == parallel:
                ended = live.pop(0)
                ended.status = "FAILED" if failing(ended) else "COMPLETED"
                if ended.status == "COMPLETED":
                    oracle.update_trial(ended.trial_id, {"val_score": score(ended)}, step=1)
                oracle.end_trial(ended)


def points(trials):
    return [trial.hyperparameters.values for trial in trials]


def by_x(trial):
    return -abs(trial.hyperparameters.values["x"] - 3.0)


@pytest.mark.parametrize("algorithm", oracles.ALGORITHMS)
def test_the_default_point_comes_first_and_once(algorithm):
    hp = kt.HyperParameters()
    hp.Choice("n", [1, 2, 3, 4], default=3)
    hp.Float("x", 0.0, 1.0, default=0.625)
    made = oracles.oracle(algorithm, MAX, hp, seed=1, epochs=4, factor=2)
    found = points(run(made, by_x, 5))
    default = {"n": 3, "x": 0.625}
    assert default.items() <= found[0].items()
    assert not any(default.items() <= values.items() for values in found[1:5])


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "tpe", "tpe_local"])
def test_a_space_that_shows_itself_in_the_first_trial_is_not_an_exhausted_one(algorithm):
    oracle = oracles.oracle(algorithm, MAX, kt.HyperParameters(), seed=1)
    with oracles.asking():
        trial = oracle.create_trial("worker-0")
    assert (trial.status, trial.hyperparameters.values) == ("RUNNING", {})


@pytest.mark.parametrize("seed", [0, 1])
def test_random_points_depend_on_the_seed_and_the_number_alone(seed):
    first = points(run(oracles.oracle("random", MAX, space(), seed=seed), by_x, 12))
    again = oracles.oracle("random", MAX, space(), seed=seed)
    assert points(run(again, lambda trial: 0.0, 12, parallel=3)) == first
    other = points(run(oracles.oracle("random", MAX, space(), seed=seed + 5), by_x, 12))
    assert other != first
    assert len({value["x"] for value in first}) == 12
    assert all(("n" in value) == (value["kind"] == "b") for value in first)


def test_random_points_cover_their_range():
    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 1.0)
    x = [v["x"] for v in points(run(oracles.oracle("random", MAX, hp, seed=0), lambda t: 0.0, 400))]
    # Kolmogorov and Smirnov: 1.63 / sqrt(n) is passed by chance once in a hundred.
    distance = np.abs(np.sort(x) - (np.arange(400) + 0.5) / 400).max()
    assert distance < 1.63 / 20


def test_a_grid_is_every_combination_once():
    hp = kt.HyperParameters()
    hp.Choice("a", [1, 2, 3])
    hp.Choice("b", ["x", "y"])
    with hp.conditional_scope("b", ["y"]):
        hp.Int("n", 1, 2)
    found = points(run(oracles.oracle("grid", MAX, hp), lambda trial: 0.0, failing=lambda t: True))
    expected = [
        {"a": a, "b": b} | ({"n": n} if b == "y" else {})
        for a, (b, n) in itertools.product([1, 2, 3], [("x", 0), ("y", 1), ("y", 2)])
    ]
    key = str
    assert sorted(found, key=key) == sorted(expected, key=key)


def test_a_grid_leaves_out_other_names_of_the_same_point():
    hp = kt.HyperParameters()
    hp.Choice("a", [1, 2, 3])
    hp.Choice("b", [1, 2, 3])
    oracle = oracles.oracle("grid", MAX, hp)
    oracle.canonical = lambda values: values | {"b": min(values["a"], values["b"])}
    found = [(v["a"], v["b"]) for v in points(run(oracle, lambda trial: 0.0))]
    assert sorted(found) == [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3)]


def test_an_exhausted_space_ends_the_search():
    hp = kt.HyperParameters()
    hp.Choice("a", [1, 2, 3])
    found = points(run(oracles.oracle("random", MAX, hp), lambda trial: 0.0))
    assert sorted(v["a"] for v in found) == [1, 2, 3]


def test_hyperband_without_failures_is_the_papers():
    """Table 1 of arXiv:1603.06560 has 81, 27, 9, 3, 1 trials; with 27 epochs one round less."""
    ours = run(oracles.oracle("hyperband", MAX, space(), epochs=27), by_x)
    theirs = kt.oracles.HyperbandOracle(MAX, max_epochs=27, hyperparameters=space(), seed=1)
    theirs.verbose = 0
    theirs.save = theirs._save_trial = lambda *trial: None
    assert rounds(ours) == rounds(run(theirs, by_x))
    assert [rounds(ours)[3, i] for i in range(4)] == [27, 9, 3, 1]
    epochs = [v["tuner/epochs"] for v in points(ours) if v["tuner/bracket"] == 3]
    assert epochs == [1] * 27 + [3] * 9 + [9] * 3 + [27]


def rounds(trials):
    """How many trials each (bracket, round) had. KerasTuner mislabels brackets in parallel."""
    found = {}
    for values in points(trials):
        place = values["tuner/bracket"], values["tuner/round"]
        found[place] = found.get(place, 0) + 1
    return found


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_hyperband_promotes_in_every_bracket_whatever_fails(share, parallel):
    def fails(trial):
        return np.random.default_rng(int(trial.trial_id)).random() < share

    trials = run(
        oracles.oracle("hyperband", MAX, space(), epochs=27), by_x, failing=fails, parallel=parallel
    )
    found = rounds(trials)
    for bracket in (1, 2, 3):
        assert found[bracket, 1] > 0
        # None is promoted that failed, none twice, and always one of the best of its round.
        promoted = [
            t.hyperparameters.values
            for t in trials
            if t.hyperparameters.values["tuner/bracket"] == bracket
            and t.hyperparameters.values["tuner/round"] == 1
        ]
        by_id = {t.trial_id: t for t in trials}
        past = [by_id[v["tuner/trial_id"]] for v in promoted]
        assert len({t.trial_id for t in past}) == len(past)
        assert all(t.status == "COMPLETED" for t in past)
        rivals = [
            t
            for t in trials
            if t.hyperparameters.values["tuner/bracket"] == bracket
            and t.hyperparameters.values["tuner/round"] == 0
            and t.status == "COMPLETED"
        ]
        best = sorted(map(by_x, rivals), reverse=True)[: len(past)]
        assert sorted(map(by_x, past), reverse=True) == best
    if share == 0.3:  # enough are left to fill every place of the first rounds
        assert [found[3, i] for i in (0, 1)] == [27, 9]


def test_hyperband_in_a_space_of_few_points_still_promotes():
    hp = kt.HyperParameters()
    hp.Choice("x", [1.0, 2.0, 3.0, 4.0, 5.0])
    found = rounds(run(oracles.oracle("hyperband", MAX, hp, epochs=9), by_x))
    assert found[2, 0] == 5 and found[2, 1] > 0


@pytest.mark.slow
def test_bayesian_and_tpe_find_the_top_of_a_hill():
    pytest.importorskip("optuna")
    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 10.0)
    for algorithm, trials in (("bayesian", 7), ("tpe", 30)):
        found = run(oracles.oracle(algorithm, MAX, hp.copy(), seed=1), by_x, trials)
        assert max(map(by_x, found)) > -0.15
        assert all(type(v["x"]) is float for v in points(found))


def test_tpe_takes_every_kind_of_parameter():
    pytest.importorskip("optuna")
    hp = space()
    hp.Boolean("flag")
    hp.Fixed("fixed", 7)
    hp.Float("rate", 1e-4, 1e-1, sampling="log")
    hp.Float("stepped", 1.0, 100.0, step=10, sampling="log")
    hp.Int("even", 2, 8, step=2)
    found = points(run(oracles.oracle("tpe", MAX, hp, seed=3), by_x, 25, parallel=2))
    assert {v["fixed"] for v in found} == {7} and {v["flag"] for v in found} == {True, False}
    assert all(1e-4 <= v["rate"] <= 1e-1 and v["even"] in (2, 4, 6, 8) for v in found)
    assert {round(v["stepped"]) for v in found} <= {1, 10, 100}
    assert all(("n" in v) == (v["kind"] == "b") for v in found)


def test_two_of_three_points_of_tpe_local_are_neighbours_of_one_of_the_best():
    pytest.importorskip("optuna")
    hp = kt.HyperParameters()
    for name in "abcdefgh":
        hp.Float(name, 0.0, 1.0)

    def score(trial):
        return sum(trial.hyperparameters.values.values())

    found = run(oracles.oracle("tpe_local", MAX, hp, seed=0), score, 16)
    for number, trial in enumerate(found):
        best = sorted(found[:number], key=score)[-3:]
        values = trial.hyperparameters.values.items()
        changed = [sum(one.hyperparameters.values[k] != v for k, v in values) for one in best]
        near = number in (7, 8, 10, 11, 13, 14)
        assert min(changed, default=8) in ((1, 2) if near else (7, 8))
    assert max(map(score, found[6:])) > max(map(score, found[:6]))


def test_tpe_is_optunas_tpe_alone():
    """After its random points it never comes near to the best by one or two settings of eight."""
    pytest.importorskip("optuna")
    hp = kt.HyperParameters()
    for name in "abcdefgh":
        hp.Float(name, 0.0, 1.0)

    def score(trial):
        return sum(trial.hyperparameters.values.values())

    found = run(oracles.oracle("tpe", MAX, hp, seed=0), score, 16)
    for number, trial in enumerate(found):
        values = trial.hyperparameters.values.items()
        for other in found[:number]:
            assert sum(other.hyperparameters.values[k] != v for k, v in values) > 2


@pytest.mark.parametrize("direction", ["max", "min"])
def test_tpe_goes_in_the_direction_of_the_objective(direction):
    pytest.importorskip("optuna")
    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 10.0)
    objective = kt.Objective("val_score", direction)
    made = oracles.oracle("tpe", objective, hp, seed=1)
    x = [v["x"] for v in points(run(made, lambda t: t.hyperparameters.values["x"], 40))]
    # Of evenly drawn points the mean of 20 is 5 with a standard deviation of 0.65.
    late = np.mean(x[20:])
    assert late > 7 if direction == "max" else late < 3


def test_every_trial_of_tpe_has_a_seed_of_its_own():
    """With nothing to learn from, points are draws; one seed for all would draw the same again.

    A point that has been tried gives way to a random one, which would hide that.
    """
    pytest.importorskip("optuna")
    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 1.0)
    made = oracles.oracle("tpe", MAX, hp, seed=3)
    asked, random_values = [], made._random_values
    made._random_values = lambda: None if asked else random_values()
    with oracles.asking():
        for number in range(8):
            trial = made.create_trial(f"worker-{number}")
            asked.append(trial.hyperparameters.values["x"])
            trial.status = "FAILED"  # Optuna is told nothing of it
            made.end_trial(trial)
    assert len({round(x, 6) for x in asked}) == 8


def test_an_unknown_cost_teaches_tpe_nothing_and_ends_no_search():
    pytest.importorskip("optuna")
    oracle = oracles.oracle("tpe", MAX, space(), seed=1)
    costs = {"0": float("inf"), "2": float("nan"), "3": float("inf")}
    oracle.cost_of = lambda trial: costs.get(str(int(trial)), 1.0)
    assert len(run(oracle, by_x, 14)) == 14


def test_tpe_with_a_cost_looks_for_both():
    """Score x, cost x: every point is on the front; score x alone would go to the top."""
    pytest.importorskip("optuna")
    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 10.0)
    oracle = oracles.oracle("tpe", MAX, hp, seed=1)
    oracle.cost_of = lambda trial: oracle.trials[trial].hyperparameters.values["x"] * 100
    x = [v["x"] for v in points(run(oracle, lambda t: t.hyperparameters.values["x"], 40))]
    assert np.mean(x[20:]) < 7  # as it does without a cost, see below


@pytest.mark.parametrize("values", [(0.0, 0.1, 0.2, 0.3, 0.4, 0.5), (0.0, 0.1, 0.2, 0.3)])
@pytest.mark.parametrize("algorithm", oracles.ALGORITHMS)
def test_the_top_of_a_range_with_a_step_is_reached(algorithm, values):
    """0.5 // 0.1 is 4.0, and 0.0, 0.1 ... 0.5 are six values; 0.3 / 0.1 is below 3."""
    hp = kt.HyperParameters()
    hp.Float("x", 0.0, values[-1], step=0.1)
    made = oracles.oracle(algorithm, MAX, hp, seed=1, epochs=9)
    found = points(run(made, by_x, len(values)))
    assert sorted(v["x"] for v in found) == list(values)


@pytest.mark.parametrize("parallel", [1, 2])
def test_brackets_fit_into_the_budget_and_begin_after_the_warm_up(parallel):
    made = oracles.oracle("hyperband", MAX, space(), epochs=100, trials=20)
    trials = run(made, by_x, 20, parallel=parallel)
    found = rounds(trials)
    assert {key: count for key, count in found.items() if key[0] == 2} == {
        (2, 0): 9, (2, 1): 3, (2, 2): 1,
    }  # fmt: skip
    epochs = {v["tuner/epochs"] for v in points(trials)}
    assert epochs == {12, 34, 100}  # 100 / 9 and 100 / 3, rounded up


def test_later_brackets_have_the_papers_sizes():
    """Algorithm 1 of arXiv:1603.06560 with three rounds: n = ceil(3 / (s + 1) * 3**s)."""
    found = rounds(run(oracles.oracle("hyperband", MAX, space(), epochs=100, trials=20), by_x))
    assert [found[s, 0] for s in (2, 1, 0)] == [9, 5, 3]
    assert found[1, 1] == 2


def test_nothing_is_promoted_while_a_better_one_may_be_running():
    """Three trials, one place: with two ended, and no matter how good, the third may be best."""
    made = oracles.oracle("hyperband", MAX, space(), seed=1, epochs=6, trials=4)

    def ask(worker):
        trial = made.create_trial(worker)
        assert trial.status == "RUNNING"
        return trial

    def end(trial, score):
        trial.status = "COMPLETED"
        made.update_trial(trial.trial_id, {"val_score": score}, step=1)
        made.end_trial(trial)

    with oracles.asking():
        first, second, third = (ask(f"worker-{i}") for i in range(3))
        end(first, 0.1)
        end(second, 0.2)
        assert ask("worker-3").hyperparameters.values["tuner/round"] == 0  # of the next bracket
        end(third, 0.9)
        values = ask("worker-4").hyperparameters.values
    assert (values["tuner/round"], values["tuner/trial_id"]) == (1, third.trial_id)


@pytest.mark.parametrize(
    ("trials", "epochs", "expected"),
    [
        (20, 100, 3),
        (12, 100, 2),
        (13, 100, 3),
        (40, 100, 4),
        (40, 17, 2),
        (40, 18, 3),
        (None, 54, 4),
    ],
)
def test_the_number_of_rounds(trials, epochs, expected):
    """Brackets of 4, 13, 40 trials; the first round has epochs / 3**(rounds - 1), two or more."""
    assert rounds_for(trials, epochs) == expected


@pytest.mark.parametrize(("trials", "epochs"), [(3, 100), (20, 5)])
def test_a_budget_too_small_for_hyperband_is_refused(trials, epochs):
    with pytest.raises(UserError, match="needs 4 trials or more, and 6 epochs or more"):
        oracles.oracle("hyperband", MAX, space(), epochs=epochs, trials=trials)


@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss"])
def test_known_objectives_of_validation(objective):
    direction = oracles.validation_objective(objective).direction
    assert direction == ("max" if objective == "val_accuracy" else "min")


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ("accuracy", "Use val_accuracy"),
        ("loss", "Use val_loss"),
        ("test_accuracy", "for the winner"),
        ("val_happiness", "val_happiness:max"),
        (["val_loss", "val_accuracy"], "cost="),
    ],
)
def test_objectives_that_are_refused(objective, words):
    with pytest.raises(UserError, match=words):
        oracles.validation_objective(objective)


def test_a_users_oracle_keeps_its_settings():
    given = kt.oracles.HyperbandOracle("val_loss", max_epochs=9, factor=2, seed=4)
    made = oracles.adopted(given)
    assert (made.max_epochs, made.factor, made.seed) == (9, 2, 4)
    given = kt.oracles.RandomSearchOracle("val_loss", max_trials=17, seed=4)
    assert oracles.adopted(given).limit == 17

    class Own(kt.Oracle):
        pass

    with pytest.raises(UserError, match="Own cannot be resumed"):
        oracles.adopted(Own("val_loss"))


def test_what_changed_in_a_space():
    other = kt.HyperParameters()
    other.Float("x", 0.0, 5.0)
    other.Choice("kind", ["a", "b"])
    other.Boolean("flag")
    changes = spaces.changes(space().get_config(), other.get_config())
    assert changes[1:] == ["n is gone", "flag is new"]
    assert changes[0].startswith("x was") and "10.0" in changes[0] and "5.0" in changes[0]
