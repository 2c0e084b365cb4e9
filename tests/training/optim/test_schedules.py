import math

import keras
import numpy as np
import pytest

from kapps.errors import UserError
from kapps.training import OneCycle, learning_rate_schedule, momentum_cycle


def values(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_one_cycle_by_hand():
    cycle = learning_rate_schedule("one-cycle", 1.0, steps=101, warmup=0.2)
    top = 0.2 * 101
    half_up = 0.04 + 0.96 * (1 - math.cos(math.pi * 10 / top)) / 2
    np.testing.assert_allclose(values(cycle, [0, 10, 100]), [1 / 25, half_up, 1e-4], rtol=1e-5)
    curve = np.array(values(cycle, range(101)))
    assert abs(curve.argmax() - 20) <= 1 and curve.max() > 0.999
    assert np.all(np.diff(curve[:20]) > 0) and np.all(np.diff(curve[21:]) < 0)


@pytest.mark.slow
def test_momentum_moves_against_the_rate():
    rate = np.array(values(learning_rate_schedule("one-cycle", 1.0, steps=100), range(100)))
    momentum = np.array(values(momentum_cycle(100), range(100)))
    assert momentum[0] == pytest.approx(0.95) and momentum.min() == pytest.approx(0.85, abs=1e-4)
    assert momentum[-1] == pytest.approx(0.95)
    assert np.corrcoef(rate, momentum)[0, 1] < -0.99


def test_cosine_rises_then_falls_to_zero():
    cosine = learning_rate_schedule("cosine", 0.5, steps=100, warmup=0.1)
    np.testing.assert_allclose(
        values(cosine, [0, 5, 10, 55, 100]), [0, 0.25, 0.5, 0.25, 0], atol=1e-6
    )


def test_step_divides_by_ten_at_half_and_three_quarters():
    step = learning_rate_schedule("step", 1.0, steps=100)
    np.testing.assert_allclose(values(step, [0, 50, 51, 75, 76, 99]), [1, 1, 0.1, 0.1, 0.01, 0.01])


def test_constant_is_a_number_so_that_callbacks_may_change_it():
    assert learning_rate_schedule("constant", 0.3, steps=10) == 0.3
    assert learning_rate_schedule("plateau", 0.3, steps=10) == 0.3


@pytest.mark.parametrize(
    ("name", "first", "middle", "last"),
    [  # of 100 steps at a rate of 2: steps 0, 50 and 99
        ("constant", 2.0, 2.0, 2.0),
        ("plateau", 2.0, 2.0, 2.0),
        ("step", 2.0, 2.0, 0.02),  # a tenth from step 51 on, a hundredth from step 76 on
        ("cosine", 2.0, 1.0, 1.0 + math.cos(math.pi * 0.99)),
        (
            "one-cycle",  # a quarter up from 2/25, three quarters down to 2e-4: 74 steps
            0.08,
            2e-4 + (2 - 2e-4) * (1 + math.cos(math.pi * 25 / 74)) / 2,
            2e-4,
        ),
    ],
)
def test_first_middle_and_last_step_by_hand(name, first, middle, last):
    schedule = learning_rate_schedule(name, 2.0, steps=100)
    found = values(schedule, [0, 50, 99]) if callable(schedule) else [schedule] * 3
    np.testing.assert_allclose(found, [first, middle, last], rtol=1e-4)


@pytest.mark.slow
def test_one_cycle_survives_saving():
    cycle = OneCycle(0.1, 50, start=0.01, end=0.001)
    config = keras.optimizers.schedules.serialize(cycle)
    again = keras.optimizers.schedules.deserialize(config)
    assert values(again, range(50)) == values(cycle, range(50))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (dict(name="linear", learning_rate=1.0), "one-cycle"),
        (dict(name="cosine", learning_rate=0.0), "learning rate"),
        (dict(name="cosine", learning_rate=1.0, warmup=1.0), "warmup"),
        (dict(name="step", learning_rate=1.0, warmup=0.5), "warm-up"),
        (dict(name="plateau", learning_rate=1.0, warmup=0.5), "warm-up"),
    ],
)
def test_mistakes_are_named(arguments, word):
    with pytest.raises(UserError, match=word):
        learning_rate_schedule(**arguments, steps=10)
