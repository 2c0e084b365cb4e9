"""Losses: pure functions on logits that return one value per example, computed in float32.

classification   softmax_cross_entropy
"""

from kapps.losses.classification import softmax_cross_entropy

__all__ = ["softmax_cross_entropy"]
