"""Every recipe in short: begun, ended by a crash, gone on with, published and asked.

What each of them is about is in the file of its name.
"""

import dataclasses
import importlib
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import json_files
import small_transfer
from crashes import Crash, Crashed
from distribution.worker import SETTINGS
from kapps import serving, training
from kapps.command_line import call
from kapps.serving.savedmodel.warmup import read_warmup
from recipes import tune

TINY = {
    **SETTINGS,
    "autoencoder": {"units": (16,), "latent_dim": 3, "epochs": 2},
    "gan": {"model": "dense", "units": (16,), "latent_dim": 4, "epochs": 2, "batch_size": 128},
    "vae": SETTINGS["vae"] | {"nll_samples": 3},
    "vq_vae": {
        "codes": 8,
        "code_dim": 2,
        "filters": (4,),
        "prior_filters": 4,
        "prior_depth": 1,
        "epochs": 2,
        "prior_epochs": 1,
    },
    "optimizers": {
        "units": (4,),
        "epochs": 2,
        "seeds": 2,
        "optimizers": ("sgd", "adam"),
        "batch_sizes": (),
        "schedules": (),
        "surfaces": ("quadratic",),
        "surface_steps": 5,
    },
    "sequence_classifier": {"length": 8, "examples": 400, "units": (4,), "epochs": 2},
    "tabular": {"dataset": "wine", "units": (8,), "epochs": 2},
    "text_classifier": {"embedding": 4, "epochs": 2},
    "tune": {"recipe": "tabular", "fix": ("epochs=1", "dataset=wine"), "max_trials": 2},
    "tune_cnn": {
        "epochs": 1,
        "winner_epochs": 1,
        "max_trials": 2,
        "max_stages": 1,
        "max_parameters": 5_000,
    },
    "xor_mlp": SETTINGS["xor_mlp"] | {"widths": (1, 2), "optimizers": ("sgd", "adam")},
}
SHORT = {"peers": False, "workers": 0}  # where there is such a flag
NAMES = sorted(path.stem for path in pathlib.Path(tune.__file__).parent.glob("[!_]*.py"))


@pytest.fixture
def texts(tmp_path):
    """A table of short texts of two kinds."""
    rows = [f"{word} the {word},{word}s" for word in ("cat", "dog") for _ in range(30)]
    (tmp_path / "texts.csv").write_text("\n".join(["body,kind", *rows]))
    return {"dataset": f"csv:{tmp_path / 'texts.csv'}", "text": "body", "target": "kind"}


@pytest.mark.parametrize("recipe", NAMES)
def test_begun_ended_gone_on_with_published_and_asked(recipe, texts, tmp_path, monkeypatch):
    small_transfer.install(lambda *where: monkeypatch.setattr(*where))
    module = importlib.import_module(f"recipes.{recipe}")
    flags = {field.name for field in dataclasses.fields(module.Config)}
    settings = {name: value for name, value in SHORT.items() if name in flags} | TINY[recipe]
    if recipe == "text_classifier":
        settings |= texts
    places = dict(run_dir=str(tmp_path / "run"), export_dir=str(tmp_path / "served"))
    config = module.Config(**settings, **places)

    crash, usual = Crash(4), training.setup.callbacks
    with monkeypatch.context() as patch:
        patch.setattr(training.setup, "callbacks", lambda *known: [*usual(*known), crash])
        try:
            call(module, config)
        except Crashed:
            assert not (tmp_path / "run/metrics.json").exists()
    metrics = call(module, config)
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == metrics
    assert (tmp_path / "run/report.html").exists()

    version = pathlib.Path(metrics["exported"])
    assert version == tmp_path / "served" / "1"
    signatures = tf.saved_model.load(str(version)).signatures
    for name, inputs in read_warmup(version)[:2]:
        said = signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        numbers = [value.numpy() for value in said.values() if value.dtype.is_floating]
        assert all(np.isfinite(value).all() for value in numbers)
    assert list(serving.versions(tmp_path / "served")) == [1]
    assert "metrics.json" in json_files.checked(tmp_path)
    assert call(module, config) == metrics
