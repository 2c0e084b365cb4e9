"""The perceptron, and the pocket: a network of one layer that learns from its mistakes.

An image or a point x, standardized and with a constant 1 appended for the bias, gets a score w.x;
with two classes there is one score, whose sign is the class (targets 0 and 1), with more there is
one score per class, and the largest wins.

    perceptron  Rosenblatt 1958. Examples come one after another, and only those that are
                misclassified change anything: w <- w + x where class 1 was missed, w <- w - x where
                class 0 was. With more classes x is added to the weights of the right class and
                taken from those of the wrong one (Duda and Hart 1973, Kesler's construction).
    pocket      Gallant 1990: the same walk, and the weights that did best on the way are kept.
                For data that no plane separates, where the walk never ends.

While data are separable with a margin, the perceptron makes at most (R / gamma)^2 updates
(Novikoff 1962; `kapps.evaluation.separation`), in whatever order the examples come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kapps import replicas
from kapps.errors import UserError
from kapps.models import arguments, objectives
from kapps.models.classic.linear import (
    _strongest_other,
    arguments_of,
    classes_of,
    config_of,
    criterion,
    linear_features,
    misclassified,
    scores_layer,
    track,
)


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
        scores = scores_layer(features, classes)
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
                "the perceptron rule has no sample_weight and no class_weight: repeat examples "
                "that should count more"
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
        return {**track(self.trackers, (loss, wrong)), "updates": self.updates.result()}

    def test_step(self, data: Any) -> dict[str, Any]:
        """Nothing moves."""
        x, targets, weight = keras.utils.unpack_x_y_sample_weight(data)
        scores, classes = self(x, training=False), classes_of(targets, self.classes)
        figures = criterion(scores, classes), misclassified(scores, classes)
        return track(self.trackers, figures, weight)

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
        return {**config_of(self), "pocket": self.pocket}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Perceptron:
        """The model that `get_config` describes."""
        return cls(**arguments_of(config, custom_objects))


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
