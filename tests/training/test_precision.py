import keras
import pytest

from kapps import models
from kapps.errors import UserError
from kapps.training import choose_precision, precision, precision_policy as policy


def small():
    return models.mlp((8, 8, 1), 10)


def test_the_policy_lasts_as_long_as_the_context():
    before = keras.mixed_precision.dtype_policy().name
    with pytest.raises(RuntimeError), policy("mixed_bfloat16"):
        assert small().layers[-2].compute_dtype == "bfloat16"
        raise RuntimeError
    assert keras.mixed_precision.dtype_policy().name == before
    with pytest.raises(UserError, match="mixed_bfloat16"), policy("bfloat8"):
        pass


def test_the_faster_of_two_measurements_is_chosen(monkeypatch):
    monkeypatch.setattr(precision, "_cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(precision, "WORTH_MEASURING", 0)
    for seconds in ({"float32": 2.0, "bfloat16": 1.0}, {"float32": 1.0, "bfloat16": 2.0}):

        def pretend(model, batch_size, seconds=seconds):
            return seconds[model.layers[-2].compute_dtype]

        monkeypatch.setattr(precision, "_step_seconds", pretend)
        name, why = choose_precision(small, 32, 1000)
        assert name.endswith(min(seconds, key=seconds.get))
        assert f"{seconds['float32'] / seconds['bfloat16']:.2f} times" in why


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "build",
    [
        small,
        # These have losses of their own, and refuse any other.
        lambda: models.dense_autoencoder((8, 8, 1), 3, units=5),
        lambda: models.dense_vae((8, 8, 1), 3, units=5),
        lambda: models.vq_vae((8, 8, 1), codes=4, code_dim=2, filters=(2, 2)),
        lambda: models.gan((8, 8, 1), 3, filters=2, dense_units=0).discriminator,
    ],
    ids=["classifier", "autoencoder", "vae", "vq_vae", "discriminator"],
)
def test_a_measurement_is_a_time(build, name):
    with policy(name):
        assert 0 < precision._step_seconds(build(), 8) < 60


@pytest.mark.parametrize(("has", "why"), [(False, "no bfloat16"), (True, "too small")])
def test_float32_where_nothing_is_to_be_gained(monkeypatch, has, why):
    monkeypatch.setattr(precision, "_cpu_has_bfloat16", lambda: has)
    name, reason = choose_precision(small, 32, 10)
    assert name == "float32" and why in reason
