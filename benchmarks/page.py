"""The site's page of benchmarks, generated from benchmarks/results.

    python benchmarks/page.py

Writes docs/benchmarks.md. A test holds that the page is what the results say.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # benchmarks are no installed package

from benchmarks import defaults, generative_table, page_speed  # noqa: E402
from benchmarks.page_parts import RESULTS, between, percent, result, section  # noqa: E402

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"

# Row of fashion_mnist.py: what it is called here, and the test accuracies that an earlier setting
# had. The setting was changed after they had been seen, so the row's own figure is optimistic.
CLASSIFIERS = {
    "resnet_5_epochs": ("ResNet, 5 epochs", ()),
    "resnet_20_epochs": ("the same, 20 epochs", (0.9376,)),
    "resnet_20_epochs_no_augmentation": ("the same, without augmentation", ()),
    "cnn": ("plain CNN", (0.9301,)),
    "mlp": ("MLP", (0.8929, 0.8969)),
}
# Likewise for the series, whose two rows were trained for longer.
SEEN = {"ArrowHead-lstm_fcn": 0.723, "ItalyPowerDemand-lstm_fcn": 0.958}
NAMES = {"random": "random", "tpe": "TPE and neighbours (`tpe_local`), median rule"}


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())
    print(PAGE)


def page() -> str:
    """The page in Markdown."""
    return "\n".join(
        (
            INTRODUCTION,
            section("Image classifiers", CLASSIFIER_WORDS, classifiers()),
            *(
                [section("How soon", page_speed.clock_words(), page_speed.clock())]
                if page_speed.clocks()
                else ()
            ),
            "## Generative models\n",
            generative_table.table(),
            GENERATIVE_WORDS,
            section("Transfer", TRANSFER_WORDS, transfer()),
            section("The adding problem: what keeps gradients alive", MEMORY_WORDS, memory()),
            section("How far back truncated back-propagation reaches", REACH_WORDS, truncation()),
            section("Series", SERIES_WORDS, series()),
            section("Text", TEXT_WORDS, text()),
            section("Compared with simple models", peers_words(), peers()),
            section("Search", SEARCH_WORDS, search()),
            *([found] if (found := defaults.section()) else ()),
            section("A search whose trials fail", FAILURE_WORDS, failures()),
            section("Killed and resumed", KILL_WORDS, kills()),
            section("Speed of kapps' own parts", page_speed.SPEED_WORDS, page_speed.speed()),
            section("Serving", page_speed.serving_words(), page_speed.serving()),
            *(
                (page_speed.DATA_WORDS, data.read_text())
                if (data := RESULTS / "data.md").exists()
                else ()
            ),
            "## Speed compared with others\n",
            page_speed.BESIDE_WORDS,
            (RESULTS / "run.md").read_text(),
            section("What a step is made of", page_speed.STEP_WORDS, page_speed.steps()),
        )
    )


def classifiers() -> Iterable[Sequence[str]]:
    """Rows of fashion_mnist.py."""
    yield (
        "network",
        "test accuracy (95 % interval)",
        "parameters",
        "epoch kept",
        "seconds",
        ("verdict"),
        "command",
    )
    for name, (what, seen) in CLASSIFIERS.items():
        found = result(f"fashion_mnist_{name}_seed0")
        metrics = found["metrics"]
        low, high = (percent(metrics[f"test_accuracy_{end}"]) for end in ("low", "high"))
        before = ", ".join(percent(value, 2) for value in seen)
        yield (
            what + (f" (chosen after {before} had been seen)" if seen else ""),
            f"**{percent(metrics['test_accuracy'], 2)}** ({low} to {high})",
            f"{metrics['parameters']:,}",
            f"{metrics['best_epoch']} of {len(found['epochs'])}",
            f"{metrics['train_seconds']:.0f}",
            metrics["verdict"],
            f"`{found['command']}`",
        )


def transfer() -> Iterable[Sequence[str]]:
    """The table of transfer.py classes."""
    ways = {
        "scratch": "from scratch",
        "probe": "probe",
        "probe_and_fine_tuning": "probe, then fine-tuning",
        "imagenet_probe": "ImageNet, probe",
    }
    yield "images per class", *ways.values()
    for count, row in result("transfer_classes")["table"].items():
        cells = [f"{100 * row[way]['mean']:.1f} ± {100 * row[way]['sd']:.1f} %" for way in ways]
        yield count, *cells


def memory() -> Iterable[Sequence[str]]:
    """The table of memory.py."""
    yield "row", "what it shows", "steps", "squared error", "gradient, first step / last"
    for row in result("memory")["table"]:
        against = f", against `{row['against']}`" if row["against"] else ""
        yield (
            f"`{row['row']}`",
            row["shows"] + against,
            str(row["length"]),
            f"{row['error']:.4f}",
            f"{row['first_to_last_before']:.1e}",
        )


def truncation() -> Iterable[Sequence[str]]:
    """The table of truncation.py."""
    found = result("truncation")
    yield "steps back (k2)", *(f"seed {seed}" for seed in found["settings"]["seeds"])
    for k in found["settings"]["ks"]:
        yield str(k), *(f"{row['mse']:.4f}" for row in found["rows"] if row["k"] == k)


def series() -> Iterable[Sequence[str]]:
    """The rows of sequences.py."""
    yield "dataset", "network", "test accuracy", "target", "seeds", "parameters"
    for name, row in result("sequences")["rows"].items():
        data, network = name.rsplit("-", 1)
        spread = row["standard_deviation"]
        told = f"**{100 * row['mean']:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")
        seen = f" (chosen after {percent(SEEN[name])} had been seen)" if name in SEEN else ""
        yield (
            data,
            network,
            f"{told} %**{seen}",
            percent(row["target"]) + ("" if row["reached"] else ": missed"),
            str(len(row["accuracies"])),
            f"{row['parameters']:,}",
        )


def outcome(peer: dict[str, Any]) -> str:
    """Whether the network is surely ahead of a simple model, or surely behind."""
    return "win" if peer["low"] > 0 else "**loss**" if peer["high"] < 0 else "even"


def best_peer(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The simple model with the best test figure: a choice in its favour."""
    return max(row["peers"].items(), key=lambda item: item[1]["score"])


def peers_words() -> str:
    """What was compared, and how often it was won and lost."""
    rows = result("simple_peers")["rows"].values()
    found = [outcome(best_peer(row)[1]) for row in rows]
    counts = {what: sum(what in each for each in found) for what in ("win", "even", "loss")}
    sources = "; ".join(dict.fromkeys(row["source"] for row in rows))
    return f"""Recipes with their defaults, one run with seed 0, and the best of the simple models
on the same test examples (`python benchmarks/peers_table.py`). Ahead: points of accuracy, or of R²
of a regression, with a paired 95 % interval; a win or a loss is one that excludes zero. Of
{len(found)} data sets {counts["win"]} are won, {counts["loss"]} lost, and {counts["even"]} even.
Those with a dagger were not looked at while the defaults were chosen. A data set that the script
knows and that is not in the table was not run. Sources: {sources}."""


def peers() -> Iterable[Sequence[str]]:
    """The rows of peers_table.py."""
    yield "data", "recipe", "test", "network", "best simple model", "ahead, points", "", "seconds"
    for name, row in result("simple_peers")["rows"].items():
        words, peer = best_peer(row)
        ahead, low, high = (f"{100 * peer[key]:+.1f}" for key in ("ahead", "low", "high"))
        shown = (lambda x: f"R² {x:.3f}") if row["measure"] == "r2" else percent
        network = f" ({row['network']})" if row["network"] else ""
        yield (
            name + (" †" if row["unseen"] else ""),
            row["recipe"],
            f"{row['test_examples']:,}",
            f"{shown(row['score'])}{network}",
            f"{shown(peer['score'])} ({words.replace('_', ' ')})",
            f"{ahead} ({low} to {high})",
            outcome(peer),
            f"{row['train_seconds']:.0f} *",
        )


def text() -> Iterable[Sequence[str]]:
    """The figures of char_rnn.py."""
    metrics = result("char_rnn")["metrics"]
    yield "the network", "5-gram", "9-gram", "xz", "seconds", "command"
    names = (
        "test_bits_per_character",
        "five_gram_bits_per_character",
        "nine_gram_bits_per_character",
        "xz_bits_per_character",
    )
    seconds = f"{metrics['train_seconds']:.0f} *"
    yield *(f"{metrics[name]:.3f}" for name in names), seconds, f"`{result('char_rnn')['command']}`"


def search() -> Iterable[Sequence[str]]:
    """The table of tuning_compare.py."""
    rows = result("tuning_compare")["rows"]
    yield "", "trials", "best trial, validation", "trained for 20 epochs, test", "multiply-adds"
    for name, what in NAMES.items():
        found = [row for row in rows if row["name"] == name]
        trials = [row["trials"] for row in found]
        yield (
            what,
            f"{min(trials)} to {max(trials)}",
            between([row["search_val_accuracy"] for row in found]),
            f"**{between([row['test_accuracy'] for row in found])}**",
            ", ".join(f"{row['multiply_adds']:,}" for row in found),
        )
    for name, what in (
        ("default", "the default network with 8, 16 and 32 filters"),
        ("default_unshifted", "the same, without shifting training images"),
    ):
        found = [row for row in rows if row["name"] == name]
        accuracy = between([row["test_accuracy"] for row in found])
        yield what, "1", "", accuracy, f"{found[0]['multiply_adds']:,}"


def failures() -> Iterable[Sequence[str]]:
    """The table of tuning.py, Hyperband."""
    found = result("tuning_hyperband")
    yield "failed trials", "rounds completed, kapps", "rounds completed, KerasTuner's own"
    for share in (name for name in found if name.endswith("failures")):
        yield (
            share.split(" ")[0],
            *(
                f"{len(found[share][name])}, of {sum(found[share][name].values())} trials"
                for name in ("kapps", "keras_tuner")
            ),
        )


def kills() -> Iterable[Sequence[str]]:
    """What kill_and_resume.py and tuning_kills.py found."""
    yield "run", "`SIGKILL`s", "result", "command"
    run = result("kill_and_resume")
    same = run["metrics_csv_equal"] and run["final_state_equal"]
    yield (
        "one training",
        str(run["kills"]),
        "weights and `metrics.csv` bit-identical to an uninterrupted run" if same else "other bits",
        "`python benchmarks/kill_and_resume.py`",
    )
    for name, row in result("tuning_kills").items():
        same = row["same_points_in_the_same_order"]
        yield (
            f"{name} search, {row['trials']} trials",
            " and ".join(f"{count} of the {who}" for who, count in row["kills"].items()),
            f"{'the same' if same else 'other'} points in the same order, "
            f"{row['epochs_trained_twice']} epochs trained twice",
            "`python benchmarks/tuning_kills.py`",
        )


INTRODUCTION = """\
# Benchmarks

`python benchmarks/page.py` generates this page from the files in `benchmarks/results/`, each of
which records the command, the curves, the versions and the machine. Within a run nothing is chosen
on the test split. If a setting was changed after an earlier *test* figure had been seen, the row
says so: its figure is slightly optimistic. An asterisk marks times taken while other work ran on
the machine. All machines had two cores and no GPU.
"""
CLASSIFIER_WORDS = """
Fashion-MNIST: 54,000 training, 6,000 validation (stratified) and 10,000 test images; the test split
is evaluated once. One run each, seed 0.
"""
GENERATIVE_WORDS = """
S importance samples give an upper bound, which falls with S. The dense VAEs are trained first at a
high learning rate with a long weight average, then at a falling rate. The VampPrior and IWAE start
from the weights of the first part, the VampPrior with training images as pseudo-inputs. The
convolutional VAE was trained for as long as two cores allowed, and its curve was still falling. The
reference has up to 2,000 epochs. The conditional GAN is trained at a rate of 3e-4 for 12 epochs,
chosen after the TSTR of the default rate of 1e-3 had been seen.
"""
TRANSFER_WORDS = """
Five classes of Fashion-MNIST, by a CNN of 94,000 parameters pretrained to tell the other five and
their orientation (`python benchmarks/transfer.py classes`): mean test accuracy and standard
deviation over five seeds, each with another choice of five classes. Both methods were tuned on two
further choices.
"""
MEMORY_WORDS = """
Two of many numbers are marked, and the target is their sum. Without memory the squared error is
0.167 (`python benchmarks/memory.py`, 1,500 steps of batch 64, one seed). The last column is the
gradient norm at the first step of the series divided by that at the last, before training.

![what keeps gradients alive](memory.png)
"""
REACH_WORDS = """
The adding problem over 100 steps, by an LSTM of 48 units whose gradients reach k2 steps back
(`python benchmarks/truncation.py`): squared errors for three seeds; 0.167 without memory.
"""
SERIES_WORDS = """
`python benchmarks/sequences.py`: means and standard deviations over seeds; settings were chosen by
cross-validation inside the training split.
"""
TEXT_WORDS = """
Bits per character on the last twentieth of the King James Bible (`python benchmarks/char_rnn.py`).
"""
SEARCH_WORDS = """
Ten minutes on one core each, 12,000 Fashion-MNIST images, networks of at most 1.86 M multiply-adds
and 100,000 parameters, trials of 4 epochs compared on 6,000 further images
(`python benchmarks/tuning_compare.py --algorithms random tpe`): means over three seeds, with the
lowest and the highest. What the winners found is mostly that shifts do not pay off in 20 epochs.
"""
FAILURE_WORDS = """
Rounds of Hyperband's brackets completed when trials fail at random: at most 27 epochs, factor 3
(`python benchmarks/tuning.py`).
"""
KILL_WORDS = "Processes were killed at random moments, and the same command was run again."


if __name__ == "__main__":
    main()
