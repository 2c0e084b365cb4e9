import keras
import numpy as np
import pytest

from kapps import models
from kapps.errors import UserError


def values(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_warm_up_is_a_straight_line_from_zero():
    schedule = models.KLWarmup(10, beta=0.5)
    np.testing.assert_allclose(
        values(schedule, [0, 1, 5, 10, 11, 10**6]), [0, 0.05, 0.25, 0.5, 0.5, 0.5], rtol=1e-6
    )


def test_cycles_rise_over_their_first_half_and_end_at_beta():
    schedule = models.CyclicKL(8, cycles=2, beta=2.0)
    steps = [0, 1, 4, 7, 8, 10, 12, 15, 16, 17, 100]
    expected = [0, 0.5, 2, 2, 0, 1, 2, 2, 2, 2, 2]
    np.testing.assert_allclose(values(schedule, steps), expected, rtol=1e-6)


@pytest.mark.parametrize("schedule", [models.KLWarmup(7, 0.3), models.CyclicKL(6, 3, 4.0)])
def test_it_comes_back_from_its_configuration(schedule):
    saved = keras.saving.serialize_keras_object(schedule)
    loaded = keras.saving.deserialize_keras_object(saved)
    assert type(loaded) is type(schedule) and loaded.get_config() == schedule.get_config()


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.KLWarmup(0),
        lambda: models.KLWarmup(5, -1.0),
        lambda: models.CyclicKL(1),
        lambda: models.CyclicKL(8, cycles=0),
    ],
)
def test_numbers_without_a_meaning(make):
    with pytest.raises(UserError):
        make()
