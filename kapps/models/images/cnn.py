"""Plain convolutional network with every dimension open to tuning."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from kapps import blocks
from kapps.errors import UserError
from kapps.models import arguments, geometry, heads

_POOLS = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}


class _Stage(NamedTuple):
    """One stage, checked; the fields are the arguments of `cnn`, in its order."""

    filters: int
    kernel_size: int
    strides: int
    padding: str
    convs: int
    pooling: str | None
    pool_size: int
    dropout: float

    def windows(self, number: int) -> list[geometry.Window]:
        """What an image has to pass in this stage."""
        windows = [
            geometry.Window(
                f"stage {number}, conv {conv}",
                self.kernel_size,
                self.strides if conv == 1 else 1,
                self.padding,
            )
            for conv in range(1, self.convs + 1)
        ]
        if self.pooling is not None:
            size = self.pool_size
            windows.append(geometry.Window(f"stage {number}, pool", size, size, self.padding))
        return windows


def cnn(
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: int | Sequence[int] = (32, 64, 128),
    kernel_size: int | Sequence[int] = 3,
    strides: int | Sequence[int] = 1,
    padding: str | Sequence[str] = "same",
    convs_per_stage: int | Sequence[int] = 2,
    pooling: str | None | Sequence[str | None] = "max",
    pool_size: int | Sequence[int] = 2,
    normalization: str | None = "batch",
    activation: str = "relu",
    stage_dropout: float | Sequence[float] = 0.0,
    dense_units: int | Sequence[int] = (),
    dropout: float = 0.0,
    pixel_mean: float | Sequence[float] = 0.5,
    pixel_std: float | Sequence[float] = 0.5,
    whitening: np.ndarray | None = None,
    whitening_strides: int = 1,
    name: str = "cnn",
) -> keras.Model:
    """A plain CNN: stages of equal convolutions, each closed by a pool.

    `filters` has one entry per stage and so says how many there are. `kernel_size`, `strides`,
    `padding`, `convs_per_stage`, `pooling`, `pool_size` and `stage_dropout` are one value for all
    stages or one each. In a stage:

    * `convs_per_stage` convolutions, the first with `strides`; `padding` "same" or "valid" is that
      of the pool, too, so that "same" takes images of any size;
    * `normalization` "batch" or None, then `activation`;
    * `pooling` "max", "average" or None, over `pool_size` pixels with strides of `pool_size`;
    * `stage_dropout`: whole channels are dropped (arXiv:1411.4280, section 3).

    `whitening` is the kernel of a frozen first convolution, of `kapps.data.whitening_kernel`, with
    `whitening_strides`.

    The head is global average pooling (arXiv:1312.4400, section 3.2); with `dense_units` it is the
    flattened map and dense layers of so many units. `dropout` follows the hidden dense layers and
    precedes the logits.

    Returns:
        A functional model: "image" `[batch, *image_shape]`, 0..255 -> "logits" `[batch, classes]`.

    Raises:
        UserError: an argument is out of its range, or a window without padding is larger than the
            map it gets: the message names the layer and the smallest image that would do.
    """
    stages = _stages(
        filters,
        kernel_size=kernel_size,
        strides=strides,
        padding=padding,
        convs_per_stage=convs_per_stage,
        pooling=pooling,
        pool_size=pool_size,
        stage_dropout=stage_dropout,
    )
    dense_units = arguments.integers("dense_units", dense_units)
    arguments.rate("dropout", dropout)
    arguments.one_of("normalization", normalization, ("batch", None))
    arguments.activation(activation)
    windows = [w for number, stage in enumerate(stages, 1) for w in stage.windows(number)]
    if whitening is not None:
        first = arguments.integer("whitening_strides", whitening_strides)
        windows.insert(0, geometry.Window("whitening", first, first, "same"))
    geometry.check(windows, arguments.image_shape(image_shape))

    image, x = heads.image_input(image_shape, pixel_mean, pixel_std, whitening, whitening_strides)
    for number, stage in enumerate(stages, start=1):
        x = _apply(stage, x, normalization, activation, name=f"stage{number}")
    if dense_units:
        x = keras.layers.Flatten(name="flatten")(x)
        x = heads.hidden_layers(
            x, dense_units, activation=activation, normalization=normalization, dropout=dropout
        )
    else:
        x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
    return keras.Model(image, heads.logits(x, classes, dropout), name=name)


def _stages(filters, **each) -> list[_Stage]:
    """Spreads the arguments over the stages and checks them."""
    filters = arguments.integers("filters", filters)
    if not filters:
        raise UserError("filters is empty: give the number of filters of at least one stage.")
    each = {name: arguments.per_stage(name, value, len(filters)) for name, value in each.items()}
    for name in ("kernel_size", "strides", "convs_per_stage", "pool_size"):
        each[name] = arguments.integers(name, each[name])
    for padding in each["padding"]:
        arguments.one_of("padding", padding, ("same", "valid"))
    for pooling in each["pooling"]:
        arguments.one_of("pooling", pooling, (*_POOLS, None))
    for rate in each["stage_dropout"]:
        arguments.rate("stage_dropout", rate)
    return [_Stage(*values) for values in zip(filters, *each.values(), strict=True)]


def _apply(stage: _Stage, x, normalization, activation, name):
    for conv in range(1, stage.convs + 1):
        x = blocks.conv_bn(
            x,
            stage.filters,
            stage.kernel_size,
            strides=stage.strides if conv == 1 else 1,
            padding=stage.padding,
            normalization=normalization,
            activation=activation,
            name=f"{name}_conv{conv}",
        )
    if stage.pooling is not None:
        pool = _POOLS[stage.pooling]
        x = pool(stage.pool_size, padding=stage.padding, name=f"{name}_pool")(x)
    if stage.dropout > 0:
        x = keras.layers.SpatialDropout2D(stage.dropout, name=f"{name}_dropout")(x)
    return x
