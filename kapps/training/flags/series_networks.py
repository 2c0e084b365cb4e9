"""Flags of the network that reads series. Nothing here imports TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

from kapps.training.flags.ranges import NonNegativeInt, PositiveInt, Rate
from kapps.training.flags.rules import Exclusions, changed, only_for
from kapps.training.flags.series import MEMORY_TASKS

# Arguments of `models.rnn`, beside its cell and its units.
RECURRENT = ("bidirectional", "residual", "projection", "activation", "frame", "pooling")
RECURRENT += ("recurrent_dropout", "memory")
MEMORY_EPOCHS = 5  # of a memory task, where --epochs does not say


def _recurrent(config: Any) -> bool:
    return config.model in ("auto", "rnn")


@dataclasses.dataclass(frozen=True)
class SeriesNetworkFlags:
    """Which network, and what is special to its kind; goes with `SeriesFlags`."""

    model: Literal["auto", "rnn", "lstm_fcn", "gru_fcn", "inception_time"] = "auto"
    """rnn: recurrent layers; lstm_fcn, gru_fcn: one beside three convolutions over time
    (arXiv:1709.05206); inception_time: convolutions of several lengths (arXiv:1909.04939); auto:
    rnn for the memory tasks, for numbers and with a flag of its own, otherwise inception_time, but
    of series up to 100 steps whichever of both does better on validation after 200 steps"""
    cell: Literal["simple", "lstm", "gru"] = "gru"
    """rnn: type of the recurrent layers"""
    units: tuple[PositiveInt, ...] = (64,)
    """units of each recurrent layer"""
    activation: Literal["tanh", "relu"] = "tanh"
    """relu, for --cell simple: with identity initialization, an IRNN (arXiv:1504.00941)"""
    memory: int = 0
    """lstm, gru: initialize the gates to remember for this many steps (arXiv:1804.11188)"""
    bidirectional: bool = False
    """run each recurrent layer in both directions"""
    residual: bool = False
    """residual connections around the layers, after layer normalization"""
    projection: NonNegativeInt = 0
    """width of a linear layer after each recurrent one; 0 is none"""
    frame: PositiveInt = 1
    """merge this many steps into one, to shorten long series"""
    pooling: Literal["last", "mean", "max"] = "last"
    """how steps become one vector: the last valid step, or the mean or maximum over all"""
    shuffle: bool = True
    """lstm_fcn, gru_fcn: the recurrent layer sees each feature's whole series as one step"""
    recurrent_dropout: Rate = 0.0
    """dropout rate of a recurrent layer's state, with one mask for all steps"""

    EXCLUSIONS: ClassVar[Exclusions] = (
        *only_for("--model rnn", _recurrent, ("cell", *RECURRENT)),
        *only_for("recurrent layers", lambda c: c.model != "inception_time", ("units",)),
        *only_for("--model lstm_fcn and gru_fcn", lambda c: c.model.endswith("_fcn"), ("shuffle",)),
        (lambda c: not c.units, "--units: at least one layer of at least one unit is needed"),
        (
            lambda c: not _recurrent(c) and c.dataset in MEMORY_TASKS,
            "--model {model} classifies series; {dataset} asks for more",
        ),
        (
            lambda c: c.model.endswith("_fcn") and len(c.units) != 1,
            "--model {model} has one recurrent layer: give one of --units",
        ),
        (
            lambda c: c.activation == "relu" and c.cell != "simple",
            "--activation relu is for --cell simple: the gates of others need tanh",
        ),
        (
            lambda c: c.memory and (c.cell == "simple" or c.memory < 3),
            "--memory: 3 steps or more, of the gates of --cell lstm and gru",
        ),
        (
            lambda c: c.dataset == "copy" and c.frame > 1,
            "--frame: the copying task wants an answer at each step",
        ),
    )

    @property
    def model_by_flags(self) -> str:
        """`model`, or rnn where the flags alone say that auto is; "auto" where the data will."""
        own = changed(self, "cell", "units", *RECURRENT)
        of_rnn = own or vars(self)["dataset"] in MEMORY_TASKS
        return "rnn" if self.model == "auto" and of_rnn else self.model

    @property
    def epochs_by_flags(self) -> int | None:
        """`epochs`, or those of a memory task; None where the data will say it."""
        usual = MEMORY_EPOCHS if vars(self)["dataset"] in MEMORY_TASKS else None
        return vars(self)["epochs"] or usual

    @property
    def network(self) -> str:
        """What the network is called: its cell, or its kind."""
        return self.cell if self.model_by_flags == "rnn" else self.model
