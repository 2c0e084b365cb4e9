"""Make the packaged feature network of Fashion-MNIST again.

    python benchmarks/make_feature_classifier.py [--output FILE]

Writes kapps/evaluation/weights/fashion_mnist.npz: the weights of the small classifier (`cnn` with
64 features before its logits), trained on the 54,000 training pictures of
`data.load("fashion_mnist")`, rounded to float16. Its accuracy on the 6,000 validation pictures is
measured with the rounded weights; the test split is not touched. Another machine's rounding gives
other weights, and so other Fréchet distances: the packaged file is what figures are compared by.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys

import numpy as np
import tyro

from kapps import data
from kapps.evaluation.generative.samples import features

NOTE = (
    "Feature network of kapps for Fashion-MNIST. Made by benchmarks/make_feature_classifier.py "
    "from the training pictures of Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, "
    "arXiv:1708.07747, MIT licence); the weights are under kapps' licence, Apache-2.0."
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Where the network goes, and how it is trained."""

    output: str = str(features.PACKAGED["fashion_mnist"])
    """the file to write"""
    epochs: int = 6
    """epochs of training"""
    seed: int = 0
    """seed of the split, the weights and the order"""


def main(config: Config) -> float:
    """Train, round, measure, write; the accuracy on validation."""
    images = data.load("fashion_mnist", seed=config.seed)
    model, exact = features.train_classifier(
        images, seed=config.seed, epochs=config.epochs, verbose=2
    )
    model.set_weights([w.astype(np.float16).astype(np.float32) for w in model.get_weights()])
    accuracy = features.small_classifiers.accuracy(model, images.splits["validation"])
    meta = {
        "note": NOTE,
        "data": images.fingerprint,
        "recipe": features.RECIPE,
        "seed": config.seed,
        "epochs": config.epochs,
        "accuracy": accuracy,
    }
    path = pathlib.Path(config.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    features.write_extractor(path, model, meta, dtype="float16")
    found = features.read_extractor(path, origin="packaged")
    print(f"validation accuracy {accuracy:.4f} ({exact:.4f} before rounding)")
    print(f"{path}: {path.stat().st_size:,} bytes, sha256 of the weights {found.sha256}")
    return accuracy


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
    sys.exit()
