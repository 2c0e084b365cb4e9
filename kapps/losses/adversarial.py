"""What the two players of a GAN minimize, as rows of a table.

`real` and `fake` are the discriminator's logits, `[batch]`, positive where it believes that a
image is real; D = sigmoid(logits). Values are one per example, `[batch]`, in float32, and finite
for all logits that are.

"Minimax" often names the non-saturating loss. Here it is what its paper calls so: the generator
minimizes log(1 - D), whose gradient by the logit is -D, gone where the discriminator is sure. That
of the non-saturating loss, -log D, is D - 1 instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from kapps.errors import UserError

_LABEL_SMOOTHING = 0.1  # a target of 0.9, as in arXiv:1606.03498


class Adversarial(NamedTuple):
    """The losses of both players.

    Attributes:
        discriminator: (real, fake) -> [batch].
        generator: (real, fake) -> [batch]; `real` may be None unless `paired`.
        paired: whether the generator's loss compares a fake with a real image.
    """

    discriminator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    generator: Callable[[tf.Tensor | None, tf.Tensor], tf.Tensor]
    paired: bool = False


def adversarial_loss(name: str, label_smoothing: float | None = None) -> Adversarial:
    """A row of the table by name.

    Args:
        name: minimax, non_saturating, bce, least_squares, hinge, wasserstein or relativistic.
        label_smoothing: of bce alone: the target of real images is 1 minus this. That of fakes
            stays 0, since smoothing them would reward the generator for staying where it is. None
            takes 0.1.

    Raises:
        UserError: an unknown name, a smoothing outside [0, 1), or one for another loss.
    """
    if name not in ADVERSARIAL:
        raise UserError(f"unknown loss {name!r}: it is one of {', '.join(ADVERSARIAL)}")
    if label_smoothing is None:
        return ADVERSARIAL[name]
    if name != "bce" or not 0.0 <= label_smoothing < 1.0:
        raise UserError(
            f"label_smoothing {label_smoothing} of {name}: only bce has one, from 0 to below 1"
        )
    return _smoothed(label_smoothing)


def cross_entropy(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """-log D(real) - log(1 - D(fake)), arXiv:1406.2661, eq. 1; 2 ln 2 for a coin."""
    return tf.nn.softplus(-_float(real)) + tf.nn.softplus(_float(fake))


def saturating(real: tf.Tensor | None, fake: tf.Tensor) -> tf.Tensor:
    """log(1 - D(fake)), arXiv:1406.2661, eq. 1. Its gradient by the logit is -D(fake)."""
    return -tf.nn.softplus(_float(fake))


def non_saturating(real: tf.Tensor | None, fake: tf.Tensor) -> tf.Tensor:
    """-log D(fake), arXiv:1406.2661, section 3. Its gradient by the logit is D(fake) - 1."""
    return tf.nn.softplus(-_float(fake))


def least_squares_discriminator(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """Half the squared distances of real to 1 and of fake to 0, arXiv:1611.04076, eq. 9."""
    return 0.5 * (tf.square(_float(real) - 1.0) + tf.square(_float(fake)))


def least_squares_generator(real: tf.Tensor | None, fake: tf.Tensor) -> tf.Tensor:
    """Half the squared distance of fake to 1, arXiv:1611.04076, eq. 9."""
    return 0.5 * tf.square(_float(fake) - 1.0)


def hinge(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """max(0, 1 - real) + max(0, 1 + fake), arXiv:1802.05957, eq. 16."""
    return tf.nn.relu(1.0 - _float(real)) + tf.nn.relu(1.0 + _float(fake))


def wasserstein(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """Fake - real, minus the estimated distance, arXiv:1701.07875, algorithm 1."""
    return _float(fake) - _float(real)


def critic(real: tf.Tensor | None, fake: tf.Tensor) -> tf.Tensor:
    """Minus the critic's logit, arXiv:1701.07875, algorithm 1."""
    return -_float(fake)


def relativistic_discriminator(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """-log sigmoid(real - fake), arXiv:1807.00734 (RpGAN); arXiv:2501.05441, eq. 2."""
    return tf.nn.softplus(_float(fake) - _float(real))


def relativistic_generator(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """-log sigmoid(fake - real), arXiv:1807.00734."""
    return tf.nn.softplus(_float(real) - _float(fake))


def _smoothed(label_smoothing: float) -> Adversarial:
    """Cross-entropy with targets of 1 - smoothing for real and 0 for fake, arXiv:1606.03498."""

    def discriminator(real, fake):
        # softplus(r) - t r = -t log D - (1 - t) log(1 - D), never below the entropy of t.
        return cross_entropy(real, fake) + label_smoothing * _float(real)

    return Adversarial(discriminator, non_saturating)


def _float(logits):
    return tf.cast(logits, tf.float32)


ADVERSARIAL = {
    "minimax": Adversarial(cross_entropy, saturating),
    "non_saturating": Adversarial(cross_entropy, non_saturating),
    "bce": _smoothed(_LABEL_SMOOTHING),
    "least_squares": Adversarial(least_squares_discriminator, least_squares_generator),
    "hinge": Adversarial(hinge, critic),
    "wasserstein": Adversarial(wasserstein, critic),
    "relativistic": Adversarial(relativistic_discriminator, relativistic_generator, paired=True),
}
