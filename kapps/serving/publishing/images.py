"""A trained image classifier becomes a SavedModel that needs neither kapps nor Keras.

What is in the graph: the decoder, the model with `training=False`, the temperature of the
calibration, the softmax and the labels. `export` reloads what it wrote and compares before it
publishes, see `kapps.serving.savedmodel.self_check`.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kapps import evaluation
from kapps.data.images.files.decode import PLAIN, Reading
from kapps.errors import UserError
from kapps.serving.savedmodel import graph, input_statistics, out_of_distribution
from kapps.serving.savedmodel.card import model_card
from kapps.serving.savedmodel.examples import checked_images
from kapps.serving.savedmodel.input_statistics import Statistics
from kapps.serving.savedmodel.out_of_distribution import Detector, looking_once
from kapps.serving.savedmodel.self_check import check_saved_model
from kapps.serving.savedmodel.versions import write_version
from kapps.serving.savedmodel.warmup import BATCHES, write_warmup


def export(
    model: keras.Model,
    export_dir: str | os.PathLike,
    class_names: Sequence[str],
    *,
    temperature: float = 1.0,
    card: str | None = None,
    sample_images: np.ndarray | None = None,
    reading: Reading = PLAIN,
    statistics: Statistics | None = None,
    detector: Detector | None = None,
    explained: bool = False,
) -> Path:
    """Publishes a classifier as the next version under `export_dir`.

    Signatures, both returning `probabilities` float32 [N, classes] and `label` string [N]:
    `serving_default` takes `image` uint8 [N, H, W, C]; `from_bytes` takes `image_bytes`, encoded
    PNG or JPEG strings [N], and exists where images have 1 or 3 channels. With a detector both also
    return `out_of_distribution_score` float32 [N].

    `explain`, if it is asked for, takes `image_bytes` as well and returns Grad-CAM's `heat_map`
    float32 [N, H, W], 0 to 1, for the `label` (arXiv:1610.02391), and `image` uint8 [N, H, W, C],
    what the network sees. Networks without feature maps, such as an MLP, do not have it.

    The graph computes in the precision of the model's dtype policy, the one the model was
    evaluated with; softmax and outputs are float32 always. The version directory also holds
    `assets/labels.txt`, warm-up requests and `model_card.md`.

    Args:
        model: Images [N, H, W, C] of 0..255 -> logits [N, classes]; H, W and C are known.
        export_dir: The directory that a server watches; made when missing.
        class_names: One label per logit.
        temperature: The logits are divided by it before the softmax.
        card: Markdown on what was trained on what, with which result; how to call the model is
            appended to it.
        sample_images: uint8 [n, H, W, C] for the check, noise when None; none of them is stored.
        reading: How files are decoded, see `ImageData.reading`.
        statistics: What the inputs were like in training, by name, see
            `kapps.serving.savedmodel.input_statistics`; for the counters of `kapps serve`.
        detector: Of the model, see `kapps.serving.savedmodel.out_of_distribution`.
        explained: Whether a convolutional network gets the signature `explain`, too. Recipes leave
            it out: TensorFlow freezes only one graph that decodes files, `from_bytes`.

    Returns:
        The directory of the published version.

    Raises:
        UserError: the model cannot be served as it is: shapes that do not fit the labels, or a
            graph that draws random numbers or changes its own weights. Nothing is published.
        RuntimeError: the reloaded SavedModel disagrees with the model. Nothing is published.
    """
    class_names, image_shape = graph.check(model, class_names, temperature)
    images = checked_images(sample_images, image_shape)
    heat = _heat(model) if explained else None
    export_dir = Path(export_dir)

    def write(directory: Path) -> None:
        endpoints = graph.endpoints(
            model, image_shape, class_names, temperature, reading, detector, heat
        )
        graph.save(directory, endpoints, class_names)
        takes = {
            name: {spec.name: spec for spec in function.input_signature}
            for name, function in endpoints.items()
        }
        text = model_card(
            export_dir.name, image_shape, class_names, temperature, takes, card, reading.webp,
            detector and detector.threshold,
        )  # fmt: skip
        (directory / "model_card.md").write_text(text, encoding="utf-8")
        input_statistics.write(directory, statistics)
        out_of_distribution.write(directory, detector)
        write_warmup(directory, export_dir.name, _warmup_requests(image_shape, tuple(endpoints)))
        check_saved_model(directory, model, images, class_names, temperature, detector, heat)

    return write_version(export_dir, write)


def _heat(model: keras.Model) -> Callable | None:
    try:
        return evaluation.heat_maps(looking_once(model))
    except UserError:  # there are no feature maps
        return None


def _warmup_requests(image_shape: tuple[int, int, int], endpoints: tuple[str, ...]) -> list:
    # Generated: training and validation images are nobody's business but the run's.
    images, requests = checked_images(None, image_shape), []
    for size in BATCHES:
        batch = np.resize(images, (size, *images.shape[1:]))
        requests.append(("serving_default", {"image": batch}))
        if "from_bytes" in endpoints:
            encoded = np.array([tf.io.encode_png(image).numpy() for image in batch], object)
            requests.append(("from_bytes", {"image_bytes": encoded}))
            if "explain" in endpoints and size == 1:
                requests.append(("explain", {"image_bytes": encoded}))
    return requests
