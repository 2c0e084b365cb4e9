"""A recipe trains, so its tests are slow ones."""

import pathlib

import pytest


def pytest_collection_modifyitems(items):
    """Marks those of this folder; the hook is given the tests of all."""
    for item in items:
        if pathlib.Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
