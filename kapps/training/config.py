"""The flags that every recipe has."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import shlex
from collections.abc import Sequence
from typing import Literal

from kapps import data
from kapps.errors import UserError
from kapps.training.distributed.devices import check_devices, cluster


@dataclasses.dataclass(frozen=True)
class CommonConfig:
    """Fields shared by all recipes; each recipe's `Config` adds its own."""

    dataset: str = "digits"
    """digits (embedded), fashion_mnist, tfds:NAME, folder:PATH or npz:PATH"""
    data_dir: str | None = None
    """where prepared datasets live; default: where TensorFlow Datasets keeps them"""
    epochs: int = 20
    """passes over the training data"""
    batch_size: int = 64
    """examples per step, over all devices"""
    learning_rate: float | None = None
    """highest learning rate; default: the optimizer's usual one"""
    seed: int = 0
    """seed of the split, the weights, the order and the augmentation"""
    devices: str = "auto"
    """auto, cpu, cpu:N (N logical devices, to check distribution), gpu or gpu:N"""
    sync_batch_norm: bool = True
    """several devices: batch normalization of the whole batch, as one device has it"""
    scale_learning_rate: Literal["none", "linear", "sqrt"] = "none"
    """several devices: times their number, or its root, for a batch that grows with them"""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """auto measures on CPUs with bfloat16 units and asks the GPU otherwise"""
    run_dir: str | None = None
    """where everything about the run goes; default: runs/RECIPE/NAME, one NAME per configuration"""
    export_dir: str | None = None
    """where versions are published; default: saved_models/RECIPE"""
    export: bool = True
    """publish a SavedModel"""
    gradient_flow: bool = False
    """also measure and draw the norm of the gradient in each layer; training stays the same"""
    overwrite: bool = False
    """throw away what is in the run directory"""


def check_common(
    config: CommonConfig,
    kinds: Sequence[str] = data.PICTURES,
    names: Sequence[str] = (),
    *,
    several_machines: bool = False,
    instead: str = "this recipe trains on one machine: unset TF_CONFIG, or use --devices for the "
    "devices of this machine",
) -> None:
    """What can be found wrong with the common flags before TensorFlow is imported.

    Args:
        config: a recipe's configuration.
        kinds: kinds of datasets that the recipe reads.
        names: further data that it knows by name.
        several_machines: whether it trains on them, as `TF_CONFIG` asks for.
        instead: why it does not, and what to do instead, for the message.

    Raises:
        UserError: naming the flag.
    """
    data.check(config.dataset, config.data_dir, kinds, names)
    check_devices(config.devices)
    workers = cluster()
    if workers and not several_machines:
        raise UserError(f"TF_CONFIG names {len(workers.addresses)} workers; {instead}")
    for name in ("epochs", "batch_size"):
        if getattr(config, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1")
    check_range(config, "learning_rate", 0.0, math.inf, "above 0")
    if not 0 <= config.seed < 2**31:
        raise UserError(f"--seed {config.seed}: it must be between 0 and 2147483647")
    for name in ("run_dir", "export_dir"):
        path = pathlib.Path(getattr(config, name) or ".")
        while not path.exists():
            path = path.parent
        flag = f"--{name.replace('_', '-')}"
        if not path.is_dir():
            raise UserError(f"{flag}: {path} is a file, and a directory is needed")
        if not os.access(path, os.W_OK):
            raise UserError(f"{flag}: {path} cannot be written to")


def check_range(
    config: CommonConfig, name: str, low: float, high: float, words: str, *, ends: bool = False
) -> None:
    """Refuse a flag outside `low` .. `high`; None passes.

    Args:
        config: a recipe's configuration.
        name: field of it.
        low: lower end.
        high: upper end.
        words: the range in words, for the message.
        ends: whether `low` and a finite `high` belong to the range.

    Raises:
        UserError: naming the flag.
    """
    value = getattr(config, name)
    if value is None or low < value < high or (ends and value in (low, high) and value < math.inf):
        return
    raise UserError(f"--{name.replace('_', '-')} {value}: it must be {words}")


def command(config: CommonConfig, script: str) -> str:
    """The command line that gives this configuration, defaults left out.

    Args:
        config: a recipe's configuration.
        script: path of the recipe.
    """
    words = ["python", script]
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
    return shlex.join(words)
