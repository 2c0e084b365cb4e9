"""The model of a run is published, once: what every recipe ends with."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from kapps import files
from kapps.serving.publishing.families import family_of

if TYPE_CHECKING:
    from kapps.training import Run


def publish(
    model: keras.Model,
    run: Run,
    data: Any,
    found: Any,
    *,
    what: str,
    caveats: Sequence[str] = (),
    member: str | None = None,
    **settings: Any,
) -> str | None:
    """Publishes the model of a run as the next version, unless the run has done so already.

    The exporter is that of the model's family, see `kapps.serving.publishing.families`; the
    version goes under the run's `export_dir`, or `saved_models/RECIPE`. A line says so.

    Args:
        model: what was trained; of a GAN its averaged generator is published.
        run: an open run; its config has `export`, `export_dir` and `seed`.
        data: what it was trained on: ImageData, TableData, SequenceData, TextData or PointData.
        found: what was found out about the model: `metrics`, `verdict`, and where there are any
            `temperature`, which the logits are divided by, `served`, further keywords of the
            exporter, and `headline`, a sentence or two with the test figures.
        what: a noun phrase for the card: "A dense VAE with 16 latents".
        caveats: further sentences for the card.
        member: which model of the run it is, where a run may publish several: a search's winner.
        **settings: of the family's exporter, in the place of those worked out here.

    Returns:
        The directory of the version; None where the run's config says `export: False`.

    Raises:
        UserError: the model cannot be served, or there is no exporter for it. Nothing is published.
        RuntimeError: the reloaded SavedModel disagrees with the model. Nothing is published.
    """
    if not run.config["export"]:
        return None
    before = _published(run, member)
    if before:
        return before
    family = family_of(model, data)
    worked_out = family.settings(model, data, getattr(found, "temperature", 1.0))
    settings = {**worked_out, **getattr(found, "served", {}), **settings}
    version = family.export(
        model,
        run.config["export_dir"] or f"saved_models/{run.recipe}",
        card=_card(run, data, found, f"{what} trained on", family.examples, caveats),
        **settings,
    )
    _note(run, member, str(version))
    sys.stdout.write(f"published {version}\n")
    return str(version)


def _card(run, data, found, trained, examples, caveats) -> str:
    """What was trained on what, with which result, in Markdown."""
    spec = getattr(data, "spec", None) or data.name
    verdict = found.verdict
    paragraphs = [
        f"{trained} {spec} ({data.counts['train']} {examples}, fingerprint "
        f"{data.fingerprint[:12]}), seed {run.config['seed']}.",
        getattr(found, "headline", ""),
        f"{verdict.label}: {verdict.sentence}" if verdict else "",
        "\n".join(f"* {caveat}" for caveat in caveats),
        f"Run directory: {run.path.name}",
    ]
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _published(run: Run, member: str | None) -> str | None:
    if member is None:
        return run.published
    path = run.facts().get("published", {}).get(member)
    return path if path and Path(path).exists() else None


def _note(run: Run, member: str | None, version: str) -> None:
    # Not `run.record`: a version that was deleted since may be published again elsewhere.
    facts = run.facts()
    if member is None:
        facts["exported"] = version
    else:
        facts["published"] = facts.get("published", {}) | {member: version}
    files.write_json(run.path / "config.json", facts)
