"""What is wrong with flags, found before TensorFlow is imported; flags as a command line."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shlex
from collections.abc import Sequence
from typing import Any

from kapps import data
from kapps.errors import UserError
from kapps.training.distributed.devices import check_batch, check_devices, cluster, named_devices
from kapps.training.flags.groups import CommonFlags
from kapps.training.flags.ranges import check_ranges
from kapps.training.flags.rules import check_exclusions


def check(
    config: CommonFlags,
    kinds: Sequence[str] = data.PICTURES,
    names: Sequence[str] = (),
    *,
    several_machines: bool = True,
    instead: str = "this recipe trains on one machine: unset TF_CONFIG, or use --devices for the "
    "devices of this machine",
) -> None:
    """What can be found wrong with the flags before TensorFlow is imported.

    Args:
        config: a recipe's configuration.
        kinds: kinds of datasets that the recipe reads.
        names: further data that it knows by name.
        several_machines: whether it trains on them, as `TF_CONFIG` asks for.
        instead: why it does not, and what to do instead, for the message.

    Raises:
        UserError: naming the flag.
    """
    labelled = any(getattr(config, name, None) for name in ("labels", "label_pattern"))
    data.check(config.dataset, config.data_dir, kinds, names, labelled)
    check_devices(config.devices)
    workers = cluster()
    if workers and not several_machines:
        raise UserError(f"TF_CONFIG names {len(workers.addresses)} workers; {instead}")
    check_ranges(config)
    check_directories(config)
    check_exclusions(config)
    if config.batch_size:  # what is left open is checked when it is known
        check_batch(config.batch_size, named_devices(config.devices))


def check_directories(config: Any) -> None:
    """Refuse a run or export directory that cannot be written.

    Raises:
        UserError: naming the flag.
    """
    for name in ("run_dir", "export_dir"):
        path = pathlib.Path(getattr(config, name) or ".")
        while not path.exists():
            path = path.parent
        flag = f"--{name.replace('_', '-')}"
        if not path.is_dir():
            raise UserError(f"{flag}: {path} is a file, not a directory")
        if not os.access(path, os.W_OK):
            raise UserError(f"{flag}: {path} is not writable")


def command(config: Any, program: str) -> str:
    """The command line that gives this configuration, defaults left out.

    Args:
        config: a recipe's configuration.
        program: what comes before the flags, `python recipes/vae.py` for one.
    """
    words = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == field.default or field.name == "overwrite":
            continue
        flag = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple):
            words += [f"--{flag}", *map(str, value)]
        else:
            words += [f"--{flag}", str(value)]
    return " ".join(filter(None, (program, shlex.join(words))))
