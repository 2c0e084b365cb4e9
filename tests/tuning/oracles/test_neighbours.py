import keras_tuner as kt
import numpy as np

from kapps.tuning.oracles import neighbours


def space():
    hp = kt.HyperParameters()
    hp.Choice("filters_1", [64, 8, 16])
    hp.Choice("filters_2", [8, 16, 64])
    hp.Choice("kind", ["a", "b", "c"])
    hp.Boolean("flag")
    hp.Float("dropout", 0.0, 0.5, step=0.1)
    hp.Float("rate", 1e-4, 1e-2, sampling="log")
    hp.Float("x", -1.0, 3.0)
    hp.Int("n", 2, 8, step=2)
    hp.Fixed("fixed", 7)
    hp.Choice("absent", [1, 2])
    return hp.space


POINT = {
    "filters_1": 16,
    "filters_2": 8,
    "kind": "b",
    "flag": True,
    "dropout": 0.1 * 3,  # not quite 0.3
    "rate": 1e-3,
    "x": 1.0,
    "n": 8,
    "fixed": 7,
}


def changes(seeds):
    hps = space()
    for seed in range(seeds):
        found = neighbours.moved(hps, POINT, np.random.default_rng(seed))
        assert found.keys() == POINT.keys()
        yield {name: value for name, value in found.items() if value != POINT[name]}


def test_one_or_two_settings_change_by_one_step():
    seen = {}
    for changed in changes(400):
        assert 1 <= len(changed) <= 2
        for name, value in changed.items():
            seen.setdefault(name, set()).add(value)
    assert seen["filters_1"] == {8, 64} and seen["filters_2"] == {16}
    assert seen["kind"] == {"a", "c"} and seen["flag"] == {False} and seen["n"] == {6}
    assert {round(value, 6) for value in seen["dropout"]} == {0.2, 0.4}
    assert all(1e-4 <= rate <= 1e-2 for rate in seen["rate"])
    assert np.std(np.log10(list(seen["rate"]))) > 0.3  # of a range of two decades
    assert all(-1 <= x <= 3 for x in seen["x"]) and np.std(list(seen["x"])) > 0.5
    assert not {"fixed", "absent"} & seen.keys()


def test_a_setting_of_many_stages_is_drawn_as_often_as_one_that_stands_alone():
    drawn = [name for changed in changes(1500) for name in changed]
    filters = sum(name.startswith("filters") for name in drawn)
    for name in ("kind", "rate", "n"):
        assert 0.75 < filters / drawn.count(name) < 1.33


def test_where_nothing_can_change_nothing_does():
    hp = kt.HyperParameters()
    hp.Fixed("fixed", 7)
    hp.Choice("only", [3])
    point = {"fixed": 7, "only": 3}
    assert neighbours.moved(hp.space, point, np.random.default_rng(0)) == point
