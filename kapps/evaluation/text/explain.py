"""A character model, measured and explained: bits per character beside counts and xz."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf
from scipy import stats

from kapps.errors import UserError
from kapps.evaluation import plots
from kapps.evaluation.explanation import Explanation, Tables
from kapps.evaluation.text.ngram import NGram, xz_bits_per_character
from kapps.evaluation.verdicts.language import language_verdict

if TYPE_CHECKING:
    from kapps.data import TextData
    from kapps.models import TruncatedBPTT

ORDERS = {"unigram": 1, "5-gram": 5, "9-gram": 9}
STRETCHES = 16  # of the training part, to see how hard it is to foresee
BLOCKS = 30  # of the test part, for the interval of its bits
SHOWN = 1000  # characters of the test part, coloured


def text_baselines(text: TextData, name: str = "test") -> dict[str, float]:
    """Bits per character of a part, for models that know the training part.

    Unigram, 5-gram and 9-gram (modified Kneser-Ney), which see what stands before the part, and
    "xz": how much longer the compressed training part becomes by it.

    Args:
        text: the text.
        name: of the part.
    """
    train, symbols = text.splits["train"], text.splits[name]
    before = [text.before(name)] if name != "train" else []
    found = {}
    for words, order in ORDERS.items():
        model = NGram(train, len(text.vocabulary), order)
        found[words] = model.bits_per_character(symbols, before)
    found["xz"] = xz_bits_per_character(text.text("train"), text.text(name))
    return found


def harder_by(text: TextData) -> float:
    """Bits per character that the validation part costs more than the training part, both unseen.

    A text is not the same everywhere. Of a 5-gram of the training part without some stretches:
    what it needs for the validation part, less what it needs for these stretches.

    Args:
        text: the text.
    """
    train, validation = text.splits["train"], text.splits["validation"]
    length = max(1, min(len(validation), len(train) // 4) // STRETCHES)
    starts = np.linspace(0, len(train) - length, STRETCHES).round().astype(int)
    kept = np.ones(len(train), bool)
    for start in starts:
        kept[start : start + length] = False
    model = NGram(train[kept], len(text.vocabulary), 5)
    unseen = [
        model.bits_per_character(train[start : start + length], train[:start]) for start in starts
    ]
    return model.bits_per_character(validation, train) - float(np.mean(unseen))


def character_bits(model: TruncatedBPTT, symbols: np.ndarray, steps: int = 512) -> np.ndarray:
    """The bits of each character but the first, in one stream that is never interrupted.

    Args:
        model: tokens -> logits, with a network that carries its state.
        symbols: int32 [1 + characters]; the first is what stands before the others.
        steps: characters computed at a time; the result does not depend on it.

    Returns:
        float64 [characters].

    Raises:
        UserError: the model's answers are not finite.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def part(tokens, states):
        logits, *states = model.answer(tokens[:, :-1], states)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tokens[:, 1:], logits=tf.cast(logits, tf.float32)
        )
        return nats[0], states

    symbols = np.asarray(symbols, np.int32)
    states, nats = model.fresh_states(1), []
    for start in range(0, len(symbols) - 1, steps):
        found, states = part(tf.constant(symbols[None, start : start + steps + 1]), states)
        nats.append(found.numpy())
    bits = np.concatenate(nats).astype(np.float64) / math.log(2.0)
    if not np.isfinite(bits).all():
        raise UserError("the model's answers are not finite: a lower --learning-rate may help")
    return bits


class BitsInterval(NamedTuple):
    """95 % interval of a mean of bits; `spread` as `language_verdict` takes it."""

    low: float
    high: float
    spread: float


def bits_interval(bits: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> BitsInterval:
    """The 95 % interval of bits per character, by a bootstrap of blocks of the text.

    Neighbours go together (a hard word is hard for several characters), so single characters may
    not be drawn. The circular block bootstrap (Politis and Romano 1992) draws thirty blocks, so
    that a block is far longer than what goes together; its deviation is widened to Student's
    quantile of as many blocks, since so few know their scatter roughly.

    Args:
        bits: of each character, float [characters].
        resamples: how often blocks are drawn.
        seed: of the draws.
    """
    bits = np.asarray(bits, np.float64)
    blocks = min(BLOCKS, len(bits))
    length = -(-len(bits) // blocks)
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([bits, bits[:length]]))])
    starts = np.random.default_rng(seed).integers(0, len(bits), (resamples, blocks))
    means = (sums[starts + length] - sums[starts]).sum(axis=1) / (blocks * length)
    free = max(blocks - 1, 1)
    error = float(means.std(ddof=1)) * math.sqrt(blocks / free)
    width, mean = float(stats.t.ppf(0.975, free)) * error, float(bits.mean())
    spread = error * math.sqrt(len(bits)) / max(mean, 1e-12)
    return BitsInterval(mean - width, mean + width, spread)


def explain_text(
    model: TruncatedBPTT,
    text: TextData,
    history: Sequence[Mapping[str, Any]],
    *,
    samples: Sequence[str] = (),
    sample_epochs: Sequence[int] = (),
    train_characters: int,
    kept: int | None = None,
) -> Explanation:
    """Measure a character model on the test part, once, and draw what explains it.

    Args:
        model: tokens -> logits, with a network that carries its state.
        text: what it was trained on.
        history: rows of metrics.csv, its `train_*` measured as validation is.
        samples: what it wrote after each epoch.
        sample_epochs: which epochs these were.
        train_characters: how many `train_loss` is the mean of.
        kept: the epoch whose weights these are, from 1; by default that of the lowest `val_loss`.

    Raises:
        UserError: the model's answers are not finite.
    """
    of_validation, of_test = (text_baselines(text, name) for name in ("validation", "test"))
    bits = character_bits(model, np.append(text.before("test"), text.splits["test"]))
    interval = bits_interval(bits)
    verdict = language_verdict(
        history,
        unigram=of_validation["unigram"],
        five_gram=of_validation["5-gram"],
        validation_characters=text.counts["validation"],
        train_characters=train_characters,
        harder=harder_by(text),
        spread=interval.spread,
        kept=kept,
    )
    metrics = {
        "test_bits_per_character": float(bits.mean()),
        "test_bits_per_character_low": interval.low,
        "test_bits_per_character_high": interval.high,
        "test_loss": float(bits.mean() * math.log(2.0)),
        "test_characters": len(bits),
        **{f"{_key(name)}_bits_per_character": value for name, value in of_test.items()},
        "symbols": len(text.vocabulary),
        "verdict": verdict.label,
    }
    shown = text.text("test")[:SHOWN]
    figures = [
        (
            "Bits per character",
            plots.bits_curves(
                history, {name: of_validation[name] for name in of_validation if name != "unigram"}
            ),
            "Horizontal lines: what n-grams of the training part, and xz, need on the validation "
            "part. The network is measured twice on the training part: while training, with "
            "dropout, and in evaluation mode, like validation.",
        ),
        (
            "Where the bits go",
            plots.coloured_text(shown, bits[: len(shown)]),
            "The beginning of the test part: white was predicted, orange was a surprise.",
        ),
    ]
    if samples:
        figures.append(
            (
                "Samples by epoch",
                plots.text_samples(samples, sample_epochs),
                "From the same random numbers, as training went on.",
            )
        )
    tables: Tables = [_table(of_validation, of_test, history, metrics)]
    if samples:
        rows = list(zip(sample_epochs, samples, strict=True))
        tables.append(("What it wrote", ("epoch", "text"), rows))
    headline = (
        f"{metrics['test_bits_per_character']:.3f} bits per character on the test part "
        f"({metrics['test_characters']} characters); a 5-gram needs "
        f"{metrics['five_gram_bits_per_character']:.3f}, xz {metrics['xz_bits_per_character']:.3f}."
    )
    return Explanation(metrics, verdict, figures, tables, headline=headline)


def _table(of_validation, of_test, history, metrics) -> tuple[str, Sequence[str], list]:
    values = [row["val_bits_per_character"] for row in history]
    best = min((v for v in values if math.isfinite(v)), default=math.nan)
    rows = [("this network", best, metrics["test_bits_per_character"])]
    rows += [(name, of_validation[name], of_test[name]) for name in of_test]
    columns = ("model", "validation part", "test part")
    return "Bits per character", columns, sorted(rows, key=lambda row: row[2])


def _key(name: str) -> str:
    return {"5-gram": "five_gram", "9-gram": "nine_gram"}.get(name, name)
