"""Real pictures in the place of a GAN's samples, as many as the samples were.

    python benchmarks/floors.py

Fréchet distance, coverage and the rest depend on how many pictures there are. The GANs of
benchmarks/results were measured on 10,000 samples and the 10,000 test pictures, with a floor of
6,000; this measures the floor of 10,000 pictures of the training split, and writes it into those
files. The feature network has seen these pictures, so the floor is a little too low, if anything.
"""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from kapps import data, evaluation, files  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    """Measure, write."""
    images = data.load("fashion_mnist", seed=0)
    train, test = images.splits["train"], images.splits["test"]
    rows = np.random.default_rng(0).permutation(len(train))[: len(test)]
    real = train.take(np.sort(rows))
    found = evaluation.sample_quality(
        evaluation.feature_extractor(images), real, test.take(range(len(test))), real
    )
    floor = {f"test_{name}": value for name, value in found.items() if name.endswith("_floor")}
    floor["test_floor_examples"] = found["floor_examples"]
    for path in sorted(RESULTS.glob("gan_*.json")):
        result = json.loads(path.read_text())
        for metrics in (result["metrics"], *result["epochs"]):
            if metrics.get("test_samples") == found["floor_examples"]:
                metrics |= floor
        result["floor_command"] = "python benchmarks/floors.py"
        files.write_json(path, result)
    for name, value in floor.items():
        print(f"{name:<32}{value:.4g}")


if __name__ == "__main__":
    main()
