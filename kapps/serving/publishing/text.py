"""A character model becomes a SavedModel that needs neither kapps nor Keras.

    serving_default, generate   prompt string [N], length, temperature, top_k, seed
                                -> text, continuation, string [N]
    score                       text string [N] -> bits_per_character float32 [N],
                                characters int32 [N]

Characters become symbols and symbols characters in the graph. The four numbers of `generate` are
[] or [1], all but the temperature int32; the length is at most 10,000. The same request gets the
same answer.
"""

from __future__ import annotations

import os
from pathlib import Path

import tensorflow as tf

from kapps.errors import UserError
from kapps.models import TruncatedBPTT, generate_text, score_text
from kapps.serving.savedmodel.endpoints import at_most, export_generative

PROMPT, TEXT = (tf.TensorSpec((None,), tf.string, name) for name in ("prompt", "text"))
LENGTH, TOP_K, SEED = (tf.TensorSpec(None, tf.int32, name) for name in ("length", "top_k", "seed"))
TEMPERATURE = tf.TensorSpec(None, tf.float32, "temperature")
MAX_LENGTH = 10_000  # characters: nobody waits longer
WRITER = [PROMPT, LENGTH, TEMPERATURE, TOP_K, SEED]


def export_text(
    model: TruncatedBPTT, export_dir: str | os.PathLike, *, card: str | None = None
) -> Path:
    """Publishes a character model as the next version; see the module and `export_generative`.

    Args:
        model: It has a vocabulary, and a network that carries its state.
        export_dir: The directory that a server watches; made when missing.
        card: Markdown on what was trained on what, with which result.

    Raises:
        UserError: it has no vocabulary; and as `export_generative`.
        RuntimeError: as `export_generative`.
    """
    if not is_text(model):
        raise UserError(f"a {type(model).__name__} without a vocabulary writes no text")

    # Graphs, also for the check: a loop over characters takes long, one operation at a time.
    @tf.function(autograph=False, input_signature=WRITER)
    def generate(prompt, length, temperature, top_k, seed):
        numbers = (tf.reshape(x, []) for x in (length, temperature, top_k, seed))
        length, temperature, top_k, seed = numbers
        length = at_most("length", length, MAX_LENGTH)
        return generate_text(model, prompt, length, temperature, seed, top_k)

    @tf.function(autograph=False, input_signature=[TEXT])
    def score(text):
        return score_text(model, text)

    writer = (generate, WRITER)
    return export_generative(
        {"serving_default": writer, "generate": writer, "score": (score, [TEXT])},
        export_dir,
        kind="character model",
        card=card,
    )


def is_text(model: object) -> bool:
    """Whether a model is one of characters, as `models.char_rnn` builds them."""
    return bool(getattr(model, "vocabulary", ""))
