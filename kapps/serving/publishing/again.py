"""What a recipe works out of its data when it publishes, for a run that is published again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from kapps import data
from kapps.errors import UserError
from kapps.serving.publishing.families import family_of
from kapps.serving.savedmodel import input_statistics


def images_of(run_dir: str | os.PathLike, facts: Mapping[str, Any]) -> data.ImageData:
    """The pictures that a run was trained on, loaded again.

    Args:
        run_dir: the run.
        facts: what its config.json holds.

    Raises:
        UserError: they are gone or have changed, or config.json does not say what they were.
    """
    config, shape = facts["config"], facts.get("image_shape")
    if not shape:
        raise UserError(f"{run_dir}: config.json does not say how large the images are")
    if "dataset" not in config:
        raise UserError(f"{run_dir}: config.json names no dataset")
    images = data.load_as_configured(config, image_size=(shape[0], shape[1]))
    if images.fingerprint != facts["data"]["fingerprint"]:
        raise UserError(
            f"{config['dataset']} is not what {run_dir} was trained on any more: the same images "
            "are needed. Put them back, or train again."
        )
    return images


def learnt_of_images(
    model: keras.Model, run_dir: str | os.PathLike, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Keywords of `export` for a classifier of images: statistics, and the score's detector.

    Raises:
        UserError: as `images_of`.
    """
    images = images_of(run_dir, facts)
    settings = family_of(model, images).settings(model, images, 1.0)
    return {name: settings[name] for name in ("sample_images", "statistics", "detector")}


def statistics_of_published(
    run_dir: str | os.PathLike, facts: Mapping[str, Any]
) -> dict[str, dict[str, list[float]]]:
    """The input statistics of the version that a run has published itself; none if it is gone.

    Args:
        run_dir: the run; the version's card has to name it.
        facts: what its config.json holds.
    """
    version = Path(facts.get("exported") or "")
    try:
        card = (version / "model_card.md").read_text(encoding="utf-8")
    except OSError:
        return {}
    named = f"Run directory: {Path(run_dir).name}" in card.splitlines()
    return input_statistics.read(version) if named else {}
