"""Generative models become SavedModels that need neither kapps nor Keras.

`export_generative` publishes any set of functions. What each kind of model offers is listed in
`kapps.serving.publishing.generative`. All of it is deterministic: random numbers come from the seed
that a signature takes, and from nothing else.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from kapps import files
from kapps.serving.savedmodel import graph, input_statistics
from kapps.serving.savedmodel.examples import checked_images, example_input
from kapps.serving.savedmodel.generative_card import generative_card
from kapps.serving.savedmodel.input_statistics import Statistics
from kapps.serving.savedmodel.self_check import (
    ENDPOINT_TOLERANCE,
    check_endpoint,
    full_float32,
    refuse_state,
)
from kapps.serving.savedmodel.versions import write_version
from kapps.serving.savedmodel.warmup import BATCHES, write_warmup

Endpoint = tuple[Callable[..., dict[str, tf.Tensor]], Sequence[tf.TensorSpec]]
CHECKED_BATCHES = (1, 5)
# Pictures drawn at a time. The seed of a part says where it begins, so it belongs to the result.
TOGETHER = 256
# Of samples in one answer: a server may not be made to run out of memory by a number.
MAX_COUNT, MAX_VALUES = 10_000, 2**25


def export_generative(
    endpoints: Mapping[str, Endpoint],
    export_dir: str | os.PathLike,
    *,
    kind: str = "generative model",
    class_names: Sequence[str] = (),
    classes: int = 0,
    card: str | None = None,
    sample_images: np.ndarray | None = None,
    tolerance: float = ENDPOINT_TOLERANCE,
    statistics: Statistics | None = None,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """Publishes functions as the signatures of the next version under `export_dir`.

    Before it appears, the version is loaded again and asked, for a batch of one and of five: the
    same answers as the functions give now, the same bits when asked twice, and no operation that
    changes a variable or draws random numbers, unless these depend on nothing but the `seed` that
    the signature takes. The directory also holds warm-up requests and `model_card.md`.

    Args:
        endpoints: By the name of the signature, a function of tensors that returns tensors by name,
            and the specs of its arguments, in order, each with a name. Known names of arguments,
            for which examples can be made: `image` uint8 [N, H, W, C], `image_bytes` string [N],
            `z` float32 [N, d], `codes` int32 [N, h, w], `label` int32 [N] or of any shape,
            `count`, `seed`; `prompt`, `text` string [N], `length`, `temperature`, `top_k`. One
            endpoint must be called `serving_default`.
        export_dir: The directory that a server watches; made when missing.
        kind: What the card calls the model.
        class_names: Lines of `assets/labels.txt`, for conditional models.
        classes: Number of classes of a conditional model, to make labels for the check.
        card: Markdown on what was trained on what, with which result; how to call the model is
            appended to it.
        sample_images: uint8 [n, H, W, C] for the check, noise when None; none of them is stored.
        tolerance: Largest difference of a number, relative to the largest number of its tensor or
            1; uint8 may differ by one level more than that.
        statistics: What the inputs were like in training, by name, see
            `kapps.serving.savedmodel.input_statistics`; for the counters of `kapps serve`.
        extra: Texts by the name of their file in `assets.extra/`.

    Returns:
        The directory of the published version.

    Raises:
        UserError: a function draws random numbers without a seed or changes variables, or answers
            what is not finite. Nothing is published.
        RuntimeError: the reloaded SavedModel disagrees with the functions. Nothing is published.
    """
    if "serving_default" not in endpoints:
        raise ValueError("one endpoint must be called serving_default")
    class_names = graph.checked_names(class_names)
    shapes = [s.shape for _, specs in endpoints.values() for s in specs if s.name == "image"]
    image_shape = tuple(shapes[0][1:]) if shapes else ()
    images = checked_images(sample_images, image_shape) if shapes else sample_images
    export_dir = Path(export_dir)
    functions = {
        function: graph.signature(function, specs)
        for function, specs in dict(endpoints.values()).items()
    }
    signatures = {name: functions[function] for name, (function, _) in endpoints.items()}

    def example(
        name: str, size: int, seed: int, images: np.ndarray | None
    ) -> dict[str, np.ndarray | np.generic]:
        return {
            spec.name: example_input(spec, size, seed, images, classes)
            for spec in endpoints[name][1]
        }

    def write(directory: Path) -> None:
        graph.save(directory, signatures, class_names)
        text = generative_card(
            export_dir.name, kind, _described(signatures, endpoints), class_names, card
        )
        (directory / "model_card.md").write_text(text, encoding="utf-8")
        # Generated: training and validation images are nobody's business but the run's.
        noise = checked_images(None, image_shape) if shapes else None
        requests = [(n, example(n, size, 0, noise)) for size in BATCHES for n in endpoints]
        input_statistics.write(directory, statistics)
        for name, text in (extra or {}).items():
            (directory / "assets.extra").mkdir(exist_ok=True)
            files.write_text(directory / "assets.extra" / name, text)
        write_warmup(directory, export_dir.name, requests)
        loaded = tf.saved_model.load(str(directory))
        with full_float32():
            for name, (function, specs) in endpoints.items():
                served = loaded.signatures[name]
                refuse_state(name, served, seeded=any(spec.name == "seed" for spec in specs))
                for size in CHECKED_BATCHES:
                    asked = example(name, size, size, images)
                    check_endpoint(name, function, served, asked, tolerance)

    return write_version(export_dir, write)


def in_parts(
    draw: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
    count: tf.Tensor,
    seed: tf.Tensor,
    image_shape: tuple[int, int, int],
) -> tf.Tensor:
    """Pixels of `count` samples, float32 [count, H, W, C], drawn 256 at a time.

    Args:
        draw: (size, seed int32 [2], where the part begins) -> pixels [size, H, W, C].
        count: int32 []; at most 10,000, and 2**25 values together.
        seed: int32 []; with where a part begins it makes that part's seed.
        image_shape: (H, W, C).

    Raises:
        tf.errors.InvalidArgumentError: more are asked for, when it is run.
    """
    most = max(1, min(MAX_COUNT, MAX_VALUES // math.prod(image_shape)))
    count = tf.maximum(at_most("count", count, most), 0)
    parts = tf.maximum(1, -(-count // TOGETHER))
    pixels = tf.TensorArray(
        tf.float32, parts, infer_shape=False, element_shape=(None, *image_shape)
    )

    def part(i, pixels):
        start = i * TOGETHER
        # Of no samples one is drawn and cut: convolutions do not take an empty batch everywhere.
        size = tf.clip_by_value(count - start, 1, TOGETHER)
        drawn = draw(size, tf.stack([seed, start]), start)
        return i + 1, pixels.write(i, drawn)

    _, pixels = tf.while_loop(
        lambda i, _: i < parts, part, (tf.constant(0), pixels), parallel_iterations=1
    )
    return tf.ensure_shape(pixels.concat()[:count], (None, *image_shape))


def at_most(name: str, number: tf.Tensor, most: int) -> tf.Tensor:
    """A number of a request as it is; a larger one than `most` is an error of the request."""
    words = [f"{name} is larger than {most}:", number]
    with tf.control_dependencies([tf.debugging.Assert(number <= most, words)]):
        return tf.identity(number)


def picture(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
    """`pixels` clipped to 0..1, and `image`, the same as uint8 0..255."""
    pixels = tf.clip_by_value(tf.cast(pixels, tf.float32), 0.0, 1.0)
    return {"image": tf.cast(tf.round(255.0 * pixels), tf.uint8), "pixels": pixels}


def _described(signatures, endpoints) -> dict[str, tuple[dict, dict]]:
    """By signature, the specs of its inputs and outputs by name."""
    return {
        name: (
            {spec.name: spec for spec in endpoints[name][1]},
            function.get_concrete_function().structured_outputs,
        )
        for name, function in signatures.items()
    }
