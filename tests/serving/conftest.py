"""One small classifier, and a model of each family, each published once for all files."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import filelock
import numpy as np
import pytest
import tensorflow as tf

from kapps import serving
from kapps.serving.savedmodel.onnx_files import stated_inputs
from kapps.serving.savedmodel.warmup import read_warmup
from serving import small_families
from serving.small_classifier import CLASS_NAMES, TEMPERATURE, build, probabilities


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A directory of all processes of a session."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 12, 10, 3), np.uint8)


@pytest.fixture(scope="session")
def published(shared, images):
    """The small classifier, its version, which no test may change, and what it answers."""
    model, root = build(), shared / "saved_models" / "clothes"
    root.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(root.with_suffix(".lock")):
        version = serving.versions(root).get(1) or serving.export(
            model,
            root,
            CLASS_NAMES,
            temperature=TEMPERATURE,
            card="# Clothes\n\nTrained on noise.",
            sample_images=images,
        )
    return SimpleNamespace(model=model, version=version, expected=probabilities(model, images))


@pytest.fixture(scope="session")
def family_root(shared):
    """Name of a family -> where its model has been published, see `small_families.publish`.

    No test may change it. The processes of a session share them: who asks first publishes, the
    others wait.
    """

    def root(family: str) -> Path:
        path = shared / "families" / family
        path.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path / "lock"):
            if not (path / "served" / "1").exists():
                small_families.publish(family, path)
        return path

    return root


@pytest.fixture(scope="session")
def family_version(family_root):
    """Name of a family -> its published version."""
    return lambda family: family_root(family) / "served" / "1"


def requests_of(version):
    """Signature and inputs, of all that a version brings, and padded series."""
    held = read_warmup(version)
    names = dict(held)
    return [(name, inputs) for name in names for inputs in stated_inputs(held, name)]


@pytest.fixture(scope="session")
def without_keras(shared, family_version, published, images):
    """What `without_keras.py` finds of every family, and of the small classifier.

    A namespace of `answers`, name -> (signature, inputs, outputs) of each request; `odd`, its
    calls; `code` and `errors` of the process. One process runs for all of a session.
    """
    path = shared / "without_keras"
    path.mkdir(exist_ok=True)
    with filelock.FileLock(path / "lock"):
        if not (path / "done").exists():
            versions = {family: family_version(family) for family in small_families.FAMILIES}
            asked = {
                name: (str(version), requests_of(version)) for name, version in versions.items()
            }
            png = np.array([tf.io.encode_png(image).numpy() for image in images], object)
            # It augments, normalizes and drops out while it is trained.
            asked["small classifier"] = str(published.version), [
                ("serving_default", {"image": images}), ("from_bytes", {"image_bytes": png})
            ]  # fmt: skip
            (path / "asked").write_bytes(pickle.dumps(asked))
            program = Path(__file__).with_name("without_keras.py")
            done = subprocess.run(
                [sys.executable, program, *(path / name for name in ("asked", "answers", "odd"))],
                capture_output=True, text=True, timeout=300,
            )  # fmt: skip
            (path / "done").write_bytes(pickle.dumps((done.returncode, done.stderr)))
    code, errors = pickle.loads((path / "done").read_bytes())
    asked, answers = (
        pickle.loads(file.read_bytes()) if file.exists() else {}
        for file in (path / "asked", path / "answers")
    )
    lines = (path / "odd").read_text(encoding="utf-8").splitlines()
    return SimpleNamespace(
        answers={
            name: [(*pair, said) for pair, said in zip(asked[name][1], answers[name], strict=True)]
            for name in answers
        },
        odd=[json.loads(line) for line in lines],
        code=code,
        errors=errors,
    )
