"""Passes over a folder of pictures by PyTorch's DataLoader: the environment of benchmarks/peers.

    python benchmarks/contestants/torch_folder.py FOLDER SIDE BATCH WORKERS [first]

Speaks the protocol of benchmarks/harness/worker.py; a unit is a pass. With `first` one pass is made
and its facts are printed.
"""

from __future__ import annotations

import json
import pathlib
import sys
import time

from benchmarks.harness.worker import serve


def prepare():
    """The work: so many passes."""
    import numpy as np
    import torch
    from PIL import Image

    folder, side, batch, workers = sys.argv[1], *map(int, sys.argv[2:5])

    class Folder(torch.utils.data.Dataset):
        """A folder for each class, as torchvision's ImageFolder has it."""

        def __init__(self):
            names = sorted(path.name for path in pathlib.Path(folder).iterdir())
            files = [(p, i) for i, n in enumerate(names) for p in pathlib.Path(folder, n).iterdir()]
            self.files = sorted(files)

        def __len__(self):
            return len(self.files)

        def __getitem__(self, row):
            path, label = self.files[row]
            with Image.open(path) as image:
                pixels = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
            return torch.from_numpy(np.array(pixels)), label

    begun = time.perf_counter()
    loader = torch.utils.data.DataLoader(
        Folder(), batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )

    def work(units):
        for _ in range(units):
            for _ in loader:
                pass

    work(1)
    first = time.perf_counter() - begun
    return work, {"first_pass_seconds": first, "versions": {"torch": torch.__version__}}


if __name__ == "__main__":
    if sys.argv[-1] == "first":
        print(json.dumps(prepare()[1]))
    else:
        serve(prepare)
