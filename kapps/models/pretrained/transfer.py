"""A classifier on a pre-trained backbone, and which of its parts are trained.

First a linear probe (the head alone), then fine-tuning of the last stages: Kumar et al. 2022,
arXiv:2202.10054. Fine-tuning under an untrained head would distort the features.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import keras

from kapps.errors import UserError
from kapps.models import heads
from kapps.models.pretrained.backbone import backbone_stages

Stages = Mapping[str, Sequence[keras.layers.Layer]]

FEATURES, HEAD = "global_pool", ("dropout", "logits")  # names of layers


def transfer_classifier(
    backbone: keras.Model, classes: int, *, dropout: float = 0.2, name: str = "transfer"
) -> keras.Model:
    """A backbone, global average pooling, dropout and a dense layer.

    The layers of the backbone become layers of the classifier, so there is one level of them:
    Grad-CAM, converters and `backbone_stages(backbone)` see the same ones.

    Args:
        backbone: images `[batch, H, W, C]`, 0..255 -> a feature map `[batch, h, w, channels]`.
        classes: how many logits.
        dropout: part of the pooled features that is dropped while training.
        name: of the model.

    Returns:
        Images -> "logits" `[batch, classes]`, everything trainable that was.

    Raises:
        UserError: the backbone gives no feature map, or an argument is out of its range.
    """
    if len(backbone.inputs) != 1 or len(backbone.outputs) != 1 or len(backbone.output.shape) != 4:
        raise UserError(
            f"{backbone.name} is no backbone: one input and one feature map [batch, h, w, channels]"
            f" are wanted, not {[t.shape for t in backbone.outputs]}"
        )
    pool = keras.layers.GlobalAveragePooling2D(dtype="float32", name=FEATURES)
    x = pool(backbone.output)
    return keras.Model(backbone.input, heads.logits(x, classes, dropout), name=name)


def stages_of(model: keras.Model, name: str) -> dict[str, list[keras.layers.Layer]]:
    """The stages of the backbone in a classifier, without its head.

    Args:
        model: of `transfer_classifier`.
        name: of the backbone.
    """
    head = {id(layer) for layer in head_layers(model)}
    return {
        stage: [layer for layer in layers if id(layer) not in head]
        for stage, layers in backbone_stages(model, name).items()
    }


def last_stages(stages: Stages, count: int | str) -> tuple[str, ...]:
    """Names of the last `count` stages, from the input to the output.

    Args:
        stages: of `backbone_stages`.
        count: how many, or "all"; 0 is none.

    Raises:
        UserError: more than there are, or fewer than none.
    """
    names = tuple(stages)
    if count == "all":
        return names
    if not 0 <= int(count) <= len(names):
        raise UserError(
            f"{count} stages: the backbone has {len(names)}, from the input to the output "
            f"{', '.join(names)}"
        )
    return names[len(names) - int(count) :]


def unfreeze(
    model: keras.Model,
    stages: Stages,
    tuned: Collection[str] = (),
    *,
    update_statistics: bool = False,
) -> None:
    """Make the head and the named stages trainable, and nothing else; compile the model afterwards.

    What the backbone's BatchNormalization layers have learned of their inputs (moving mean and
    variance) belongs to its weights, and a small data set would spoil it. Keras' way to say so,
    `backbone(x, training=False)`, is forgotten by functional models (3.15); a layer that may not be
    trained keeps its statistics in every version. So these layers are frozen, scale and offset
    too, unless `update_statistics` asks otherwise.

    Args:
        model: of `transfer_classifier`.
        stages: of `backbone_stages`, on the backbone.
        tuned: names of the stages that may move; none is a linear probe.
        update_statistics: train the normalization of tuned stages, too.

    Raises:
        UserError: an unknown stage.
    """
    for name in tuned:
        if name not in stages:
            raise UserError(f"no stage {name!r}: there is {', '.join(stages)}")
    head = {id(layer) for layer in head_layers(model)}
    tuned_layers = {id(layer) for name in tuned for layer in stages[name]}
    model.trainable = True
    for layer in model.layers:
        if id(layer) not in head:
            layer.trainable = id(layer) in tuned_layers
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = layer.trainable and update_statistics


def features_of(model: keras.Model) -> keras.Model:
    """Images -> the pooled features, float32 `[batch, channels]`, that the head sees."""
    return keras.Model(model.input, model.get_layer(FEATURES).output, name=f"{model.name}_features")


def head_of(model: keras.Model) -> keras.Model:
    """A copy of the head with the same weights and the same random state: features -> logits."""
    x = features = keras.Input(model.get_layer(FEATURES).output.shape[1:], name="features")
    for layer in head_layers(model):
        x = type(layer).from_config(layer.get_config())(x)
    head = keras.Model(features, x, name=f"{model.name}_head")
    _copy(head_layers(model), head_layers(head))
    return head


def set_head(model: keras.Model, head: keras.Model) -> None:
    """Give a classifier the weights and the random state of a copy of its head."""
    _copy(head_layers(head), head_layers(model))


def head_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """What follows the pooled features."""
    return [layer for layer in model.layers if layer.name in HEAD]


def _copy(sources, targets):
    for source, target in zip(sources, targets, strict=True):
        for one, other in zip(source.variables, target.variables, strict=True):
            other.assign(one)
