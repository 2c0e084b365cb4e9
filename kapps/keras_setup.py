"""What kapps tells Keras, and what it asks of Keras' settings.

A `.keras` file names the classes it needs, and Keras finds a class only once its module has been
imported. `announce` registers a placeholder for each class and function of kapps as soon as Keras
is there; the placeholder imports the module when a file asks for it. So after `import kapps`, in
any order with `import keras`, `keras.models.load_model` loads every model of kapps, and importing
kapps stays as quick as it was.
"""

from __future__ import annotations

import importlib
import importlib.abc
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from kapps import deferred
from kapps.errors import UserError

PACKAGE = "kapps"

# Module: the classes that it registers with Keras under `PACKAGE`.
CLASSES = {
    "kapps.layers.batch_normalization": ("BatchNormalization",),
    "kapps.layers.convolutions": ("Conv2D", "DepthwiseConv2D"),
    "kapps.layers.depth_to_space": ("DepthToSpace",),
    "kapps.layers.recurrent": ("GRU", "LSTM"),
    "kapps.layers.spectral_normalization": ("SpectralNormalization",),
    "kapps.layers.whitening": ("Whitening",),
    "kapps.models.classic.delta_rule": ("DeltaRule",),
    "kapps.models.classic.perceptron": ("Perceptron",),
    "kapps.models.generative.autoencoders.autoencoder": ("Autoencoder",),
    "kapps.models.generative.autoencoders.networks": ("Centre",),
    "kapps.models.generative.gan.gan": ("GAN",),
    "kapps.models.generative.gan.two_optimizers": ("ProportionalRate",),
    "kapps.models.generative.vae.active_units": ("ActiveUnits",),
    "kapps.models.generative.vae.kl_schedules": ("CyclicKL", "KLWarmup"),
    "kapps.models.generative.vae.networks": ("SoftClip",),
    "kapps.models.generative.vae.priors": ("StandardNormal", "VampPrior"),
    "kapps.models.generative.vae.vae": ("VAE",),
    "kapps.models.generative.vqvae.code_prior": ("CodePrior",),
    "kapps.models.generative.vqvae.codebook": ("CodeUsage", "Codebook"),
    "kapps.models.generative.vqvae.vq_vae": ("VQVAE",),
    "kapps.models.padding": (
        "Frames",
        "ReadOut",
        "TurnSteps",
        "ValidMask",
        "ValidSteps",
        "ZeroPadding",
    ),
    "kapps.models.recurrent": ("Chrono",),
    "kapps.models.tables.bins": ("PiecewiseLinear",),
    "kapps.models.tables.columns": (
        "CategoryColumn",
        "Columns",
        "Embeddings",
        "ManyCategoriesColumn",
        "NumberColumn",
    ),
    "kapps.models.tables.members": ("Agree", "Deal", "MembersDense"),
    "kapps.models.series.inception_time": ("MaxOfSteps",),
    "kapps.models.text.classifier": ("PoolWords", "TfidfScores", "WordMask"),
    "kapps.models.text.truncated": ("Memory", "TruncatedBPTT"),
    "kapps.models.text.words": ("WordPlaces",),
    "kapps.training.fitting.calibrated_loss": ("CalibratedLoss",),
    "kapps.training.optim.muon": ("GroupedMuon", "Muon"),
    "kapps.training.optim.optimizers": (
        "CycledAdam",
        "CycledAdamW",
        "CycledSGD",
        "GroupedAdadelta",
        "GroupedCycledAdam",
        "GroupedCycledAdamW",
        "GroupedCycledSGD",
        "GroupedRMSprop",
    ),
    "kapps.training.optim.schedules": ("OneCycle",),
}
FUNCTIONS = {
    "kapps.losses.classification": ("sigmoid_cross_entropy", "softmax_cross_entropy"),
    "kapps.models.classic.stacked": ("logistic", "squared_error"),
}

# Modules whose absence is that of another backend.
_OTHER_BACKENDS = ("jax", "jaxlib", "torch", "openvino", "mlx")


def announce() -> None:
    """Register all of kapps with Keras: now if Keras is there, else when it gets imported.

    And then without what `deferred` names.
    """
    deferred.install()
    if "keras" in sys.modules:
        _register(sys.modules["keras"])
    elif not any(isinstance(finder, _KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KerasFinder())


def check() -> None:
    """Refuse settings of Keras under which the models of kapps are not what they should be.

    Raises:
        UserError: another backend than TensorFlow, or images with their channels first.
    """
    try:
        import keras
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in _OTHER_BACKENDS:
            # NumPy's backend needs Jax, too.
            raise _wrong_backend(os.environ.get("KERAS_BACKEND", missing)) from error
        raise
    if (backend := keras.config.backend()) != "tensorflow":
        raise _wrong_backend(backend)
    if (order := keras.config.image_data_format()) != "channels_last":
        raise UserError(
            f"Keras is set to image_data_format {order!r}, and kapps needs 'channels_last': put "
            "that into keras.json (in ~/.keras, or $KERAS_HOME), or call keras.config."
            "set_image_data_format('channels_last') before building a model."
        )


def _wrong_backend(found: str) -> UserError:
    return UserError(
        f"Keras is set to the backend {found!r}, and kapps needs 'tensorflow': set the environment "
        'variable KERAS_BACKEND=tensorflow, or "backend" in keras.json (in ~/.keras, or '
        "$KERAS_HOME), before Keras is imported."
    )


class _KerasFinder(importlib.abc.MetaPathFinder):
    """Finds Keras as Python does, and has `_register` called when it has been imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """As `importlib` wants it; None for everything but Keras."""
        if name != "keras":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next(filter(None, found), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            sys.meta_path.remove(self)  # not before: what failed is tried again
            _register(module)

        spec.loader.exec_module = exec_module
        return spec


class _Placeholder:
    """Stands for a class until a file asks for it; the class then takes its place."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def from_config(self, config: dict[str, Any]) -> Any:
        """An object of the class, which registers itself when its module is imported."""
        check()
        return getattr(importlib.import_module(self.module), self.name).from_config(config)


def _deferred(module: str, name: str) -> Callable:
    """A function that imports another one when it is called."""

    def function(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    function.__name__ = name
    return function


def _register(keras: types.ModuleType) -> None:
    for make, table in ((_Placeholder, CLASSES), (_deferred, FUNCTIONS)):
        for module, names in table.items():
            for name in names:
                # Keras may have been there, and the module imported, before kapps' own __init__.
                if keras.saving.get_registered_object(f"{PACKAGE}>{name}") is None:
                    register = keras.saving.register_keras_serializable(PACKAGE, name)
                    register(make(module, name))
