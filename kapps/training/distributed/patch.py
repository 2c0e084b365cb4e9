"""Repairs of Keras for models whose batches are shared by several devices.

`training.fit` calls `patch_for_replicas`; whoever calls `keras.Model.fit` under a strategy does so
first. It hangs its functions on the model, its optimizers and its layers, each in the place of a
private method of Keras, and changes neither the class nor the configuration: a patched model is
saved and loaded as any other. With one device nothing is touched.

What is put right, each a row of `PATCHES`:

    shapes          Keras averages the first batch over the devices to learn its shapes, which
                    fails if their parts differ in size, and on several machines always
    steps           Keras' loop over `steps_per_execution` fails; on several machines its average
                    of the figures of a step does, too, and machines that see different figures
                    may stop at different steps; and a convolution fails on the device that
                    has no part of the last batch of a test
    figures         what a test step reports of a part of a model's metrics is averaged over the
                    devices, however many examples each had
    noise           the states of random layers are the same on all devices, so each would drop the
                    same units and turn its images by the same angles
    clipping        Keras clips the gradient of each device, before they are summed
    loss_scale      under float16 Keras asks one device whether its gradients have overflowed
    masks           of series with padding, Keras normalizes each device's part of a batch by itself

Batch normalization is told to have the statistics of the whole batch, unless one asks it not to.
What cannot be put right is refused: gradients added up over several steps, XLA compilation.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from kapps import replicas
from kapps.errors import UserError
from kapps.training.distributed import keras_sources


class Patch(NamedTuple):
    """One repair.

    Attributes:
        replaces: private methods of Keras, "module:Class.method"; `keras_sources.KNOWN` has the
            digests of the sources that this was written against.
        apply: hangs the repair on a model.
        until: the first version of Keras that needs it no more, (3, 17) for example.
    """

    replaces: tuple[str, ...]
    apply: Callable[[keras.Model], None]
    until: tuple[int, ...] | None = None

    @property
    def needed(self) -> bool:
        """Whether this version of Keras needs it."""
        if self.until is None:
            return True
        return tuple(int(part) for part in keras.__version__.split(".")[:2]) < self.until


def patch_for_replicas(model: keras.Model, synchronize: bool = True) -> None:
    """Make a compiled model give on several devices what it gives on one, in its place.

    Args:
        model: compiled in the scope of the strategy. Nothing happens if that has one replica, or
            if the model is patched already.
        synchronize: whether batch normalization normalizes with the statistics of the whole batch,
            as one device does; it costs a message per layer and direction. Else each device
            normalizes its part of the batch, and its moving averages are its own.

    Raises:
        UserError: it is to add up gradients over several steps, or to be compiled by XLA; or
            devices were asked for by `keras.distribution`.
    """
    if keras.distribution.distribution() is not None:
        raise UserError(
            "keras.distribution silently does nothing on TensorFlow: build the model in the scope "
            "of training.strategy(...) instead"
        )
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas == 1:
        return
    _refuse(model, replicas)
    repairs = [repair for repair in PATCHES.values() if repair.needed]
    keras_sources.warn_of_unknown(tuple(place for each in repairs for place in each.replaces))
    for repair in repairs:
        repair.apply(model)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = synchronize


def optimizers(model: keras.Model) -> list[keras.optimizers.Optimizer]:
    """All optimizers of a model, and those inside loss-scaling ones."""
    found = [model.optimizer, *getattr(model, "further_optimizers", {}).values()]
    inner = [getattr(optimizer, "inner_optimizer", None) for optimizer in found]
    return [optimizer for optimizer in (*found, *inner) if optimizer is not None]


def several_machines(strategy: tf.distribute.Strategy) -> bool:
    """Whether the replicas of a strategy are on several machines."""
    return bool(getattr(strategy.extended, "_in_multi_worker_mode", lambda: False)())


def _refuse(model: keras.Model, replicas: int) -> None:
    for optimizer in optimizers(model):
        count = optimizer.gradient_accumulation_steps
        if count:
            raise UserError(
                f"gradient_accumulation_steps={count} cannot be used on {replicas} devices: Keras "
                "adds up the gradients where the devices cannot be summed over. A larger batch "
                "size does the same, since each device takes a part of it."
            )
    if model.jit_compile:
        raise UserError(
            f"jit_compile=True cannot be used on {replicas} devices: XLA cannot compile a step "
            "that reaches over them. Use jit_compile=False, or one device."
        )


# Shapes -------------------------------------------------------------------------------------------


def _patch_shapes(model: keras.Model) -> None:
    model._maybe_symbolic_build = types.MethodType(_build, model)


def _build(model: keras.Model, iterator: Any = None, data_batch: Any = None) -> None:
    """Build what is not built yet from the first device's part of the first batch."""
    parts = [*model._flatten_layers(), model._compile_metrics, model._compile_loss, model.optimizer]
    if all(part is None or part.built for part in parts):
        return
    strategy = model.distribute_strategy
    if iterator is not None:
        _, _, batches = next(iter(iterator))
        parts_of = strategy.experimental_local_results
        data_batch = keras.tree.map_structure(lambda values: parts_of(values)[0], next(batches))
    with strategy.scope():
        model._symbolic_build(data_batch=data_batch)


# Steps --------------------------------------------------------------------------------------------


def _patch_steps(model: keras.Model) -> None:
    model._make_function = types.MethodType(_make_function, model)


def _make_function(model: keras.Model, step: Callable) -> Callable:
    """What Keras calls to train or to test: an iterator of batches -> the figures, by name."""
    strategy = model.distribute_strategy
    several = several_machines(strategy)
    if step == model.test_step:
        step = functools.partial(_test_step, model, step)

    def of_replica(batch):
        figures = step(batch)
        return _mean_over_replicas(figures) if several else figures

    @tf.autograph.experimental.do_not_convert
    def one_step(batch):
        figures = strategy.run(of_replica, args=(batch,))

        def mean(value):
            parts = strategy.experimental_local_results(value)
            return tf.reduce_mean(tf.stack(parts), axis=0) if len(parts) > 1 else parts[0]

        return keras.tree.map_structure(mean, figures)

    @tf.autograph.experimental.do_not_convert
    def next_step(iterator):
        return one_step(iterator.get_next())

    if not model.run_eagerly:
        one_step = tf.function(one_step, reduce_retracing=True)
        next_step = tf.function(next_step, reduce_retracing=True)

    def function(iterator):
        if not isinstance(iterator, tf.data.Iterator | tf.distribute.DistributedIterator):
            for _, batch in zip(range(model.steps_per_execution), iterator, strict=False):
                figures = one_step(batch)
            return figures
        figures = next_step(iterator)
        # One after the other: in a loop of the graph the messages of two steps may wait for each
        # other for ever.
        for _ in range(1, model.steps_per_execution):
            try:
                figures = next_step(iterator)
            except tf.errors.OutOfRangeError:  # that was all
                break
        return figures

    return function


def _test_step(model: keras.Model, step: Callable, batch: Any) -> Any:
    """A step of a test on this replica, which may have no part of the last batch."""
    values = [value for value in keras.tree.flatten(batch) if isinstance(value, tf.Tensor)]
    sizes = {value.shape[0] for value in values if value.shape.rank}
    if not sizes or not sizes & {None, 0}:
        return step(batch)
    count = next(tf.shape(value)[0] for value in values if value.shape.rank)
    empty = tf.equal(count, 0)

    def filled(value):
        if not isinstance(value, tf.Tensor) or not value.shape.rank:
            return value
        row = tf.concat([[1], tf.shape(value)[1:]], axis=0)
        full = tf.cond(empty, lambda: tf.zeros(row, value.dtype), lambda: value)
        return tf.ensure_shape(full, [None, *value.shape[1:]])

    before = [tf.identity(variable) for variable in model.metrics_variables]
    with replicas.stand_in(count):
        figures = step(keras.tree.map_structure(filled, batch))
    for variable, value in zip(model.metrics_variables, before, strict=True):
        variable.assign(tf.where(empty, value, variable))
    return figures


def _mean_over_replicas(figures: Any) -> Any:
    """The mean of each figure over all devices of all machines, in one message."""
    flat = keras.tree.flatten(figures)
    if not flat:
        return figures
    packed = tf.stack([tf.cast(value, tf.float32) for value in flat])
    packed = _over_replicas(tf.distribute.ReduceOp.MEAN, packed)
    return keras.tree.pack_sequence_as(figures, tf.unstack(packed))


# Figures ------------------------------------------------------------------------------------------


def _patch_figures(model: keras.Model) -> None:
    model._get_metrics_result_or_logs = types.MethodType(_figures, model)


def _figures(model: keras.Model, logs: Any) -> Any:
    """The figures of an epoch: of all devices where a metric has counted them."""
    counted = model.get_metrics_result()
    if not isinstance(logs, dict) or not counted:
        return logs
    return {name: counted.get(name, value) for name, value in logs.items()}


# Noise --------------------------------------------------------------------------------------------


def _patch_noise(model: keras.Model) -> None:
    # Not the model's own generator: its step knows which noise the replicas have to share.
    for layer in model._flatten_layers(include_self=False):
        for generator in getattr(layer, "_seed_generators", ()):
            if "next" not in vars(generator):
                generator.next = functools.partial(_next_of_replica, generator.next)


def _next_of_replica(of_all: Callable, ordered: bool = True) -> tf.Tensor:
    """The next seed, another one on each replica."""
    seed = of_all(ordered)
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return seed
    return tf.random.experimental.stateless_fold_in(seed, context.replica_id_in_sync_group)


# Clipping -----------------------------------------------------------------------------------------


def _patch_clipping(model: keras.Model) -> None:
    for optimizer in optimizers(model):
        if "_clip_gradients" in vars(optimizer):
            continue
        if optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue:
            optimizer._clip_gradients = functools.partial(
                _clip_the_sum, optimizer._clip_gradients, optimizer._all_reduce_sum_gradients
            )
            # They are summed by then.
            optimizer._all_reduce_sum_gradients = list


def _clip_the_sum(clip: Callable, summed: Callable, gradients: Iterable) -> list:
    """The gradients of all replicas, summed and then clipped."""
    return clip([gradient for gradient, _ in summed([(each, None) for each in gradients])])


def _patch_loss_scale(model: keras.Model) -> None:
    for optimizer in optimizers(model):
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            if "check_finite" not in vars(optimizer):
                optimizer.check_finite = functools.partial(_all_finite, optimizer.check_finite)


def _all_finite(of_replica: Callable, gradients: Iterable) -> tf.Tensor:
    """Whether the gradients of all replicas are finite."""
    infinite = tf.cast(tf.logical_not(of_replica(gradients)), tf.float32)
    return tf.equal(_over_replicas(tf.distribute.ReduceOp.SUM, infinite), 0.0)


def _over_replicas(how: tf.distribute.ReduceOp, value: tf.Tensor) -> tf.Tensor:
    return tf.distribute.get_replica_context().all_reduce(how, value)


# Masks --------------------------------------------------------------------------------------------


def _patch_masks(model: keras.Model) -> None:
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization) and "_moments" not in vars(layer):
            layer._moments = functools.partial(_moments, layer, layer._moments)


def _moments(layer: keras.layers.BatchNormalization, of_replica: Callable, x: Any, mask: Any):
    """Mean and variance, [channels] each, of the values that a mask leaves on all replicas."""
    if mask is None or not layer.synchronized:
        return of_replica(x, mask)
    axes = layer._reduction_axes
    valid = tf.broadcast_to(tf.cast(mask, tf.bool)[..., tf.newaxis], tf.shape(x))

    def summed(values):
        return tf.reduce_sum(tf.where(valid, values, tf.zeros_like(values)), axes, keepdims=True)

    sums = tf.stack([summed(x), summed(tf.ones_like(x))])
    total, count = tf.unstack(_over_replicas(tf.distribute.ReduceOp.SUM, sums))
    count += keras.backend.epsilon()  # as Keras does
    mean = total / count
    spread = _over_replicas(tf.distribute.ReduceOp.SUM, summed(tf.square(x - mean)))
    return tf.reshape(mean, [-1]), tf.reshape(spread / count, [-1])


_TRAINER = "keras.src.backend.tensorflow.trainer:TensorFlowTrainer"
_BASE = "keras.src.trainers.trainer:Trainer"
_OPTIMIZER = "keras.src.backend.tensorflow.optimizer:TFOptimizer"
_LOSS_SCALE = "keras.src.optimizers.loss_scale_optimizer:LossScaleOptimizer"
_NORMALIZATION = "keras.src.layers.normalization.batch_normalization:BatchNormalization"
PATCHES = {
    "shapes": Patch((f"{_TRAINER}._maybe_symbolic_build",), _patch_shapes),
    "steps": Patch((f"{_TRAINER}._make_function",), _patch_steps),
    "figures": Patch((f"{_BASE}._get_metrics_result_or_logs",), _patch_figures),
    "noise": Patch(("keras.src.random.seed_generator:SeedGenerator.next",), _patch_noise),
    "clipping": Patch(
        (
            "keras.src.optimizers.base_optimizer:BaseOptimizer._clip_gradients",
            f"{_OPTIMIZER}._all_reduce_sum_gradients",
            f"{_OPTIMIZER}._backend_update_step",
        ),
        _patch_clipping,
    ),
    "loss_scale": Patch((f"{_LOSS_SCALE}._tf_apply",), _patch_loss_scale),
    "masks": Patch((f"{_NORMALIZATION}._moments",), _patch_masks),
}
