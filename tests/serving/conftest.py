"""One small classifier, and a model of each family, each published once for all files."""

import os
from pathlib import Path
from types import SimpleNamespace

import filelock
import numpy as np
import pytest

from kapps import serving
from serving import small_families
from serving.small_classifier import CLASS_NAMES, TEMPERATURE, build, probabilities


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 12, 10, 3), np.uint8)


@pytest.fixture(scope="session")
def published(tmp_path_factory, images):
    model = build()
    version = serving.export(
        model,
        tmp_path_factory.mktemp("saved_models") / "clothes",
        CLASS_NAMES,
        temperature=TEMPERATURE,
        card="# Clothes\n\nTrained on noise.",
        sample_images=images,
    )
    return SimpleNamespace(model=model, version=version, expected=probabilities(model, images))


@pytest.fixture(scope="session")
def family_root(tmp_path_factory):
    """Name of a family -> where its model has been published, see `small_families.publish`.

    No test may change it. The processes of a session share them: who asks first publishes, the
    others wait.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def root(family: str) -> Path:
        path = base / "families" / family
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
