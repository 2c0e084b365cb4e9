"""Pictures of zeros and ones, drawn once: what likelihoods of binarized pictures are measured on.

A model that is trained on pictures that are drawn anew in every step (dynamic binarization) is
measured on pictures that are drawn once (as in arXiv:2004.04795), so that two measurements
are of the same pictures. Training on fixed ones, too (static binarization), over-fits: about two
nats on MNIST (github.com/yburda/iwae).
"""

from __future__ import annotations

import numpy as np

from kapps.data.images.dataset import Split
from kapps.data.sources.arrays import gather

SEED = 777  # of the protocol of arXiv:2004.04795
_TOGETHER = 4096


def binarized(split: Split, seed: int = SEED) -> Split:
    """The same rows and labels with pixels of 0 and 255, each drawn with its grey's probability.

    A pixel of grey g is 255 with probability g / 255. The draws are made in the order of the rows
    by `RandomState`, whose stream is frozen across versions of NumPy, and kept in memory.

    Args:
        split: pictures of 0..255.
        seed: of the draws.
    """
    random = np.random.RandomState(seed)
    parts = []
    for start in range(0, len(split), _TOGETHER):
        grey = split.take(range(start, min(start + _TOGETHER, len(split))))
        parts.append(np.where(random.random_sample(grey.shape) < grey / 255.0, 255, 0))
        parts[-1] = parts[-1].astype(np.uint8)
    pictures = np.concatenate(parts) if parts else split.take([])
    return Split(labels=split.labels, images=gather(pictures), origins=split.origins)
