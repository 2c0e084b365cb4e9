"""The gallery: each plot and the command that makes it.

    python docs/make_gallery.py              run every command, keep its picture, write gallery.md
    python docs/make_gallery.py vae gan      only these runs
    python docs/make_gallery.py --page       only write the page, of the pictures that are there

All commands together take about half an hour on two cores. `--runs PATH` is where runs are, so
that what was trained is not trained again.
"""

from __future__ import annotations

import pathlib
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
PAGE, PICTURES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "gallery"
WIDEST, QUALITY = 900, 82  # pixels; of WebP
SHEET = ("gan-samples", "vq-samples", "vae-traversals", "gradcam")

# Run: its command, and for each picture its name here, its name in plots/, and what it shows.
RUNS: dict[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {
    "perceptron38": (
        "python recipes/perceptron.py --classes 3 8",
        (
            ("perceptron-weights", "weights", "What a perceptron learned of threes and eights"),
            ("perceptron-bound", "updates_and_bound", "Its updates, beside Novikoff's bound"),
        ),
    ),
    "perceptron": (
        "python recipes/perceptron.py",
        (("perceptron-digits", "weights", "The same for all ten digits"),),
    ),
    "pocket": (
        "python recipes/perceptron.py --dataset moons --rule pocket",
        (("pocket-boundary", "decision_regions", "No line separates them: the pocket rule"),),
    ),
    "delta": (
        "python recipes/perceptron.py --dataset blobs --rule delta --batch-size 300",
        (("delta-boundary", "decision_regions", "The delta rule's line"),),
    ),
    "xor_mlp": (
        "python recipes/xor_mlp.py",
        (
            ("xor-one-layer", "one_layer", "One layer cannot solve XOR"),
            ("xor-boundary", "two_layers", "Two layers can"),
            ("xor-seeds", "boundaries_by_seed", "Other seeds find other solutions"),
            ("xor-widths", "success_by_width", "How many of 100 seeds solve it, by width"),
        ),
    ),
    "optimizers": (
        "python recipes/optimizers.py",
        (
            ("optimizer-paths", "paths_on_rosenbrock", "Seven optimizers in Rosenbrock's valley"),
            ("optimizer-comparison", "optimizers", "The same on digits, each at its best rate"),
        ),
    ),
    "lr_find": (
        "python recipes/image_classifier.py --lr-find",
        (("lr-find", "lr_find", "A learning-rate range test"),),
    ),
    "image_classifier": (
        "python recipes/image_classifier.py",
        (
            ("gradcam", "where_the_network_looked", "Where a CNN looked (Grad-CAM)"),
            ("digits-curves", "learning_curves", "Learning curves of a network that fits well"),
            ("digits-confusion", "confusion_matrix", "Which digits it confuses"),
            ("digits-calibration", "calibration", "Is 80 % sure 80 % right?"),
            ("digits-mistakes", "worst_mistakes", "Its worst mistakes"),
            (
                "digits-training",
                "training_pictures",
                "Training images after augmentation",
            ),
        ),
    ),
    "resnet": (
        "python recipes/image_classifier.py --model resnet20 --epochs 10",
        (("resnet-curves", "learning_curves", "A ResNet-20 in ten epochs"),),
    ),
    "overfit2": (
        "python recipes/image_classifier.py --model mlp --epochs 60 --no-augment "
        "--validation-fraction 0.9",
        (("overfit-curves", "learning_curves", "An MLP that memorizes"),),
    ),
    "transfer_learning": (
        "python recipes/transfer_learning.py",
        (("transfer-gradcam", "where_the_network_looked", "Where an ImageNet network looks"),),
    ),
    "tabular": (
        "python recipes/tabular.py",
        (("tabular-importance", "what_the_answers_rest_on", "Which columns of a table matter"),),
    ),
    "sequence_classifier": (
        "python recipes/sequence_classifier.py",
        (("adding-curves", "learning_curves", "A GRU learns to remember two numbers"),),
    ),
    "char_rnn": (
        "python recipes/char_rnn.py",
        (("char-bits", "bits_per_character", "Bits per character beside n-grams and xz"),),
    ),
    "autoencoder": (
        "python recipes/autoencoder.py",
        (
            ("autoencoder-reconstructions", "reconstructions", "Sixteen numbers per image"),
            ("autoencoder-codes", "codes", "The codes in a plane"),
            ("autoencoder-interpolation", "interpolation", "From one image to another"),
        ),
    ),
    "vae": (
        "python recipes/vae.py",
        (
            ("vae-samples", "samples", "Samples of a VAE"),
            ("vae-latent", "latent_space", "Its latent space"),
            ("vae-traversals", "latent_traversals", "One latent at a time"),
            ("vae-kl", "kl_of_each_latent", "How many nats each latent carries"),
            ("vae-bound", "bound_by_importance_samples", "The bound by importance sampling"),
        ),
    ),
    "vq_vae": (
        "python recipes/vq_vae.py",
        (
            ("vq-samples", "samples", "Samples of a VQ-VAE and its prior"),
            ("vq-codes", "what_the_codes_look_like", "What each of its codes looks like"),
        ),
    ),
    "gan": (
        "python recipes/gan.py",
        (
            ("gan-samples", "samples", "Samples of a GAN"),
            ("gan-epochs", "samples_by_epoch", "The same latents, epoch by epoch"),
            ("gan-nearest", "nearest_training_pictures", "Copies? The nearest training images"),
        ),
    ),
    "tune_cnn": (
        "python recipes/tune_cnn.py --max-trials 8",
        (("search-importance", "parallel_coordinates", "Eight networks that a search tried"),),
    ),
}


def main(arguments: list[str]) -> None:
    """Make what was asked for."""
    with tempfile.TemporaryDirectory() as scratch:
        runs = pathlib.Path(scratch)
        if "--runs" in arguments:
            place = arguments.index("--runs")
            runs = pathlib.Path(arguments[place + 1])
            del arguments[place : place + 2]
        if arguments != ["--page"]:
            for name in arguments or RUNS:
                run(name, runs)
    PAGE.write_text(page())
    sheet()


def sheet() -> None:
    """The picture of the README: what generators draw, and where a classifier looked."""
    from PIL import Image

    found = Image.new("RGB", (len(SHEET) * 480, 480), "white")
    for column, name in enumerate(SHEET):
        with Image.open(PICTURES / f"{name}.webp") as picture:
            found.paste(picture.convert("RGB").resize((470, 470)), (480 * column + 5, 5))
    found.save(ROOT / "docs" / "samples.webp", quality=QUALITY, method=6)


def run(name: str, runs: pathlib.Path) -> None:
    """Give a command, unless its run is there, and keep its pictures."""
    command, pictures = RUNS[name]
    directory = runs / name
    if not (directory / "plots").is_dir():
        words = [*shlex.split(command), "--run-dir", str(directory), "--no-export"]
        subprocess.run([sys.executable, *words[1:]], cwd=ROOT, check=True)
    for here, plot, _ in pictures:
        shrink(directory / "plots" / f"{plot}.png", PICTURES / f"{here}.webp")


def shrink(source: pathlib.Path, target: pathlib.Path) -> None:
    """A small WebP of a plot."""
    from PIL import Image

    with Image.open(source) as picture:
        small = picture.convert("RGB")
        small.thumbnail((WIDEST, 2 * WIDEST))
        small.save(target, quality=QUALITY, method=6)


def page() -> str:
    """The page in Markdown."""
    figures = []
    for command, pictures in RUNS.values():
        for here, _, caption in pictures:
            figures.append(
                f"<figure markdown>\n[![{caption}](gallery/{here}.webp){{ loading=lazy }}]"
                f"(gallery/{here}.webp)\n<figcaption markdown>{caption}<br>`{command}`"
                "</figcaption>\n</figure>"
            )
    return HEAD + "\n".join(figures) + "\n</div>\n"


HEAD = """\
# Gallery

The command under each plot makes it, in `plots/` of the run directory, without downloading
anything. `python docs/make_gallery.py` makes them all.

<div class="gallery" markdown>
"""


if __name__ == "__main__":
    main(sys.argv[1:])
