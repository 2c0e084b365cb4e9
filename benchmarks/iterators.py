"""How long TensorFlow waits before it lets go of an iterator, with autotuning and without.

    python benchmarks/iterators.py

Shuffled batches of Fashion-MNIST are drawn for some seconds, then the iterator is dropped. With
autotuning, dropping it often waits until the tuning thread wakes, at intervals that double; which
lifetimes are hit changes from run to run. `data.without_autotune` is what `training.fit` uses.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from kapps import data, files, training  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results" / "iterators.json"
LIFETIMES = (0.7, 1.5, 3.0, 6.0)  # seconds
TURNS = 3


def main() -> None:
    """Measure, both ways in turn, and write the results."""
    images = data.load("fashion_mnist", seed=0)
    batches = data.TrainingBatches(
        images.splits["train"], 64, prepare=lambda pictures, labels, seed: (pictures, labels)
    )
    ways = {"autotuned": lambda it: it, "without_autotune": data.without_autotune}
    rows = []
    for lifetime in LIFETIMES:
        for name, way in ways.items():
            found = [lived(way(batches.dataset(0, 100)), lifetime) for _ in range(TURNS)]
            waits, rates = zip(*found, strict=True)
            row = {
                "lifetime": lifetime,
                "pipeline": name,
                "waited": [round(wait, 2) for wait in waits],
                "batches_per_second": round(statistics.median(rates)),
            }
            rows.append(row)
            print(row, flush=True)
    result: dict[str, Any] = {
        "command": "python benchmarks/iterators.py",
        "rows": rows,
        "machine": training.machine(),
        "versions": training.versions(),
    }
    files.write_json(RESULTS, result)


def lived(batches: Any, seconds: float) -> tuple[float, float]:
    """Seconds that dropping an iterator took, and batches a second before."""
    iterator, count, started = iter(batches), 0, time.monotonic()
    while time.monotonic() - started < seconds:
        next(iterator)
        count += 1
    ended = time.monotonic()
    del iterator
    return time.monotonic() - ended, count / (ended - started)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
