import pathlib

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_folder(tmp_path):
    """Writes files below tmp_path/NAME: arrays and Pillow images as pictures, bytes as they are."""

    def make(files: dict, name: str = "pictures") -> pathlib.Path:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for file, content in files.items():
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                image = content if isinstance(content, Image.Image) else Image.fromarray(content)
                image.save(path)
        return root

    return make


@pytest.fixture
def noise():
    """Different pictures for different seeds, uint8 [height, width, 3]."""

    def draw(seed: int, height: int = 8, width: int = 8) -> np.ndarray:
        return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)

    return draw
