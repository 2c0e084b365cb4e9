"""Learning rates that differ from weight to weight: discriminative fine-tuning, layer decay.

One optimizer moves all weights, and each weight has a factor on the rate. Factors on the gradients
would do nothing to Adam, whose step does not depend on their scale. Keras' own `MultiOptimizer`
(3.15) has an optimizer per group instead: it counts steps once per group, clips each group by its
own norm, and has no `learning_rate`, which callbacks and the file of metrics ask for.

Discriminative fine-tuning: Howard and Ruder 2018, arXiv:1801.06146, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import keras
from keras import ops

from kapps.errors import UserError

if TYPE_CHECKING:  # what these are mixed into
    _Optimizer = keras.optimizers.Optimizer
else:
    _Optimizer = object


class RateFactors(_Optimizer):
    """Mixed into an optimizer: `rate_factors`, one per trainable variable, in the order of `build`.

    A variable with the factor f is updated, and decays, as an optimizer with f times the learning
    rate would do it. The factors are arguments and no state: a checkpoint holds the same variables
    as without them. Schedules, momentum, clipping and loss scaling are those of the one optimizer.
    """

    def __init__(self, *args, rate_factors: Sequence[float] = (), **kwargs):
        super().__init__(*args, **kwargs)
        self.rate_factors = tuple(float(factor) for factor in rate_factors)

    def build(self, variables):
        """Keras' own, after a look at how many there are."""
        if not self.built and len(variables) != len(self.rate_factors):
            raise ValueError(
                f"{len(self.rate_factors)} rate factors for {len(variables)} trainable variables: "
                "freeze and unfreeze layers first, and take the factors afterwards"
            )
        super().build(variables)
        for variable in variables:  # names of replicas' copies have other ends: decide it here
            self._use_weight_decay(variable)

    def update_step(self, gradient, variable, learning_rate):
        """Keras' own at the rate of this variable, after its weight decay."""
        factor = self.rate_factors[self._get_variable_index(variable)]
        rate = ops.cast(learning_rate, variable.dtype) * ops.cast(factor, variable.dtype)
        if self.weight_decay and self._use_weight_decay(variable):
            self.assign_sub(variable, variable * ops.cast(self.weight_decay, variable.dtype) * rate)
        return super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables):
        """Nothing: Keras' own knows one rate for all, so it is done in `update_step`."""

    def get_config(self):
        """Arguments of the constructor."""
        return {**super().get_config(), "rate_factors": list(self.rate_factors)}


def rate_factors(
    model: keras.Model,
    groups: Mapping[str, Iterable[keras.layers.Layer]],
    factors: Mapping[str, float],
) -> tuple[float, ...]:
    """The factor of each trainable variable of a model, as `optimizer(rate_factors=...)` takes it.

    Args:
        model: with the layers frozen that are to be.
        groups: layers by the name of their group, nested ones included.
        factors: by the name of the group; weights of layers in no group have 1.

    Raises:
        UserError: a factor for an unknown group, a negative one, or a layer in two groups.
    """
    for name, factor in factors.items():
        if name not in groups:
            raise UserError(f"no group {name!r}: there is {', '.join(groups)}")
        if not factor >= 0:
            raise UserError(f"rate factor {factor} of {name}: it must not be negative")
    group_of: dict[int, str] = {}
    for name, layers in groups.items():
        for layer in layers:
            for variable in layer.variables:
                if group_of.setdefault(id(variable), name) != name:
                    raise UserError(
                        f"{layer.name} is in two groups: {group_of[id(variable)]} and {name}"
                    )
    owners = [group_of.get(id(variable)) for variable in model.trainable_variables]
    return tuple(1.0 if owner is None else float(factors.get(owner, 1.0)) for owner in owners)


def decaying_factors(names: Sequence[str], decay: float) -> dict[str, float]:
    """Factors that shrink towards the input: `decay` for the last name, `decay**2` before it ...

    Args:
        names: of the groups, from the input to the output.
        decay: 1 gives all the same rate; 1 / 2.6 is that of arXiv:1801.06146.

    Raises:
        UserError: a decay outside (0, 1].
    """
    if not 0.0 < decay <= 1.0:
        raise UserError(f"stage decay {decay}: it must be above 0 and at most 1")
    return {name: decay ** (len(names) - i) for i, name in enumerate(names)}
