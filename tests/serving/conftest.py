"""One small classifier, published once."""

from types import SimpleNamespace

import numpy as np
import pytest

from kapps import serving
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
