"""Train, draw and publish a network of one layer: perceptron, pocket or delta rule.

    python recipes/perceptron.py
    python recipes/perceptron.py --classes 3 8
    python recipes/perceptron.py --dataset moons --rule pocket
    python recipes/perceptron.py --dataset blobs --rule delta --batch-size 300

The perceptron (Rosenblatt 1958) changes its weights for misclassified examples only, by adding or
subtracting them; if a plane separates the classes with margin gamma, it makes at most (R / gamma)^2
updates (Novikoff 1962), and the report shows both numbers. The pocket (Gallant 1990) is for classes
that no plane separates. The delta rule (Widrow and Hoff 1960) is gradient descent on the squared
error: in one batch, in mini-batches or example by example, as --batch-size says. The same command
goes on with a run that was killed, to the same bits, and shows the result of one that is finished.

All ten digits, seed 0: no mistake on training pictures after epoch 24, 1,142 updates of at most
6,044, 95.0 % on the test split.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Literal

import numpy as np

from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError

ROUNDS = 4  # pictures in a row of the film of a plane


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is trained, on what, and how."""

    dataset: str = "digits"
    """blobs, moons, xor, circles (generated), digits, fashion_mnist, tfds:, folder: or npz:"""
    rule: Literal["perceptron", "pocket", "delta"] = "perceptron"
    """what moves the weights"""
    classes: tuple[str, ...] = ()
    """pictures: names of the classes to tell apart, two for a single score; default: all"""
    points: int = 500
    """generated data: how many, of which three fifths are for training"""
    noise: float = 0.15
    """generated data: standard deviation around the shape"""
    epochs: int = 60
    """passes over the training data; the perceptron and the pocket end with the last mistake"""
    validation_fraction: float = 0.1
    """pictures: part of the training data that is kept for validation, stratified"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    training.check_common(
        config,
        names=data.POINT_SETS,
        several_machines=config.rule == "delta",
        instead=f"--rule {config.rule} looks at one example after another, so they cannot share "
        "the work: unset TF_CONFIG, or use --rule delta",
    )
    training.check_range(config, "noise", 0, math.inf, "0 or more", ends=True)
    training.check_range(config, "validation_fraction", 0, 1, "between 0 and 1, ends excluded")
    replicas = training.named_devices(config.devices)
    generated = config.dataset in data.POINT_SETS
    wrong = {
        f"--rule {config.rule} looks at one example after another, so {replicas} devices cannot "
        "share the work: use --devices cpu or gpu:1, or --rule delta": (
            replicas > 1 and config.rule != "delta"
        ),
        "--learning-rate is for --rule delta; from weights of 0 it would change no decision of a "
        "perceptron": config.learning_rate is not None and config.rule != "delta",
        f"--classes is for pictures; {config.dataset} has two": bool(config.classes) and generated,
        "--classes: name two or more, each once": (
            len(config.classes) == 1 or len(set(config.classes)) < len(config.classes)
        ),
        f"--points {config.points}: 20 or more are needed": config.points < 20,
        f"--precision {config.precision}: one layer is computed in float32": (
            config.precision not in ("auto", "float32")
        ),
    }
    for words, is_wrong in wrong.items():
        if is_wrong:
            raise UserError(words)
    training.check_batch(config.batch_size, replicas)


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
    name = f"{config.dataset.split(':')[0]}-{config.rule}"
    return training.open_run("perceptron", config, name=name)


def check_and_show(config: Config) -> None:
    """Before TensorFlow is imported: refuse mistakes, and show a run that is finished.

    Raises:
        UserError: a mistake in the flags, or a run directory of another configuration.
        SystemExit: there is nothing left to do.
    """
    check(config)
    command_line.show_finished(open_run, config)


def train(config: Config, run: training.Run) -> dict[str, object]:
    """Train, evaluate, export and report into an open run directory."""
    strategy = training.strategy(config.devices)
    training.check_batch(config.batch_size, strategy.num_replicas_in_sync)
    training.seed_everything(config.seed)
    points = load(config)
    run.record(
        data={"fingerprint": points.fingerprint, "class_names": list(points.class_names)},
        input_shape=list(points.x["train"].shape[1:]),
    )
    batches, validation, clean = batch(config, points)
    model, rate, highest = build(config, run, points, batches, strategy)
    seen = features_of(model, points.x["train"])
    found = evaluation.separation(seen, points.y["train"])
    notes = [*points.notes, *run.notes]
    if highest is not None and rate >= highest:
        notes.append(
            f"the learning rate {rate:.3g} is not below {highest:.3g}, the step size up to which "
            "the delta rule converges on these examples and batches"
        )
    bound = f"{found.bound:,.0f} updates at most" if found.separable else "not separated by a plane"
    print(
        f"data      {points.name}: {points.counts}, {len(points.class_names)} classes\n"
        f"model     {config.rule}: {model.count_params():,} parameters; {bound}\n"
        f"run       {run.path}"
    )
    for note in notes:
        print(f"note      {note}")

    grids = evaluation.SampleGrids(lambda: film_frame(model, points), run.path / "samples")
    flow = training.gradient_flow(config, run, batches)
    history = training.fit(
        model,
        batches,
        validation,
        epochs=config.epochs,
        run=run,
        clean_train=clean,
        monitor="val_loss" if config.rule == "delta" else "train_error",
        callbacks=[grids, *flow, *callbacks(config, run, model)],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    if not run.chief:
        return run.leave()
    print("evaluating on the test split, once")
    logits_of = models.class_logits(model)
    logits_of.save(run.path / "model.keras")
    said = {
        split: logits_of.predict(points.x[split], verbose=0, batch_size=1024)
        for split in ("validation", "test")
    }
    temperature = evaluation.fit_temperature(points.y["validation"], said["validation"])
    measured = evaluation.classification_metrics(points.y["test"], said["test"], points.class_names)
    verdict = evaluation.linear_verdict(
        config.rule,
        history.rows,
        found,
        kept=history.best_epoch,
        highest_rate=highest,
        rate=rate,
    )
    metrics = {
        **{
            f"test_{name}": value
            for name, value in measured.items()
            if isinstance(value, int | float) and name not in ("examples", "loss", "nll")
        },
        "test_examples": measured["examples"],
        **verdict.numbers,
        "margin": found.margin,
        "radius": found.radius,
        "separable": found.separable,
        "learning_rate": rate,
        "highest_learning_rate": highest,
        "verdict": verdict.label,
        "temperature": temperature,
        "best_epoch": history.best_epoch,
        "parameters": model.count_params(),
        "train_seconds": history.train_seconds,
        "examples_per_second": history.examples_per_second,
        "exported": None,
    }
    drawn, epochs = grids.grids()
    figures = [
        *figures_of(config, model, points, history.rows, found, measured, drawn, epochs),
        *evaluation.explain_gradient_flow(flow),
    ]
    for title, figure, _ in figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    moving = evaluation.plots.save_animation(drawn, run.plots / "learning.webp", epochs)
    if config.export:
        metrics["exported"] = export(config, run, logits_of, points, temperature, verdict, metrics)
    evaluation.write_report(
        run.path / "report.html",
        title=f"{config.rule} on {points.name}",
        verdict=verdict,
        metrics=metrics,
        figures=figures,
        animations=[("Learning, epoch by epoch", moving.read_bytes(), FILMS[is_plane(points)])],
        config=run.config,
        commands=commands(config, metrics["exported"]),
        notes=(*notes, *history.notes),
    )
    run.finish(metrics)
    print(evaluation.summary(metrics, run.path))
    return metrics


PANELS = {
    "Misclassified": ("error", "train_error", "val_error"),
    "Loss": ("loss", "train_loss", "val_loss"),
}
FILMS = {
    True: "What is taken for which class, with the training examples.",
    False: "The weights as pictures: blue pixels speak for the class, orange ones against it.",
}


def load(config: Config) -> data.PointData:
    """Points or pictures, in memory."""
    if config.dataset in data.POINT_SETS:
        return data.load_points(config.dataset, config.points, noise=config.noise, seed=config.seed)
    images = data.load(
        config.dataset,
        data_dir=config.data_dir,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
    )
    return data.only_classes(images, config.classes)


def batch(config: Config, points: data.PointData) -> tuple:
    """Training batches, validation batches, and the whole training split in order."""
    import tensorflow as tf

    def held(split):
        with tf.device("CPU:0"):
            return tf.constant(points.x[split]), tf.constant(targets_of(points, split))

    x, targets = held("train")

    def load_rows(rows, seed):
        return tf.gather(x, rows), tf.gather(targets, rows)

    return (
        data.IndexedBatches(len(x), config.batch_size, seed=config.seed, load=load_rows),
        tf.data.Dataset.from_tensor_slices(held("validation")).batch(1024),
        tf.data.Dataset.from_tensor_slices((x, targets)).batch(1024),
    )


def targets_of(points: data.PointData, split: str) -> np.ndarray:
    """0 or 1 [n, 1], or one-hot [n, classes]."""
    classes, y = len(points.class_names), points.y[split]
    return y[:, None].astype(np.float32) if classes == 2 else np.eye(classes, dtype="f4")[y]


def build(config: Config, run: training.Run, points, batches, strategy) -> tuple:
    """The compiled model, and of the delta rule its learning rate and the highest one."""
    import keras

    x = points.x["train"]
    axes = tuple(range(x.ndim - 1))  # of pictures a number per channel, of points per feature
    unit = 255.0 if x.ndim == 4 else 1.0
    mean = x.mean(axis=axes, dtype=np.float64) / unit
    std = np.maximum(x.std(axis=axes, dtype=np.float64) / unit, 1e-6)
    shape, classes = x.shape[1:], len(points.class_names)
    statistics = {"mean": tuple(mean.tolist()), "std": tuple(std.tolist())}
    with strategy.scope():
        training.seed_everything(config.seed)
        if config.rule != "delta":
            pocket = config.rule == "pocket"
            model = models.perceptron(shape, classes, pocket=pocket, **statistics)
            model.compile()
            if pocket:
                model.keep_for(x, targets_of(points, "train"))
            return model, None, None
        model = models.delta_rule(shape, classes, **statistics)
    seen = features_of(model, x)
    highest = evaluation.highest_learning_rate(seen, batches.batch_size)
    rate = config.learning_rate or highest / 2
    run.record(learning_rate=rate)
    with strategy.scope():
        model.compile(keras.optimizers.SGD(rate))
    return model, rate, highest


def features_of(model, x: np.ndarray) -> np.ndarray:
    """What the layer sees of examples [n, ...]: [n, features]; not shared, on several devices."""
    parts = range(0, len(x), 1024)
    return np.concatenate([np.asarray(model.features(x[i : i + 1024])) for i in parts])


def callbacks(config: Config, run: training.Run, model) -> list:
    """Keras' own callbacks; the walk of a perceptron ends with its last mistake."""
    import keras

    def stop_without_mistakes(epoch, logs):
        model.stop_training = model.stop_training or logs["train_error"] == 0

    chosen = [
        keras.callbacks.TensorBoard(run.path / "tensorboard", write_graph=False),
        keras.callbacks.TerminateOnNaN(),
    ]
    if config.rule != "delta":
        chosen.append(keras.callbacks.LambdaCallback(on_epoch_end=stop_without_mistakes))
    return chosen


def is_plane(points: data.PointData) -> bool:
    """Whether the points can be drawn as points."""
    return points.x["train"].ndim == 2


def scores_of(model):
    """Points [n, 2] -> scores [n]: class 1 where positive."""
    kernel, bias = (np.asarray(w) for w in (model.scores.kernel, model.scores.bias))
    return lambda x: (np.asarray(model.features(x)) @ kernel + bias)[:, 0]


def film_frame(model, points: data.PointData) -> np.ndarray:
    """The plane, or the weights, as they are now: uint8 [n, H, W, 3]."""
    if is_plane(points):
        x, classes = points.x["train"], points.y["train"]
        return evaluation.plots.decision_frame(scores_of(model), x, classes)[None]
    kernel = np.asarray(model.scores.kernel)
    weights = kernel.T.reshape(-1, *points.x["train"].shape[1:])
    return evaluation.plots.weight_pictures(weights)


def figures_of(config, model, points, rows, found, measured, drawn, epochs) -> list:
    """Pictures of the report: (title, Figure, caption)."""
    plots = evaluation.plots
    figures = [
        (
            "Learning curves",
            plots.training_curves(rows, PANELS),
            "The share of examples on the wrong side: those met on the way, the training examples "
            "after the epoch, and validation.",
        )
    ]
    if config.rule != "delta":
        figures.append(
            (
                "Updates and bound",
                plots.updates_and_bound(rows, found.bound),
                "Only misclassified examples change the weights. Novikoff's bound holds for any "
                "order of the examples.",
            )
        )
    if is_plane(points):
        captions = [f"epoch {epoch}" for epoch in epochs]
        chosen = np.unique(np.linspace(0, len(drawn) - 1, 3 * ROUNDS).astype(int))
        regions = plots.decision_regions(
            scores_of(model), points.x["test"], points.y["test"], points.class_names
        )
        strip = plots.image_grid(
            np.concatenate([drawn[i] for i in chosen]), [captions[i] for i in chosen],
            columns=ROUNDS,
        )  # fmt: skip
        figures += [
            ("Decision regions", regions, "Test points; rings are on the wrong side."),
            ("Epoch by epoch", strip, FILMS[True]),
        ]
        return figures
    names = points.class_names
    shown = plots.picture_rows(
        [film_frame(model, points)], column_names=names if len(names) > 2 else [names[1]]
    )
    figures += [
        ("Weights", shown, FILMS[False]),
        ("Epoch by epoch", plots.epoch_grid(drawn, epochs, columns=10), FILMS[False]),
        (
            "Confusion matrix",
            plots.confusion_matrix(np.asarray(measured["confusion_matrix"]), names),
            "Who is taken for whom: rows are what pictures show, columns what was said.",
        ),
    ]
    return figures


def export(config: Config, run, model, points, temperature, verdict, metrics) -> str:
    """Publish the next version of the SavedModel, unless this run has done so already."""
    if run.published:
        return run.published
    card = (
        f"One layer trained by the {config.rule} rule on {points.name} "
        f"({points.counts['train']} examples, fingerprint {points.fingerprint[:12]}), seed "
        f"{config.seed}.\n\nTest accuracy {metrics['test_accuracy']:.2%} "
        f"({metrics['test_examples']} examples).\n\n{verdict.label}: {verdict.sentence}\n\n"
        f"Run directory: {run.path.name}\n"
    )
    where, named = config.export_dir or "saved_models/perceptron", points.class_names
    if is_plane(points):
        kind = "linear classifier of points"
        version = serving.export_points(
            model, where, named, kind=kind, temperature=temperature, card=card
        )
    else:
        version = serving.export(
            model, where, named, temperature=temperature, card=card,
            sample_images=points.x["validation"][:8],
        )  # fmt: skip
    run.record(exported=str(version))
    print(f"published {version}")
    return str(version)


def commands(config: Config, published: str | None) -> dict[str, str]:
    """What to type next."""
    shown = {"Repeat or resume": training.command(config, "recipes/perceptron.py")}
    if published and config.dataset not in data.POINT_SETS:
        shown["Predict"] = f"kapps predict {published} PICTURE.png"
    if published:
        shown["Look inside"] = f"saved_model_cli show --dir {published} --all"
    return shown


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
