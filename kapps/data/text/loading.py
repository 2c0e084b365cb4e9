"""Text as symbols: vocabulary, contiguous parts, and lanes that go on from batch to batch.

    [ train ..................................... | validation | test ]

A text is divided where it stands: shuffled lines or windows would put half of a sentence into the
training part and half into the test. The vocabulary is that of the training part; any other
character becomes symbol 0, U+FFFD.
"""

from __future__ import annotations

import hashlib
import pathlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kapps.data import spec as specs
from kapps.data.pipeline import without_autotune
from kapps.errors import UserError

UNKNOWN = "\ufffd"
DEFAULT = "python_topics"
SHORTEST = 1000  # characters: below, the parts say nothing
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class TextData:
    """A text in three contiguous parts.

    Attributes:
        spec: the spec it was loaded from.
        vocabulary: the character of each symbol; the first, U+FFFD, stands for all others.
        splits: the symbols of each part by name, int32 [characters]; in the order of the text.
        fingerprint: sha256 over the text and where it is divided.
        notes: what the user should know.
    """

    spec: str
    vocabulary: str
    splits: dict[str, np.ndarray]
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Characters in each part."""
        return {name: len(symbols) for name, symbols in self.splits.items()}

    @property
    def summary(self) -> str:
        """What this is, in one line."""
        return f"{self.spec}: {self.counts} characters, {len(self.vocabulary)} symbols"

    def before(self, name: str) -> int:
        """The symbol that stands before a part: the last one of the part before.

        Raises:
            ValueError: of the training part, before which there is nothing.
        """
        place = SPLITS.index(name)
        if not place:
            raise ValueError("nothing stands before the training part")
        return int(self.splits[SPLITS[place - 1]][-1])

    def text(self, name: str) -> str:
        """A part as text; characters that are not in the vocabulary are U+FFFD."""
        return "".join(np.array(list(self.vocabulary))[self.splits[name]])


def load_text(spec: str = DEFAULT, fractions: tuple[float, float] = (0.05, 0.05)) -> TextData:
    """Reads a text and divides it.

    Line ends become line feeds, and a byte-order mark is left out.

    Args:
        spec: text:PATH, a file in UTF-8; or python_topics: what the `help()` of this Python tells
            about the language (`pydoc_data.topics`, part of Python and under its licence, PSF-2.0),
            paragraphs that stand in several topics once.
        fractions: parts of the text that are kept for validation and for the test.

    Raises:
        UserError: the file is missing, is no text in UTF-8, is too short, or repeats one character.
    """
    parsed = specs.parse(spec, kinds=("text",), names=(DEFAULT,))
    text = _python_topics() if parsed.kind == DEFAULT else _read(parsed.path)
    if len(text) < SHORTEST:
        raise UserError(
            f"{spec}: {len(text)} characters are too few to learn from; at least {SHORTEST} are "
            "needed, and better a million"
        )
    if not (all(part > 0 for part in fractions) and sum(fractions) <= 0.5):
        raise UserError(f"parts {fractions}: each must be above 0, and both at most half the text")
    validation, test = (max(2, round(part * len(text))) for part in fractions)
    ends = {"train": len(text) - validation - test, "validation": len(text) - test}
    known = sorted(set(text[: ends["train"]]) - {UNKNOWN})
    if len(known) < 2:
        raise UserError(f"{spec}: there is only one character, {known}, so nothing can be learned")
    vocabulary = UNKNOWN + "".join(known)
    symbols = _symbols(text, vocabulary)
    splits = {
        "train": symbols[: ends["train"]],
        "validation": symbols[ends["train"] : ends["validation"]],
        "test": symbols[ends["validation"] :],
    }
    digest = hashlib.sha256(f"{sorted(ends.items())}\n{text}".encode("utf-8", "surrogatepass"))
    return TextData(spec, vocabulary, splits, digest.hexdigest(), _notes(splits))


class TextLanes:
    """Training batches of a text: lanes of equal length, read from left to right.

    Row i of a batch goes on where row i of the batch before ended. Every epoch begins a little
    later than the beginning, by less than one batch, so that batches are not cut at the same
    places; that and the batches depend on (seed, epoch, step) and on nothing else.

    Args:
        symbols: int32 [characters].
        lanes: rows of a batch, over all devices.
        steps: characters of a row, k1.
        seed: of where epochs begin.

    Raises:
        UserError: the text is too short for one batch.
    """

    def __init__(self, symbols: np.ndarray, lanes: int, steps: int, *, seed: int = 0):
        self.batch_size, self.length = lanes, steps
        # What every epoch can have, wherever it begins; the last character has no successor.
        self._lane = (len(symbols) - steps) // lanes
        self.steps = self._lane // steps
        if self.steps < 1:
            raise UserError(
                f"{len(symbols)} characters are too few for {lanes} lanes of {steps}: use a "
                "smaller --batch-size or --k1, or a longer text"
            )
        self._symbols, self._seed = np.asarray(symbols, np.int32), seed

    def offset(self, epoch: int) -> int:
        """Where in the text an epoch begins."""
        return int(np.random.default_rng([self._seed, epoch]).integers(self.length))

    def dataset(self, first: int, last: int, start: int = 0) -> tf.data.Dataset:
        """The batches of the epochs from `first` to before `last`, as `models.TruncatedBPTT` takes.

        Args:
            first: first epoch, from 0.
            last: the epoch before which to end.
            start: step of the first epoch to begin at.
        """
        with tf.device("CPU:0"):
            symbols = tf.constant(self._symbols)
        offsets = tf.constant([self.offset(epoch) for epoch in range(first, last)], tf.int64)
        lane = tf.range(self.batch_size, dtype=tf.int64) * self._lane

        def load(number):
            epoch, step = number // self.steps, number % self.steps
            begin = lane + offsets[epoch] + step * self.length
            rows = tf.gather(symbols, begin[:, None] + tf.range(self.length + 1, dtype=tf.int64))
            rows = tf.ensure_shape(rows, [self.batch_size, self.length + 1])
            batch = {"x": rows[:, :-1], "y": rows[:, 1:]}
            return _of_lanes(self.batch_size, step == 0) | batch

        numbers = tf.data.Dataset.range(start, (last - first) * self.steps)
        return numbers.map(load).prefetch(tf.data.AUTOTUNE)


def text_stream(
    symbols: np.ndarray, *, lanes: int = 1, steps: int = 256, share: int = 1
) -> tf.data.Dataset:
    """Every character but the first once, as one continuous stream, or as several side by side.

    Args:
        symbols: int32 [1 + characters]: the first one is only what stands before the others.
        lanes: streams side by side, each a contiguous part; all but the first begin in the middle
            of the text with nothing remembered.
        steps: characters of a batch's rows; the state goes on from one to the next.
        share: devices that a batch is divided over. It gets rows without weight until it can be,
            so that the lanes are those of one device.

    Raises:
        UserError: there are fewer characters than lanes.
    """
    count = len(symbols) - 1
    if count < lanes:
        raise UserError(f"{count} characters are too few for {lanes} lanes: use fewer")
    lane = -(-count // lanes)
    # Lanes of equal length; what is beyond the end has no weight.
    places = np.arange(lanes)[:, None] * lane + np.arange(lane)
    weight = (places < count).astype(np.float32)
    places = np.minimum(places, count - 1)
    symbols = np.asarray(symbols, np.int32)
    x, y = symbols[places], symbols[places + 1]
    return _stream(x, y, weight, steps, share)


def text_stretches(
    symbols: np.ndarray, count: int, *, lanes: int, steps: int = 256, share: int = 1
) -> tf.data.Dataset:
    """About `count` characters of a text, in `lanes` stretches at equal distances.

    A text is not the same everywhere: its end alone would not stand for it.

    Args:
        symbols: int32 [characters].
        count: how many to take.
        lanes: how many stretches; each begins with nothing remembered.
        steps: characters of a batch's rows; the state goes on from one to the next.
        share: as for `text_stream`.

    Raises:
        UserError: there are fewer characters than lanes.
    """
    count = min(count, len(symbols) - lanes)
    if count < lanes:
        raise UserError(f"{len(symbols)} characters are too few for {lanes} lanes: use fewer")
    lane = count // lanes
    starts = np.linspace(0, len(symbols) - lane - 1, lanes).round().astype(np.int64)
    places = starts[:, None] + np.arange(lane)
    symbols = np.asarray(symbols, np.int32)
    weight = np.ones(places.shape, np.float32)
    return _stream(symbols[places], symbols[places + 1], weight, steps, share)


def _stream(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, steps: int, share: int
) -> tf.data.Dataset:
    """Lanes [lanes, characters] in batches of `steps` characters, the last one perhaps shorter."""
    x, y, weight = (np.pad(each, ((0, -len(x) % share), (0, 0))) for each in (x, y, weight))
    lanes, length = x.shape
    with tf.device("CPU:0"):
        x, y, weight = tf.constant(x), tf.constant(y), tf.constant(weight)

    def load(start):
        part = slice(start, tf.minimum(start + steps, length))
        found = {"x": x[:, part], "y": y[:, part], "weight": weight[:, part]}
        return _of_lanes(lanes, start == 0) | found

    parts = tf.data.Dataset.range(0, length, steps).map(load)
    return without_autotune(parts.prefetch(tf.data.AUTOTUNE))


def _of_lanes(lanes: int, first: tf.Tensor) -> dict[str, tf.Tensor]:
    """The lane of each row; `first` is a number, since Keras averages a batch over replicas."""
    return {"lane": tf.range(lanes), "first": tf.fill([lanes], tf.cast(first, tf.int32))}


def _read(path: pathlib.Path) -> str:
    specs.check(f"text:{path}", kinds=("text",))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: no text in UTF-8: byte {content[error.start]:#04x} in line {line} (byte "
            f"{error.start + 1}). If it is a text in another encoding, convert it: "
            f"iconv -f latin1 -t utf-8 {path.name} > new.txt"
        ) from None
    if "\0" in text:
        raise UserError(f"{path}: holds zero bytes: that is no text, or one in UTF-16 (see iconv)")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _python_topics() -> str:
    try:
        from pydoc_data import topics
    except ImportError:
        raise UserError(
            "this Python lacks pydoc_data, the text that it explains itself with. Give another "
            "text: --dataset text:PATH"
        ) from None
    texts = [text.strip() for _, text in sorted(topics.topics.items())]
    paragraphs = dict.fromkeys("\n\n".join(texts).split("\n\n"))
    return "\n\n".join(paragraphs) + "\n"


def _symbols(text: str, vocabulary: str) -> np.ndarray:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    known = np.array([ord(character) for character in vocabulary], np.uint32)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known[order], codes), len(known) - 1)
    found = order[place]
    return np.where(known[found] == codes, found, 0).astype(np.int32)


def _notes(splits: dict[str, np.ndarray]) -> tuple[str, ...]:
    notes = [
        f"{count} of the {len(splits[name])} characters of the {name} part do not occur in the "
        "training part: each of them counts as one that stands for all such"
        for name in SPLITS[1:]
        if (count := int((splits[name] == 0).sum()))
    ]
    return tuple(notes)
