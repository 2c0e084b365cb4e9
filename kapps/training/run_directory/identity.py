"""Which settings make a run what it is, and whether a directory holds the same one."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from kapps.errors import UserError
from kapps.training.run_directory.environment import versions

if TYPE_CHECKING:
    from kapps.training.run_directory.run import Run

# These say where things are, what to do with what is there, or what to look at; not what is
# trained.
NOT_IDENTITY = (
    "run_dir",
    "export_dir",
    "export",
    "data_dir",
    "cache_dir",
    "decoded",
    "memory_limit",
    "overwrite",
    "lr_find",
    "gradient_flow",
    "peers",
    "profile",
    "more_epochs",  # a finished run may be trained longer
    "max_trials",  # budgets of a search may grow
    "max_minutes",
    "workers",
    "recycle",
    "track",
    "tracking_uri",
)


def digest(config: dict[str, Any]) -> str:
    """Eight hexadecimal digits of what is trained."""
    identity = {k: v for k, v in config.items() if k not in NOT_IDENTITY}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


def check_same(run: Run) -> None:
    """Refuse a directory that another configuration made.

    Raises:
        UserError: naming the fields that differ.
    """
    facts = run.facts()
    try:
        was, recipe = dict(facts["config"]), facts["recipe"]
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{run.path / 'config.json'} is not what a run writes. Use another --run-dir, or "
            "start afresh with --overwrite."
        ) from None
    if recipe != run.recipe:
        raise UserError(
            f"{run.path} belongs to the recipe {recipe}, not {run.recipe}. Use another --run-dir."
        )
    fields = [name for name in {**was, **run.config} if name not in NOT_IDENTITY]
    if facts.get("versions") != versions():
        older, newer = difference(facts.get("versions"), versions())
        run.notes.append(f"begun with {older}, continued with {newer}: not bit-identical")
    differing = [name for name in fields if was.get(name) != run.config.get(name)]
    if differing:
        listed = ", ".join(
            f"{name} (was {was.get(name)!r}, now {run.config.get(name)!r})" for name in differing
        )
        raise UserError(
            f"{run.path} was made with other settings: {listed}. "
            f"{_how_to_go_on(run, was, differing)}Use another --run-dir, or --overwrite to start "
            "afresh."
        )


def shorter_runs(run: Run) -> list[str]:
    """A hint, if the same was trained for fewer epochs beside a run that begins."""
    if run.flags is None or run.config.get("run_dir") or "more_epochs" not in run.config:
        return []

    def identity(config):
        return {k: v for k, v in config.items() if k not in (*NOT_IDENTITY, "epochs")}

    hints, now = [], run.config["epochs"]
    if now is None:  # chosen by the data
        return []
    for path in sorted(run.path.parent.glob("*/metrics.json")):
        try:
            config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))["config"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        before = config.get("epochs")
        if isinstance(before, int) and before < now and identity(config) == identity(run.config):
            hints.append(
                f"{path.parent} had {before} epochs of the same training: --epochs {before} "
                f"--more-epochs {now - before} would have gone on there"
            )
    return hints


def _how_to_go_on(run: Run, was: dict[str, Any], differing: list[str]) -> str:
    """What somebody may want who asks for more epochs than a run has had."""
    if differing != ["epochs"] or "more_epochs" not in run.config:
        return ""
    before, now = was.get("epochs"), run.config["epochs"]
    if not (isinstance(before, int) and isinstance(now, int)) or now <= before:
        return ""
    return (
        f"To train that run longer: --epochs {before} --more-epochs {now - before}; to begin "
        f"another one with its weights: --start-from {run.path}. "
    )


def difference(was: Any, now: Any) -> tuple[Any, Any]:
    """The parts of two facts that differ, for a message."""
    if isinstance(was, dict) and isinstance(now, dict):
        names = [k for k in {**was, **now} if was.get(k) != now.get(k)]
        return {k: was.get(k) for k in names}, {k: now.get(k) for k in names}
    return was, now
