"""Trials that are runs of a recipe: its module, going on with a run directory, its data."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import sys
import types
from collections.abc import Sequence

from kapps import files, training
from kapps.errors import UserError
from kapps.invocation import recipes_directory
from kapps.tuning.workers.trial import SearchError, Trial
from kapps.tuning.workers.worker import copy_checkpoints


def recipe_module(name: str, beside: pathlib.Path, *, but: Sequence[str] = ()) -> types.ModuleType:
    """The module of a recipe.

    Args:
        name: of a recipe of kapps, or of a script in another folder, which comes first.
        beside: that folder.
        but: names that are none.

    Raises:
        UserError: there is no such recipe; lists those that there are.
    """
    folders = (recipes_directory(), beside.resolve())
    known = {path.stem: path for folder in folders for path in folder.glob("[!_]*.py")}
    spec = importlib.util.spec_from_file_location(f"recipes.{name}", known.get(name, ""))
    if name not in known or name in but or spec is None or spec.loader is None:
        listed = ", ".join(sorted(set(known) - set(but)))
        raise UserError(f"recipe {name!r}: it is one of {listed}")
    if spec.name not in sys.modules:  # also when the caller is run as a script
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[spec.name]


def copy_run(trial: Trial, changes: dict[str, int]) -> None:
    """Give a promoted trial the run directory `run` of the one before it, to go on with.

    Args:
        trial: promoted or not.
        changes: fields of its configuration that are others now, its epochs.
    """
    copy_checkpoints(trial, "run")
    path = trial.directory / "run" / "config.json"
    if changes and path.exists():
        facts = training.read_json(path)
        files.write_json(path, facts | {"config": facts["config"] | changes})


def check_data(run: str | os.PathLike, search: str | os.PathLike, seed: int) -> None:
    """The data may not change under a search; the first trial of a seed says which they are.

    Args:
        run: directory of a trial's run.
        search: directory of the search.
        seed: that the data are split by.

    Raises:
        SearchError: they have changed.
    """
    now = training.read_json(pathlib.Path(run, "config.json")).get("data", {}).get("fingerprint")
    path = pathlib.Path(search, f"data-{seed}.json")
    if not path.exists():
        files.write_json(path, now)
    elif json.loads(path.read_text()) != now:
        raise SearchError(
            f"the data differ from those that {search} was begun with. Use another --run-dir, or "
            "--overwrite to start afresh."
        )
