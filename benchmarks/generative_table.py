"""The table of generative models on Fashion-MNIST, made of what is in benchmarks/results.

    python benchmarks/generative_table.py

Writes benchmarks/results/generative.md; benchmarks/page.py puts the same table on the site. A test
holds that both are what the results say.
"""

from __future__ import annotations

import json
import pathlib
import re
import statistics
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
COLUMNS = ("what", "measured", "reference", "protocol", "command", "seeds", "seconds")

# Protocols, by their short names in the table.
PROTOCOLS = {
    "nats": "importance-sampled -log p per test image, with pixels binarized at random, S samples "
    "each; splits and binarization as in arXiv:2004.04795; no model can be below 189.86",
    "error": "mean squared error per pixel in 0..1, on the test images",
    "samples": "Fréchet distance and coverage of 10,000 samples against the 10,000 test images, in "
    "features of the packaged classifier, not Inception's; batches of 64, if not said",
    "TSTR": "accuracy on the test images of a CNN trained on samples of a conditional GAN",
}
PUBLISHED = "(arXiv:2004.04795)"
LIKELIHOODS = {
    "dense": ("VAE, dense, 40 latents", f"228.70 ± 0.15 {PUBLISHED}"),
    "vamp": ("the same with a VampPrior", f"227.35 ± 0.05 {PUBLISHED}"),
    "iwae50": ("the same, IWAE with 50 samples", "none known"),
    "hierarchical": ("VAE, convolutions, two levels", f"225.38 ± 0.08 {PUBLISHED}, full size"),
}
AUTOENCODERS = {
    "linear_64": "autoencoder, linear, 64 values",
    "residual_64": "autoencoder, residual, 64 values",
    "conv_64": "autoencoder, convolutions, 64 values",
    "conv_128": "autoencoder, convolutions, 128 values",
}
GANS = ("default_1", "default_2", "default", "longer")
KERAS_IO = {
    "dcgan": "GAN, keras.io's DCGAN, rebuilt",
    "wgan_gp": "GAN, keras.io's WGAN-GP, rebuilt",
}


def main() -> None:
    """Write the table."""
    made = table()
    (RESULTS / "generative.md").write_text(made)
    print(made)


def table() -> str:
    """The table in Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows()]
    legend = [f"* {name}: {words}.\n" for name, words in PROTOCOLS.items()]
    legend.append("* An asterisk: other work ran on the machine.\n")
    return "\n".join(("".join(f"| {' | '.join(line)} |\n" for line in lines), "".join(legend)))


def rows() -> Iterator[tuple[str, ...]]:
    """A row for everything that has been measured."""
    for name, (what, reference) in LIKELIHOODS.items():
        if found := results(f"likelihood_{name}"):
            nll = spread([each["test_nll"] for each in found], ".2f")
            measured = f"**{nll}**, S = {found[0]['samples']}"
            yield row(what, measured, reference, "nats", f"likelihoods.py {name}", found)
    for name, what in AUTOENCODERS.items():
        if found := results(f"autoencoder_{name}"):
            measured = f"**{spread([each['metrics']['test_mse'] for each in found], '.5f')}**"
            reference = f"PCA {found[0]['metrics']['pca_mse']:.5f}"
            yield row(what, measured, reference, "error", f"autoencoders.py {name}", found)
    compared = set()
    for name in GANS:
        if found := results(f"gan_{name}"):
            compared.add(found[0]["metrics"]["generator_steps"])
            yield of_gan("GAN, ours", name, found)
    if found := results("gan_batches_of_32"):
        yield of_gan("GAN, ours, batches of 32", "batches_of_32", found)
    for name, what in KERAS_IO.items():
        if found := results(f"gan_{name}"):
            yield from (
                of_gan(what, name, [{**found[0], "metrics": figures}])
                for figures in found[0]["epochs"]
                if figures["generator_steps"] in compared
            )
    if found := results("gan_conditional"):
        yield of_gan("GAN, conditional", "conditional", found)
        figures = [one["metrics"] for one in found]
        measured = f"**{spread([one['test_tstr_accuracy'] for one in figures], '.3f')}**"
        reference = f"trained on real images {figures[0]['test_tstr_real']:.3f}"
        what = f"GAN, conditional, {figures[0]['generator_steps']:,} steps"
        yield row(what, measured, reference, "TSTR", "gans.py conditional", found)
    for path in sorted(RESULTS.glob("gan_ladder_*_seed0.json")):
        name = path.stem.removeprefix("gan_").removesuffix("_seed0")
        found = results(f"gan_{name}")
        verdicts = sorted({one["metrics"]["verdict"] for one in found})
        what = f"GAN, {name.removeprefix('ladder_')}, {' or '.join(verdicts)}"
        yield of_gan(what, name, found)


def of_gan(what: str, name: str, found: list[dict[str, Any]]) -> tuple[str, ...]:
    """A row on samples."""
    figures = [one["metrics"] for one in found]
    floor = figures[0]["test_frechet_floor"], figures[0]["test_coverage_floor"]
    frechet = spread([one["test_frechet"] for one in figures], ".2f")
    return row(
        f"{what}, {figures[0]['generator_steps']:,} steps",
        f"**{frechet}**, {spread([one['test_coverage'] for one in figures], '.3f')}",
        f"real images {floor[0]:.2f}, {floor[1]:.3f}",
        "samples",
        f"gans.py {name}",
        found,
    )


def row(
    what: str, measured: str, reference: str, protocol: str, command: str, found: list[dict]
) -> tuple[str, ...]:
    """What all rows have."""
    seeds = [re.search(r"--seed (\d+)", one["command"]) for one in found]
    times = [one.get("train_seconds", one.get("metrics", {}).get("train_seconds")) for one in found]
    shared = "" if all(one["measured_alone"] for one in found) else " *"
    return (
        what,
        measured,
        reference,
        protocol,
        f"`python benchmarks/{command}`",
        ", ".join(seed[1] if seed else "0" for seed in seeds),
        f"{statistics.mean(times):,.0f}{shared}",
    )


def results(name: str) -> list[dict[str, Any]]:
    """The files of a row, seed by seed."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{name}_seed*.json"))]


def spread(values: list[float], form: str) -> str:
    """One value, or the lowest and the highest."""
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    main()
