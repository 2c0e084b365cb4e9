"""A recipe trains, so its tests are slow ones.

`test_every_recipe.py` runs all of them in short, and the image classifier stands for what the
others have from the same floors below; the files of the others are a sweep.
"""

import pathlib

import pytest

ALWAYS = ("test_every_recipe.py", "test_image_classifier.py")


def pytest_collection_modifyitems(items):
    """Marks those of this folder; the hook is given the tests of all."""
    for item in items:
        if pathlib.Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if item.path.name not in ALWAYS:
                item.add_marker(pytest.mark.sweep)
