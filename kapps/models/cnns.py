"""Plain convolutional network with every dimension open to tuning."""

from collections.abc import Sequence

import keras

from kapps import blocks
from kapps.models import arguments, ends, geometry

_POOLS = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}


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
    name: str = "cnn",
) -> keras.Model:
    """A plain CNN: stages of equal convolutions, each closed by a pool.

    `filters` has one entry per stage and so says how many there are. `kernel_size`, `strides`,
    `padding`, `convs_per_stage`, `pooling`, `pool_size` and `stage_dropout` are one value for all
    stages or one each. In a stage:

    * `convs_per_stage` convolutions, the first with `strides`; `padding` "same" or "valid" is that
      of the pool, too, so that "same" takes pictures of any size;
    * `normalization` "batch" or None, then `activation`;
    * `pooling` "max", "average" or None, over `pool_size` pixels with strides of `pool_size`;
    * `stage_dropout`: whole channels are dropped (arXiv:1411.4280, section 3).

    The head is global average pooling (arXiv:1312.4400, section 3.2); with `dense_units` it is the
    flattened map and dense layers of so many units. `dropout` follows the hidden dense layers and
    precedes the logits.

    Returns:
        A functional model: "image" `[batch, *image_shape]`, 0..255 -> "logits" `[batch, classes]`.

    Raises:
        UserError: an argument is out of its range, or a window without padding is larger than the
            map it gets: the message names the layer and the smallest picture that would do.
    """
    filters = arguments.integers("filters", filters)
    stages = len(filters)
    kernel_sizes = arguments.integers(
        "kernel_size", arguments.per_stage("kernel_size", kernel_size, stages)
    )
    strides = arguments.integers("strides", arguments.per_stage("strides", strides, stages))
    paddings = arguments.per_stage("padding", padding, stages)
    convs = arguments.integers(
        "convs_per_stage", arguments.per_stage("convs_per_stage", convs_per_stage, stages)
    )
    pools = arguments.per_stage("pooling", pooling, stages)
    pool_sizes = arguments.integers(
        "pool_size", arguments.per_stage("pool_size", pool_size, stages)
    )
    stage_dropouts = arguments.per_stage("stage_dropout", stage_dropout, stages)
    for stage in range(stages):
        arguments.one_of("padding", paddings[stage], ("same", "valid"))
        arguments.one_of("pooling", pools[stage], (*_POOLS, None))
        arguments.rate("stage_dropout", stage_dropouts[stage])
    dense_units = arguments.integers("dense_units", dense_units)
    arguments.one_of("normalization", normalization, ("batch", None))
    arguments.activation(activation)

    windows = []
    for stage in range(stages):
        for conv in range(convs[stage]):
            windows.append(
                geometry.Window(
                    f"stage {stage + 1}, conv {conv + 1}",
                    kernel_sizes[stage],
                    strides[stage] if conv == 0 else 1,
                    paddings[stage],
                )
            )
        if pools[stage] is not None:
            size = pool_sizes[stage]
            windows.append(geometry.Window(f"stage {stage + 1}, pool", size, size, paddings[stage]))
    geometry.check(windows, arguments.image_shape(image_shape))

    image, x = ends.image_input(image_shape, pixel_mean, pixel_std)
    for stage in range(stages):
        prefix = f"stage{stage + 1}"
        for conv in range(convs[stage]):
            x = blocks.conv_bn(
                x,
                filters[stage],
                kernel_sizes[stage],
                strides=strides[stage] if conv == 0 else 1,
                padding=paddings[stage],
                normalization=normalization,
                activation=activation,
                name=f"{prefix}_conv{conv + 1}",
            )
        if pools[stage] is not None:
            pool = _POOLS[pools[stage]]
            x = pool(pool_sizes[stage], padding=paddings[stage], name=f"{prefix}_pool")(x)
        if stage_dropouts[stage] > 0:
            x = keras.layers.SpatialDropout2D(stage_dropouts[stage], name=f"{prefix}_dropout")(x)
    if dense_units:
        x = keras.layers.Flatten(name="flatten")(x)
        x = ends.hidden_layers(
            x, dense_units, activation=activation, normalization=normalization, dropout=dropout
        )
    else:
        x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
    return keras.Model(image, ends.logits(x, classes, dropout), name=name)
