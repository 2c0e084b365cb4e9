"""The signatures of a model that other runtimes can have: numbers in, numbers out.

Strings stay outside, as ONNX Runtime and LiteRT have no kernels for them here: no files to decode,
no labels, and

    tables  a column of texts is int32 [N, 1]: the place of the text in the vocabulary that stands
            in columns.json beside the file, the place after the last where it is missing, and -1
            where it is none of them
    text    `tokens` int32 [N, T], the places of characters in the vocabulary, and the states before
            them, zeros at a beginning -> `logits` [N, T, symbols] and the states after them
    texts   of a class each: `places` int32 [N, T], of each word its number in words.json beside
            the file, counted from 2; 1 of a word that is not there, 0 for padding at the end. Words
            are in small letters, and a mark of punctuation is one, too
    images  of several labels each: `probabilities` float32 [N, labels] and `given` bool [N,
            labels], which are above their thresholds; of a number each: `value` float32 [N]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kapps.models.tables.columns import CategoryColumn
from kapps.models.tables.mlp import column_layers
from kapps.serving.publishing.classic import is_points, point_endpoints
from kapps.serving.publishing.documents import is_document
from kapps.serving.publishing.generative import endpoints_of, is_generative
from kapps.serving.publishing.pictures import Answer, chances_of, number_of
from kapps.serving.publishing.series import is_sequence, sequence_endpoints
from kapps.serving.publishing.tables import is_tabular
from kapps.serving.publishing.text import is_text
from kapps.serving.savedmodel import graph
from kapps.serving.savedmodel.endpoints import Endpoint


def numeric_endpoints(
    model: keras.Model,
    class_names: Sequence[str] = (),
    temperature: float = 1.0,
    *,
    target_kind: str = "classes",
    thresholds: Sequence[float] = (),
) -> dict[str, Endpoint]:
    """The signatures of any model of kapps, those with strings among them left out or made numeric.

    Args:
        model: of any family.
        class_names: one label per logit; none of what predicts numbers.
        temperature: the logits are divided by it before the softmax.
        target_kind: of images: "classes", "labels" or "number".
        thresholds: of several labels, one each.

    Raises:
        UserError: the model is of no known family, or its labels do not fit.
    """
    if target_kind != "classes":
        image = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8, "image")
        answer = _several(model, thresholds) if target_kind == "labels" else number_of(model)
        return {"serving_default": (answer, [image])}
    if is_text(model):
        return {"serving_default": _next_character(model)}
    if is_generative(model):
        return endpoints_of(model)
    if is_tabular(model):
        return {"serving_default": _columns(model, bool(class_names), temperature)}
    if is_sequence(model):
        return sequence_endpoints(model, class_names, temperature)
    if is_document(model):
        return {"serving_default": _words(model, temperature)}
    if is_points(model):
        return point_endpoints(model, class_names, temperature)
    names, image_shape = graph.check(model, class_names, temperature)
    image = tf.TensorSpec((None, *image_shape), tf.uint8, "image")
    return {"serving_default": (graph.classifier(model, names, temperature), [image])}


def vocabularies(model: keras.Model) -> dict[str, list[str]]:
    """What the numbers of the columns of texts mean, by column; of other models nothing."""
    if is_generative(model) or not is_tabular(model):
        return {}
    texts = [name for name, tensor in model.input.items() if tensor.dtype == "string"]
    return {name: column_layers(model)[name].vocabulary for name in texts}


def words_of(model: keras.Model) -> list[str]:
    """Of a classifier of texts the words that it knows, in the order of their numbers."""
    return model.get_layer("words").vocabulary if is_document(model) else []


def _words(model: keras.Model, temperature: float) -> Endpoint:
    network = model.get_layer("network")

    def answer(places: tf.Tensor) -> dict[str, tf.Tensor]:
        y = tf.cast(network(places, training=False), tf.float32)
        return {"probabilities": tf.nn.softmax(y / temperature)}

    return answer, [tf.TensorSpec((None, None), tf.int32, "places")]


def _columns(model: keras.Model, classifies: bool, temperature: float) -> Endpoint:
    layers, network = column_layers(model), model.get_layer("network")
    words = vocabularies(model)
    specs = [
        tf.TensorSpec((None, 1), tf.int32 if name in words else model.input[name].dtype, name)
        for name in layers
    ]

    def one_hot(layer: CategoryColumn, places: tf.Tensor) -> tf.Tensor:
        # Not tf.one_hot: ONNX counts negative places from the end.
        known = tf.range(len(layer.vocabulary) + bool(layer.missing))
        return tf.cast(tf.equal(places, known[None]), tf.float32)

    def answer(*columns: tf.Tensor) -> dict[str, tf.Tensor]:
        features = [
            one_hot(layer, column) if name in words else layer(column)
            for (name, layer), column in zip(layers.items(), columns, strict=True)
        ]
        y = tf.cast(network(tf.concat(features, axis=-1), training=False), tf.float32)
        if classifies:
            return {"probabilities": tf.nn.softmax(y / temperature)}
        return {"prediction": y[:, 0]}

    return answer, specs


def _several(model: keras.Model, thresholds: Sequence[float]) -> Answer:
    chances = chances_of(model)

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        found = chances(image)
        return {"probabilities": found, "given": found > tf.constant(thresholds, tf.float32)}

    return answer


def _next_character(model: Any) -> Endpoint:
    states = [int(state.shape[-1]) for state in model.network.inputs[1:]]

    def answer(tokens: tf.Tensor, *before: tf.Tensor) -> dict[str, tf.Tensor]:
        logits, *after = model.answer(tokens, before)
        return {
            "logits": tf.cast(logits, tf.float32),
            **{f"next_state_{number}": state for number, state in enumerate(after)},
        }

    return answer, [
        tf.TensorSpec((None, None), tf.int32, "tokens"),
        *(tf.TensorSpec((None, n), tf.float32, f"state_{i}") for i, n in enumerate(states)),
    ]


def without_strings(endpoint: Endpoint) -> tuple[Callable[..., dict[str, tf.Tensor]], list] | str:
    """A signature without its answers that are strings; or why it cannot be numeric."""
    function, specs = endpoint
    texts = [spec.name for spec in specs if spec.dtype == tf.string]
    if texts:
        return f"takes strings ({', '.join(texts)})"
    if any(spec.name == "seed" for spec in specs):
        return "draws random numbers from a seed, for which there is no operation: draw z outside"

    def numeric(*arguments: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = function(*arguments)
        return {name: value for name, value in answer.items() if value.dtype != tf.string}

    return numeric, list(specs)
