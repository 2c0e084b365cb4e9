"""What is sought in each recipe where no file says it, and by which figure.

The first point is the recipe's own defaults; they are said here where the recipe leaves them open.
A recipe without a row is sought by its rate, batch size and dropout, as far as it has them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from kapps.errors import UserError

# Those whose training has phases: a round of Hyperband would cut each of them short.
IN_PHASES = ("transfer_learning",)
# The phase that is sought in; those after it are cut short, but for the winner.
SOUGHT_IN = {"vq_vae": "autoencoder"}
OBJECTIVES = {
    "image_classifier": "val_accuracy:max",
    "transfer_learning": "val_accuracy:max",
    "perceptron": "val_error:min",
    "xor_mlp": "val_solved:max",
    "autoencoder": "val_mse:min",
    # The loss of points that differ in beta or free bits cannot be compared.
    "vae": "val_negative_elbo:min",
    "gan": "val_frechet:min",
    "vq_vae": "val_mse:min",
}


def objective(recipe: str, said: str | None = None) -> tuple[str, str]:
    """Name and direction of the figure that is sought for.

    Args:
        recipe: its name.
        said: NAME:max or NAME:min in the place of the recipe's own.

    Raises:
        UserError: no direction, or not measured on validation.
    """
    said = said or OBJECTIVES.get(recipe, "val_loss:min")
    name, _, direction = said.partition(":")
    if direction not in ("min", "max"):
        raise UserError(f"--objective {said}: it is NAME:max or NAME:min")
    if not name.startswith("val_"):
        raise UserError(f"--objective {name}: it is a figure of validation, val_...")
    return name, direction


def choice(name: str, *values: Any, default: Any = None) -> dict[str, Any]:
    """An entry of a space."""
    return {"name": name, "kind": "choice", "values": list(values)} | (
        {} if default is None else {"default": default}
    )


RATE = {
    "name": "learning_rate",
    "kind": "float",
    "min": 3e-4,
    "max": 3e-2,
    "sampling": "log",
    "default": 3e-3,
}
DROPOUT = {"name": "dropout", "kind": "float", "min": 0.0, "max": 0.5, "step": 0.1}
BATCH = choice("batch_size", 16, 32, 64, 128)
OPTIMIZER = choice("optimizer", "adamw", "nesterov", "rmsprop")
SPACES = {
    "image_classifier": [RATE, BATCH, DROPOUT, OPTIMIZER],
    "tabular": [
        RATE,
        BATCH,
        DROPOUT,
        OPTIMIZER,
        choice("units", "32", "64,32", "128,64", "128,128,64"),
        choice("bins", 0, 16, 48, default=16),
        choice("normalization", "none", "batch"),
    ],
    "sequence_classifier": [RATE, BATCH | {"default": 64}, DROPOUT],
    "char_rnn": [
        RATE | {"default": 1e-2},
        DROPOUT,
        choice("cell", "gru", "lstm"),
        choice("units", 64, 128, 160),
        choice("layers", 1, 2),
        choice("clip", 0.25, 1.0, 5.0),
    ],
    "transfer_learning": [
        RATE,
        RATE | {"name": "fine_tune_learning_rate", "min": 1e-5, "max": 3e-3, "default": 1e-3},
        DROPOUT,
        choice("fine_tune_stages", 1, 2, 3, 4),
        choice("stage_decay", 0.3, 0.5, 1.0),
    ],
    "autoencoder": [
        RATE,
        BATCH,
        choice("activation", "relu", "gelu", "tanh"),
        choice("units", "128", "512", "512,128", "512,256", default="512"),
    ],
    "vae": [
        RATE,
        BATCH,
        choice("latent_dim", 8, 16, 32),
        choice("units", "128", "300,300", "512,256", default="300,300"),
        choice("kl_warmup", 0.0, 0.2, 0.5),
    ],
    "gan": [
        RATE | {"min": 1e-4, "max": 3e-3, "default": 1e-3},
        choice("loss", "relativistic", "non_saturating", "hinge"),
        choice("filters", 16, 24, 32),
        choice("ema", 0.99, 0.995, 0.999),
    ],
    "vq_vae": [
        RATE | {"default": 1e-2},
        choice("code_dim", 4, 16, 64),
        choice("commitment", 0.1, 0.25, 1.0),
        choice("restart_after", 20, 100),
    ],
    "perceptron": [choice("rule", "perceptron", "pocket", "delta")],
    "xor_mlp": [
        RATE | {"min": 0.03, "max": 3.0, "default": 0.3},
        choice("units", 2, 3, 4, 8, default=4),
        choice("activation", "tanh", "sigmoid", "relu"),
        choice("optimizer", "momentum", "sgd", "nesterov"),
    ],
}


# What is cut short in trials, and not in the winner.
CUT_SHORT = {"vq_vae": {"prior_epochs": 1}}


def space_of(recipe: str, config_class: type) -> list[dict[str, Any]]:
    """The entries of a recipe's space, each with the recipe's own default if it has that value.

    Args:
        recipe: its name.
        config_class: its dataclass of flags.
    """
    own = {field.name: field.default for field in dataclasses.fields(config_class)}
    usual = [entry for entry in (RATE, BATCH, DROPOUT) if entry["name"] in own]
    return [_begun_with(entry, own[entry["name"]]) for entry in SPACES.get(recipe, usual)]


def _begun_with(entry: dict[str, Any], value: Any) -> dict[str, Any]:
    """An entry whose default is this value, if it has that."""
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    if entry["kind"] == "choice":
        known = value in entry["values"]
    else:
        known = isinstance(value, int | float) and entry["min"] <= value <= entry["max"]
    return {**entry, "default": value} if known else entry
