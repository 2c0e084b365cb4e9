"""The private methods of Keras that `patch_for_replicas` replaces are those it knows."""

import warnings

import keras
import pytest

from kapps.errors import UserError
from kapps.training.distributed import keras_sources, patch

PINNED = [(name, place) for name, each in patch.PATCHES.items() for place in each.replaces]


@pytest.mark.parametrize("place", sorted({place for _, place in PINNED}))
def test_keras_has_not_changed_what_is_replaced(place):
    found = keras_sources.digest(keras_sources.source(place))
    assert found in keras_sources.KNOWN[place], (
        f"Keras {keras.__version__} has changed {place} (digest {found}), which "
        "`patch_for_replicas` replaces. Compare it with the version before. If the repair is right "
        "as it is, or has been made so, add the digest to KNOWN in keras_sources.py; if Keras does "
        "it by itself now, give the Patch in PATCHES this version as `until`."
    )


def test_a_keras_that_is_not_known_is_warned_of_once(monkeypatch):
    place, gone = PINNED[0][1], "keras.src.trainers.trainer:Trainer.no_such_method"
    monkeypatch.setitem(keras_sources.KNOWN, place, {"0123456789ab": "3.12.0"})
    with pytest.warns(UserWarning, match="_maybe_symbolic_build, Trainer.no_such_method, which"):
        keras_sources.warn_of_unknown((place, gone))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keras_sources.warn_of_unknown((place, gone))  # said already
        keras_sources.warn_of_unknown(tuple(place for _, place in PINNED[1:]))  # known


def test_every_repair_names_what_it_replaces():
    assert {place for _, place in PINNED} == set(keras_sources.KNOWN)
    assert all(each.replaces for each in patch.PATCHES.values())


@pytest.mark.parametrize("until, needed", [(None, True), ((3, 999), True), ((3, 12), False)])
def test_a_repair_is_left_out_once_keras_needs_it_no_more(until, needed):
    assert patch.Patch(("x:y",), lambda model: None, until).needed == needed


def test_one_device_is_left_alone():
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    model.compile(keras.optimizers.SGD(clipnorm=1.0), "mse")
    patch.patch_for_replicas(model)
    assert "_make_function" not in vars(model) and "_clip_gradients" not in vars(model.optimizer)
    assert not model.layers[0].synchronized


def test_devices_that_keras_would_leave_out_without_a_word_are_refused(monkeypatch):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with monkeypatch.context() as patched:
        patched.setattr(keras.distribution, "distribution", object)  # some distribution is set
        with pytest.raises(UserError, match="does nothing on TensorFlow"):
            patch.patch_for_replicas(model)
    patch.patch_for_replicas(model)


RANDOM_LAYERS = {
    "dropout": ((4,), lambda: keras.layers.Dropout(0.5)),
    "gaussian noise": ((4,), lambda: keras.layers.GaussianNoise(1.0)),
    "flip": ((8, 8, 1), lambda: keras.layers.RandomFlip()),
    "rotation": ((8, 8, 1), lambda: keras.layers.RandomRotation(0.1)),
    "erasing": ((8, 8, 1), lambda: keras.layers.RandomErasing()),
    "inside a cell": ((5, 2), lambda: keras.layers.GRU(3, dropout=0.1, recurrent_dropout=0.1)),
}


@pytest.mark.parametrize("name", RANDOM_LAYERS)
def test_the_state_of_every_random_layer_is_found(name):
    shape, make = RANDOM_LAYERS[name]
    model = keras.Sequential([keras.Input(shape), make()])
    states = [v for v in model.variables if v.path.endswith("seed_generator_state")]
    patch._patch_noise(model)
    patched = {
        id(generator.state)
        for layer in model._flatten_layers(include_self=False)
        for generator in getattr(layer, "_seed_generators", ())
        if generator.next.func is patch._next_of_replica
    }
    assert states and patched == {id(state) for state in states}
