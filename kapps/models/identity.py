"""Kernels that begin by handing on what they get."""

from __future__ import annotations

import keras
import numpy as np


def start_at_identity(model: keras.Model) -> keras.Model:
    """Start convolutions at the identity: their first filters hand on the input channels.

    Of a kernel `[h, w, in, out]` with odd sides filter i hands on channel i, for each i below both
    `in` and `out`; further filters keep what they were drawn as. The signal then passes a new
    network undamped, as it does in a residual one. Kernels of 1x1, of shortcuts, and those that
    are frozen or grouped are left alone. arXiv:2404.00498, section 3.3.

    Args:
        model: built, not trained yet; its kernels are changed.

    Returns:
        The same model.
    """
    for layer in model._flatten_layers():
        if not isinstance(layer, keras.layers.Conv2D) or not layer.trainable or layer.groups > 1:
            continue
        kernel = np.array(layer.kernel)
        height, width, channels, filters = kernel.shape
        if height * width == 1 or height % 2 == 0 or width % 2 == 0:
            continue
        shared = min(channels, filters)
        kernel[..., :shared] = 0.0
        kernel[height // 2, width // 2, range(shared), range(shared)] = 1.0
        layer.kernel.assign(kernel)
    return model
