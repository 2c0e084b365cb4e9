"""Muon: steps along orthogonal matrices, for kernels of any rank.

What a kernel's momentum is turned into before the step is the nearest matrix with orthonormal rows
or columns, so that every direction of the kernel is learned at the same pace, however small its
part of the gradient. Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; the scale that
lets it share the rate and the decay of AdamW is that of arXiv:2502.16982, section 2.2.

Keras' own Muon (3.15) leaves every kernel with more than two axes to AdamW, convolutions above all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from kapps.errors import UserError
from kapps.training.optim.fused import adam_step
from kapps.training.optim.parameter_groups import RateFactors

# Of the odd polynomial a s + b s^3 + c s^5 that each step applies to the singular values. It is
# steep at 0 and keeps what is near 1 between 0.68 and 1.21, and does not converge any further.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
RMS = 0.2  # of an entry of a step at a rate of 1: what AdamW's steps have (arXiv:2502.16982)
KERNELS = ("kernel", "recurrent_kernel")
# Keras' attention has [in, heads, size] for these, and [heads, size, out] for what leaves it.
SEVERAL_OUTPUTS = ("query", "key", "value")


def orthogonalized(matrix, steps: int = 5):
    """U V' of the singular value decomposition U S V' of a matrix, approximately.

    Newton-Schulz iteration, float32: X <- a X + b X X'X + c X (X'X)^2, from X / |X|. All its
    factors are polynomials in X'X, so that they are collected on the smaller side of the matrix
    and meet it once: [in, out] of a 3x3 kernel takes two fifths of the multiplications.

    Args:
        matrix: [rows, columns].
        steps: of the iteration. Five bring singular values from 0.01 of the norm on to 0.7 .. 1.2.

    Returns:
        The same shape, float32. Zeros stay zeros.
    """
    a, b, c = COEFFICIENTS
    x = ops.cast(matrix, "float32")
    if wide := x.shape[0] < x.shape[1]:
        x = ops.transpose(x)
    x = x / (ops.norm(x) + 1e-7)
    gram, collected = ops.matmul(ops.transpose(x), x), None
    for step in range(steps):
        factor = a * ops.eye(gram.shape[0]) + b * gram + c * ops.matmul(gram, gram)
        collected = factor if collected is None else ops.matmul(collected, factor)
        if step < steps - 1:
            gram = ops.matmul(factor, ops.matmul(gram, factor))
    if collected is not None:
        x = ops.matmul(x, collected)
    return ops.transpose(x) if wide else x


@keras.saving.register_keras_serializable("kapps")
class Muon(keras.optimizers.Optimizer):
    """Muon for kernels, AdamW or SGD for the rest.

    A kernel `[..., in, out]` is a matrix W [kernel x in, out]; with its gradient G, the rate r,
    and V that begins at 0

        V <- m V + G
        W <- W - r 0.2 sqrt(max(rows, columns)) orthogonalized(G + m V)

    Of a transposed convolution it is [kernel x out, in], the map from a pixel to what it paints.
    Embeddings, biases, scales and offsets, kernels with one row or column (those of depthwise
    convolutions and of a single output), and layers in `exclude` are moved by `rest`: AdamW with
    `beta_1` and `beta_2`, or SGD with Nesterov's momentum m, at the rate r `rest_rate`.

    Decoupled weight decay is that of Keras, the same for all.

    Args:
        learning_rate: a number or a schedule; that of AdamW will do.
        momentum: m.
        steps: of the Newton-Schulz iteration.
        rest: "adamw" or "sgd".
        rest_rate: times the learning rate, for the rest.
        beta_1: of AdamW.
        beta_2: of AdamW.
        epsilon: of AdamW.
        exclude: names of layers whose kernels belong to the rest; the last layer usually does.
        kwargs: of `keras.optimizers.Optimizer`.

    Raises:
        UserError: an unknown `rest`, or no steps.
    """

    momentum_schedule = None  # a function of the count of steps, instead of `momentum`

    def __init__(
        self,
        learning_rate=3e-3,
        momentum: float = 0.95,
        steps: int = 5,
        rest: Literal["adamw", "sgd"] = "adamw",
        rest_rate: float = 1.0,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        exclude: Sequence[str] = ("logits",),
        **kwargs: Any,
    ):
        super().__init__(learning_rate=learning_rate, **kwargs)
        if rest not in ("adamw", "sgd"):
            raise UserError(f"rest {rest!r}: it is adamw or sgd")
        if steps < 1:
            raise UserError(f"steps {steps}: at least one is needed")
        self.momentum, self.steps = momentum, steps
        self.rest, self.rest_rate = rest, rest_rate
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.exclude = tuple(exclude)

    def build(self, variables):
        """Slots: a momentum for each variable, a mean square for what AdamW moves."""
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum")
        self._matrices = [self.matrix_shape(variable) for variable in variables]
        squared = [
            variable
            for variable, matrix in zip(variables, self._matrices, strict=True)
            if matrix is None and self.rest == "adamw"
        ]
        slots = iter(self.add_optimizer_variables(squared, "velocity"))
        kept = {id(variable) for variable in squared}
        self.velocities = [next(slots) if id(v) in kept else None for v in variables]

    def matrix_shape(self, variable: keras.Variable) -> tuple[int, int] | None:
        """(rows, columns) of what is orthogonalized; None for what belongs to the rest."""
        shape, *layers = variable.shape, *variable.path.split("/")[:-1]
        if variable.name not in KERNELS or len(shape) < 2 or set(layers) & set(self.exclude):
            return None
        several = len(shape) == 3 and bool(layers) and layers[-1] in SEVERAL_OUTPUTS
        outputs = math.prod(shape[1:]) if several else shape[-1]
        rows = math.prod(shape) // outputs
        return (rows, outputs) if min(rows, outputs) > 1 else None

    def update_step(self, gradient, variable, learning_rate):
        """One variable's step, as the class says."""
        index = self._get_variable_index(variable)
        gradient = ops.cast(gradient, variable.dtype)
        rate = ops.cast(learning_rate, variable.dtype)
        matrix = self._matrices[index]
        if matrix is None:
            rate = rate * ops.cast(self.rest_rate, variable.dtype)
            if self.rest == "adamw":
                adam_step(
                    variable,
                    self.momentums[index],
                    self.velocities[index],
                    gradient,
                    rate=rate,
                    beta_1=self.beta_1,
                    beta_2=self.beta_2,
                    epsilon=self.epsilon,
                    count=self.iterations + 1,
                )
            else:
                self.assign_sub(variable, rate * self._looked_ahead(gradient, index))
            return
        ahead = ops.reshape(self._looked_ahead(gradient, index), matrix)
        step = ops.reshape(orthogonalized(ahead, self.steps), variable.shape)
        step = ops.cast(step, variable.dtype)
        self.assign_sub(variable, rate * (RMS * math.sqrt(max(matrix))) * step)

    def _looked_ahead(self, gradient, index):
        """G + m V, after V has moved."""
        momentum, slot = self.momentum, self.momentums[index]
        if self.momentum_schedule is not None:
            momentum = self.momentum_schedule(self.iterations)
        momentum = ops.cast(momentum, slot.dtype)
        self.assign(slot, ops.add(gradient, slot * momentum))
        return ops.add(gradient, slot * momentum)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = ("momentum", "steps", "rest", "rest_rate", "beta_1", "beta_2", "epsilon")
        settings = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **settings, "exclude": list(self.exclude)}


@keras.saving.register_keras_serializable("kapps")
class GroupedMuon(RateFactors, Muon):
    """`Muon` with `rate_factors`."""
