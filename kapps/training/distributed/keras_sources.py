"""The sources of Keras' private methods that `patch` was written against, by their digests."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import re
import warnings
from collections.abc import Iterable

import keras

# Digest of the source: the first version that has it, of those since 3.12.
KNOWN: dict[str, dict[str, str]] = {
    "keras.src.backend.tensorflow.trainer:TensorFlowTrainer._maybe_symbolic_build": {
        "3760f262fc1e": "3.12.0",
    },
    "keras.src.backend.tensorflow.trainer:TensorFlowTrainer._make_function": {
        "f0e3a34496e0": "3.12.0",
    },
    "keras.src.trainers.trainer:Trainer._get_metrics_result_or_logs": {
        "d63611fadb31": "3.12.0",
    },
    "keras.src.random.seed_generator:SeedGenerator.next": {
        "2b265a9e1455": "3.12.0",
    },
    "keras.src.optimizers.base_optimizer:BaseOptimizer._clip_gradients": {
        "3461e882ec4e": "3.12.0",
    },
    "keras.src.backend.tensorflow.optimizer:TFOptimizer._all_reduce_sum_gradients": {
        "61d84ca7355e": "3.12.0",
        "e13eb84e1b16": "3.14.0",
    },
    "keras.src.backend.tensorflow.optimizer:TFOptimizer._backend_update_step": {
        "96037f37a70d": "3.12.0",
    },
    "keras.src.optimizers.loss_scale_optimizer:LossScaleOptimizer._tf_apply": {
        "d603259e0afc": "3.12.0",
    },
    "keras.src.layers.normalization.batch_normalization:BatchNormalization._moments": {
        "0b22ff6e6f63": "3.12.0",
        "a4bddf54e44c": "3.15.0",
    },
}


def digest(text: str) -> str:
    """Of the code alone: no docstring, comments or spaces, whichever Python has read it."""
    code = re.sub(r'"{3}.*?"{3}', "", text, flags=re.DOTALL)
    code = re.sub(r"^\s*#.*$", "", code, flags=re.MULTILINE)
    return hashlib.sha256("".join(code.split()).encode()).hexdigest()[:12]


def source(place: str) -> str:
    """The source of "module:Class.method".

    Raises:
        ImportError, AttributeError: there is no such method.
        OSError: Keras was installed without its sources.
    """
    module, _, path = place.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return inspect.getsource(found)


def unknown(places: Iterable[str]) -> list[str]:
    """Those whose source in this Keras is none of the known ones, or which are gone."""
    found = []
    for place in places:
        try:
            if digest(source(place)) not in KNOWN.get(place, ()):
                found.append(place)
        except (ImportError, AttributeError):
            found.append(place)
        except OSError:  # no sources to compare
            continue
    return found


@functools.cache  # once a process
def warn_of_unknown(places: tuple[str, ...]) -> None:
    """Warn if this Keras has other private methods than those that are replaced."""
    if changed := unknown(places):
        names = ", ".join(place.partition(":")[2] for place in changed)
        warnings.warn(
            f"Keras {keras.__version__} has changed {names}, which kapps replaces when several "
            "devices share a batch. Results may differ from those of one device: compare a short "
            "training on both, or install a Keras that kapps knows (3.12 to 3.15).",
            stacklevel=3,
        )
