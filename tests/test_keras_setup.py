"""Keras finds the classes of kapps by itself, and kapps refuses settings that it cannot have."""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

import kapps
from contracts import COLUMNS
from kapps import keras_setup, losses, models, training


def test_every_registered_class_and_function_is_announced():
    """A new one needs its line in `keras_setup.CLASSES`."""
    for module in pkgutil.walk_packages(kapps.__path__, "kapps."):
        if module.name.rpartition(".")[2] != "__main__":
            importlib.import_module(module.name)
    prefix = f"{keras_setup.PACKAGE}>"
    found = {
        name.removeprefix(prefix): known.__module__
        for name, known in keras.saving.get_custom_objects().items()
        if name.startswith(prefix)
    }
    tables = {**keras_setup.CLASSES, **keras_setup.FUNCTIONS}
    assert found == {name: module for module, names in tables.items() for name in names}


def compiled(model, name="adamw", loss=None, **options):
    factors = options.pop("factors", None)
    if factors:
        options["rate_factors"] = [factors] * len(model.trainable_variables)
    model.compile(training.optimizer(name, 1e-3, **options), loss)
    return model


def classifier():
    schedule = training.learning_rate_schedule("one-cycle", 0.1, steps=9)
    model = models.cnn((8, 8, 1), 3, filters=2)
    model.compile(training.optimizer("momentum", schedule), losses.softmax_cross_entropy)
    return model


def table():
    """Its inner network is compiled, whatever `compile=False` says of the whole."""
    model = models.tabular_mlp(COLUMNS, 3, units=4)
    compiled(model.get_layer("network"), loss="sparse_categorical_crossentropy")
    return model


def tuned():
    """As transfer learning has it: a rate per stage."""
    return compiled(models.mlp((8, 8, 1), 3, units=4), factors=0.5, loss="mse")


VOCABULARY = "\ufffdab"
SAVED = {  # a kind of model that a recipe saves, with what it is compiled with
    "image_classifier": classifier,
    "image_classifier-muon": lambda: compiled(
        models.resnet("resnet8_wide", (8, 8, 1), 3), "muon", losses.softmax_cross_entropy
    ),
    "transfer_learning": tuned,
    "transfer_learning-muon": lambda: compiled(
        models.mlp((8, 8, 1), 3, units=4), "muon", "mse", factors=0.5
    ),
    "transfer_learning-rmsprop": lambda: compiled(
        models.mlp((8, 8, 1), 3, units=4), "rmsprop", "mse", factors=0.5
    ),
    "autoencoder": lambda: compiled(models.residual_autoencoder((8, 8, 1), 2)),
    "autoencoder-linear": lambda: compiled(models.linear_autoencoder((4, 4, 1), 2)),
    "vae": lambda: models.dense_vae((4, 4, 1), 2, beta=models.KLWarmup(10)),
    "vae-conv": lambda: compiled(models.conv_vae((8, 8, 1), 2)),
    "perceptron": lambda: models.class_logits(models.perceptron((3,))),
    "perceptron-pocket": lambda: models.perceptron((3,), pocket=True),
    "delta_rule": lambda: models.delta_rule((3,)),
    "xor_mlp": lambda: compiled(models.stacked_mlp(2, 2), "sgd", models.stacked_loss("logistic")),
    "tabular": table,
    "sequence_classifier": lambda: compiled(
        models.rnn(2, 3, units=4, bidirectional=True, memory=9, frame=2), loss="mse"
    ),
    "sequence_classifier-fcn": lambda: models.rnn_fcn(2, 3, shuffle_steps=5),
    "char_rnn": lambda: compiled(models.char_rnn(VOCABULARY, units=4, lanes=2)),
}

PROGRAM = """
    import json, pathlib, sys
    {imports}
    folder = pathlib.Path(sys.argv[1])
    kinds = {{}}
    for path in sorted(folder.glob("*.keras")):
        model = keras.models.load_model(path)
        if {thoroughly}:
            keras.models.load_model(path, compile=False)
            # Saved once more it is the same: what stands for a function keeps its name.
            model.save(folder / "again" / path.name)
            model = keras.models.load_model(folder / "again" / path.name)
        total = sum(float(weight.numpy().sum()) for weight in model.weights)
        kinds[path.stem] = [type(model).__name__, total]
    print(json.dumps(kinds))
"""


def python(program, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    (folder / "again").mkdir()
    kinds = {}
    for name, build in SAVED.items():
        model = build()
        model.save(folder / f"{name}.keras")
        total = sum(float(np.asarray(weight).sum()) for weight in model.weights)
        kinds[name] = [type(model).__name__, pytest.approx(total, rel=1e-6, abs=1e-6)]
    return folder, kinds


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports, thoroughly",
    [
        ("from kapps import models; import keras", True),
        ("import keras; import kapps.layers", False),
    ],
    ids=["before Keras", "after Keras"],
)
def test_every_kind_of_saved_model_loads_in_a_fresh_process(saved, imports, thoroughly):
    folder, kinds = saved
    done = python(PROGRAM.format(imports=imports, thoroughly=thoroughly), folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == kinds


BUILD = """
    from kapps import models
    from kapps.errors import UserError
    models.classifier_names()
    try:
        models.cnn
    except UserError as error:
        print("refused:", error)
"""


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_other_backends_are_refused(backend):
    """Jax need not be there."""
    done = python(BUILD, KERAS_BACKEND=backend)
    assert f"refused: Keras is set to the backend '{backend}'" in done.stdout, done.stderr


@pytest.mark.slow
def test_channels_first_is_refused(tmp_path):
    settings = {"backend": "tensorflow", "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps({"floatx": "float32"} | settings))
    done = python(BUILD, KERAS_HOME=str(tmp_path))
    assert "refused: Keras is set to image_data_format 'channels_first'" in done.stdout, done.stderr
