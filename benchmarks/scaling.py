"""Examples per second over 1, 2, ... devices, and what the input pipeline alone could give.

    python benchmarks/scaling.py                               the GPUs of this machine
    python benchmarks/scaling.py --devices cpu --counts 1 2    logical devices, to try it out
    python benchmarks/scaling.py --model resnet18 --dataset folder:PATH --batch-size 256

Weak scaling: every device has `--batch-size` examples per step. A process of its own measures each
number of devices: some steps that trace and warm up, then `--steps` steps of training, then as many
batches that are made, shared out and thrown away. Where the line of training meets that of the
pipeline, more devices are of no use, and more processor cores, a smaller augmentation or decoded
files are. Logical CPU devices share the same cores, so theirs should be a flat line; it shows what
sharing costs. Writes benchmarks/results/scaling.json and scaling.png. Run it alone on the machine.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import sys
import time
from typing import Any, Literal

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # recipes are no package

from kapps import evaluation, files, training  # noqa: E402
from kapps.errors import UserError  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results"
WARM_UP = 5


@dataclasses.dataclass(frozen=True)
class Config:
    """What is measured."""

    devices: Literal["gpu", "cpu"] = "gpu"
    """GPUs, or logical devices of the CPU"""
    counts: tuple[int, ...] = ()
    """numbers of devices; default: 1, 2, 4, ... up to all GPUs, or 1 and 2 of the CPU"""
    model: str = "cnn"
    """as in recipes/image_classifier.py"""
    dataset: str = "digits"
    """as there"""
    batch_size: int = 64
    """examples per step and device"""
    augment: bool = True
    """augment the pictures, as the recipe does"""
    steps: int = 50
    """steps that are measured"""
    shared: bool = False
    """other work runs on the machine: the figures are marked as not measured alone"""
    results: str = str(RESULTS)
    """where the JSON and the picture go"""
    only: int | None = None
    """measure this number of devices in this process, and print it"""


def measure(config: Config, count: int) -> dict[str, Any]:
    """Examples per second of training and of the pipeline alone, on that many devices."""
    import keras

    from kapps import data, losses, models
    from recipes import image_classifier as recipe

    strategy = training.strategy(f"{config.devices}:{count}")
    images = data.load(config.dataset)
    size = config.batch_size * count
    if size > len(images.splits["train"]):
        raise UserError(
            f"{len(images.splits['train'])} training pictures are less than one batch of {size}: "
            "use a larger --dataset or a smaller --batch-size"
        )
    batches, _, _ = recipe.batches(
        recipe.Config(batch_size=size, augment=config.augment, export=False), images
    )
    with strategy.scope():
        model = models.classifier(config.model, images.image_shape, images.classes)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), losses.softmax_cross_entropy)
        model.optimizer.build(model.trainable_variables)
    training.patch_for_replicas(model)
    steps = WARM_UP + config.steps
    dataset = batches.dataset(0, -(-steps // batches.steps) + 1)

    clock = Clock(WARM_UP)
    model.fit(
        dataset, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=[clock.callback()]
    )
    if count > 1:
        dataset = strategy.experimental_distribute_dataset(dataset)
    begin = 0.0
    for step, _ in zip(range(steps), dataset, strict=False):
        if step == WARM_UP - 1:
            begin = time.perf_counter()
    pipeline = time.perf_counter() - begin
    return {
        "devices": count,
        "examples_per_second": size * config.steps / clock.seconds,
        "pipeline_examples_per_second": size * config.steps / pipeline,
    }


class Clock:
    """The time from the end of the first steps to the end of the last one."""

    def __init__(self, first: int):
        self.first, self.begin, self.seconds = first, 0.0, 0.0

    def callback(self):
        """For `fit`."""
        import keras

        def step(batch, logs):
            float(logs["loss"])  # waits for the step
            if batch == self.first - 1:
                self.begin = time.perf_counter()
            self.seconds = time.perf_counter() - self.begin

        return keras.callbacks.LambdaCallback(on_train_batch_end=step)


def numbers(config: Config) -> tuple[int, ...]:
    """The numbers of devices that are measured."""
    if config.counts:
        return config.counts
    if config.devices == "cpu":
        return (1, 2)
    code = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"
    gpus = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
    if not gpus:
        raise UserError("TensorFlow sees no GPU; --devices cpu --counts 1 2 tries this out")
    powers = [2**i for i in range(gpus.bit_length()) if 2**i < gpus]
    return (*powers, gpus)


def picture(rows: list[dict[str, Any]], title: str):
    """Training, the pipeline alone, and the first row times the number of devices."""
    figure = evaluation.plots.figure.new_figure(height=3.6, width=6.0)
    axes = evaluation.plots.figure.calm(figure.add_subplot())
    counts = [row["devices"] for row in rows]
    first = rows[0]["examples_per_second"] / counts[0]
    axes.plot(counts, [row["examples_per_second"] for row in rows], "o-", label="training")
    alone = [row["pipeline_examples_per_second"] for row in rows]
    axes.plot(counts, alone, "s-", label="input pipeline alone")
    axes.plot(counts, [first * n for n in counts], ":", color="gray", label="proportional")
    # The pipeline may be a hundred times as fast: beside it, training would lie on the axis.
    axes.set(xlabel="devices", ylabel="examples per second", title=title, xticks=counts)
    axes.set(yscale="log")
    axes.legend()
    return figure


def main(config: Config) -> dict[str, Any]:
    """Measure, write, print."""
    rows = []
    for count in numbers(config):
        command = [sys.executable, __file__, *sys.argv[1:], "--only", str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(done.returncode)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        row = rows[-1]
        limit = " (the pipeline limits)" if limited(row) else ""
        print(
            f"{count} {config.devices}: {row['examples_per_second']:,.0f} examples/s, pipeline "
            f"alone {row['pipeline_examples_per_second']:,.0f}{limit}"
        )
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in ("only", "results")}
    result = {
        "config": json.loads(json.dumps(settings)),
        "rows": rows,
        "measured_alone": not config.shared,
        "machine": training.machine(),
        "versions": training.versions(),
    }
    results = pathlib.Path(config.results)
    results.mkdir(parents=True, exist_ok=True)
    files.write_json(results / "scaling.json", result)
    title = f"{config.model}, {config.batch_size} pictures per {config.devices.upper()}"
    evaluation.plots.save_png(picture(rows, title), results / "scaling.png")
    return result


def limited(row: dict[str, Any]) -> bool:
    """Whether training is about as fast as batches can be made."""
    return row["examples_per_second"] > 0.8 * row["pipeline_examples_per_second"]


if __name__ == "__main__":
    from kapps import command_line

    with command_line.exit_codes():
        config = command_line.parse(Config)
        if config.only is None:
            main(config)
        else:
            command_line.import_tensorflow()
            print(json.dumps(measure(config, config.only)))
