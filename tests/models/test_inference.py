import keras
import numpy as np
import pytest

from kapps import models, training
from models.pretrained import small_backbone


def wide():
    with training.precision_policy("mixed_bfloat16"):
        return models.cnn((8, 8, 1), 3, filters=(4,))


def vae():
    with training.precision_policy("mixed_bfloat16"):
        beta = models.KLWarmup(10)
        return models.dense_vae((4, 4, 1), 2, units=(5,), beta=beta, pseudo_inputs=3)


def vq_vae():
    with training.precision_policy("mixed_bfloat16"):
        model = models.vq_vae((8, 8, 1), codes=4, code_dim=2, filters=(3,))
        return model.with_prior(models.code_prior(model.code_shape, 4, filters=3, depth=1))


def backbone():
    with training.precision_policy("mixed_bfloat16"):
        return models.transfer_classifier(small_backbone.backbone(), 3)


@pytest.mark.parametrize("build", [wide, vae, vq_vae, backbone], ids=lambda build: build.__name__)
def test_float32_the_same_weights_and_no_optimizer(build):
    model = build()
    model.compile("adam")
    plain = models.for_inference(model)
    layers = [layer for layer in plain._flatten_layers() if layer.weights]
    assert {layer.compute_dtype for layer in layers} == {"float32"}
    assert "bfloat16" in {layer.compute_dtype for layer in model._flatten_layers()}
    assert not plain.compiled and model.compiled
    for ours, theirs in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_compiled_part_is_not_compiled_any_more(tmp_path):
    """The optimizer of a part would be saved with the whole."""
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="inner")
    inner.compile("adam", "mse")
    inner.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    outer = keras.Sequential([keras.Input((3,)), inner])
    plain = models.for_inference(outer)
    assert inner.compiled and not plain.get_layer("inner").compiled
    np.testing.assert_array_equal(plain(np.ones((1, 3))), outer(np.ones((1, 3))))
