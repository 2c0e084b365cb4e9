"""`--start-from`: a training that begins with the weights of another run's model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import keras

from kapps.errors import UserError
from kapps.training.run_directory.run import MODEL, Run, read_json, trained_in


def begin_with(model: keras.Model, config: Any, run: Run, data: Any) -> None:
    """Give a model the weights of the one that `--start-from` names; without the flag, nothing.

    Layer by layer, in order. The last one, which makes the answers, begins anew where the classes
    are others. A killed run loads its checkpoint over it.

    Args:
        model: as it was built.
        config: a recipe's flags.
        run: where the digest of the other model is noted: while this run lives, it may not change.
            What is to be known is added to its notes.
        data: on what is trained, with `class_names` and `fingerprint`.

    Raises:
        UserError: there is no such model, or it is another network.
    """
    if not getattr(config, "start_from", None):
        return
    directory = trained_in(config.start_from)
    file = directory / MODEL
    facts = read_json(directory / "config.json")
    try:
        content = file.read_bytes()
        other = keras.models.load_model(file, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"--start-from {config.start_from}: {file} cannot be read: {error}"
        ) from error
    run.record(start_from={"model": hashlib.sha256(content).hexdigest()[:16]})
    of_other = facts.get("data", {})
    names = list(getattr(data, "class_names", None) or ())
    same = names == list(of_other.get("class_names") or ())
    anew = take_weights(model, other, config.start_from, same_classes=same)
    said = f"begins with the weights of {config.start_from}"
    run.notes.append(f"{said}, except for the last layer: classes differ" if anew else said)
    if facts.get("config", {}).get("dataset") == run.config.get("dataset") and (
        of_other.get("fingerprint") != data.fingerprint
    ):
        run.notes.append(
            f"{config.start_from} was trained on the same data, split in another way: it may "
            "have seen validation or test examples of this run"
        )


def take_weights(
    model: keras.Model, other: keras.Model, name: str, *, same_classes: bool = True
) -> bool:
    """Copies the weights of another model of the same architecture.

    Args:
        model: whose weights are replaced.
        other: where they are taken from; `model` may be a part of it.
        name: of the other, for messages.
        same_classes: whether its outputs mean the same; the last layer stays as it is otherwise.

    Returns:
        Whether the last layer was left as it is.

    Raises:
        UserError: the architectures differ.
    """
    ours, theirs = _with_weights(model), _with_weights(_part_like(other, model))
    for number, layer in enumerate(ours):
        there = theirs[number] if number < len(theirs) else None
        last = layer is ours[-1] and len(ours) == len(theirs)
        fits = there is not None and _shapes(layer) == _shapes(there)
        if there is not None and last and (not same_classes or not fits):
            return True
        if there is None or not fits:
            had = "nothing more" if there is None else f"{there.name} {_shapes(there)}"
            raise UserError(
                f"--start-from {name}: its model is another network: where this one has the layer "
                f"{layer.name} {_shapes(layer)}, that one has {had}. Give the flags of that run "
                "(its config.json has them)"
            )
        layer.set_weights(there.get_weights())
    return False


def _part_like(other: keras.Model, model: keras.Model) -> keras.Model:
    """The model itself, or what of it has the name of ours: the rest stands around it."""
    for layer in other.layers:
        if isinstance(layer, keras.Model) and layer.name == model.name:
            return layer
    return other


def _with_weights(model: keras.Model) -> list[Any]:
    """The layers that have weights, those of models inside it one by one."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += _with_weights(layer)
        elif layer.weights:
            found.append(layer)
    return found


def _shapes(layer: Any) -> Sequence[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]
