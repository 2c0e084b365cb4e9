"""The character model on a whole book, beside n-grams and xz on the same parts of it.

The book is the King James Bible of Debian's packages bible-kjv and bible-kjv-text (4.1 MB):

    apt-get install bible-kjv
    bible -f Gen1:1-Rev22:21 | cut -d' ' -f2- > kjv.txt
    python benchmarks/char_rnn.py kjv.txt

(-f writes a verse a line, after its place, which is cut off.) Any other text does as well.

Protocol: the first 90 % are trained on, 5 % are validation, the last 5 % are looked at once, in one
continuous stream. The n-grams count the training part, too; xz is what the compressed training part
grows by when the test part is appended. The seconds are those of training, with validation after
every epoch, and must be 600 at most; the evaluation of the test part is not in them. Writes
benchmarks/results/char_rnn.json. Run it alone on the machine, or say --shared.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import tempfile

import tyro

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # recipes are no package

from kapps import evaluation, files, training  # noqa: E402
from kapps.command_line import call
from recipes import char_rnn  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results" / "char_rnn.json"
SETTINGS = dict(cell="gru", units=256, k1=32, batch_size=64, epochs=4, learning_rate=5e-3)
MOST_SECONDS = 600


@dataclasses.dataclass(frozen=True)
class Config:
    """Which book."""

    book: tyro.conf.Positional[str]
    """a text file"""
    seed: int = 0
    """seed of the weights and of where epochs begin"""
    shared: bool = False
    """other work runs on the machine: the seconds are marked as not measured alone"""
    result: str = str(RESULTS)
    """where the result goes"""


def main(config: Config) -> None:
    """Train, and write the result."""
    name = pathlib.Path(config.book).name
    with tempfile.TemporaryDirectory() as scratch:
        settings = char_rnn.Config(
            dataset=f"text:{config.book}", seed=config.seed, run_dir=scratch, **SETTINGS
        )
        metrics = call(char_rnn, dataclasses.replace(settings, export=False))
        rows = evaluation.read_history(scratch)
        samples = sorted(pathlib.Path(scratch, "samples").glob("*.npy"))
        import numpy as np

        sample = str(np.load(samples[metrics["best_epoch"] - 1])[0])
    shown = dataclasses.replace(settings, run_dir=None, dataset=f"text:{name}")
    bits = metrics["test_bits_per_character"]
    files.write_json(
        config.result,
        {
            "command": training.command(shown, "recipes/char_rnn.py"),
            "metrics": metrics,
            "beats": {
                other: bits < metrics[f"{other}_bits_per_character"]
                for other in ("unigram", "five_gram", "nine_gram", "xz")
            },
            "within_600_seconds": metrics["train_seconds"] <= MOST_SECONDS,
            "epochs": rows,
            "sample": sample,
            "measured_alone": not config.shared,
            "machine": training.machine(),
            "versions": training.versions(),
        },
    )


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
