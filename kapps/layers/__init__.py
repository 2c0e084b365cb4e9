"""Keras layers that Keras lacks or does slowly.

batch_normalization     BatchNormalization, with_fused_batch_normalization
convolutions            Conv2D and DepthwiseConv2D, whose gradients are quick on a CPU
depth_to_space          DepthToSpace
on_cpu                  what the layers share that train quickly on a CPU
recurrent               GRU and LSTM, whose training steps are quick on a CPU
spectral_normalization  SpectralNormalization
whitening               Whitening
"""

from kapps import keras_setup

keras_setup.check()

from kapps.layers.batch_normalization import (  # noqa: E402
    BatchNormalization,
    with_fused_batch_normalization,
)
from kapps.layers.convolutions import Conv2D, DepthwiseConv2D  # noqa: E402
from kapps.layers.depth_to_space import DepthToSpace  # noqa: E402
from kapps.layers.recurrent import GRU, LSTM  # noqa: E402
from kapps.layers.spectral_normalization import SpectralNormalization  # noqa: E402
from kapps.layers.whitening import Whitening  # noqa: E402

__all__ = [
    "GRU",
    "LSTM",
    "BatchNormalization",
    "Conv2D",
    "DepthToSpace",
    "DepthwiseConv2D",
    "SpectralNormalization",
    "Whitening",
    "with_fused_batch_normalization",
]
