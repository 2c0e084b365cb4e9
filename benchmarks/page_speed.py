"""What the page of benchmarks says of speed: clocks, servers, steps, parts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from benchmarks.harness.machine import BUSY
from benchmarks.page_parts import RESULTS, percent, result

CLOCK_WORDS = """
Fashion-MNIST again, with `--preset fast`, by seconds since the command began until the accuracy on
the test split was known: imports, the choice of the precision, training on 54,000 images and
validation are in them. The whole command goes on to compare with simple models, to plot and to
publish (`python benchmarks/fast.py clock`, `airbench`, `ablation` and `adamw`). The preset was
chosen on the validation split; the test split is looked at once by each run. PyTorch's program
(airbench's recipe, arXiv:2404.00498, in bfloat16) trains on as many images, and does no more than
train and test.

Seconds have a ± where the machine was faster in some runs than in others.

Smaller pictures in the first epochs do not pay at this size (`python benchmarks/progressive.py`;
validation split, one seed, a machine whose speed varied). By epochs:
{plans}.
"""
STEP_WORDS = """
Each type of operation by its share of the time of all, and how often a step runs it
(`python benchmarks/step_profile.py lstm resnet efficientnet`, and `--bfloat16`); where kapps is
behind what was aimed at, why.

* LSTM, ahead of PyTorch's best: Keras' loop runs 4,400 to 4,700 operations, 310 of them products of
  matrices; `kapps.layers.LSTM` runs a product and a kernel compiled by XLA for each step of a
  series and half of a batch. TensorFlow's own operation for all steps (`BlockLSTMV2`) takes 1.8
  times as long as Keras' loop.
* resnet8_wide, 1.06 to 1.17 times as fast as PyTorch's best in three runs (aimed at: 1.1): four
  fifths are convolutions, by the library that PyTorch calls, too. kapps alone finds the gradients
  of kernels in maps of up to 10 x 10 another way (`kapps.layers.Conv2D`). The largest that are left
  are those of two layers of 14 x 14, three times as long as their forward pass: examples as
  channels in chunks, a product for each pixel of the kernel, rows of the map as channels were all
  no quicker.
* EfficientNet-Lite0, fine-tuned 1.47 to 1.66 times as fast as stock Keras in three runs (aimed at:
  1.7), faster than PyTorch: more than two thirds are convolutions, more than a third of that those
  of single channels. Of these, kernels of 5 x 5 have a quick gradient in kapps alone
  (`kapps.layers.DepthwiseConv2D`: 1.09 of the 1.66); the fused batch normalization, which makes
  most of the difference, is a sixth. Products of matrices for the gradients of 1 x 1 kernels were
  tried: no gain on two cores.
"""
SPEED_WORDS = """Each ratio was measured within one run, in turns. On processors with AVX2 alone
TensorFlow leaves oneDNN's kernels off, and so does kapps: training takes less time with
`TF_ENABLE_ONEDNN_OPTS=1`, but a prediction 27 times as long (convolutions that are fused with what
follows them)."""
DATA_WORDS = """## Reading data

`python benchmarks/data.py`, alone on the machine: a folder of JPEGs of 500 x 375 pixels that are
read as 128 x 128 (warm: passes after the first; cold: the first, with all that is before it but the
imports), a table, peaks of memory, and a second start of a prepared folder. The last two were
measured before the first three, on another machine and on an earlier version.
"""

BESIDE_WORDS = """Measured in turns on one machine by `python benchmarks/run.py`, with the same
shapes, batches and numbers of steps. It was a virtual machine that shared its processors with
others: compare ratios, not milliseconds.

* In float32 kapps is at least as fast as PyTorch in every network but the MLP on 40 numbers, whose
  steps are so short that what surrounds them counts. Stock Keras is as fast in that MLP, and slower
  in the rest.
* In bfloat16 it is ahead of PyTorch's best in the convolutional and recurrent networks and the GAN,
  and level with it in the VAE.
* EfficientNet's depthwise convolutions are slower in bfloat16 than in float32, in all three.
* OpenVINO and ONNX Runtime run the same network in a quarter to three quarters of the time of
  TensorFlow's SavedModel: `kapps export RUN --format onnx`, or
  `kapps serve saved_models --engine openvino`.
"""


CLOCKS = {
    "fast_clock": "kapps",
    "fast_airbench": "airbench's recipe in PyTorch",
    "fast_ablation": "the preset, part by part",
    "fast_adamw": "the preset beside AdamW",
}


def clocks() -> list[str]:
    """Which results of fast.py there are."""
    return [name for name in CLOCKS if (RESULTS / f"{name}.json").exists()]


def clock_words() -> str:
    """What stands above the clocks."""
    plans = []
    for row in result("progressive")["rows"]:
        phases = (phase.split("x") for phase in row["plan"].split("+"))
        epochs = " and ".join(f"{number} at {side} px" for side, number in phases)
        plans.append(f"{epochs} {percent(row['accuracy'])} in {row['seconds']:.0f} s")
    return CLOCK_WORDS.format(plans=textwrap.fill("; ".join(plans), 100))


def clock() -> Iterable[Sequence[str]]:
    """The rows of fast.py: test accuracy, and seconds until it was known."""
    yield "what", "flags", "test accuracy", "seconds", "whole command", "seeds"
    for name in clocks():
        found = result(name)
        for row in found["rows"]:
            several = row["seeds"] > 1
            spread = f" ± {percent(row['test_accuracy_spread'])}" if several else ""
            busy = " *" if (row["others"] or 0) > BUSY else ""
            uneven = row["seconds_spread"] > 0.1 * row["seconds"]  # the machine was
            about = f" ± {row['seconds_spread']:,.0f}" if uneven else ""
            yield (
                f"{CLOCKS[name]}, {row['name']}",
                f"`{row['flags']}`",
                f"**{percent(row['test_accuracy'], 2)}**{spread}",
                f"{row['seconds']:,.0f}{about}{busy}",
                f"{row['command_seconds']:,.0f}",
                str(row["seeds"]),
            )


def serving() -> Iterable[Sequence[str]]:
    """The contestants of serving.py."""
    found = result("serving")["contestants"]
    rate = next(name for name in found["the signature alone"] if name.startswith("requests"))
    yield "server", "median, ms", "over the signature, ms", "99 %, ms", "requests/s, 8 clients"
    for name, row in found.items():
        yield (
            name,
            f"{row['p50_ms']:.2f}",
            f"{row['more_than_the_signature_ms']:.2f}",
            f"{row['p99_ms']:.2f}",
            f"{row[rate]:,.0f}",
        )


def serving_words() -> str:
    """What was served, and what happened while versions were swapped and workers killed."""
    soak, swaps = result("serving_soak"), result("serving")["swaps"]
    ratios = swaps["first_answer_over_median"]
    return f"""A network of two convolutions for 32x32 images, on two cores that ran only the server
and the client (`python benchmarks/serving.py`): one client for the latencies, eight for the
requests per second. KServe's server runs the ONNX file without TensorFlow, and answers requests
with bytes in JSON. In {len(ratios)} swaps of a version under one client, the first answer of the
new version took {swaps["median"]:.2f} times the median ({ratios[0]:.2f} to {ratios[-1]:.2f}).
In {soak["seconds"]:.0f} s with eight clients, {soak["swaps"]} swaps and {soak["kills"]} killed
workers (`--soak`), {soak["failed"]} of {soak["requests"]:,} requests failed."""


def speed() -> Iterable[Sequence[str]]:
    """Ratios, each measured in one run."""
    yield "what", "ratio", "command"
    for row in result("batch_normalization")["rows"]:
        yield (
            f"training step of `resnet8_wide`, {row['policy']}: Keras' batch normalization / ours",
            f"{row['ratio']:.2f}",
            "`python benchmarks/batch_normalization.py`",
        )
    for row in result("layers")["rows"]:
        yield (
            f"training step of `{row['network']}`, {row['precision']}: Keras' `{row['layer']}` / "
            "ours",
            f"{row['ratio']:.2f}",
            "`python benchmarks/layers.py`",
        )
    for row in result("backbones")["rows"]:
        yield (
            f"{row['work']} of EfficientNet-Lite0: Keras' layers / ours",
            f"{row['median_ratio']:.2f}",
            "`python benchmarks/backbones.py`",
        )
    if (RESULTS / "onednn.json").exists():
        kernels = result("onednn")
        units = ", ".join(kernels["machine"]["flags"])
        for row in kernels["rows"].values():
            yield (
                f"{row['title']}, {units}: TensorFlow's own kernels / oneDNN's",
                f"{row['times_as_fast']:.2f}",
                "`python benchmarks/onednn.py`",
            )
    yield (
        "ten epochs of a head: features computed in every epoch / once",
        f"{result('transfer_cache')['ratio']:.1f}",
        "`python benchmarks/transfer.py cache`",
    )
    trials = result("tuning_trials")
    yield (
        f"growth of a search's parent over {trials['trials']} trials",
        f"{trials['parent_mb_growth']:.0f} MB",
        "`python benchmarks/tuning.py`",
    )


def steps() -> Iterable[Sequence[str]]:
    """The largest operations of the steps that step_profile.py has taken apart."""
    yield "step", "operations", "shares of the largest"
    for name, row in result("step_profile")["rows"].items():
        largest = "; ".join(
            f"`{operation}` {share:.0%} ({count:,.0f})"
            for operation, share, count in row["operations"][:6]
        )
        yield f"{name}; {', '.join(row['machine']['flags'])}", f"{row['count']:,.0f}", largest
