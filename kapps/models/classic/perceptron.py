"""Networks of one layer that learn without a chain rule: perceptron and delta rule.

An image or a point x, standardised and with a constant 1 appended for the bias, gets a score w.x;
with two classes there is one score, whose sign is the class (targets 0 and 1), with more there is
one score per class, and the largest wins.

    perceptron  Rosenblatt 1958. Examples come one after another, and only those that are
                misclassified change anything: w <- w + x where class 1 was missed, w <- w - x where
                class 0 was. With more classes x is added to the weights of the right class and
                taken from those of the wrong one (Duda and Hart 1973, Kesler's construction).
    pocket      Gallant 1990: the same walk, and the weights that did best on the way are kept.
                For data that no plane separates, where the walk never ends.
    delta rule  Widrow and Hoff 1960: gradient descent on half the squared distance between the
                scores and targets of -1 and 1.

While data are separable with a margin, the perceptron makes at most (R / gamma)^2 updates
(Novikoff 1962; `kapps.evaluation.separation`), in whatever order the examples come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kapps import replicas
from kapps.errors import UserError
from kapps.models import arguments, heads, objectives


def perceptron(
    input_shape: tuple[int, ...],
    classes: int = 2,
    *,
    pocket: bool = False,
    mean: float | Sequence[float] = 0.5,
    std: float | Sequence[float] = 0.5,
    name: str = "perceptron",
) -> Perceptron:
    """A perceptron on images or points, its weights 0.

    Args:
        input_shape: (height, width, channels) of images, or (features,) of points.
        classes: how many; two make one score.
        pocket: keep the weights that do best, see `Perceptron`.
        mean: subtracted from the inputs; of images in units of 0..1, a number or one per channel
            or feature.
        std: what they are divided by then.
        name: of the model.

    Returns:
        "image" or "points" `[batch, *input_shape]` -> scores `[batch, classes]`, or `[batch, 1]`.

    Raises:
        UserError: an argument is out of its range.
    """
    return Perceptron(linear_features(input_shape, mean, std), classes, pocket=pocket, name=name)


def delta_rule(
    input_shape: tuple[int, ...],
    classes: int = 2,
    *,
    mean: float | Sequence[float] = 0.5,
    std: float | Sequence[float] = 0.5,
    name: str = "delta_rule",
) -> DeltaRule:
    """A linear network for the delta rule, its weights 0; arguments and result as `perceptron`."""
    return DeltaRule(linear_features(input_shape, mean, std), classes, name=name)


def linear_features(
    input_shape: tuple[int, ...], mean: float | Sequence[float], std: float | Sequence[float]
) -> keras.Model:
    """What a one-layer network sees: (x - mean) / std, flattened; float32 `[batch, features]`.

    Raises:
        UserError: a shape of another rank, statistics of another length, or a std of 0.
    """
    if len(input_shape) == 3:
        raw, x = heads.image_input(arguments.image_shape(tuple(input_shape)), mean, std)
    elif len(input_shape) != 1:
        raise UserError(
            f"input_shape must be (height, width, channels) or (features,); got {input_shape!r}."
        )
    else:
        (features,) = arguments.integers("input_shape", tuple(input_shape))
        mean = arguments.per_channel("mean", mean, features)
        std = arguments.per_channel("std", std, features)
        if min(std) <= 0:
            raise UserError(f"std must be positive; got {std!r}.")
        raw = keras.Input((features,), name="points", dtype="float32")
        offset = [-m / s for m, s in zip(mean, std, strict=True)]
        scale = [1 / s for s in std]
        x = keras.layers.Rescaling(scale, offset, dtype="float32", name="rescaling")(raw)
    return keras.Model(raw, keras.layers.Flatten(name="flatten")(x), name="features")


@keras.saving.register_keras_serializable("kapps")
class Perceptron(keras.Model):
    """The perceptron rule, and the pocket around it.

    `fit` on (x, targets), targets the numbers of the classes `[batch]` or `[batch, 1]`, or one-hot
    `[batch, classes]`; a batch is a number of examples that are looked at one after another, each
    with the weights the one before it has left, so its size changes nothing. `compile` takes no
    loss, and the rule no learning rate: from weights of 0 it would scale them and change no
    decision. Nor does it know weights of examples.

    Metrics: `error`, the share of misclassified examples (while training: those met by the walk),
    `loss`, the mean perceptron criterion, and while training `updates`, their number.

    With `pocket` the weights used for predictions are those in the pocket. A walk that has
    classified more examples in a row than any before it replaces them. After `keep_for` it also has
    to have more of those examples right (Gallant's ratchet).

    Args:
        features: x -> what the layer sees, [batch, features].
        classes: how many.
        pocket: see above.
    """

    def __init__(
        self,
        features: keras.Model,
        classes: int = 2,
        *,
        pocket: bool = False,
        name: str = "perceptron",
        **kwargs: Any,
    ):
        classes = arguments.integer("classes", classes, 2)
        scores = _scores(features, classes)
        super().__init__(features.input, scores(features.output), name=name, **kwargs)
        self.features, self.scores = features, scores
        self.classes, self.pocket = classes, bool(pocket)
        if self.pocket:
            shape = (scores.kernel.shape[0] + 1, scores.units)
            self.walking = self.add_weight(
                shape=shape, initializer="zeros", trainable=False, name="walking"
            )
            self.runs = self.add_weight(
                shape=(2,), initializer="zeros", dtype="int32", trainable=False, name="runs"
            )
        self._judges: tuple[tf.Tensor, tf.Tensor] | None = None
        self.updates = keras.metrics.Sum("updates")
        self.trackers = [keras.metrics.Mean("loss"), keras.metrics.Mean("error")]

    def compile(self, optimizer: Any = "sgd", loss: Any = None, **kwargs: Any) -> None:
        """As Keras' own; the optimizer is not asked.

        Raises:
            UserError: on several devices: each step needs the weights the one before has left. Or
                a loss or metrics: the rule has its own.
        """
        objectives.refuse_loss(self, {"loss": loss, **kwargs}, "leave it out")
        replicas = self.distribute_strategy.num_replicas_in_sync
        if replicas > 1:
            raise UserError(
                f"the perceptron rule looks at one example after another, so {replicas} devices "
                "cannot share the work: use --devices cpu or gpu:1, or the delta rule"
            )
        super().compile(optimizer, **kwargs)

    def get_compile_config(self) -> dict[str, Any]:
        """Nothing: a loaded model that is to learn on is compiled again."""
        return {}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """As `get_compile_config` says."""

    # What Keras calls ---------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, Any]:
        """The rule, on every example of the batch in its order."""
        x, targets, weight = keras.utils.unpack_x_y_sample_weight(data)
        if weight is not None:
            raise UserError(
                "the perceptron rule knows no sample_weight and no class_weight: repeat examples "
                "that are to count more"
            )
        x, classes = self._augmented(x), classes_of(targets, self.classes)
        if self.pocket:
            walked = self._walk_with_pocket(x, classes)
        else:
            walked = walk(self._weights(), x, classes)
            self._set_weights(walked[0])
        _, updates, loss, wrong = walked[:4]
        self.updates.update_state(updates)
        self.optimizer.iterations.assign_add(1)
        return {**_track(self.trackers, (loss, wrong)), "updates": self.updates.result()}

    def test_step(self, data: Any) -> dict[str, Any]:
        """Nothing moves."""
        x, targets, weight = keras.utils.unpack_x_y_sample_weight(data)
        scores, classes = self(x, training=False), classes_of(targets, self.classes)
        figures = criterion(scores, classes), misclassified(scores, classes)
        return _track(self.trackers, figures, weight)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All that is reported; Keras resets them at the start of every epoch."""
        return [*self.trackers, self.updates]

    def training_loss(self, data: Any) -> tf.Tensor:
        """The mean perceptron criterion of a batch, float32 []: for `training.GradientFlow`."""
        x, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        return replicas.average(
            criterion(self(x, training=True), classes_of(targets, self.classes))
        )

    # What users call ----------------------------------------------------------------------------

    def keep_for(self, x: Any, targets: Any) -> None:
        """Set the examples on which the pocket compares weights: the training examples.

        They apply to whatever is trained afterwards.

        Args:
            x: [n, *input_shape].
            targets: as `fit` takes them.

        Raises:
            UserError: this perceptron has no pocket.
        """
        if not self.pocket:
            raise UserError("this perceptron has no pocket: build it with pocket=True")
        self._judges = self._augmented(x), classes_of(targets, self.classes)
        self.train_function = None  # the one that Keras made holds the examples of before

    # Plumbing -----------------------------------------------------------------------------------

    def _augmented(self, x):
        """What the layer sees and a 1 for the bias, float32 [batch, features + 1]."""
        seen = tf.cast(self.features(x, training=False), tf.float32)
        return tf.pad(seen, [[0, 0], [0, 1]], constant_values=1.0)

    def _weights(self):
        """Kernel and, as the last row, bias: [features + 1, units]."""
        return tf.concat([self.scores.kernel, self.scores.bias[None]], axis=0)

    def _set_weights(self, weights):
        self.scores.kernel.assign(weights[:-1])
        self.scores.bias.assign(weights[-1])

    def _walk_with_pocket(self, x, classes):
        found = walk_with_pocket(
            self.walking.value, self._weights(), self.runs.value, x, classes, self._judges
        )
        self.walking.assign(found[0])
        self._set_weights(found[4])
        self.runs.assign(found[5])
        return found

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**_config(self), "pocket": self.pocket}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Perceptron:
        """The model that `get_config` describes."""
        return cls(**_arguments(config, custom_objects))


@keras.saving.register_keras_serializable("kapps")
class DeltaRule(keras.Model):
    """Gradient descent on half the squared distance between scores and targets of -1 and 1.

    `fit` on (x, targets) or (x, targets, sample_weight), targets as `Perceptron` has them. All
    examples in one batch are batch gradient descent, one example is the online rule, anything
    between them mini-batches; on several devices the batch is shared. `compile` takes an SGD
    optimizer, whose learning rate is the rule's eta, and no loss;
    `kapps.evaluation.highest_learning_rate` says below which it converges.

    Metrics: `loss`, the mean over examples, summed over scores, and `error`, the share of
    misclassified examples. With weights both are weighted means, and the gradient is that of the
    weighted sum over the number of examples, as in Keras.

    Args:
        features: x -> what the layer sees, [batch, features].
        classes: how many.
    """

    def __init__(
        self, features: keras.Model, classes: int = 2, *, name: str = "delta_rule", **kwargs: Any
    ):
        classes = arguments.integer("classes", classes, 2)
        scores = _scores(features, classes)
        super().__init__(features.input, scores(features.output), name=name, **kwargs)
        self.features, self.scores, self.classes = features, scores, classes
        self.trackers = [keras.metrics.Mean("loss"), keras.metrics.Mean("error")]

    def compile(self, optimizer: Any = "sgd", loss: Any = None, **kwargs: Any) -> None:
        """As Keras' own.

        Raises:
            UserError: a loss or metrics: the rule has its own.
        """
        objectives.refuse_loss(self, {"loss": loss, **kwargs}, "leave it out")
        super().compile(optimizer, **kwargs)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Gradient descent: w <- w - eta (score - target) x, averaged over the batch."""
        x, targets, weight = keras.utils.unpack_x_y_sample_weight(data)

        def objective():
            figures = self._figures(x, targets, training=True)
            return self._objective(figures[0], weight), figures

        figures = replicas.minimize(self.optimizer, objective, self.trainable_variables)
        return _track(self.trackers, figures, weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The same figures; nothing moves."""
        x, targets, weight = keras.utils.unpack_x_y_sample_weight(data)
        return _track(self.trackers, self._figures(x, targets, training=False), weight)

    def _figures(self, x, targets, training):
        scores, classes = self(x, training=training), classes_of(targets, self.classes)
        return squared_distance(scores, classes), misclassified(scores, classes)

    def _objective(self, loss, weight):
        loss = loss if weight is None else loss * tf.cast(tf.reshape(weight, [-1]), loss.dtype)
        return objectives.with_regularizers(replicas.average(loss), self)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All that is reported; Keras resets them at the start of every epoch."""
        return self.trackers

    def training_loss(self, data: Any) -> tf.Tensor:
        """What a step on this batch would minimise, float32 []: for `training.GradientFlow`."""
        x, targets, weight = keras.utils.unpack_x_y_sample_weight(data)
        return self._objective(self._figures(x, targets, training=True)[0], weight)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return _config(self)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> DeltaRule:
        """The model that `get_config` describes."""
        return cls(**_arguments(config, custom_objects))


# The rules ----------------------------------------------------------------------------------------


def walk(weights: tf.Tensor, x: tf.Tensor, classes: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """The perceptron rule on examples that come one after another.

    Args:
        weights: float32 [features + 1, units], the bias in the last row.
        x: float32 [n, features + 1], the last column 1.
        classes: int32 [n].

    Returns:
        The weights afterwards, the number of updates int32 [], and, before its own update, the
        criterion and whether each example was misclassified, float32 [n] both.
    """
    count = tf.shape(x)[0]

    def look(i, w, updates, losses, wrong):
        w, loss, missed = _look(w, x[i], classes[i])
        updates += tf.cast(missed, tf.int32)
        missed = tf.cast(missed, tf.float32)
        return i + 1, w, updates, losses.write(i, loss), wrong.write(i, missed)

    losses, wrong = (tf.TensorArray(tf.float32, count, element_shape=()) for _ in range(2))
    _, weights, updates, losses, wrong = tf.while_loop(
        lambda i, *_: i < count, look, (0, weights, 0, losses, wrong), parallel_iterations=1
    )
    return weights, updates, losses.stack(), wrong.stack()


def walk_with_pocket(
    weights: tf.Tensor,
    pocket: tf.Tensor,
    run: tf.Tensor,
    x: tf.Tensor,
    classes: tf.Tensor,
    judges: tuple[tf.Tensor, tf.Tensor] | None,
) -> tuple[tf.Tensor, ...]:
    """`walk`, with the best weights on the way put into the pocket.

    Args:
        weights: those of the walk, as `walk` takes them.
        pocket: those in the pocket, of the same shape.
        run: int32 [2]: how many examples in a row the walk has had right, and how many those in
            the pocket had when they were put there.
        x: as `walk`.
        classes: as `walk`.
        judges: examples x and classes on which weights that replace others have to be better; None
            has the longest run alone decide.

    Returns:
        What `walk` returns, then the pocket and the runs afterwards.
    """
    count = tf.shape(x)[0]

    def correct(w):
        if judges is None:
            return tf.constant(0.0)
        return tf.reduce_sum(1.0 - misclassified(judges[0] @ w, judges[1]))

    def look(i, w, updates, losses, wrong, kept, now, longest, best, seen):
        changed, loss, missed = _look(w, x[i], classes[i])
        now = tf.where(missed, 0, now + 1)
        # `seen`: these weights have been compared already, and were not better.
        seen = tf.logical_and(seen, tf.logical_not(missed))
        compare = tf.logical_and(now > longest, tf.logical_not(seen))
        score = tf.cond(compare, lambda: correct(w), lambda: -1.0)
        better = compare if judges is None else tf.logical_and(compare, score > best)
        kept = tf.where(better, w, kept)
        # The run of what is in the pocket goes on for as long as the walk does not change it.
        longest = tf.where(tf.reduce_all(kept == w), tf.maximum(now, longest), longest)
        best = tf.where(better, score, best)
        seen = tf.logical_or(seen, compare)
        updates += tf.cast(missed, tf.int32)
        missed = tf.cast(missed, tf.float32)
        state = losses.write(i, loss), wrong.write(i, missed)
        return i + 1, changed, updates, *state, kept, now, longest, best, seen

    losses, wrong = (tf.TensorArray(tf.float32, count, element_shape=()) for _ in range(2))
    begin = (0, weights, 0, losses, wrong, pocket, run[0], run[1], correct(pocket), False)
    _, weights, updates, losses, wrong, pocket, now, longest, _, _ = tf.while_loop(
        lambda i, *_: i < count, look, begin, parallel_iterations=1
    )
    run = tf.stack([now, longest])
    return weights, updates, losses.stack(), wrong.stack(), pocket, run


def _look(w, x, c):
    """One example: the weights after it, its criterion, and whether it was misclassified."""
    scores = tf.linalg.matvec(w, x, transpose_a=True)  # [units]
    loss, missed = criterion(scores[None], c[None])[0], misclassified(scores[None], c[None])[0] > 0
    if w.shape[-1] == 1:
        change = tf.where(c > 0, x, -x)[:, None]  # W + X, W - X
    else:
        wrong = _strongest_other(scores[None], c[None])[1][0]
        change = x[:, None] * (tf.one_hot(c, w.shape[-1]) - tf.one_hot(wrong, w.shape[-1]))
    return tf.where(missed, w + change, w), loss, missed


def classes_of(targets: Any, classes: int = 2) -> tf.Tensor:
    """Numbers of classes, int32 [n], of targets that are such numbers or one-hot.

    Args:
        targets: numbers [n] or [n, 1], or one-hot [n, classes].
        classes: how many there are.
    """
    targets = tf.convert_to_tensor(targets)
    if targets.shape.rank == 2 and targets.shape[-1] == classes:
        return tf.argmax(targets, axis=-1, output_type=tf.int32)
    return tf.cast(tf.round(tf.cast(tf.reshape(targets, [-1]), tf.float32)), tf.int32)


def criterion(scores: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """The perceptron criterion, by how much each example is on the wrong side: float32 [n].

    max(0, -w.x) of class 1 and max(0, w.x) of class 0; with more classes the distance of the right
    score to the largest other one. Duda and Hart 1973, section 5.5.

    Args:
        scores: [n, 1] or [n, classes].
        classes: int32 [n].
    """
    margin = margins(scores, classes)
    return tf.where(margin <= 0.0, -margin, 0.0)  # at 0 the slope is that of a mistake


def misclassified(scores: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """1 where the right class does not win, ties included, else 0: float32 [n].

    Args:
        scores: [n, 1] or [n, classes].
        classes: int32 [n].
    """
    return tf.cast(margins(scores, classes) <= 0.0, tf.float32)


def margins(scores: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """By how much the right class wins, negative where it does not: float32 [n]."""
    scores = tf.cast(scores, tf.float32)
    if scores.shape[-1] == 1:
        return tf.where(classes > 0, scores[:, 0], -scores[:, 0])
    return tf.gather(scores, classes, batch_dims=1) - _strongest_other(scores, classes)[0]


def squared_distance(scores: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Half the squared distance of the scores to targets of -1 and 1: float32 [n]."""
    scores = tf.cast(scores, tf.float32)
    units = scores.shape[-1]
    ones = tf.cast(classes[:, None], tf.float32) if units == 1 else tf.one_hot(classes, units)
    return 0.5 * tf.reduce_sum(tf.square(scores - (2.0 * ones - 1.0)), axis=-1)


def class_logits(model: Perceptron | DeltaRule) -> keras.Model:
    """The trained network with a logit per class, as classifiers are evaluated and served."""
    if model.classes == 2:
        return pair_of_logits(model)
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(model.output)
    return keras.Model(model.input, logits, name=f"{model.name}_logits")


def pair_of_logits(model: keras.Model) -> keras.Model:
    """A model with one score s, the logit of class 1, as one with the logits (0, s)."""
    pair = keras.layers.Dense(2, use_bias=False, dtype="float32", name="logits")
    logits = pair(model.output)
    pair.set_weights([np.array([[0.0, 1.0]], np.float32)])
    return keras.Model(model.input, logits, name=f"{model.name}_logits")


def _track(trackers, values, weight=None):
    weight = None if weight is None else tf.reshape(weight, [-1])
    for tracker, value in zip(trackers, values, strict=True):
        tracker.update_state(value, sample_weight=weight)
    return {tracker.name: tracker.result() for tracker in trackers}


def _strongest_other(scores, classes):
    """The largest score of a wrong class and its number, [n] both."""
    others = scores - tf.one_hot(classes, scores.shape[-1], on_value=np.inf, off_value=0.0)
    return tf.reduce_max(others, axis=-1), tf.argmax(others, axis=-1, output_type=tf.int32)


def _scores(features, classes):
    units = 1 if classes == 2 else classes
    layer = keras.layers.Dense(units, kernel_initializer="zeros", dtype="float32", name="scores")
    layer.build(features.output.shape)
    return layer


def _config(model):
    features = keras.saving.serialize_keras_object(model.features)
    return {"name": model.name, "features": features, "classes": model.classes}


def _arguments(config, custom_objects):
    features = keras.saving.deserialize_keras_object(config["features"], custom_objects)
    return {**config, "features": features}
