"""Maps that are halved and doubled: what convolutional encoders and decoders share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kapps import blocks
from kapps.layers import DepthToSpace


def downwards(x, filters: Sequence[int], **options: Any):
    """Convolutions that halve the sides, one to each entry of `filters`, and one more after it.

    Args:
        x: a map.
        filters: channels after each halving.
        options: activation and normalization.

    Returns:
        The map, and the sides (height, width) of all maps from x down.
    """
    sizes = [tuple(x.shape[1:3])]
    for i, n in enumerate(filters, start=1):
        x = blocks.conv_bn(x, n, 3, strides=2, **options, name=f"encode{i}_halve")
        x = blocks.conv_bn(x, n, 3, **options, name=f"encode{i}")
        sizes.append(tuple(x.shape[1:3]))
    return x, sizes


def upwards(y, filters: Sequence[int], sizes: Sequence[tuple[int, int]], **options: Any):
    """The mirror image of `downwards`: the map of the size of the image.

    Args:
        y: a map of the last of the sizes.
        filters: as `downwards` had them.
        sizes: as it returned them.
        options: activation and normalization.
    """
    for i in range(len(filters), 0, -1):
        y = blocks.conv_bn(y, filters[i - 1], 3, **options, name=f"decode{i}")
        narrower = filters[max(0, i - 2)]
        # To four times the channels and depth to space: no product is computed twice.
        y = blocks.conv_bn(y, 4 * narrower, 3, **options, name=f"decode{i}_double")
        y = _crop(DepthToSpace(name=f"decode{i}_shuffle")(y), sizes[i - 1], f"decode{i}_crop")
    return y


def _crop(y, size, name):
    """Twice a side that was rounded up may be one pixel too many."""
    excess = tuple((0, have - want) for have, want in zip(y.shape[1:3], size, strict=True))
    return keras.layers.Cropping2D(excess, name=name)(y) if any(map(any, excess)) else y
