import keras
import keras_tuner as kt
import pytest
from hypothesis import given, settings, strategies as st

from kapps import models
from kapps.errors import UserError
from kapps.tuning import spaces
from recipes import image_classifier

SHAPES = st.tuples(st.integers(1, 33), st.integers(1, 33), st.sampled_from([1, 3]))


def drawn(space, seed):
    """A random point of a space, in raw form, as an oracle draws it."""
    hp = kt.HyperParameters()
    for parameter in spaces.declared(space).space:
        hp.merge([parameter])
        if hp.is_active(parameter):
            seed += 1
            hp.values[parameter.name] = parameter.random_sample(seed)
    return hp


def sizes(model):
    work = models.multiply_adds(model)
    return model.count_params(), work


@pytest.mark.slow
@settings(max_examples=6)
@given(shape=SHAPES, seed=st.integers(0, 10**6))
def test_every_point_of_the_cnn_space_can_be_built_and_costs_what_was_said(shape, seed):
    def space(hp):
        return spaces.cnn(hp, shape, 10)

    hp = drawn(space, seed)
    kwargs = space(hp)
    keras.utils.clear_session(free_memory=False)
    model = models.cnn(shape, 10, **kwargs)
    assert sizes(model) == spaces.cnn_cost(shape, 10, **kwargs)
    # The form in which it is used is a fixed point, and gives the same network.
    canonical = spaces.canonical(space)(hp.values)
    assert canonical == hp.values and spaces.canonical(space)(canonical) == canonical
    again = kt.HyperParameters()
    again.values = dict(canonical)
    assert space(again) == kwargs


@settings(max_examples=30)
@given(shape=SHAPES, seed=st.integers(0, 10**6), limit=st.sampled_from([20_000, 100_000]))
def test_networks_stay_below_their_limits(shape, seed, limit):
    def space(hp):
        return spaces.cnn(
            hp, shape, 10, max_stages=3, kernel_sizes=(3, 5), max_parameters=limit,
            max_multiply_adds=20 * limit * max(1, shape[0] * shape[1] // 50),
        )  # fmt: skip

    kwargs = space(drawn(space, seed))
    parameters, work = spaces.cnn_cost(shape, 10, **kwargs)
    assert parameters <= limit and work <= 20 * limit * max(1, shape[0] * shape[1] // 50)


def test_limits_below_the_smallest_network_are_refused():
    with pytest.raises(UserError, match="no network stays below 100 parameters"):
        spaces.declared(lambda hp: spaces.cnn(hp, (28, 28, 1), 10, max_parameters=100))


@pytest.mark.slow
def test_all_values_are_reached_and_choices_shrink_where_maps_are_small():
    def space(hp):
        return spaces.cnn(hp, (5, 5, 1), 10, max_stages=2)

    seen = {name: set() for name in ("kernel_size", "padding", "strides", "pooling", "filters")}
    for seed in range(0, 8000, 80):
        kwargs = space(drawn(space, seed))
        for name, values in seen.items():
            values |= {(i, value) for i, value in enumerate(kwargs[name])}
    first = {name: {v for i, v in values if i == 0} for name, values in seen.items()}
    assert first["kernel_size"] == {3, 5, 7} and first["padding"] == {"same", "valid"}
    assert first["strides"] == {1, 2} and first["pooling"] == {"max", "average", None}
    assert first["filters"] == set(spaces.FILTERS)


def test_a_choice_that_is_not_possible_is_spread_over_those_that_are():
    asked = []
    for value in (1, 2, 3, 4):
        hp = kt.HyperParameters()
        hp.values = {"n": value}
        found = spaces.shrunk(hp, "n", [1, 2, 3, 4], [1, 2])
        assert hp.values["n"] == found
        asked.append(found)
    assert asked == [1, 2, 2, 2]  # 3 is the third of four: the second of two


def test_default_points_are_canonical():
    for space in (
        lambda hp: spaces.cnn(hp, (8, 8, 1), 10),
        lambda hp: spaces.cnn(hp, (3, 3, 1), 10),
    ):
        values = spaces.declared(space).values
        assert spaces.canonical(space)(values) == values


def test_the_default_point_of_the_cnn_space_is_half_as_wide_as_the_default_network():
    hp = spaces.declared(lambda hp: spaces.cnn(hp, (28, 28, 1), 10, max_stages=3))
    found = spaces.cnn(hp, (28, 28, 1), 10, max_stages=3)
    plain = image_classifier.Config()
    assert found["filters"] == tuple(filters // 2 for filters in plain.filters)
    assert set(found["kernel_size"]) == {plain.kernel_size}
    assert set(found["strides"]) == {plain.strides}
    assert set(found["padding"]) == {plain.padding}
    assert set(found["pooling"]) == {plain.pooling}
    assert found["dropout"] == plain.dropout and not found["dense_units"]


def test_under_a_limit_the_default_network_is_as_wide_as_fits():
    limit = spaces.cnn_cost(
        (28, 28, 1), 10, filters=[8, 16, 32], kernel_size=[3] * 3, strides=[1] * 3,
        padding=["same"] * 3, convs_per_stage=[2] * 3, pooling=["max"] * 3, normalization="batch",
        dense_units=(),
    )[1]  # fmt: skip

    def space(hp):
        return spaces.cnn(hp, (28, 28, 1), 10, max_stages=3, max_multiply_adds=limit)

    assert space(spaces.declared(space))["filters"] == (8, 16, 32)


def test_what_is_too_wide_keeps_its_shape_and_comes_near_to_the_limit():
    def space(hp):
        return spaces.cnn(hp, (28, 28, 1), 10, max_stages=3, max_multiply_adds=2_000_000)

    for asked, found in (((32, 64, 128), (8, 16, 32)), ((96, 96, 96), (8, 8, 8))):
        hp = spaces.declared(space)
        for stage, filters in enumerate(asked, start=1):
            hp.values[f"filters_{stage}"] = filters
        rows = space(hp)
        assert rows["filters"] == found
        assert [hp.values[f"filters_{stage}"] for stage in (1, 2, 3)] == list(found)
        assert space(hp) == rows
        wider = {
            **rows,
            "filters": tuple(spaces.FILTERS[spaces.FILTERS.index(n) + 1] for n in found),
        }
        assert spaces.cnn_cost((28, 28, 1), 10, **wider)[1] > 2_000_000


def test_optimization_is_around_the_usual_rates():
    hp = kt.HyperParameters()
    assert spaces.optimization(hp) == {
        "optimizer": "adamw",
        "learning_rate": 3e-3,
        "weight_decay": 0.05,
        "schedule": "one-cycle",
        "batch_size": 64,
    }


@pytest.mark.parametrize(("side", "offered"), [(28, [0.0, 0.05, 0.1]), (8, [0.0, 0.1]), (3, [0.0])])
def test_shifts_of_the_same_pixels_are_offered_once(side, offered):
    """Of 28 pixels 0, 1 and 3 are shifted; of 8 none and 1; of 3 none."""
    hp = kt.HyperParameters()
    assert spaces.augmentation(hp, (side, side, 1)) == {"crop": offered[-1]}
    assert hp.space[0].values == offered
