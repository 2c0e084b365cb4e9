"""The whole chain on a real folder of pictures that nobody prepared: Debian's openclipart-png.

    apt-get download openclipart-png && dpkg -x openclipart-png_*.deb /tmp/clipart
    python benchmarks/transfer_folder.py /tmp/clipart/usr/share/openclipart/png

Drawings of six kinds, with transparency, palettes, grey scale and sides from a few to thousands of
pixels, drawn by many hands and filed by nobody. Each of five folds is the test split once (the
committed figures are of `--folds 4`). Accuracy of the linear probe, and of what the recipe keeps
after fine-tuning. Writes benchmarks/results/transfer_folder.json.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import pathlib
import shutil
import sys
import tempfile
import time

import numpy as np
import tyro

from kapps import evaluation, files, training
from kapps.command_line import call
from kapps.data.split import stratified
from kapps.models.pretrained import transfer

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from recipes import transfer_learning  # noqa: E402

RESULT = pathlib.Path(__file__).parent / "results" / "transfer_folder.json"
KINDS = ("probe", "fine_tuning", "kept_accuracy")
CLASSES = ("animals", "buildings", "food", "plants", "tools", "transportation")


@dataclasses.dataclass(frozen=True)
class Config:
    """What is measured."""

    root: tyro.conf.Positional[pathlib.Path]
    """usr/share/openclipart/png of the package"""
    pictures: int = 70
    """of each class, at most"""
    folds: int = 5
    """parts, each of which is the test split once"""
    image_size: int = 128
    """side that they are resized to"""
    keep: pathlib.Path | None = None
    """where the first fold's run goes, report and all"""
    tiny: bool = False
    """does it run at all? One epoch of each phase on one fold; nothing is written"""


def main(config: Config) -> None:
    """Measure, print, write."""
    chosen = {name: drawn(config, name) for name in CLASSES}
    paths = [path for found in chosen.values() for path in found]
    labels = np.repeat(range(len(CLASSES)), [len(found) for found in chosen.values()])
    print({name: len(found) for name, found in chosen.items()})
    folds = np.zeros(len(paths), int)
    rest = np.arange(len(paths))
    for fold in range(config.folds - 1):  # stratified parts of equal size
        left, part = stratified(labels[rest], 1 / (config.folds - fold), 0)
        folds[rest[part]], rest = fold, rest[left]
    folds[rest] = config.folds - 1
    rows, begin = [], time.perf_counter()
    for fold in range(1 if config.tiny else config.folds):
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(one_fold(config, fold, scratch, paths, labels, folds))
        print(rows[-1], flush=True)
        minutes = (time.perf_counter() - begin) / 60
        result = {
            "machine": training.machine(),
            "shared_machine": "other work ran beside it: minutes are an upper bound",
            "versions": training.versions(),
            "pictures": {name: len(found) for name, found in chosen.items()},
            "settings": {"image_size": config.image_size, "folds": config.folds},
            "minutes": minutes,
            "cross_validated": {kind: summary(rows, kind) for kind in KINDS},
            "folds": rows,
        }
        if not config.tiny:
            files.write_json(RESULT, result)
    print(result["cross_validated"], f"{minutes:.1f} minutes")


def drawn(config: Config, name: str) -> list[pathlib.Path]:
    """Some files of a class, from all of its folders."""
    found = sorted((config.root / name).rglob("*.png"))
    some = np.random.default_rng(0).permutation(len(found))[: config.pictures]
    return [found[i] for i in sorted(some)]


def one_fold(config: Config, fold: int, scratch: str, paths, labels, folds) -> dict:
    """The recipe on one fold: the probe alone, and with fine-tuning."""
    for i, path in enumerate(paths):
        split = "test" if folds[i] == fold else "train"
        place = pathlib.Path(scratch, "pictures", split, CLASSES[labels[i]])
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / f"{i:04d}_{path.name}")
    run = config.keep if fold == 0 and config.keep else pathlib.Path(scratch, "run")
    settings = transfer_learning.Config(
        dataset=f"folder:{scratch}/pictures",
        image_size=config.image_size,
        **({"probe_epochs": 1, "fine_tune_epochs": 1} if config.tiny else {}),
        skip_broken=True,
        run_dir=str(run),
        export_dir=f"{scratch}/served",
        export=fold == 0,
        overwrite=True,
    )
    row = {"fold": fold}
    with contextlib.redirect_stdout(io.StringIO()), asked_after_each_phase(row):
        metrics = call(transfer_learning, settings)
    names = ("test_examples", "test_balanced_accuracy", "test_ece", "near_duplicates")
    row |= {name: metrics[name] for name in (*names, "kept", "verdict", "train_seconds")}
    row["kept_accuracy"] = metrics["test_accuracy"]
    return row


@contextlib.contextmanager
def asked_after_each_phase(row: dict):
    """The test accuracy of both phases: the benchmark may see what the recipe may not."""
    load, set_head, phase = transfer_learning.load, transfer.set_head, training.fit_phase
    images = []

    def loaded(config):
        images.append(load(config))
        return images[-1]

    def ask(name, model):
        # What `fit_phase` leaves are the weights of the best epoch on validation.
        test = images[-1].splits["test"]
        logits = evaluation.predict_logits(model, test, 64)
        row[name] = float(np.mean(logits.argmax(axis=-1) == test.labels))

    def headed(model, head):
        set_head(model, head)
        ask("probe", model)

    def trained(name, names, part, *arguments, **settings):
        history = phase(name, names, part, *arguments, **settings)
        if name == transfer_learning.FINE_TUNING:
            ask("fine_tuning", part)
        return history

    transfer_learning.load, transfer.set_head, training.fit_phase = loaded, headed, trained
    try:
        yield
    finally:
        transfer_learning.load, transfer.set_head, training.fit_phase = load, set_head, phase


def summary(rows: list[dict], kind: str) -> dict:
    """Accuracy over all folds: every picture was tested once."""
    examples = sum(row["test_examples"] for row in rows)
    right = sum(round(row[kind] * row["test_examples"]) for row in rows)
    low, high = evaluation.wilson_interval(right, examples)
    return {
        "accuracy": right / examples,
        "accuracy_low": low,
        "accuracy_high": high,
        "pictures": examples,
        "sd_of_folds": float(np.std([row[kind] for row in rows])),
    }


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
