"""The delta rule (Widrow and Hoff 1960): a network of one layer that descends a squared distance.

Scores are those of the perceptron (`perceptron.py`); what falls is half the squared distance
between them and targets of -1 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from kapps import replicas
from kapps.models import arguments, objectives
from kapps.models.classic.linear import (
    arguments_of,
    classes_of,
    config_of,
    linear_features,
    misclassified,
    scores_layer,
    squared_distance,
    track,
)


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
        scores = scores_layer(features, classes)
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

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiled as before it was saved."""
        objectives.compile_from_config(self, config)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Gradient descent: w <- w - eta (score - target) x, averaged over the batch."""
        x, targets, weight = keras.utils.unpack_x_y_sample_weight(data)

        def objective():
            figures = self._figures(x, targets, training=True)
            return self._objective(figures[0], weight), figures

        figures = replicas.minimize(self.optimizer, objective, self.trainable_variables)
        return track(self.trackers, figures, weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The same figures; nothing moves."""
        x, targets, weight = keras.utils.unpack_x_y_sample_weight(data)
        return track(self.trackers, self._figures(x, targets, training=False), weight)

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
        """What a step on this batch would minimize, float32 []: for `training.GradientFlow`."""
        x, targets, weight = keras.utils.unpack_x_y_sample_weight(data)
        return self._objective(self._figures(x, targets, training=True)[0], weight)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return config_of(self)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> DeltaRule:
        """The model that `get_config` describes."""
        return cls(**arguments_of(config, custom_objects))
