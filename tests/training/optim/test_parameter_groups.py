"""Two groups of weights under one optimizer, against steps worked out by hand."""

import dataclasses

import keras
import numpy as np
import pytest

from crashes import Crash, Crashed
from kapps import data, losses, training
from kapps.errors import UserError
from training.optim.test_optimizers import GRADIENTS, OPTIMIZERS, adam_by_hand, momentum_by_hand


def variables(names=("kernel", "kernel"), dtype="float32"):
    return [keras.Variable(np.array([1.0, 1.0], dtype), name=name) for name in names]


def run(optimizer, moved, gradients=GRADIENTS):
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32") for _ in moved], moved)
    return [variable.numpy() for variable in moved]


def test_a_step_by_hand():
    """w - 0.1 * factor * g: one group at the whole rate, one at a tenth, one at none."""
    optimizer = training.optimizer("sgd", 0.1, rate_factors=[1.0, 0.1, 0.0])
    moved = run(optimizer, variables(["kernel"] * 3), [np.array([1.0, -2.0])])
    np.testing.assert_allclose(moved, [[0.9, 1.2], [0.99, 1.02], [1.0, 1.0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("momentum", lambda rate: momentum_by_hand([0.9] * 3, rate)),
        ("nesterov", lambda rate: momentum_by_hand([0.9] * 3, rate, nesterov=True)),
        ("adam", lambda rate: adam_by_hand([0.9] * 3, rate)),
        ("adamw", lambda rate: adam_by_hand([0.9] * 3, rate)),
    ],
)
def test_three_steps_of_two_groups_by_hand(name, by_hand):
    """A factor on Adam's gradients would change nothing: these are factors on its rate."""
    optimizer = training.optimizer(name, 0.1, rate_factors=[1.0, 0.25])
    whole, quarter = run(optimizer, variables())
    np.testing.assert_allclose(whole, by_hand(0.1), rtol=2e-5)
    np.testing.assert_allclose(quarter, by_hand(0.025), rtol=2e-5)


def test_the_decay_of_a_group_goes_with_its_rate():
    optimizer = training.optimizer("adamw", 0.1, weight_decay=0.5, rate_factors=[1.0, 0.25, 0.25])
    whole, quarter, spared = run(optimizer, variables(("kernel", "kernel", "bias")))
    np.testing.assert_allclose(whole, adam_by_hand([0.9] * 3, decay=0.5), rtol=2e-5)
    np.testing.assert_allclose(quarter, adam_by_hand([0.9] * 3, 0.025, decay=0.5), rtol=2e-5)
    np.testing.assert_allclose(spared, adam_by_hand([0.9] * 3, 0.025), rtol=2e-5)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_equal_factors_are_an_optimizer_without_groups(name):
    settings = dict(weight_decay=0.1, global_clipnorm=1.5)
    plain = training.optimizer(name, 0.1, **settings)
    grouped = training.optimizer(name, 0.1, rate_factors=[1.0, 1.0], **settings)
    np.testing.assert_array_equal(
        run(grouped, variables(("kernel", "bias"))), run(plain, variables(("kernel", "bias")))
    )
    assert [v.shape for v in grouped.variables] == [v.shape for v in plain.variables]


def test_clipping_is_by_the_norm_of_all_groups_together():
    optimizer = training.optimizer("sgd", 1.0, global_clipnorm=1.0, rate_factors=[1.0, 0.5])
    moved = [keras.Variable(np.zeros(1, "float32")) for _ in range(2)]
    optimizer.apply([keras.ops.ones(1) * 3.0, keras.ops.ones(1) * 4.0], moved)
    np.testing.assert_allclose([v.numpy()[0] for v in moved], [-0.6, -0.4], rtol=1e-6)


def test_schedules_reach_all_groups():
    """A rate of 1 at step 0 and of 0.1 from then on; and a momentum that cycles."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 0.1])
    optimizer = training.optimizer("sgd", schedule, rate_factors=[1.0, 0.5])
    moved = run(optimizer, variables(), [np.ones(2), np.ones(2)])
    np.testing.assert_allclose(moved, [[-0.1, -0.1], [0.45, 0.45]], atol=1e-6)
    cycle = training.momentum_cycle(3, high=0.9, low=0.5, warmup=0.34)
    momenta = [float(cycle(step)) for step in range(3)]
    optimizer = training.optimizer(
        "momentum", 0.1, momentum_schedule=cycle, rate_factors=[1.0, 0.25]
    )
    whole, quarter = run(optimizer, variables())
    np.testing.assert_allclose(whole, momentum_by_hand(momenta), rtol=2e-5)
    np.testing.assert_allclose(quarter, momentum_by_hand(momenta, 0.025), rtol=2e-5)


def test_a_scaled_loss_is_unscaled_for_every_group():
    """mixed_float16: `compile` wraps the optimizer; gradients arrive multiplied by the scale."""
    inner = training.optimizer("sgd", 0.1, rate_factors=[1.0, 0.1])
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
    moved = run(optimizer, variables(), [8.0 * np.array([1.0, -2.0])])
    np.testing.assert_allclose(moved, [[0.9, 1.2], [0.99, 1.02]], rtol=1e-6)


def test_configuration_comes_back():
    optimizer = training.optimizer("adamw", 0.1, weight_decay=0.5, rate_factors=[1.0, 0.25])
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert type(again) is type(optimizer) and again.rate_factors == (1.0, 0.25)
    np.testing.assert_array_equal(run(again, variables()), run(optimizer, variables()))


def network():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(name="flatten"),
            layers.Dense(6, activation="relu", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(5, activation="relu", name="second"),
            layers.Dense(10, name="head"),
        ]
    )


def groups(model):
    return {
        "low": [model.get_layer("first"), model.get_layer("norm")],
        "high": [model.get_layer("second")],
    }


def test_factors_of_a_model_go_by_its_trainable_variables():
    model = network()
    found = training.rate_factors(model, groups(model), {"low": 0.1, "high": 0.5})
    assert found == (0.1, 0.1, 0.1, 0.1, 0.5, 0.5, 1.0, 1.0)
    model.get_layer("norm").trainable = False
    found = training.rate_factors(model, groups(model), {"low": 0.1})
    assert found == (0.1, 0.1, 1.0, 1.0, 1.0, 1.0)
    nested = keras.Sequential([keras.Input((8, 8, 1)), model, keras.layers.Dense(2)])
    assert training.rate_factors(nested, {"all": [model]}, {"all": 0.5}) == (0.5,) * 6 + (1.0,) * 2


def test_factors_shrink_towards_the_input():
    assert training.decaying_factors(["a", "b", "c"], 0.5) == {"a": 0.125, "b": 0.25, "c": 0.5}
    assert training.decaying_factors(["a", "b"], 1.0) == {"a": 1.0, "b": 1.0}
    with pytest.raises(UserError, match="stage decay 0"):
        training.decaying_factors(["a"], 0.0)


def test_mistakes_are_named():
    model = network()
    with pytest.raises(UserError, match="'lo'.*low, high"):
        training.rate_factors(model, groups(model), {"lo": 0.1})
    with pytest.raises(UserError, match="negative"):
        training.rate_factors(model, groups(model), {"low": -0.1})
    twice = groups(model) | {"again": [model.get_layer("second")]}
    with pytest.raises(UserError, match="second is in two groups: high and again"):
        training.rate_factors(model, twice, {})
    with pytest.raises(ValueError, match="1 rate factors for 2"):
        run(training.optimizer("sgd", 0.1, rate_factors=[1.0]), variables())


@dataclasses.dataclass(frozen=True)
class Config:
    run_dir: str
    overwrite: bool = False


def trained(run=None, steps=None, name="adamw"):
    training.seed_everything(0)
    images = data.load("digits", seed=0)
    exact = data.classification_targets(10)
    batches = data.TrainingBatches(
        images.splits["train"], 256, seed=0, prepare=lambda x, y, seed: (x, exact(y))
    )
    validation = data.evaluation_batches(
        images.splits["validation"], 256, prepare=lambda x, y: (x, exact(y))
    )
    model = network()
    factors = training.rate_factors(model, groups(model), {"low": 0.1, "high": 0.5})
    model.compile(
        training.optimizer(
            name,
            training.learning_rate_schedule("one-cycle", 0.01, steps=3 * batches.steps),
            momentum_schedule=training.momentum_cycle(3 * batches.steps),
            weight_decay=0.05,
            rate_factors=factors,
        ),
        losses.softmax_cross_entropy,
    )
    callbacks = [Crash(steps)] if steps else []
    training.fit(
        model,
        batches,
        validation,
        epochs=3,
        run=run,
        callbacks=callbacks,
        save_steps=2,
        verbose=0,
    )
    return [np.asarray(v) for v in (*model.variables, *model.optimizer.variables)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_resume_keeps_the_slots_of_every_group(tmp_path, name):
    whole = trained(name=name)
    with training.open_run("groups", Config(str(tmp_path))) as run, pytest.raises(Crashed):
        trained(run, steps=8, name=name)
    with training.open_run("groups", Config(str(tmp_path))) as run:
        again = trained(run, name=name)
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one, other)
