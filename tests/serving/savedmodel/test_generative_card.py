"""The words of a card."""

import tensorflow as tf

from kapps.serving.savedmodel.generative_card import generative_card


def spec(shape, dtype=tf.float32):
    return tf.TensorSpec(shape, dtype)


def test_shapes_and_sentences():
    series = ({"sequence": spec((None, None, 2))}, {"prediction": spec((None, 1))})
    card = generative_card("waves", "recurrent network", {"serving_default": series})
    assert "`sequence` float32 [N, T, 2] | `prediction` float32 [N, 1] |" in card
    assert "A recurrent network. It is deterministic.\n" in card

    image = spec((None, 8, 8, 1), tf.uint8)
    drawn = ({"count": spec(None, tf.int32), "seed": spec(None, tf.int32)}, {"image": image})
    signatures = {"serving_default": ({"image": image}, {"image": image}), "sample": drawn}
    card = generative_card("codes", "autoencoder", signatures)
    assert "An autoencoder. It is deterministic: randomness comes only from the seed" in card
    assert "`count` int32 [] or [1], `seed` int32 [] or [1]" in card
