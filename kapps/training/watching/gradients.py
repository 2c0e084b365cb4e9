"""How large the gradient is in each layer, epoch by epoch: does it vanish, does it explode?

A gradient that shrinks by a factor with every layer on its way back leaves the first layers
untrained; one that grows throws them about (Hochreiter 1991; Bengio, Simard and Frasconi 1994;
Glorot and Bengio 2010). What is measured here is the norm of the loss' gradient with respect to
the weights of each layer, on a batch that stays the same, so that the curves show the network and
not the luck of the batch.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from kapps.errors import UserError
from kapps.training.flags.groups import CommonFlags
from kapps.training.run_directory import run as runs

if TYPE_CHECKING:
    from kapps.training.fitting.phases import Phase

Objective = Callable[[keras.Model, Any], tf.Tensor]


class GradientFlow(keras.callbacks.Callback):
    """Measures the gradient's norm in each layer before the first step and after every epoch.

    The model is called as in training (dropout, statistics of the batch), and all that such a call
    changes is put back, seeds included: a training with this callback ends with the same bits as
    one without.

    Args:
        batch: what the model's `train_step` takes: x, (x, y) or (x, y, sample_weight).
        objective: `(model, batch) -> loss []`. None: the compiled loss, or, of a model that has a
            `train_step` of its own, `model.training_loss(batch)`.
        path: CSV file for the rows; None keeps them in memory only.
        every: steps between measurements inside an epoch; 0 is none.

    Attributes:
        rows: a mapping per measurement: `epoch` (complete ones), `step`, and the norm by layer,
            from the first layer to the last. `evaluation.plots.gradient_flow` draws them.

    Raises:
        UserError: when training begins, if the model has no loss to differentiate.
    """

    def __init__(
        self,
        batch: Any,
        *,
        objective: Objective | None = None,
        path: pathlib.Path | None = None,
        every: int = 0,
    ):
        super().__init__()
        self.batch = keras.tree.map_structure(tf.convert_to_tensor, batch)
        self.objective, self.path, self.every = objective, path, every
        self.rows: list[dict[str, float]] = []
        self._names: list[str] = []
        self._norms: Callable | None = None
        self._epoch = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Find the loss and the layers."""
        if self._norms is None:
            objective = self.objective or loss_of(self.model)
            groups = by_layer(self.model.trainable_variables)
            self._names = self._names or list(groups)
            self._norms = tf.function(
                lambda: _norms(self.model, objective, self.batch, groups.values()),
                autograph=False,
            )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Measure untrained weights."""
        self._epoch = epoch
        if not self.rows:
            self.measure(epoch)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Measure inside an epoch, if that was asked for."""
        if self.every and int(np.asarray(self.model.optimizer.iterations)) % self.every == 0:
            self.measure(self._epoch)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Measure, and write the file."""
        step = int(np.asarray(self.model.optimizer.iterations))
        if self.rows[-1]["step"] == step:  # measured after the same step
            self.rows.pop()
        self.measure(epoch + 1)

    def measure(self, epoch: int) -> dict[str, float]:
        """One row, for the weights as they are; it is added to `rows`."""
        changing = [*self.model.non_trainable_variables, *self.model.metrics_variables]
        # Replicas may hold different values, statistics of their own part of a batch for one.
        held = self.model.distribute_strategy.experimental_local_results
        copies = [copy for variable in changing for copy in held(variable.value)]
        before = [np.array(copy) for copy in copies]
        if self._norms is None:
            raise RuntimeError("the loss and the layers are not known before on_train_begin")
        norms = self._norms().numpy()
        for copy, value in zip(copies, before, strict=True):
            copy.assign(value)
        step = int(np.asarray(self.model.optimizer.iterations))
        named = dict(zip(self._names, map(float, norms), strict=True))
        self.rows.append({"epoch": epoch, "step": step, **named})
        if self.path is not None:
            runs.write_rows(self.path, self.rows)
        return self.rows[-1]

    def get_state(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def set_state(self, state: dict[str, Any]) -> None:
        """Back to the rows of the checkpoint.

        Keras numbers nameless layers anew in every process; the names of the first one stay.
        """
        self.rows = list(state["rows"])
        if self.rows:
            self._names = [name for name in self.rows[0] if name not in ("epoch", "step")]


def gradient_flow(
    config: CommonFlags, run: runs.Run | Phase | None, batches: Any
) -> list[GradientFlow]:
    """What `--gradient-flow` adds to the callbacks of a recipe: one, or none without the flag.

    Args:
        config: a recipe's configuration.
        run: where gradient_flow.csv goes.
        batches: the training batches; the first one of the first epoch is measured.
    """
    path = run.gradient_flow if run else None
    if not getattr(config, "gradient_flow", False) or (run and path is None):
        return []
    batch = next(iter(batches.dataset(0, 1)))
    return [GradientFlow(batch, path=path)]


def loss_of(model: keras.Model) -> Objective:
    """The function from a model and a batch to the loss that training minimizes.

    Raises:
        UserError: the model has a `train_step` of its own and no `training_loss`.
    """
    if hasattr(model, "training_loss"):
        return lambda model, batch: model.training_loss(batch)
    if type(model).train_step is not keras.Model.train_step:
        raise UserError(
            f"--gradient-flow: a {type(model).__name__} is not trained on one loss whose gradient "
            "could be shown. Leave the flag out."
        )
    return _compiled_loss


def by_layer(variables: Sequence[keras.Variable]) -> dict[str, list[keras.Variable]]:
    """Weights by the layer they belong to, in their order; what all names begin with is left out.

    Args:
        variables: trainable ones of a built model.
    """
    paths = [variable.path.split("/")[:-1] or [variable.name] for variable in variables]
    shared = 0
    while paths and all(len(path) > shared + 1 for path in paths):
        if len({path[shared] for path in paths}) > 1:
            break
        shared += 1
    groups: dict[str, list[keras.Variable]] = {}
    for variable, path in zip(variables, paths, strict=True):
        groups.setdefault("/".join(path[shared:]), []).append(variable)
    return groups


def _compiled_loss(model: keras.Model, batch: Any) -> tf.Tensor:
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    predicted = model(x, training=True)
    return model.compute_loss(x, y, predicted, sample_weight, training=True)


def _norms(model, objective, batch, groups) -> tf.Tensor:
    """The Euclidean norm of the gradient in each group of weights, float32 [groups]."""
    with tf.GradientTape() as tape:
        loss = objective(model, batch)
    weights = [[variable.value for variable in group] for group in groups]
    gradients = tape.gradient(loss, weights)
    norms = []
    for group in gradients:
        parts = [tf.convert_to_tensor(g) for g in group if g is not None]
        squares = [tf.reduce_sum(tf.square(tf.cast(part, tf.float32))) for part in parts]
        norms.append(tf.sqrt(tf.add_n(squares)) if squares else tf.constant(0.0))
    return tf.stack(norms)
