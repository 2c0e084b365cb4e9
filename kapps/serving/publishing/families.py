"""Which exporter publishes what: one table of kinds of model and data.

A row names the exporter, which knows the signatures of its family, and works out of the data what
the exporter needs beyond the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kapps.data import DocumentData, ImageData, PointData, SequenceData, TableData, TextData
from kapps.errors import UserError
from kapps.models import GAN, VAE, VQVAE, Autoencoder, TruncatedBPTT
from kapps.serving.publishing.classic import export_points
from kapps.serving.publishing.documents import export_documents
from kapps.serving.publishing.generative import export_generator
from kapps.serving.publishing.images import export
from kapps.serving.publishing.pictures import export_labels, export_numbers
from kapps.serving.publishing.series import export_sequences
from kapps.serving.publishing.tables import export_table
from kapps.serving.publishing.text import export_text
from kapps.serving.savedmodel import out_of_distribution
from kapps.serving.savedmodel.input_statistics import statistics_of

MEASURED = 500  # training images, of which the statistics are
DETECTED = 1000  # training images, and at most as many validation images, of the score
_PART = 64  # of them
CHECKED = 8  # validation examples that the self-check compares; none of them is stored


@dataclass(frozen=True)
class Family:
    """A kind of model on a kind of data.

    Attributes:
        model: the model's class.
        data: the class of its data.
        examples: what the data counts.
        export: the exporter, called with the model, the export directory and keywords.
        settings: (model, data, temperature) -> the exporter's keywords.
        fits: what else is asked of the data.
    """

    model: type
    data: type
    examples: str
    export: Callable[..., Path]
    settings: Callable[[keras.Model, Any, float], dict[str, Any]]
    fits: Callable[[Any], bool] = lambda data: True


def family_of(model: keras.Model, data: Any) -> Family:
    """The first row that fits a model and its data.

    Raises:
        UserError: none does.
    """
    for row in FAMILIES:
        if isinstance(model, row.model) and isinstance(data, row.data) and row.fits(data):
            return row
    raise UserError(
        f"there is no exporter for a {type(model).__name__} on {type(data).__name__}: it takes an "
        "image classifier, an autoencoder, a VAE, a VQ-VAE, a GAN, or a model of a table, of "
        "series, of text or of points, with the data it was trained on"
    )


def _classes(model, data, temperature) -> dict[str, Any]:
    return {"class_names": data.class_names, "temperature": temperature}


def _classes_and_images(model, images, temperature) -> dict[str, Any]:
    train = images.splits["train"]
    chosen = np.linspace(0, len(train) - 1, min(MEASURED, len(train))).astype(int)
    return {
        **_classes(model, images, temperature),
        **_images(model, images, temperature),
        "statistics": {"image": statistics_of(train.take(chosen))},
        "detector": _detector(
            model, train.take, train.labels, images.splits["validation"].take,
            len(images.splits["validation"]),
        ),
    }  # fmt: skip


def _detector(model, train, labels, validation, validation_examples):
    """Of evenly spread examples; `train` and `validation` give images by row number."""
    if validation_examples < out_of_distribution.FEWEST:
        return None
    chosen, judged = (_spread(n) for n in (len(labels), validation_examples))
    return out_of_distribution.fit(
        model, _parts(train, chosen), labels[chosen], _parts(validation, judged)
    )


def _spread(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(DETECTED, count)).astype(int)


def _parts(take, rows):
    return (take(rows[i : i + _PART]) for i in range(0, len(rows), _PART))


def _names_and_images(model, images, temperature) -> dict[str, Any]:
    return {"class_names": images.class_names} | _images(model, images, temperature)


def _classes_and_points(model, points, temperature) -> dict[str, Any]:
    return {
        **_classes(model, points, temperature),
        "sample_images": points.x["validation"][:CHECKED],
        "statistics": {"image": statistics_of(points.x["train"])},
        "detector": _detector(
            model,
            points.x["train"].__getitem__,
            points.y["train"],
            points.x["validation"].__getitem__,
            len(points.x["validation"]),
        ),
    }


def _classes_and_coordinates(model, points, temperature) -> dict[str, Any]:
    found = {"points": statistics_of(points.x["train"])}
    return _classes(model, points, temperature) | {"statistics": found}


def _classes_and_columns(model, table, temperature) -> dict[str, Any]:
    found = {
        name: {"mean": [said["mean"]], "std": [said["std"]]}
        for name, said in table.columns.items() if said["kind"] == "number"
    }  # fmt: skip
    return _classes(model, table, temperature) | {"statistics": found}


def _classes_and_series(model, series, temperature) -> dict[str, Any]:
    return {
        **_classes(model, series, temperature),
        "sample_series": series.splits["validation"].values[:CHECKED],
        "statistics": {"sequence": statistics_of(series.splits["train"].values)},
        "feature_names": series.feature_names,
    }


def _images(model, images, temperature) -> dict[str, Any]:
    split = images.splits["validation"]
    sample = split.take(range(min(CHECKED, len(split)))) if len(split) else None
    return {"sample_images": sample, "reading": images.reading}


def _labels(model, images, temperature) -> dict[str, Any]:
    return {"class_names": images.class_names if model.classes else ()}


def _labels_and_images(model, images, temperature) -> dict[str, Any]:
    return _labels(model, images, temperature) | _images(model, images, temperature)


def _nothing(model, data, temperature) -> dict[str, Any]:
    return {}


def _has_labels(images: ImageData) -> bool:
    return images.kind == "labels"


def _has_numbers(images: ImageData) -> bool:
    return images.kind == "number"


def _holds_images(points: PointData) -> bool:
    return np.ndim(points.x["train"]) == 4


# A classifier is any model that is none of the others.
FAMILIES = (
    Family(VAE, ImageData, "images", export_generator, _labels_and_images),
    Family(VQVAE, ImageData, "images", export_generator, _labels_and_images),
    Family(GAN, ImageData, "images", export_generator, _labels),
    Family(Autoencoder, ImageData, "images", export_generator, _images),
    Family(TruncatedBPTT, TextData, "characters", export_text, _nothing),
    Family(keras.Model, ImageData, "images", export_labels, _names_and_images, _has_labels),
    Family(keras.Model, ImageData, "images", export_numbers, _images, _has_numbers),
    Family(keras.Model, ImageData, "images", export, _classes_and_images),
    Family(keras.Model, DocumentData, "texts", export_documents, _classes),
    Family(keras.Model, TableData, "rows", export_table, _classes_and_columns),
    Family(keras.Model, SequenceData, "series", export_sequences, _classes_and_series),
    Family(keras.Model, PointData, "images", export, _classes_and_points, _holds_images),
    Family(keras.Model, PointData, "points", export_points, _classes_and_coordinates),
)
