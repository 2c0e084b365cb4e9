"""Character models: which character comes next?"""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from kapps.errors import UserError
from kapps.models import arguments
from kapps.models.recurrent import rnn
from kapps.models.text.truncated import TruncatedBPTT

UNKNOWN = "\ufffd"  # first in every vocabulary: stands for all characters that are not in it


def char_rnn(
    vocabulary: str,
    *,
    cell: str = "lstm",
    units: int = 256,
    layers: int = 1,
    embedding: int = 64,
    dropout: float = 0.0,
    residual: bool = False,
    k1: int = 64,
    k2: int | None = None,
    lanes: int = 32,
    validation_lanes: int = 32,
    clip: float = 1.0,
    name: str = "char_rnn",
) -> TruncatedBPTT:
    """A recurrent network that predicts the next character (Graves 2013, arXiv:1308.0850).

    Args:
        vocabulary: the character of each symbol; the first is U+FFFD, any character but these.
        cell: "simple", "lstm" or "gru".
        units: of each layer.
        layers: how many.
        embedding: length of the vector that stands for a symbol.
        dropout: part of each layer's inputs that is dropped, the same ones in all steps that are
            run together (arXiv:1512.05287): the whole window if k1 = k2, else each of its pieces
            (`TruncatedBPTT.unroll`).
        residual: layers add to what they are given, after layer normalization.
        k1: steps between updates.
        k2: steps through which an error is propagated back; default: k1.
        lanes: rows of a training batch.
        validation_lanes: most rows of a validation batch.
        clip: highest global norm of the gradient; 0 is off.
        name: of the model.

    Returns:
        "tokens" int32 [batch, steps] -> logits [batch, steps, symbols].

    Raises:
        UserError: an argument is out of its range.
    """
    if len(vocabulary) < 2 or vocabulary[0] != UNKNOWN or len(set(vocabulary)) < len(vocabulary):
        raise UserError(
            "vocabulary: U+FFFD and at least one character are needed, each of them once"
        )
    units, layers = arguments.integer("units", units), arguments.integer("layers", layers)
    network = rnn(
        len(vocabulary),
        len(vocabulary),
        cell=cell,
        units=[units] * layers,
        embedding=arguments.integer("embedding", embedding),
        dropout=dropout,
        residual=residual,
        return_sequences=True,
        carry_state=True,
        name="network",
    )
    return TruncatedBPTT(
        network,
        k1=k1,
        k2=k2,
        lanes=lanes,
        validation_lanes=validation_lanes,
        clip=clip,
        vocabulary=vocabulary,
        name=name,
    )


@dataclasses.dataclass(frozen=True)
class Characters:
    """Characters and their symbols, in a graph of constants.

    Attributes:
        vocabulary: the character of each symbol; the first stands for all others.
    """

    vocabulary: str

    def symbols(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Texts, string [batch], as symbols int32 [batch, longest] and their lengths int32 [batch].

        What is no character of the vocabulary, or no UTF-8, becomes symbol 0; so does the padding.
        """
        points = tf.strings.unicode_decode(texts, "UTF-8", errors="replace")
        codes = self._codes()
        order = tf.argsort(codes, stable=True)
        place = tf.searchsorted(tf.gather(codes, order), points.flat_values)
        found = tf.gather(order, tf.minimum(place, len(self.vocabulary) - 1))
        symbols = tf.where(tf.gather(codes, found) == points.flat_values, found, 0)
        return points.with_flat_values(symbols).to_tensor(), tf.cast(points.row_lengths(), tf.int32)

    def texts(self, symbols: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """The reverse: string [batch] of symbols int32 [batch, steps], as far as `lengths` says."""
        ragged = tf.RaggedTensor.from_tensor(symbols, lengths)
        points = ragged.with_flat_values(tf.gather(self._codes(), ragged.flat_values))
        return tf.strings.unicode_encode(points, "UTF-8")

    @property
    def start(self) -> int:
        """The symbol that stands before the first character: a new line, if there is one."""
        return next((self.vocabulary.index(c) for c in "\n " if c in self.vocabulary), 1)

    def _codes(self) -> tf.Tensor:
        return tf.constant([ord(character) for character in self.vocabulary], tf.int32)


def generate_text(
    model: TruncatedBPTT,
    prompt: Any,
    length: Any = 200,
    temperature: Any = 1.0,
    seed: Any = 0,
    top_k: Any = 0,
) -> dict[str, tf.Tensor]:
    """Texts that begin with prompts; in a graph or outside of one.

    A text depends on its own prompt, its row, and the numbers given, and on nothing else: a longer
    `length` goes on with the same text.

    Args:
        model: a character model, with a vocabulary.
        prompt: UTF-8, string [batch]. Characters that the model does not know are taken as one that
            stands for all of them; an empty one is taken as a new line before the text.
        length: characters to add, int32 [].
        temperature: the logits are divided by it; 0 always takes the most probable character.
        seed: int32 [].
        top_k: only the so many most probable characters are drawn; 0 is all of them.

    Returns:
        `text`, string [batch]: prompt and continuation; `continuation` alone.
    """
    characters = Characters(model.vocabulary)
    prompt = tf.convert_to_tensor(prompt)
    length, seed, top_k = (tf.cast(value, tf.int32) for value in (length, seed, top_k))
    length, temperature = tf.maximum(length, 0), tf.maximum(tf.cast(temperature, tf.float32), 0.0)
    given, lengths = characters.symbols(prompt)
    batch, known = tf.shape(given)[0], len(model.vocabulary)
    start = tf.fill([batch, 1], characters.start)
    # One step of start before all prompts; `given` is read at place i, one ahead of what is fed.
    last = tf.reduce_max(tf.concat([lengths, [0]], axis=0)) + length
    given = tf.pad(given, [[0, 0], [0, length]])
    kept = tf.where(top_k > 0, tf.minimum(top_k, known - 1), known - 1)

    def step(i, fed, states, drawn):
        logits, *states = model.answer(fed, states)
        logits = tf.cast(logits[:, 0], tf.float32)
        logits = tf.concat([tf.fill([batch, 1], -1e30), logits[:, 1:]], axis=1)  # never UNKNOWN
        lowest = tf.math.top_k(logits, kept).values[:, -1:]
        uniform = tf.random.stateless_uniform([batch, known], tf.stack([seed, i]), 1e-20)
        noise = -tf.math.log(-tf.math.log(uniform))  # Gumbel: the largest sum is a draw
        chosen = tf.where(logits >= lowest, logits + temperature * noise, -1e30)
        chosen = tf.argmax(chosen, axis=-1, output_type=tf.int32)
        symbol = tf.where(i < lengths, given[:, i], chosen)
        # What is known of the shapes when the loop begins has to be known at its end.
        symbol = tf.ensure_shape(symbol, start.shape[:1])
        states = [tf.ensure_shape(s, fresh.shape) for s, fresh in zip(states, begin, strict=True)]
        return i + 1, symbol[:, None], states, drawn.write(i, symbol)

    begin = model.fresh_states(batch)
    drawn = tf.TensorArray(tf.int32, last, element_shape=[None])
    _, _, _, drawn = tf.while_loop(
        lambda i, *_: i < last, step, (tf.constant(0), start, begin, drawn)
    )
    symbols = tf.reshape(tf.transpose(drawn.stack()), [batch, last])
    symbols = symbols[:, : tf.shape(symbols)[1]]
    whole = tf.RaggedTensor.from_tensor(symbols, lengths + length)
    added = tf.ragged.boolean_mask(
        whole, tf.ragged.range(whole.row_lengths()) >= tf.cast(lengths, tf.int64)[:, None]
    )
    continuation = characters.texts(added.to_tensor(), length * tf.ones_like(lengths))
    return {"text": tf.strings.join([prompt, continuation]), "continuation": continuation}


def score_text(model: TruncatedBPTT, text: Any) -> dict[str, tf.Tensor]:
    """Bits per character of texts under the model, each text after a new line.

    Args:
        model: a character model, with a vocabulary.
        text: UTF-8, string [batch].

    Returns:
        `bits_per_character` float32 [batch], 0 of an empty text; `characters` int32 [batch].
    """
    characters = Characters(model.vocabulary)
    symbols, lengths = characters.symbols(tf.convert_to_tensor(text))
    # An empty batch of steps has no loop to run.
    symbols = tf.pad(symbols, [[0, 0], [0, tf.cast(tf.shape(symbols)[1] == 0, tf.int32)]])
    start = tf.fill([tf.shape(symbols)[0], 1], characters.start)
    fed = tf.concat([start, symbols[:, :-1]], axis=1)
    logits = model.answer(fed, model.fresh_states(tf.shape(fed)[0]))[0]
    logits = tf.cast(logits, tf.float32)
    nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=symbols, logits=logits)
    there = tf.sequence_mask(lengths, tf.shape(symbols)[1], tf.float32)
    bits = tf.reduce_sum(nats * there, axis=1) / tf.math.log(2.0)
    count = tf.cast(lengths, tf.float32)
    return {"bits_per_character": tf.math.divide_no_nan(bits, count), "characters": lengths}
