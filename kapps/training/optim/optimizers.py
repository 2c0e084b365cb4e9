"""Keras optimizers by name, with weight decay that spares what should not decay.

Names and their settings are rows of `OPTIMIZERS`; the classes are Keras' own, except that the
momentum of each may follow a schedule, and that Adam's step is one operation. What they do with a
gradient g at a rate r, entry by entry, with averages that begin at 0:

sgd        w <- w - r g
momentum   v <- 0.9 v - r g                     w <- w + v
           (Polyak 1964, USSR Computational Mathematics and Mathematical Physics 4)
nesterov   v <- 0.9 v - r g                     w <- w + 0.9 v - r g
           (Sutskever et al. 2013, equations 3 and 4, where w is the point looked ahead to)
adadelta   s <- 0.95 s + 0.05 g^2               d <- sqrt(u + 1e-6) / sqrt(s + 1e-6) g
           u <- 0.95 u + 0.05 d^2               w <- w - r d, where the paper has r = 1
           (arXiv:1212.5701, algorithm 1)
rmsprop    s <- 0.9 s + 0.1 g^2                 w <- w - r g / sqrt(s + 1e-7)
           (Tieleman and Hinton 2012, lecture 6.5)
adam       m <- 0.9 m + 0.1 g                   s <- 0.999 s + 0.001 g^2, then at step t
           w <- w - r sqrt(1 - 0.999^t) / (1 - 0.9^t) m / (sqrt(s) + 1e-7)
           (arXiv:1412.6980, the form at the end of section 2: epsilon is added to the root before
           it is corrected, where algorithm 1 adds it afterwards)
adamw      w <- w - r c w, with the decay c, then as adam (arXiv:1711.05101, algorithm 2)
muon       kernels along orthogonal matrices, the rest as adamw (`kapps.training.optim.muon`)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from kapps.errors import UserError
from kapps.training.optim.fused import FusedAdam
from kapps.training.optim.muon import GroupedMuon, Muon
from kapps.training.optim.parameter_groups import RateFactors

# Biases and the scales and offsets of normalizations: shrinking them only shifts the function
# (arXiv:1812.01187, sec. 3.1). Keras' TensorFlow backend matches the pattern against the names of
# the tf.Variables, which end in ":0": the plain "bias$" would spare nothing.
SPARED = [r"(bias|gamma|beta)(:\d+)?$"]


if TYPE_CHECKING:  # what these are mixed into
    _Optimizer = keras.optimizers.Optimizer
else:
    _Optimizer = object


class _Cycled(_Optimizer):
    """Mixed into an optimizer: momentum as a function of the step.

    Keras reads the momentum as a plain attribute while an update is traced, so the attribute is
    replaced by the scheduled value for that moment, and nothing has to be saved or resumed
    beyond the count of steps.
    """

    momentum_name = "beta_1"
    momentum_schedule: Callable[[Any], Any] | None = None  # of the count of steps

    _is_scheduled = False

    def update_step(self, gradient, variable, learning_rate):
        with self._momentum_of_step():
            return super().update_step(gradient, variable, learning_rate)

    def _distributed_tf_update_step(self, distribution, grads_and_vars, learning_rate):
        """Keras' loop over the variables: the schedule is computed once, not for each of them."""
        with self._momentum_of_step():
            super()._distributed_tf_update_step(distribution, grads_and_vars, learning_rate)

    @contextlib.contextmanager
    def _momentum_of_step(self):
        if self.momentum_schedule is None or self._is_scheduled:
            yield
            return
        constant = getattr(self, self.momentum_name)
        # object.__setattr__: Keras' own would try to track a symbolic tensor.
        object.__setattr__(self, self.momentum_name, self.momentum_schedule(self.iterations))
        self._is_scheduled = True
        try:
            yield
        finally:
            self._is_scheduled = False
            object.__setattr__(self, self.momentum_name, constant)


@keras.saving.register_keras_serializable("kapps")
class CycledAdam(_Cycled, FusedAdam, keras.optimizers.Adam):
    """Adam in one operation, whose beta_1 may follow a schedule."""


@keras.saving.register_keras_serializable("kapps")
class CycledAdamW(_Cycled, FusedAdam, keras.optimizers.AdamW):
    """AdamW in one operation, whose beta_1 may follow a schedule."""


@keras.saving.register_keras_serializable("kapps")
class CycledSGD(_Cycled, keras.optimizers.SGD):
    """SGD with momentum that may follow a schedule."""

    momentum_name = "momentum"

    def update_step(self, gradient, variable, learning_rate):
        """Keras' update (Sutskever 2013); its own tests `momentum != 0`, which a tensor cannot."""
        if self.momentum_schedule is None:
            return keras.optimizers.SGD.update_step(self, gradient, variable, learning_rate)
        velocity = self.momentums[self._get_variable_index(variable)]
        with self._momentum_of_step():
            momentum = ops.cast(self.momentum, variable.dtype)
        step = ops.cast(gradient, variable.dtype) * ops.cast(learning_rate, variable.dtype)
        self.assign(velocity, velocity * momentum - step)
        self.assign_add(variable, velocity * momentum - step if self.nesterov else velocity)
        return None


# With a factor on the rate of each variable. Classes of their own, and not made when they are asked
# for: a saved model names its optimizer's class, and Keras has to find it again.


@keras.saving.register_keras_serializable("kapps")
class GroupedAdadelta(RateFactors, keras.optimizers.Adadelta):
    """Adadelta with `rate_factors`."""


@keras.saving.register_keras_serializable("kapps")
class GroupedCycledAdam(RateFactors, CycledAdam):
    """`CycledAdam` with `rate_factors`."""


@keras.saving.register_keras_serializable("kapps")
class GroupedCycledAdamW(RateFactors, CycledAdamW):
    """`CycledAdamW` with `rate_factors`."""


@keras.saving.register_keras_serializable("kapps")
class GroupedCycledSGD(RateFactors, CycledSGD):
    """`CycledSGD` with `rate_factors`."""


@keras.saving.register_keras_serializable("kapps")
class GroupedRMSprop(RateFactors, keras.optimizers.RMSprop):
    """RMSprop with `rate_factors`."""


_GROUPED = {
    keras.optimizers.Adadelta: GroupedAdadelta,
    CycledAdam: GroupedCycledAdam,
    CycledAdamW: GroupedCycledAdamW,
    CycledSGD: GroupedCycledSGD,
    keras.optimizers.RMSprop: GroupedRMSprop,
    Muon: GroupedMuon,
}

# name: class, arguments, whether its momentum can cycle. RMSprop and Adadelta have none to cycle.
OPTIMIZERS = {
    "sgd": (CycledSGD, {}, False),
    "momentum": (CycledSGD, {"momentum": 0.9}, True),
    "nesterov": (CycledSGD, {"momentum": 0.9, "nesterov": True}, True),
    "adadelta": (keras.optimizers.Adadelta, {"rho": 0.95, "epsilon": 1e-6}, False),
    "rmsprop": (keras.optimizers.RMSprop, {}, False),
    "adam": (CycledAdam, {}, True),
    "adamw": (CycledAdamW, {}, True),
    "muon": (Muon, {}, True),
}
# What each is usually run with. Adadelta's is the paper's 1.0 (arXiv:1212.5701, algorithm 1);
# Keras' own default of 0.001 hardly moves.
LEARNING_RATES = {
    "sgd": 0.1,
    "momentum": 0.05,
    "nesterov": 0.05,
    "adadelta": 1.0,
    "rmsprop": 1e-3,
    "adam": 3e-3,
    "adamw": 3e-3,
    "muon": 3e-3,
}


# What usually goes with them, times the learning rate: the L2 penalty of ResNets for momentum.
WEIGHT_DECAYS = {"momentum": 5e-4, "nesterov": 5e-4, "adamw": 0.05, "muon": 0.05}


def usual_weight_decay(name: str) -> float:
    """The decoupled weight decay an optimizer is usually run with; 0 for most."""
    return WEIGHT_DECAYS.get(name, 0.0)


def usual_learning_rate(name: str) -> float:
    """The learning rate an optimizer is usually run with, as the highest one of a schedule.

    Raises:
        UserError: an unknown name.
    """
    if name not in LEARNING_RATES:
        raise UserError(f"unknown optimizer {name!r}: it is one of {', '.join(OPTIMIZERS)}")
    return LEARNING_RATES[name]


def optimizer(
    name: str,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | None = None,
    *,
    momentum_schedule: keras.optimizers.schedules.LearningRateSchedule | None = None,
    weight_decay: float = 0.0,
    global_clipnorm: float = 0.0,
    rate_factors: Sequence[float] | None = None,
    **settings: Any,
) -> keras.optimizers.Optimizer:
    """A Keras optimizer by name.

    Args:
        name: sgd, momentum, nesterov, adadelta, rmsprop, adam, adamw or muon.
        learning_rate: a number or a schedule; None takes the usual one of the optimizer.
        momentum_schedule: momentum (beta_1 of Adam) by step; ignored by those without one.
        weight_decay: decoupled decay per step and unit of learning rate, of everything but
            biases and normalization parameters; 0 is none.
        global_clipnorm: gradients are scaled so that their common norm is at most this; 0 is off.
        rate_factors: one per trainable variable, on the learning rate; see
            `kapps.training.optim.parameter_groups.rate_factors`.
        settings: further arguments of the optimizer's class, such as beta_1 of Adam.

    Raises:
        UserError: an unknown name or a negative value.
    """
    if name not in OPTIMIZERS:
        raise UserError(f"unknown optimizer {name!r}: it is one of {', '.join(OPTIMIZERS)}")
    for what, value in (("weight decay", weight_decay), ("gradient clipping", global_clipnorm)):
        if value < 0:
            raise UserError(f"{what} {value}: it must not be negative")
    kind, arguments, cycles = OPTIMIZERS[name]
    if rate_factors is not None:
        kind, arguments = _GROUPED[kind], {**arguments, "rate_factors": rate_factors}
    built = kind(
        learning_rate=LEARNING_RATES[name] if learning_rate is None else learning_rate,
        # None, not 0: Keras' AdamW has a default decay of its own.
        weight_decay=weight_decay or (0.0 if name == "adamw" else None),
        global_clipnorm=global_clipnorm or None,
        **{**arguments, **settings},
    )
    if weight_decay:
        built.exclude_from_weight_decay(var_names=SPARED)
    if momentum_schedule is not None and cycles:
        built.momentum_schedule = momentum_schedule
    return built
