"""The private methods of Keras that `patch_for_replicas` replaces are those it knows."""

import hashlib
import importlib
import inspect
import re

import keras
import pytest

from kapps.errors import UserError
from kapps.training.distributed import patch

# Digest of the source: the first version that has it, of those since 3.12.
KNOWN = {
    "keras.src.backend.tensorflow.trainer:TensorFlowTrainer._maybe_symbolic_build": {
        "3760f262fc1e": "3.12.0",
    },
    "keras.src.backend.tensorflow.trainer:TensorFlowTrainer._make_function": {
        "f0e3a34496e0": "3.12.0",
    },
    "keras.src.trainers.trainer:Trainer._get_metrics_result_or_logs": {
        "d63611fadb31": "3.12.0",
    },
    "keras.src.random.seed_generator:SeedGenerator.next": {
        "2b265a9e1455": "3.12.0",
    },
    "keras.src.optimizers.base_optimizer:BaseOptimizer._clip_gradients": {
        "3461e882ec4e": "3.12.0",
    },
    "keras.src.backend.tensorflow.optimizer:TFOptimizer._all_reduce_sum_gradients": {
        "61d84ca7355e": "3.12.0",
        "e13eb84e1b16": "3.14.0",
    },
    "keras.src.backend.tensorflow.optimizer:TFOptimizer._backend_update_step": {
        "96037f37a70d": "3.12.0",
    },
    "keras.src.optimizers.loss_scale_optimizer:LossScaleOptimizer._tf_apply": {
        "d603259e0afc": "3.12.0",
    },
    "keras.src.layers.normalization.batch_normalization:BatchNormalization._moments": {
        "0b22ff6e6f63": "3.12.0",
        "a4bddf54e44c": "3.15.0",
    },
}


def digest(text):
    """Of the code alone: no docstring, comments or spaces, whichever Python has read it."""
    code = re.sub(r'"{3}.*?"{3}', "", text, flags=re.DOTALL)
    code = re.sub(r"^\s*#.*$", "", code, flags=re.MULTILINE)
    return hashlib.sha256("".join(code.split()).encode()).hexdigest()[:12]


def source(place):
    module, _, path = place.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return inspect.getsource(found)


PINNED = [(name, place) for name, each in patch.PATCHES.items() for place in each.replaces]


@pytest.mark.parametrize("place", sorted({place for _, place in PINNED}))
def test_keras_has_not_changed_what_is_replaced(place):
    found = digest(source(place))
    assert found in KNOWN[place], (
        f"Keras {keras.__version__} has changed {place} (digest {found}), which kapps.models."
        f"replicas replaces. Compare it with the version before. If the repair is right as it is, "
        "or has been made so, add the digest to KNOWN here; if Keras does it by itself now, give "
        "the Patch in PATCHES this version as `until`."
    )


def test_every_repair_names_what_it_replaces():
    assert {place for _, place in PINNED} == set(KNOWN)
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
