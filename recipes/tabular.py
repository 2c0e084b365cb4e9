"""Train, explain and publish a multilayer perceptron on a table.

    python recipes/tabular.py
    python recipes/tabular.py --dataset diabetes
    python recipes/tabular.py --dataset csv:PATH --target COLUMN

Classification or regression, as the target says. Numbers are standardised and missing ones imputed
with the training median, categories are one-hot, all inside the model (keras.utils.FeatureSpace),
so that the published one takes raw columns by name. Beside it stand scikit-learn's gradient
boosting and a linear model on the same rows: on small tables they are hard to beat
(arXiv:2207.08815). The same command goes on with a run that was killed, to the same bits, and
shows the result of one that is finished.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Literal

import kapps
from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError

# Flag, lowest, highest, the range in words, whether its ends belong to it.
RANGES = (
    ("dropout", 0, 0.999, "between 0 and 0.999", True),
    ("warmup", 0, 0.999, "between 0 and 0.999", True),
    ("weight_decay", 0, math.inf, "0 or more", True),
    ("clip", 0, math.inf, "0 or more", True),
    ("ema", 0, 0.999999, "between 0 and 0.999999", True),
    ("patience", 0, math.inf, "0 or more", True),
    ("validation_fraction", 0, 1, "between 0 and 1, ends excluded", False),
)
OPTIMIZERS = Literal["sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"]
SCHEDULES = Literal["constant", "step", "cosine", "one-cycle", "plateau"]


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is trained, on what, and how."""

    dataset: str = "breast_cancer"
    """csv:PATH, or one of scikit-learn's: breast_cancer, diabetes, iris, wine"""
    target: str | None = None
    """the column to predict; scikit-learn's tables have one"""
    task: Literal["auto", "classification", "regression"] = "auto"
    """auto: text, truth values and up to 20 whole numbers are classes"""
    drop: tuple[str, ...] = ()
    """columns to leave out"""
    epochs: int = 40
    """passes over the training rows"""
    batch_size: int = 32
    """rows per step, over all devices"""
    units: tuple[int, ...] = (64, 32)
    """width of each hidden layer; --units without a number is a linear model"""
    activation: str = "relu"
    """of the hidden layers"""
    normalization: Literal["none", "batch"] = "none"
    """before each activation"""
    dropout: float = 0.2
    """part of the units of each hidden layer that is dropped"""
    optimizer: OPTIMIZERS = "adamw"
    """how weights move"""
    schedule: SCHEDULES = "one-cycle"
    """how the learning rate moves; one-cycle moves the momentum, too"""
    warmup: float = 0.0
    """part of the steps in which the rate rises (one-cycle: 0.25 when this is 0)"""
    weight_decay: float | None = None
    """decoupled, times the learning rate; biases and norms are spared; default: the usual one"""
    clip: float = 0.0
    """highest global norm of the gradient; 0 is off"""
    ema: float = 0.0
    """decay of the moving average of the weights, 0.99 for example; 0 is off"""
    patience: int = 0
    """epochs without a better validation loss before training stops; 0 is off"""
    class_weights: bool = False
    """classification: give every class the same share of the loss"""
    validation_fraction: float = 0.2
    """part of the rows outside test that is kept for validation"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    training.check_common(config, ("csv",), data.TABLES, several_machines=True)
    data.check_target(config.dataset, config.target, config.drop)
    for name, low, high, words, ends in RANGES:
        training.check_range(config, name, low, high, words, ends=ends)
    if any(width < 1 for width in config.units):
        raise UserError(f"--units {' '.join(map(str, config.units))}: each must be at least 1")
    if config.warmup and config.schedule in ("step", "plateau"):
        raise UserError(f"--schedule {config.schedule} has no --warmup")
    if config.class_weights and config.task == "regression":
        raise UserError("--class-weights is for a classification")
    training.check_batch(config.batch_size, training.named_devices(config.devices))


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
    return training.open_run("tabular", config, name=config.dataset.split(":")[0])


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
    table = data.load_table(
        config.dataset,
        target=config.target,
        task=config.task,
        drop=config.drop,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
    )
    if config.class_weights and table.task == "regression":
        raise UserError(f"--class-weights: '{table.target}' is a quantity and has no classes")
    run.record(
        data={"fingerprint": table.fingerprint, "class_names": list(table.class_names)},
        task=table.task,
        target=table.target,
    )
    model = build(config, table, strategy)
    batches, validation, clean = batch(config, table, model)
    network = compiled(config, run, table, model, batches, strategy)
    print(
        f"data      {table.spec}: {table.counts}, {len(table.columns)} columns; "
        f"{table.task} of '{table.target}'"
        + (f", {len(table.class_names)} classes" if table.class_names else "")
        + f"\nmodel     {network.input_shape[-1]} inputs, units {list(config.units)}: "
        f"{model.count_params():,} parameters, {precision(config)}\nrun       {run.path}"
    )
    for note in (*table.notes, *run.notes):
        print(f"note      {note}")
    flow = training.gradient_flow(config, run, batches)
    history = training.fit(
        network,
        batches,
        validation,
        epochs=config.epochs,
        run=run,
        sync_batch_norm=config.sync_batch_norm,
        clean_train=clean,
        ema=config.ema,
        callbacks=[*callbacks(config, run), *flow],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    if not run.chief:
        return run.leave()
    # Sixteen bits are for training: what is evaluated, saved and served runs anywhere.
    model = serving.in_float32(model)
    print("evaluating on the test split, once, beside scikit-learn")
    found = evaluation.explain_table(model, table, history.rows, seed=config.seed)
    figures = [*found.figures, *evaluation.explain_gradient_flow(flow)]
    metrics = {
        **found.metrics,
        "best_epoch": history.best_epoch,
        "parameters": model.count_params(),
        "train_seconds": history.train_seconds,
        "examples_per_second": history.examples_per_second,
        "precision": precision(config),
        "exported": None,
    }
    model.save(run.path / "model.keras")
    for title, figure, _ in figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    if config.export:
        metrics["exported"] = export(config, run, model, table, found)
    evaluation.write_report(
        run.path / "report.html",
        title=f"{table.target} of {table.spec}",
        verdict=found.verdict,
        metrics=metrics,
        figures=figures,
        tables=found.tables,
        config=run.config,
        commands=commands(config, metrics["exported"]),
        notes=(*table.notes, *run.notes, *history.notes),
    )
    run.finish(metrics)
    print(evaluation.summary(metrics, run.path))
    print(beside(metrics))
    return metrics


def build(config: Config, table: data.TableData, strategy):
    """The whole model, from raw columns, in the strategy's scope."""
    mean, std = table.target_statistics if table.task == "regression" else (0.0, 1.0)
    with strategy.scope(), training.precision_policy(precision(config)):
        return models.tabular_mlp(
            table.columns,
            len(table.class_names),
            units=config.units,
            activation=config.activation,
            normalization=None if config.normalization == "none" else config.normalization,
            dropout=config.dropout,
            target_mean=mean,
            target_std=std,
        )


def batch(config: Config, table: data.TableData, model) -> tuple:
    """Training batches, validation batches and the training rows once: encoded, with targets.

    What the encoder says of a row never changes, so it is asked once for each, and strings never
    leave the CPU.
    """
    import tensorflow as tf

    classes, encoder = len(table.class_names), model.get_layer("encoder")
    exact = data.classification_targets(classes) if classes else lambda y: y[:, None]
    encoded, targets = {}, {}
    with tf.device("CPU:0"):
        for name in ("train", "validation"):
            split = table.splits[name]
            columns = {key: tf.constant(v[:, None]) for key, v in split.inputs.items()}
            encoded[name] = encoder(columns)
            targets[name] = tf.constant(split.targets)
    weights = None
    if config.class_weights:
        weights = data.class_weights(table.splits["train"].targets, classes)

    def load(rows, seed):
        y = exact(tf.gather(targets["train"], rows))
        x = tf.gather(encoded["train"], rows)
        return (x, y) if weights is None else (x, y, y @ weights[:, None])

    def once(name):
        rows = tf.data.Dataset.from_tensor_slices((encoded[name], targets[name]))
        size = min(1024, len(rows))
        return rows.batch(size).map(lambda x, y: (x, exact(y))).prefetch(1)

    train = data.IndexedBatches(
        len(targets["train"]), config.batch_size, seed=config.seed, load=load
    )
    return train, once("validation"), once("train")


def compiled(config: Config, run: training.Run, table: data.TableData, model, batches, strategy):
    """The part of the model that is trained, compiled."""
    rate = config.learning_rate or training.usual_learning_rate(config.optimizer)
    decay = config.weight_decay
    if decay is None:
        decay = training.usual_weight_decay(config.optimizer)
    rate = training.scaled_learning_rate(rate, config.scale_learning_rate, strategy)
    run.record(learning_rate=rate, weight_decay=decay)
    steps = config.epochs * batches.steps
    cycle = training.momentum_cycle(steps, warmup=config.warmup or 0.25)
    network = model.get_layer("network")
    with strategy.scope():
        optimizer = training.optimizer(
            config.optimizer,
            training.learning_rate_schedule(
                config.schedule, rate, steps=steps, warmup=config.warmup
            ),
            momentum_schedule=cycle if config.schedule == "one-cycle" else None,
            weight_decay=decay,
            global_clipnorm=config.clip,
        )
        if table.task == "classification":
            loss, scale, metric = kapps.losses.softmax_cross_entropy, 1.0, "accuracy"
        else:  # in units of the variance: always answering the mean has a loss of one
            loss, scale, metric = "mse", table.target_statistics[1] ** -2, "mae"
        network.compile(optimizer, loss=loss, loss_weights=[scale], metrics=[metric])
    return network


def precision(config: Config) -> str:
    """The number format to train in: on so small networks sixteen bits gain nothing."""
    return "float32" if config.precision == "auto" else config.precision


def callbacks(config: Config, run: training.Run) -> list:
    """Keras' own callbacks, as the flags ask for them."""
    import keras

    chosen = [
        keras.callbacks.TensorBoard(run.path / "tensorboard", write_graph=False),
        keras.callbacks.TerminateOnNaN(),
    ]
    if config.schedule == "plateau":
        chosen.append(keras.callbacks.ReduceLROnPlateau(factor=0.2, patience=5))
    if config.patience:
        chosen.append(keras.callbacks.EarlyStopping(patience=config.patience))
    return chosen


def beside(metrics: dict[str, object]) -> str:
    """One line on how the others did, for the terminal."""
    name, form = ("accuracy", ".2%") if "test_accuracy" in metrics else ("r2", ".3f")
    said = [
        f"{words} {format(metrics[f'{model}_{name}'], form)}"
        for model, words in (("gradient_boosting", "gradient boosting"), ("linear", "linear model"))
    ]
    return f"{'scikit-learn':<24}{', '.join(said)}"


def export(config: Config, run: training.Run, model, table: data.TableData, found) -> str:
    """Publish the next version of the SavedModel, unless this run has done so already."""
    if run.published:
        return run.published
    figures = found.metrics
    result = (
        f"Test accuracy {figures['test_accuracy']:.2%} (95 % interval "
        f"{figures['test_accuracy_low']:.2%} to {figures['test_accuracy_high']:.2%}, "
        f"{figures['test_examples']} rows), calibration error {figures['test_ece']:.2%}."
        if table.class_names
        else f"Test R² {figures['test_r2']:.3f} (95 % interval {figures['test_r2_low']:.3f} to "
        f"{figures['test_r2_high']:.3f}, {figures['test_examples']} rows), mean absolute error "
        f"{figures['test_mae']:.4g}."
    )
    card = (
        f"A multilayer perceptron that predicts '{table.target}', trained on {table.spec} "
        f"({table.counts['train']} rows, fingerprint {table.fingerprint[:12]}), seed "
        f"{config.seed}.\n\n{result}\n\n"
        f"{found.verdict.label}: {found.verdict.sentence}\n\nRun directory: {run.path.name}\n"
    )
    version = serving.export_table(
        model,
        config.export_dir or "saved_models/tabular",
        table.class_names,
        temperature=found.temperature,
        card=card,
    )
    run.record(exported=str(version))
    print(f"published {version}")
    return str(version)


def commands(config: Config, published: str | None) -> dict[str, str]:
    """What to type next."""
    shown = {"Repeat or resume": training.command(config, "recipes/tabular.py")}
    if published:
        shown["Predict"] = f"kapps predict {published} FILE.csv"
        shown["Look inside"] = f"saved_model_cli show --dir {published} --all"
    return shown


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
