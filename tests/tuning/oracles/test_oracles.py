import itertools

import keras_tuner as kt
import numpy as np
import pytest

from kapps.errors import UserError
from kapps.tuning import oracles, spaces

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
    """Table 1 of arXiv:1603.06560 has brackets of 81, 27, 9, 3, 1; with 27 epochs one rung less."""
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


def test_hyperband_with_a_cost_promotes_the_front():
    """Cost x, score -|x - 3|: below 3 both get better together with x, above 3 neither."""
    oracle = oracles.oracle("hyperband", MAX, space(), epochs=9)
    oracle.cost_of = lambda trial: oracle.trials[trial].hyperparameters.values["x"]
    trials = run(oracle, by_x)
    first = [t for t in trials if t.hyperparameters.values["tuner/round"] == 0]
    first = [t for t in first if t.hyperparameters.values["tuner/bracket"] == 2]
    promoted = {v["tuner/trial_id"] for v in points(trials) if "tuner/trial_id" in v}
    chosen = [t for t in first if t.trial_id in promoted]
    for one in chosen:
        x, score = one.hyperparameters.values["x"], by_x(one)
        for other in first:
            if other not in chosen:
                assert not (other.hyperparameters.values["x"] < x and by_x(other) > score)
    assert len(chosen) == 3 and len(first) == 9


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


def test_two_of_three_points_of_tpe_are_neighbours_of_one_of_the_best():
    pytest.importorskip("optuna")
    hp = kt.HyperParameters()
    for name in "abcdefgh":
        hp.Float(name, 0.0, 1.0)

    def score(trial):
        return sum(trial.hyperparameters.values.values())

    found = run(oracles.oracle("tpe", MAX, hp, seed=0), score, 16)
    for number, trial in enumerate(found):
        best = sorted(found[:number], key=score)[-3:]
        values = trial.hyperparameters.values.items()
        changed = [sum(one.hyperparameters.values[k] != v for k, v in values) for one in best]
        near = number in (7, 8, 10, 11, 13, 14)
        assert min(changed, default=8) in ((1, 2) if near else (7, 8))
    assert max(map(score, found[6:])) > max(map(score, found[:6]))


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
    changes = spaces.space_changes(space().get_config(), other.get_config())
    assert changes[:2] == ["n is gone", "flag is new"]
    assert "max_value=10.0" in changes[2] and "max_value=5.0" in changes[2] and len(changes) == 3
