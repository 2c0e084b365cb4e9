"""The graph of a served image classifier: decoder, model, temperature, softmax, labels.

And what any served graph needs: what it is sent checked, its variables found, its files written.
"""

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from kapps.data.images.files.decode import PLAIN, Reading
from kapps.errors import UserError
from kapps.serving.savedmodel import image_files
from kapps.serving.savedmodel.out_of_distribution import OUTPUT, Detector


def check(
    model: keras.Model, class_names: Sequence[str], temperature: float
) -> tuple[tuple[str, ...], tuple[int, int, int]]:
    """Finds what keeps a model from being served as an image classifier.

    Returns:
        The class names and the image shape (H, W, C).

    Raises:
        UserError: shapes that are unknown or do not fit the labels, labels that are no lines or
            not distinct, or a temperature that is not positive.
    """
    names = checked_names(class_names)
    image_shape = _checked_image_shape(model, len(names))
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"temperature is {temperature}; a positive number is needed")
    return names, image_shape


def endpoints(
    model: keras.Model,
    image_shape: tuple[int, int, int],
    class_names: tuple[str, ...],
    temperature: float,
    reading: Reading = PLAIN,
    detector: Detector | None = None,
    heat: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
) -> dict[str, Callable]:
    """The signatures by name, as `kapps.serving.export` describes them.

    Args:
        model: Images [N, H, W, C] of 0..255 -> logits [N, classes].
        image_shape: (H, W, C).
        class_names: One label per logit.
        temperature: The logits are divided by it.
        reading: How files are decoded, see `ImageData.reading`.
        detector: What gives the score of how unlike the training images an image is.
        heat: What says where in an image a class is seen: images and classes -> [N, H, W].
    """
    classify = classifier(model, class_names, temperature, detector)

    def classify_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return never_empty(classify)(image_files.decode_files(image_bytes, image_shape, reading))

    image = tf.TensorSpec((None, *image_shape), tf.uint8, name="image")
    endpoints = {"serving_default": signature(classify, [image])}
    if image_shape[-1] in image_files.DECODABLE_CHANNELS:
        endpoints["from_bytes"] = signature(classify_bytes, [image_files.IMAGE_BYTES])
        if heat is not None:
            looked = never_empty(explainer(classify, heat))
            endpoints["explain"] = signature(
                lambda files: looked(image_files.decode_files(files, image_shape, reading)),
                [image_files.IMAGE_BYTES],
            )
    return endpoints


def explainer(
    classify: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    heat: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Images uint8 [N, H, W, C] -> `heat_map` for the `label`, of 0..1, and `image` as it is."""

    def explain(image: tf.Tensor) -> dict[str, tf.Tensor]:
        said = classify(image)
        best = tf.argmax(said["probabilities"], axis=-1)
        found = heat(tf.cast(image, tf.float32), best)
        most = tf.reduce_max(found, axis=(1, 2), keepdims=True)
        heat_map = tf.math.divide_no_nan(found, most)
        return {"heat_map": heat_map, "label": said["label"], "image": tf.identity(image)}

    return explain


def classifier(
    model: keras.Model,
    class_names: tuple[str, ...],
    temperature: float,
    detector: Detector | None = None,
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Images uint8 [N, H, W, C] -> `probabilities` and `label`; a detector's score, too."""

    def classify(image: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.cast(image, tf.float32)
        if detector is None:
            # training=False reaches Keras' random augmentation layers, whose own default is True.
            logits, scores = model(pixels, training=False), {}
        else:
            features, logits = detector.network(pixels)
            scores = {OUTPUT: detector.score(features)}
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32) / temperature)
        label = tf.gather(tf.constant(class_names), tf.argmax(probabilities, axis=-1))
        return {"probabilities": probabilities, "label": label, **scores}

    return classify


def signature(
    function: Callable[..., dict[str, tf.Tensor]], specs: Sequence[tf.TensorSpec]
) -> tf.types.experimental.GenericFunction:
    """A function to be served: before anything else it refuses tensors of another shape.

    A server hands over what it is sent. Some kernels abort the whole process where a tensor has
    another rank than they were made for, and the check of a signature's shapes is left to the
    client: so it stands in the graph.

    Args:
        function: Of tensors in the order of `specs`, returns tensors by name.
        specs: Of the arguments, each with a name.
    """
    whole = function
    if any(spec.shape.rank for spec in specs) and image_files.IMAGE_BYTES not in specs:
        whole = never_empty(function)

    def guarded(*arguments: tf.Tensor) -> dict[str, tf.Tensor]:
        return whole(
            *(
                argument if spec.shape.rank is None else tf.ensure_shape(argument, spec.shape)
                for argument, spec in zip(arguments, specs, strict=True)
            )
        )

    return tf.function(guarded, autograph=False, input_signature=list(specs))


def never_empty(
    function: Callable[..., dict[str, tf.Tensor]],
) -> Callable[..., dict[str, tf.Tensor]]:
    """The same function, which of no examples computes one and cuts it off.

    Many kernels, convolutions for one, do not take an empty batch.
    """

    def whole(*arguments: tf.Tensor) -> dict[str, tf.Tensor]:
        batches = [x for x in arguments if x.shape.rank]
        count = tf.shape(batches[0])[0]

        def filled(x):
            if not x.shape.rank:
                return x
            sizes = list(x.shape[1:])
            if None in sizes:
                sizes = tf.unstack(tf.shape(x)[1:])
            nothing = tf.fill([1, *sizes], tf.constant("" if x.dtype == tf.string else 0, x.dtype))
            # One more than there are, and cut: LiteRT dies of a tensor of no rows to be added.
            return tf.concat([x, nothing], axis=0)[: tf.maximum(count, 1)]

        answer = function(*(filled(x) for x in arguments))
        return {name: tensor[:count] for name, tensor in answer.items()}

    return whole


def save(directory: Path, endpoints: Mapping[str, Callable], class_names: Sequence[str]) -> None:
    """Writes a SavedModel whose signatures are `endpoints`, with `assets/labels.txt`.

    Args:
        directory: Where to.
        endpoints: A tf.function with an input signature, or a concrete function, by the name of
            its signature.
        class_names: The lines of labels.txt; without any there is no such file.
    """
    # A plain module instead of keras.export.ExportArchive: that keeps variables and lookup
    # tables and has no place for a file.
    concrete = {
        name: f
        if isinstance(f, tf.types.experimental.ConcreteFunction)
        else f.get_concrete_function()
        for name, f in endpoints.items()
    }
    served = trackable(concrete.values())
    with tempfile.TemporaryDirectory() as scratch:
        if class_names:
            labels = Path(scratch, "labels.txt")
            labels.write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
            served.labels = tf.saved_model.Asset(str(labels))
        # Of a tf.function TensorFlow would trace each a second time.
        tf.saved_model.save(served, str(directory), signatures=concrete)


def trackable(functions: Iterable[tf.types.experimental.ConcreteFunction]) -> tf.Module:
    """What `tf.saved_model.save` finds the variables of the functions on.

    Keras' own variables would be saved as well, but converters do not recognize them as constants:
    LiteRT then answers NaN.
    """
    served = tf.Module()
    used = {id(v): v for f in functions for v in f.variables}
    served.model_variables = list(used.values())
    return served


def checked_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Class names as a tuple.

    Raises:
        UserError: a name is no line, or two are equal.
    """
    names = tuple(str(name) for name in class_names)
    for name in names:
        if not name or name.splitlines() != [name]:
            raise UserError(f"class name {name!r} does not fit on one line of labels.txt")
    if len(set(names)) < len(names):
        raise UserError("two classes have the same name; a label must say which class is meant")
    return names


def _checked_image_shape(model: keras.Model, classes: int) -> tuple[int, int, int]:
    shape = model.input_shape
    if not (isinstance(shape, tuple) and len(shape) == 4 and None not in shape[1:]):
        raise UserError(f"the model's input is {shape}; (None, height, width, channels) is needed")
    if model.output_shape != (None, classes):
        raise UserError(
            f"the model's output is {model.output_shape}, but there are {classes} class names"
        )
    return shape[1:]
