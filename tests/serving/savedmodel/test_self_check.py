"""Each thing that the self-check looks at: what is wrong there alone is found."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import serving
from kapps.errors import UserError
from kapps.serving.savedmodel import graph, image_files
from serving.small_classifier import CLASS_NAMES, build


def refused(tmp_path, error, words):
    with pytest.raises(error, match=words):
        serving.export(build(), tmp_path, CLASS_NAMES)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def served(monkeypatch):
    """Changes what is served, and not the model it is compared with."""
    classifier = graph.classifier

    def change(alter):
        def changed(*arguments):
            classify = classifier(*arguments)
            return lambda image: alter(image, classify(image))

        monkeypatch.setattr(graph, "classifier", changed)

    return change


@pytest.mark.slow
def test_labels_of_other_classes(tmp_path, served):
    rolled = tf.constant(CLASS_NAMES[1:] + CLASS_NAMES[:1])

    def alter(image, answer):
        best = tf.argmax(answer["probabilities"], axis=-1)
        return answer | {"label": tf.gather(rolled, best)}

    served(alter)
    refused(tmp_path, RuntimeError, "labels of the SavedModel do not belong")


@pytest.mark.slow
def test_answers_that_are_wrong_in_a_batch_only(tmp_path, served):
    def alter(image, answer):
        wrong = tf.reverse(answer["probabilities"], axis=[0])
        return answer | {"probabilities": wrong}

    served(alter)
    refused(tmp_path, RuntimeError, "differs from the model by")


@pytest.mark.slow
def test_answers_that_are_wrong_for_one_image_only(tmp_path, served):
    def alter(image, answer):
        alone = tf.equal(tf.shape(image)[0], 1)
        chances = answer["probabilities"]
        return answer | {"probabilities": tf.where(alone, tf.ones_like(chances) / 4, chances)}

    served(alter)
    refused(tmp_path, RuntimeError, r"differs from the model by .*batch of 1,")


@pytest.mark.slow
def test_answers_that_change_with_the_clock(tmp_path, served):
    """No random number and no variable; the operation is one that nobody would list."""

    def alter(image, answer):
        moment = tf.cast(tf.math.floormod(1e3 * tf.timestamp(), 1.0), tf.float32)
        return answer | {"probabilities": answer["probabilities"] + 0.01 * moment}

    served(alter)
    refused(tmp_path, RuntimeError, "differently when called twice")


@pytest.mark.slow
def test_files_that_are_decoded_otherwise(tmp_path, monkeypatch):
    decode = image_files.decode_files
    monkeypatch.setattr(
        image_files, "decode_files", lambda *arguments: tf.reverse(decode(*arguments), axis=[1])
    )
    refused(tmp_path, RuntimeError, "differently for the same image as PNG")


@pytest.mark.slow
def test_a_model_that_diverged_is_called_that(tmp_path):
    model = build()
    model.get_layer("logits").bias.assign([0.0, np.nan, 0.0, 0.0])
    with pytest.raises(UserError, match="not finite: the model diverged"):
        serving.export(model, tmp_path, CLASS_NAMES)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 5])
def test_functions_that_are_wrong_for_some_batches(tmp_path, monkeypatch, batch):
    layer = keras.layers.Dense(2)
    layer.build((None, 2))
    spec = tf.TensorSpec((None, 2), tf.float32, "z")

    def serve(z):
        return {"pixels": layer(z)}

    def wrong(z):
        return {"pixels": layer(z) + 0.1 * tf.cast(tf.equal(tf.shape(z)[0], batch), tf.float32)}

    save = graph.save
    monkeypatch.setattr(
        graph,
        "save",
        lambda directory, endpoints, names: save(
            directory, {"serving_default": graph.signature(wrong, [spec])}, names
        ),
    )
    with pytest.raises(RuntimeError, match="serving_default: the SavedModel differs"):
        serving.export_generative({"serving_default": (serve, [spec])}, tmp_path)
