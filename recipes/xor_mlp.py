"""Why one layer is not enough, and what two can do: exclusive or, and functions of one number.

    python recipes/xor_mlp.py
    python recipes/xor_mlp.py --units 2 --optimizer adam
    python recipes/xor_mlp.py --dataset sine
    python recipes/xor_mlp.py --dataset step --units 32

No plane gives the four points of exclusive or their classes (Minsky and Papert 1969): the best has
three of four on the right side. A hidden layer of four units can, and back-propagation (Rumelhart,
Hinton and Williams 1986) finds its weights: how often, by width and optimizer, says a table over
100 seeds. With a function in the place of exclusive or the same network shows how well a hidden
layer approximates it (Cybenko 1989), by its width. All seeds are trained at once, as one model
whose networks do not touch each other. The same command goes on with a run that was killed, to the
same bits, and shows the result of one that is finished.

Exclusive or with 4 hidden units, momentum: 100 of 100 seeds. The sine with 16, adam: a root mean
squared error of 0.008 in the median of 20 seeds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import Literal

import numpy as np

from kapps import command_line, data, evaluation, files, models, serving, training
from kapps.errors import UserError

TASKS = ("xor", *data.FUNCTIONS)
# Learning rates of full batches: of XOR, of functions. Others than for mini-batches of pictures.
RATES = {
    "sgd": (1.0, 0.05),
    "momentum": (0.3, 0.02),
    "nesterov": (0.3, 0.02),
    "adadelta": (10.0, 1.0),
    "rmsprop": (0.02, 0.005),
    "adam": (0.05, 0.01),
    "adamw": (0.05, 0.01),
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
TOGETHER = 20  # steps between which Python is not asked
SHOWN = 8  # networks in the film
NAMES = Literal["sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"]


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is trained, on what, and how."""

    dataset: str = "xor"
    """xor, or a function: sine, step, triangle, bump or chirp"""
    units: int | None = None
    """of the hidden layer; default: 4, of functions 16"""
    activation: Literal["tanh", "sigmoid", "relu"] = "tanh"
    """of the hidden layer"""
    optimizer: NAMES | None = None
    """how weights move; default: momentum, of functions adam"""
    seeds: int | None = None
    """networks that differ in their initial weights; default: 100, of functions 20"""
    widths: tuple[int, ...] | None = None
    """numbers of hidden units that are compared; default: 1 2 3 4 8, of functions 1 to 32"""
    optimizers: tuple[NAMES, ...] | None = None
    """optimizers that are compared; default: sgd momentum rmsprop adam, of functions adam"""
    noise: float = 0.0
    """functions: standard deviation of what is added to the values of training and validation"""
    compare: bool = True
    """also train all widths with all optimizers, for the table"""
    epochs: int = 20
    """of 100 steps on all four points, of functions 200 steps on all 200 points"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    training.check_common(config, kinds=(), names=TASKS, several_machines=True)
    training.check_range(config, "noise", 0, float("inf"), "0 or more", ends=True)
    wrong = {
        "--batch-size: every step sees all points, so there is none to choose": (
            config.batch_size != Config.batch_size
        ),
        "--noise is for functions; the points of xor are what they are": (
            config.noise and config.dataset == "xor"
        ),
        "--units, --seeds and --widths must be at least 1": (
            min(chosen(config, "units"), chosen(config, "seeds"), *chosen(config, "widths")) < 1
        ),
        f"--precision {config.precision}: networks this small are computed in float32": (
            config.precision not in ("auto", "float32")
        ),
        "--no-compare has no --widths and no --optimizers": (
            not config.compare and (config.widths or config.optimizers)
        ),
    }
    for words, is_wrong in wrong.items():
        if is_wrong:
            raise UserError(words)
    training.check_batch(4, training.named_devices(config.devices))


def main(config: Config) -> dict[str, object]:
    """Run the recipe.

    Returns:
        The final figures, as in metrics.json.

    Raises:
        UserError: a mistake in the flags, the data or the run directory.
    """
    check(config)
    with open_run(config) as run:
        return run.metrics() if run.finished else train(config, run)


def open_run(config: Config) -> training.Run:
    """The run directory of this configuration."""
    name = f"{config.dataset}-{chosen(config, 'units')}"
    return training.open_run("xor_mlp", config, name=name)


def check_and_show(config: Config) -> None:
    """Before TensorFlow is imported: refuse mistakes, and show a run that is finished.

    Raises:
        UserError: a mistake in the flags, or a run directory of another configuration.
        SystemExit: there is nothing left to do.
    """
    check(config)
    command_line.show_finished(open_run, config)


def chosen(config: Config, name: str):
    """A flag, or what is usual for the data."""
    value = getattr(config, name)
    return USUAL[name][config.dataset != "xor"] if value is None else value


def train(config: Config, run: training.Run) -> dict[str, object]:
    """Train, evaluate, export and report into an open run directory."""
    strategy = training.strategy(config.devices)
    training.seed_everything(config.seed)
    task = Task(config)
    training.check_batch(len(task.x["train"]), strategy.num_replicas_in_sync)
    run.record(
        data={"fingerprint": task.fingerprint, "class_names": list(task.class_names)},
        input_shape=[task.x["train"].shape[1]],
    )
    units, name = chosen(config, "units"), chosen(config, "optimizer")
    rate = config.learning_rate or task.rate(name)
    run.record(learning_rate=rate)
    with strategy.scope():
        training.seed_everything(config.seed)
        model = task.network(units)
        model.compile(training.optimizer(name, rate), task.loss, steps_per_execution=TOGETHER)
    batches = task.batches()
    networks = chosen(config, "seeds")
    print(
        f"data      {config.dataset}: {len(task.x['train'])} training points\n"
        f"model     {networks} networks of {units} hidden units ({config.activation}), "
        f"{model.count_params() // networks} parameters each; {name}, rate {rate:g}\n"
        f"run       {run.path}"
    )
    for note in run.notes:
        print(f"note      {note}")

    def measure(epoch, logs):
        logs.update(task.figures(model, "validation", "val_"))

    import keras

    grids = evaluation.SampleGrids(lambda: task.film(model), run.path / "samples")
    flow = training.gradient_flow(config, run, batches)
    history = training.fit(
        model,
        batches,
        task.validation(),
        epochs=config.epochs,
        run=run,
        callbacks=[
            keras.callbacks.LambdaCallback(on_epoch_end=measure),
            grids,
            *flow,
            keras.callbacks.TensorBoard(run.path / "tensorboard", write_graph=False),
            keras.callbacks.TerminateOnNaN(),
        ],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    if not run.chief:
        return run.leave()
    best = int(np.argmin(task.losses(model, "validation")))
    one = models.stacked.copy_of(model, best)
    served = models.pair_of_logits(one) if task.is_xor else one
    served.save(run.path / "model.keras")
    cells = compare(config, run, task, strategy) if config.compare else []
    by_hand = back_propagation(config, task)
    print("evaluating on the test split, once")
    measured = task.figures(model, "test", "test_")
    metrics = {
        **measured,
        "networks": networks,
        "units": units,
        **({"best_linear_accuracy": task.best_linear} if task.is_xor else {}),
        "back_propagation_error": max(max(row[-2:]) for row in by_hand),
        "best_network": best,
        "learning_rate": rate,
        "best_epoch": history.best_epoch,
        "parameters": one.count_params(),
        "train_seconds": history.train_seconds,
        "examples_per_second": history.examples_per_second,
        "exported": None,
    }
    verdict = evaluation.mlp_verdict(
        measured, history.rows, networks=networks, best_linear=task.best_linear, scale=task.scale
    )
    metrics["verdict"] = verdict.label
    drawn, epochs = grids.grids()
    figures = [
        *task.pictures(model, one, best, cells),
        ("Learning curves", evaluation.plots.training_curves(history.rows), CURVES),
        *evaluation.explain_gradient_flow(flow),
    ]
    for title, figure, _ in figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    moving = evaluation.plots.save_animation(drawn, run.plots / "learning.webp", epochs)
    if config.export:
        metrics["exported"] = export(config, run, task, served, verdict)
    evaluation.write_report(
        run.path / "report.html",
        title=f"{config.dataset} by {units} hidden units",
        verdict=verdict,
        metrics=metrics,
        figures=figures,
        animations=[("Learning, epoch by epoch", moving.read_bytes(), task.film_caption)],
        tables=[*task.table(cells), (BY_HAND, BY_HAND_COLUMNS, by_hand)],
        config=run.config,
        commands=commands(config, metrics["exported"]),
        notes=(*run.notes, *history.notes),
    )
    run.finish(metrics)
    print(evaluation.summary(metrics, run.path))
    return metrics


CURVES = "The loss is the sum over all networks."
BY_HAND = "Back-propagation by hand, before training"
BY_HAND_COLUMNS = ("gradient", "equations", "norm", "against the tape", "against differences")
EQUATIONS = {"W1": "F1-F3, B1, B2, B4", "b1": "F1-F3, B1, B2, B4", "W2": "F1-F3, B1, B3"}


class Task:
    """The data, and what is measured and drawn of networks that learn it."""

    def __init__(self, config: Config):
        self.config, self.is_xor = config, config.dataset == "xor"
        if self.is_xor:
            points = data.load_xor()
            self.best_linear = evaluation.best_linear_accuracy(points.x["train"], points.y["train"])
        else:
            points = data.load_function(config.dataset, noise=config.noise, seed=config.seed)
            self.best_linear = None
        self.x, self.labels = points.x, points.y
        # [n, 1, 1]: the same for every network.
        self.y = {
            split: np.asarray(values, np.float32).reshape(-1, 1, 1)
            for split, values in points.y.items()
        }
        self.fingerprint, self.class_names = points.fingerprint, points.class_names
        self.scale = float(self.y["train"].std())
        self.kind = "logistic" if self.is_xor else "squared_error"
        self.loss = models.stacked_loss(self.kind)
        self.film_caption = (
            f"The first {SHOWN} networks: what they take for which class."
            if self.is_xor
            else "The best network of each epoch, over the training points."
        )

    def rate(self, optimizer: str) -> float:
        """The usual learning rate of an optimizer."""
        return RATES[optimizer][not self.is_xor]

    def network(self, units: int):
        """All networks, untrained. Their points are standardised inside."""
        x = self.x["train"]
        return models.stacked_mlp(
            chosen(self.config, "seeds"),
            x.shape[1],
            (units,),
            activation=self.config.activation,
            spread=0.0 if self.is_xor else float(np.abs(x).max() / x.std()),
            mean=tuple(x.mean(axis=0).tolist()),
            std=tuple(x.std(axis=0).tolist()),
            seed=self.config.seed,
        )

    def batches(self) -> data.FullBatches:
        """An epoch of steps on all training points."""
        return data.FullBatches(self.x["train"], self.y["train"], STEPS[not self.is_xor])

    def validation(self):
        """The validation points in one batch."""
        return data.FullBatches(self.x["validation"], self.y["validation"], 1).dataset(0, 1)

    def losses(self, model, split: str) -> np.ndarray:
        """The loss of every network, [networks]."""
        out = model(self.x[split])
        return np.asarray(models.losses_of_copies(self.kind, self.y[split], out)).mean(axis=0)

    def figures(self, model, split: str, prefix: str) -> dict[str, float]:
        """The share of solved seeds and the accuracy, or quantiles of the error over networks."""
        if self.is_xor:
            right = (np.asarray(model(self.x[split])) > 0) == (self.y[split] > 0.5)
            solved = right.all(axis=(0, 2))
            return {
                f"{prefix}solved": float(solved.mean()),
                f"{prefix}accuracy": float(right.mean()),
            }
        errors = np.sqrt(self.losses(model, split))
        return {
            f"{prefix}rmse": float(np.median(errors)),
            f"{prefix}rmse_lowest": float(errors.min()),
            f"{prefix}rmse_highest": float(errors.max()),
        }

    def film(self, model) -> np.ndarray:
        """A frame: regions of the first networks, or the best network's curve; uint8 [n,H,W,3]."""
        if self.is_xor:
            return np.stack([self.frame(model, i) for i in range(self.shown)])
        best = int(np.argmin(self.losses(model, "validation")))
        x, y = self.x["train"][:, 0], self.labels["train"][:, 0]
        said = np.asarray(model(self.x["train"]))[:, best, 0]
        return evaluation.plots.curve_frame(x, y, said)[None]

    @property
    def shown(self) -> int:
        """How many networks are drawn."""
        return min(SHOWN, chosen(self.config, "seeds"))

    def frame(self, model, network: int) -> np.ndarray:
        """The regions of one network."""

        def scores(points):
            return np.asarray(model(points))[:, network, 0]

        return evaluation.plots.decision_frame(
            scores, self.x["train"], self.labels["train"], side=64
        )

    def pictures(self, model, one, best: int, cells: list) -> list:
        """Pictures of the report: (title, Figure, caption)."""
        plots, x, y = evaluation.plots, self.x["train"], self.labels["train"]
        if not self.is_xor:
            grid = np.linspace(-1, 1, 801, dtype=np.float32)[:, None]
            truth = data.FUNCTIONS[self.config.dataset](grid[:, 0].astype(np.float64))
            hidden = np.asarray(hidden_units(one)(grid)) * one.get_weights()[2][:, 0]
            fit = plots.function_fit(
                grid[:, 0], truth, np.asarray(one(grid))[:, 0], hidden, (x[:, 0], y[:, 0])
            )
            found = [("Fit and contributions", fit, "The network with the smallest loss.")]
            if cells:
                widths = [c for c in cells if c["optimizer"] == cells[0]["optimizer"]]
                caption = f"{cells[0]['optimizer']}, all seeds, as many steps for every width."
                found.append(("Error by width", plots.error_by_width(widths), caption))
            return found

        def line(points):
            return points.sum(axis=1) - 0.5

        losses = self.losses(model, "train")
        frames = [self.frame(model, i) for i in range(self.shown)]
        captions = [f"seed {i}\nloss {losses[i]:.2g}" for i in range(self.shown)]
        regions = plots.decision_regions(
            lambda points: np.asarray(one(points))[:, 0], x, y, self.class_names
        )
        found = [
            (
                "One layer",
                plots.decision_regions(line, x, y, self.class_names),
                "One of the best lines. Of the 16 ways to label the four points lines give 14, and "
                f"this is not among them: {self.best_linear:.0%} is the most they have right.",
            ),
            ("Two layers", regions, f"Network {best}, which has the smallest loss."),
            (
                "Boundaries by seed",
                plots.image_grid(np.stack(frames), captions, columns=4),
                "The same network from other initial weights.",
            ),
        ]
        if cells:
            caption = "A seed counts if all four points are right. Where a curve is not at 100 %, "
            caption += "gradient descent has ended where no small step helps."
            found.append(("Success by width", plots.success_rates(cells), caption))
        return found

    def table(self, cells: list) -> list:
        """The comparison as a table: (title, columns, rows)."""
        if not cells:
            return []
        if self.is_xor:
            columns = ("optimizer", "rate", "hidden units", "solved", "seeds", "median loss")
            names = ("optimizer", "rate", "units", "solved_count", "seeds", "median")
            title = "Seeds that solve exclusive or"
        else:
            columns = (
                "optimizer",
                "rate",
                "hidden units",
                "seeds",
                "median RMSE",
                "lowest",
                "highest",
            )
            names = ("optimizer", "rate", "units", "seeds", "median", "lowest", "highest")
            title = "Error on test points by width"
        return [(title, columns, [tuple(cell[name] for name in names) for cell in cells])]


def hidden_units(one):
    """Points -> the activations of the hidden units."""
    import keras

    return keras.Model(one.input, one.get_layer("hidden1").output)


def compare(config: Config, run: training.Run, task: Task, strategy) -> list[dict]:
    """All widths with all optimizers, from the same seeds; what is done is kept in a file.

    Of several machines the chief alone does this, on one device.
    """
    alone = bool(training.cluster())
    path = run.path / "cells.json"
    cells = training.read_json(path) if path.exists() else []
    wanted = [(o, u) for o in chosen(config, "optimizers") for u in chosen(config, "widths")]
    split = "train" if task.is_xor else "test"
    for optimizer, units in wanted[len(cells) :]:
        with contextlib.nullcontext() if alone else strategy.scope():
            model = task.network(units)
            model.compile(
                training.optimizer(optimizer, task.rate(optimizer)),
                task.loss,
                steps_per_execution=STEPS[not task.is_xor],
            )
        training.patch_for_replicas(model)
        model.fit(task.batches().dataset(0, config.epochs), shuffle=False, verbose=0)
        losses = task.losses(model, split)
        cell = {
            "optimizer": optimizer,
            "rate": task.rate(optimizer),
            "units": units,
            "seeds": len(losses),
        }
        if task.is_xor:
            solved = task.figures(model, split, "")["solved"]
            cell |= {"solved": solved, "solved_count": round(solved * len(losses))}
            said = f"{cell['solved_count']} of {len(losses)} solved"
        else:
            losses = np.sqrt(losses)
            cell |= {"lowest": float(losses.min()), "highest": float(losses.max())}
            said = f"RMSE {np.median(losses):.4f}"
        cells.append({**cell, "median": float(np.median(losses))})
        files.write_json(path, cells)
        print(f"compare   {optimizer}, {units} hidden units: {said}")
    return cells


def back_propagation(config: Config, task: Task) -> list[tuple]:
    """Rows of the table: gradients by hand against the tape and against finite differences."""
    by_hand = models.backprop
    stacked = task.network(chosen(config, "units"))
    one = models.stacked.copy_of(stacked, 0)
    x, y = task.x["train"], task.y["train"][:, 0]
    seen = np.asarray(one.get_layer("rescaling")(x), np.float64)
    weights, settings = by_hand.two_layers(one), (config.activation, task.kind)
    gradients = by_hand.backward(weights, seen, y, *settings)
    tape = by_hand.tape_gradients(one, x, y, task.kind)
    slopes = by_hand.finite_differences(weights, seen, y, *settings)
    rows = []
    for name in gradients._fields:
        ours, theirs, slope = (np.asarray(getattr(g, name)) for g in (gradients, tape, slopes))
        rows.append(
            (
                f"dL/d{name}",
                EQUATIONS.get(name, "F1-F3, B1, B3"),
                float(np.linalg.norm(ours)),
                float(np.abs(ours - theirs).max()),
                float(np.abs(ours - slope).max()),
            )
        )
    return rows


def export(config: Config, run, task: Task, model, verdict) -> str:
    """Publish the next version of the SavedModel, unless this run has done so already."""
    if run.published:
        return run.published
    card = (
        f"A network of {chosen(config, 'units')} hidden units trained on {config.dataset} "
        f"(fingerprint {task.fingerprint[:12]}), seed {config.seed}.\n\n"
        f"{verdict.label}: {verdict.sentence}\n\nRun directory: {run.path.name}\n"
    )
    version = serving.export_points(
        model,
        config.export_dir or "saved_models/xor_mlp",
        task.class_names,
        kind="multilayer perceptron of points",
        card=card,
    )
    run.record(exported=str(version))
    print(f"published {version}")
    return str(version)


def commands(config: Config, published: str | None) -> dict[str, str]:
    """What to type next."""
    shown = {"Repeat or resume": training.command(config, "recipes/xor_mlp.py")}
    if published:
        shown["Look inside"] = f"saved_model_cli show --dir {published} --all"
    return shown


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
