"""What may move in a transfer classifier, and what may not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import layers, losses, models, training
from kapps.errors import UserError
from kapps.models.pretrained import transfer
from models.pretrained.small_backbone import backbone, stages


def pictures(count=24):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (count, 12, 12, 3)).astype(np.float32)
    return x, np.eye(4, dtype=np.float32)[np.arange(count) % 4]


def values(layer_or_model):
    return [np.array(weight) for weight in layer_or_model.weights]


def changed(layer, before):
    now = values(layer)
    return [not np.array_equal(a, b) for a, b in zip(before, now, strict=True)]


def fine_tuned(tuned, normalization=layers.BatchNormalization, **options):
    """Which weights of each stage changed in two epochs: kernel, gamma, beta, mean, variance."""
    keras.utils.set_random_seed(0)
    base = backbone(normalization=normalization)
    model, parts = models.transfer_classifier(base, 4), stages(base)
    # Statistics of data that the network has seen, not the zeros and ones it begins with.
    model.compile("sgd", losses.softmax_cross_entropy)
    model.fit(*pictures(), epochs=1, verbose=0)
    transfer.unfreeze(model, parts, tuned, **options)
    model.compile(keras.optimizers.Adam(0.01), losses.softmax_cross_entropy)
    before = {name: [values(layer) for layer in found] for name, found in parts.items()}
    head = values(model.get_layer("logits"))
    model.fit(*pictures(), epochs=2, batch_size=8, verbose=0)
    assert changed(model.get_layer("logits"), head) == [True, True]
    return {
        name: [
            *changed(found[0], before[name][0]),
            *changed(found[1], before[name][1]),
        ]
        for name, found in parts.items()
    }


STILL = [False] * 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", [layers.BatchNormalization, keras.layers.BatchNormalization])
def test_statistics_are_the_same_bits_after_fine_tuning(kind):
    """Whatever this version of Keras makes of `training=False` in a functional model."""
    moved = fine_tuned(("block1", "block2"), kind)
    assert moved == {"stem": STILL, "block1": [True, *STILL[1:]], "block2": [True, *STILL[1:]]}


@pytest.mark.slow
def test_statistics_move_only_if_asked_for_and_only_in_tuned_stages():
    moved = fine_tuned(("block2",), update_statistics=True)
    assert moved == {"stem": STILL, "block1": STILL, "block2": [True] * 5}


@pytest.mark.slow
def test_a_probe_moves_the_head_alone():
    assert fine_tuned(()) == {"stem": STILL, "block1": STILL, "block2": STILL}


@pytest.mark.slow
def test_a_frozen_backbone_computes_the_same_in_training():
    """What a cache of features stands on."""
    base = backbone()
    model = models.transfer_classifier(base, 4, dropout=0.0)
    model.compile("sgd", "mse")
    model.fit(*pictures(), epochs=1, verbose=0)
    transfer.unfreeze(model, stages(base))
    x, _ = pictures()
    training, inference = (model(x, training=flag) for flag in (True, False))
    np.testing.assert_array_equal(training, inference)


def test_unfreezing_again_forgets_what_was_frozen():
    base = backbone()
    model, parts = models.transfer_classifier(base, 4), stages(base)
    transfer.unfreeze(model, parts)
    assert [v.path.split("/")[-2] for v in model.trainable_variables] == ["logits"] * 2
    transfer.unfreeze(model, parts, ("stem",))
    names = {v.path.split("/")[-2] for v in model.trainable_variables}
    assert names == {"stem_conv", "logits"}
    transfer.unfreeze(model, parts, tuple(parts), update_statistics=True)
    assert len(model.non_trainable_weights) == 2 * len(parts)  # moving means and variances


def test_stages_are_counted_from_the_output():
    parts = stages(backbone())
    assert transfer.last_stages(parts, 0) == ()  # [-0:] would be all of them
    assert transfer.last_stages(parts, 2) == ("block1", "block2")
    assert transfer.last_stages(parts, "all") == transfer.last_stages(parts, 3) == tuple(parts)
    for count in (4, -1):
        with pytest.raises(UserError, match="has 3, .*stem, block1, block2"):
            transfer.last_stages(parts, count)
    with pytest.raises(UserError, match="no stage 'block3'"):
        transfer.unfreeze(models.transfer_classifier(backbone(), 4), parts, ("block3",))


def test_rates_of_stages_shrink_towards_the_input():
    base = backbone()
    model, parts = models.transfer_classifier(base, 4), stages(base)
    tuned = transfer.last_stages(parts, 2)
    transfer.unfreeze(model, parts, tuned)
    factors = training.rate_factors(model, parts, training.decaying_factors(tuned, 0.5))
    assert factors == (0.25, 0.5, 1.0, 1.0)  # two kernels, and the head's kernel and bias


def test_the_head_by_itself_goes_on_as_in_the_model():
    keras.utils.set_random_seed(1)
    base = backbone()
    model = models.transfer_classifier(base, 4, dropout=0.5)
    transfer.unfreeze(model, stages(base))
    x, _ = pictures()
    features = transfer.features_of(model)(x, training=False)
    head = transfer.head_of(model)
    for _ in range(2):  # the same units are dropped, call after call
        np.testing.assert_allclose(
            head(features, training=True), model(x, training=True), rtol=1e-5, atol=1e-6
        )
    head.get_layer("logits").bias.assign([1.0, 2.0, 3.0, 4.0])
    transfer.set_head(model, head)
    np.testing.assert_array_equal(model.get_layer("logits").bias, [1.0, 2.0, 3.0, 4.0])
    assert head.get_layer("logits").kernel is not model.get_layer("logits").kernel


def test_what_is_no_backbone_is_refused():
    image = keras.Input((8,))
    with pytest.raises(UserError, match="small is no backbone"):
        models.transfer_classifier(
            keras.Model(image, keras.layers.Dense(3)(image), name="small"), 2
        )
    with pytest.raises(UserError, match="dropout"):
        models.transfer_classifier(backbone(), 2, dropout=1.0)


def test_the_pooled_features_are_float32_under_every_policy():
    with training.precision_policy("mixed_bfloat16"):
        model = models.transfer_classifier(backbone(), 4)
    assert transfer.features_of(model)(pictures(2)[0]).dtype == tf.float32
