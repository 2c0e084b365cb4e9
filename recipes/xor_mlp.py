"""Why one layer is not enough, and what two can do: XOR, and functions of one variable.

    python recipes/xor_mlp.py
    python recipes/xor_mlp.py --units 2 --optimizer adam
    python recipes/xor_mlp.py --dataset sine
    python recipes/xor_mlp.py --dataset step --units 32

    x -> tanh(W1 x + b1) -> W2 h + b2

No plane separates the four points of exclusive or, XOR (Minsky and Papert 1969): the best has three
of four on the right side. A hidden layer of four units can, and back-propagation (Rumelhart, Hinton
and Williams 1986) finds its weights; a table over 100 seeds shows how often, by width and
optimizer. With a function in place of XOR, the same network shows how well a hidden layer
approximates it (Cybenko 1989), by width. All seeds are trained at once, as one model of stacked,
independent networks. Run the same command again to resume a killed run, bit for bit, or to see the
result of a finished one.

XOR with 4 hidden units, momentum: 100 of 100 seeds. The sine with 16, adam: a median root mean
squared error of 0.008 over 20 seeds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from typing import Any, ClassVar, Literal

import numpy as np

from kapps import command_line, data, evaluation, files, models, serving, training

# Learning rates of full batches: of XOR, of functions. Others than for mini-batches of images.
RATES = {
    "sgd": (1.0, 0.05),
    "momentum": (0.3, 0.02),
    "nesterov": (0.3, 0.02),
    "adadelta": (10.0, 1.0),
    "rmsprop": (0.02, 0.005),
    "adam": (0.05, 0.03),
    "adamw": (0.05, 0.03),
}
# What is taken where a flag is not given: for XOR, for functions.
USUAL = {
    "units": (4, 16),
    "seeds": (100, 20),
    "optimizer": ("momentum", "adam"),
    "widths": ((1, 2, 3, 4, 8), (1, 2, 4, 8, 16, 32)),
    "optimizers": (("sgd", "momentum", "rmsprop", "adam"), ("adam",)),
}
STEPS = (100, 200)  # of an epoch
TOGETHER = 20  # steps of one call into TensorFlow


@dataclasses.dataclass(frozen=True)
class Config(training.CommonFlags):
    """Data, network and training."""

    dataset: str = "xor"
    """xor, or a function: sine, step, triangle, bump or chirp"""
    units: training.PositiveInt | None = None
    """units of the hidden layer; default: 4, for functions 16"""
    activation: Literal["tanh", "sigmoid", "relu"] = "tanh"
    """activation of the hidden layer"""
    optimizer: training.ElementwiseOptimizer | None = None
    """optimizer; default: momentum, for functions adam"""
    seeds: training.PositiveInt | None = None
    """networks that differ in their initial weights; default: 100, for functions 20"""
    widths: tuple[training.PositiveInt, ...] | None = None
    """numbers of hidden units to compare; default: 1 2 3 4 8, for functions 1 to 32"""
    optimizers: tuple[training.ElementwiseOptimizer, ...] | None = None
    """optimizers to compare; default: sgd momentum rmsprop adam, for functions adam"""
    noise: training.NonNegative = 0.0
    """functions: standard deviation of noise added to the training and validation values"""
    compare: bool = True
    """also train all widths with all optimizers, for the table of success rates"""
    epochs: training.PositiveInt = 20
    """epochs of 100 steps on all four points, for functions of 200 steps on all 200 points"""

    EXCLUSIONS: ClassVar[training.Exclusions] = (
        (
            lambda c: training.changed(c, "batch_size"),
            "--batch-size: every step uses all points, so there is none to choose",
        ),
        (
            lambda c: c.noise and c.dataset == "xor",
            "--noise is for functions; the points of xor are what they are",
        ),
        (
            lambda c: c.precision not in ("auto", "float32"),
            "--precision {precision}: networks this small are computed in float32",
        ),
        (lambda c: c.jit == "on", "--jit on: networks this small gain nothing from XLA"),
        (
            lambda c: not c.compare and (c.widths or c.optimizers),
            "--no-compare has no --widths and no --optimizers",
        ),
    )

    @property
    def run_name(self) -> str:
        """What the name of the run directory begins with."""
        return f"{self.dataset}-{chosen(self, 'units')}"


def chosen(config: Config, name: str) -> Any:
    """A flag, or what is usual for the data."""
    value = getattr(config, name)
    return of_data(config, USUAL[name]) if value is None else value


def of_data(config: Config, values: tuple) -> Any:
    """The first value for exclusive or, the second for functions."""
    return values[config.dataset != "xor"]


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported."""
    training.check_batch(4, training.named_devices(config.devices))
    training.check(config, kinds=(), names=("xor", *data.FUNCTIONS))


def load(config: Config) -> data.PointData:
    """The four points, or values of a function."""
    if config.dataset == "xor":
        return data.load_xor()
    return data.load_function(config.dataset, noise=config.noise, seed=config.seed)


def batches(config: Config, points: data.PointData) -> tuple:
    """An epoch of steps on all training points; the validation points in one batch."""
    # [n, 1, 1]: the same for every network.
    x, y = points.x, {split: evaluation.stacked_targets(points, split) for split in points.y}
    return (
        data.FullBatches(x["train"], y["train"], of_data(config, STEPS)),
        data.FullBatches(x["validation"], y["validation"], 1).dataset(0, 1),
    )


def network(config: Config, points: data.PointData, units: int):
    """All networks as one, points -> [batch, networks, 1]; their points are standardized inside."""
    x = points.x["train"]
    return models.stacked_mlp(
        chosen(config, "seeds"),
        x.shape[1],
        (units,),
        activation=config.activation,
        # Of a function, hidden units that bend all over its range.
        spread=0.0 if points.class_names else float(np.abs(x).max() / x.std()),
        mean=tuple(x.mean(axis=0).tolist()),
        std=tuple(x.std(axis=0).tolist()),
        seed=config.seed,
    )


def compiled(config, points: data.PointData, units: int, name: str, rate: float, together: int):
    """All networks, ready for gradient descent on the sum of their losses."""
    model = network(config, points, units)
    loss = models.stacked_loss(evaluation.stacked_kind(points))
    model.compile(training.optimizer(name, rate), loss, steps_per_execution=together)
    return model


def fit(config: Config, run: training.Run) -> tuple:
    """Train; returns the model, the data and the history."""
    devices = training.begin(config)
    points = load(config)
    run.record_data(points)
    train, validation = batches(config, points)
    units, name = chosen(config, "units"), chosen(config, "optimizer")
    rate = config.learning_rate or of_data(config, RATES[name])
    run.record(learning_rate=rate)
    with training.scope(config, run, devices):
        model = compiled(config, points, units, name, rate, TOGETHER)
    networks = chosen(config, "seeds")
    run.announce(
        points,
        f"{networks} networks of {units} hidden units ({config.activation}), "
        f"{model.count_params() // networks} parameters each; {name}, rate {rate:g}",
    )

    history = training.fit(
        model,
        train,
        validation,
        config=config,
        run=run,
        callbacks=evaluation.watch_stacked(model, points, run.path),
    )
    return model, points, history


def compare(config: Config, run: training.Run, points: data.PointData, devices) -> list[dict]:
    """All widths with all optimizers, from the same seeds; what is done is kept in a file.

    Of several machines the chief alone does this, on one device.
    """
    path, train = run.path / "cells.json", batches(config, points)[0]
    cells = training.read_json(path) if path.exists() else []
    wanted = itertools.product(chosen(config, "optimizers"), chosen(config, "widths"))
    for name, units in itertools.islice(wanted, len(cells), None):
        rate = of_data(config, RATES[name])
        with contextlib.nullcontext() if training.cluster() else devices.scope():
            model = compiled(config, points, units, name, rate, train.steps)
        training.patch_for_replicas(model)
        model.fit(train.dataset(0, config.epochs), shuffle=False, verbose=0)
        cell = evaluation.stacked_cell(model, points)
        cells.append({"optimizer": name, "rate": rate, "units": units, **cell})
        files.write_json(path, cells)
        found = "{solved_count} of {seeds} solved" if points.class_names else "RMSE {median:.4f}"
        print(f"compare   {name}, {units} hidden units: {found.format_map(cell)}")
    return cells


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Train, compare, evaluate, publish and report; returns the figures of metrics.json."""
    model, points, history = fit(config, run)
    if not run.chief:
        return run.leave()
    best = int(evaluation.stacked_losses(model, points, "validation").argmin())
    one = models.stacked.copy_of(model, best)
    served = models.pair_of_logits(one) if points.class_names else one
    served.save(run.path / "model.keras")
    cells = compare(config, run, points, model.distribute_strategy) if config.compare else []
    print("evaluating on the test split, once")
    units = chosen(config, "units")
    found = evaluation.explain_stacked(
        model,
        points,
        history.rows,
        best=best,
        cells=cells,
        untrained=network(config, points, units),
        activation=config.activation,
        run=run.path,
    )
    return serving.publish_and_close(
        served,
        run,
        points,
        history,
        found,
        what=f"A network of {units} hidden units",
        kind="multilayer perceptron of points",
        title=f"{config.dataset} by {units} hidden units",
        learning_rate=run.facts()["learning_rate"],
        parameters=one.count_params(),
    )


if __name__ == "__main__":
    command_line.run(main, Config, check)
