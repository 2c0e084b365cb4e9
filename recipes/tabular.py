"""Train, explain and publish a multilayer perceptron on a table.

    python recipes/tabular.py
    python recipes/tabular.py --dataset diabetes
    python recipes/tabular.py --dataset csv:PATH --target COLUMN

    columns -> encoder (standardize, impute, one-hot) -> bins -> members -> logits, or a number

Classification or regression, depending on the target. Numbers are standardized, missing ones are
imputed with the training median, and categories are one-hot encoded, all inside the model, so the
published model takes raw columns by name. The network also reads where a number lies among the
quantiles of the training rows (arXiv:2203.05556), and is several small ones that agree on an answer
(after arXiv:2410.24210). The baselines are scikit-learn's gradient boosting and a linear model on
the same rows: on small tables they are hard to beat (arXiv:2207.08815). Run the same command again
to resume a killed run, bit for bit, or to see the result of a finished one.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import kapps
from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError


@dataclasses.dataclass(frozen=True)
class Config(
    training.AveragingFlags,
    training.OptimizationFlags,
    training.ClassifierFlags,
    training.FoldFlags,
    training.ContinuationFlags,
    training.MemoryFlags,
    training.CommonFlags,
):
    """Data, network and training."""

    dataset: str = "breast_cancer"
    """csv:PATH (CSV, Parquet, JSON lines), or one of scikit-learn's: breast_cancer, diabetes, iris,
    wine"""
    target: str | None = None
    """the column to predict; scikit-learn's tables have one"""
    task: Literal["auto", "classification", "regression"] = "auto"
    """auto: text, booleans and up to 20 distinct integers are classes"""
    drop: tuple[str, ...] = ()
    """columns to leave out"""
    keep: tuple[str, ...] = ()
    """columns to keep although they look like identifiers"""
    categories: tuple[str, ...] = ()
    """columns to treat as categories, whatever they look like"""
    missing_words: tuple[str, ...] = data.MISSING
    """what stands for a missing value in a feature, besides an empty cell"""
    group: str | None = None
    """a column (patient, customer): all rows with the same value are in one split"""
    split_by_time: str | None = None
    """a column of dates or numbers: validation is later than training, test later than both"""
    split_column: str | None = None
    """a column that says train, validation or test"""
    test_file: str | None = None
    """another file with the same columns: the test split"""
    weight_column: str | None = None
    """a column of numbers: the weight of each row in the loss"""
    epochs: training.PositiveInt = 40
    """passes over the training rows"""
    batch_size: training.PositiveInt = 32
    """rows per step, over all devices"""
    bins: training.NonNegativeInt = 16
    """bins of each number, about, with as many training rows each; 0: the number alone"""
    members: training.PositiveInt = 8
    """networks that agree on an answer; each sees other rows in a step, --batch-size of them"""
    units: tuple[training.PositiveInt, ...] = (64, 32)
    """width of each hidden layer; --units without a number: none, so that columns add up"""
    activation: str = "relu"
    """activation of the hidden layers"""
    normalization: Literal["none", "batch"] = "none"
    """normalization before each activation"""
    dropout: training.Rate = 0.2
    """dropout rate of the hidden layers"""
    class_weights: bool = False
    """classification: give every class the same share of the loss"""
    validation_fraction: training.OpenFraction = 0.2
    """fraction of the non-test rows held out for validation"""

    EXCLUSIONS: ClassVar[training.Exclusions] = (
        (
            lambda config: config.class_weights and config.task == "regression",
            "--class-weights is for classification",
        ),
    )


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported."""
    training.check(config, ("csv",), data.TABLES)
    data.check_target(config.dataset, config.target, config.drop)


def load(config: Config) -> data.TableData:
    """The table."""
    table = data.load_table(
        config.dataset,
        target=config.target,
        task=config.task,
        drop=config.drop,
        keep=config.keep,
        categories=config.categories,
        missing_words=config.missing_words,
        group=config.group,
        time=config.split_by_time,
        split_column=config.split_column,
        test_file=config.test_file,
        weight=config.weight_column,
        fold=config.which_fold,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
        memory_limit=config.memory_bytes,
    )
    if config.class_weights and table.task == "regression":
        raise UserError(f"--class-weights: '{table.target}' is a quantity and has no classes")
    return table


def network(config: Config, table: data.TableData):
    """From raw columns to logits, or to a quantity: an encoder, and the network that is trained."""
    mean, std = table.target_statistics if table.task == "regression" else (0.0, 1.0)
    bins = data.number_bins(table, config.bins) if config.bins else {}
    return models.tabular_mlp(
        table.columns,
        len(table.class_names),
        units=config.units,
        activation=config.activation,
        normalization=None if config.normalization == "none" else config.normalization,
        dropout=config.dropout,
        bins=bins,
        members=config.members,
        target_mean=mean,
        target_std=std,
    )


def batches(config: Config, table: data.TableData, model) -> tuple:
    """Training batches, validation batches and the training rows once: encoded, with targets.

    What the encoder says of a row never changes, so it is asked once for each, and strings never
    leave the CPU.
    """
    import tensorflow as tf

    classes, encoder = len(table.class_names), model.get_layer("encoder")
    one_hot = data.classification_targets(classes) if classes else lambda y: y[:, None]
    encoded, targets, counts = {}, {}, {}
    with tf.device("CPU:0"):
        for name in ("train", "validation"):
            split = table.splits[name]
            columns = {key: tf.constant(v[:, None]) for key, v in split.inputs.items()}
            encoded[name] = encoder(columns)
            targets[name] = tf.constant(split.targets)
            if split.weights is not None:
                counts[name] = tf.constant(split.weights)
    weights = None
    if config.class_weights:
        weights = data.class_weights(table.splits["train"].targets, classes)

    count = len(targets["train"])

    def load_rows(rows, seed):
        rows %= count
        y = one_hot(tf.gather(targets["train"], rows))
        x = tf.gather(encoded["train"], rows)
        factors = [] if weights is None else [(y @ weights[:, None])[:, 0]]
        if counts:
            factors.append(tf.gather(counts["train"], rows))
        return (x, y, tf.reduce_prod(factors, axis=0)) if factors else (x, y)

    def once(name):
        parts = (encoded[name], targets[name], *([counts[name]] if counts else []))
        rows = tf.data.Dataset.from_tensor_slices(parts)
        rows = rows.batch(min(1024, len(rows)))
        return rows.map(lambda x, y, *count: (x, one_hot(y), *count)).prefetch(1)

    # A batch is dealt to the members, so that each row of the table comes as often as there are.
    rows, batch = config.members * count, config.members * config.batch_size
    train = data.IndexedBatches(rows, batch, seed=config.seed, load=load_rows)
    return train, once("validation"), once("train")


def fit(config: Config, run: training.Run) -> tuple:
    """Train; returns the model, the data and the history."""
    devices = training.begin(config)
    table = load(config)
    run.record_data(table)
    run.record(task=table.task, target=table.target)
    # On so small networks sixteen bits gain nothing: auto is float32.
    with training.scope(config, run, devices) as precision:
        model = network(config, table)
    train, validation, clean = batches(config, table, model)
    if table.task == "classification":
        loss, scale, monitor = kapps.losses.softmax_cross_entropy, 1.0, None
        metrics: list = ["accuracy", training.CalibratedLoss()]
    else:  # in units of the variance: always answering the mean has a loss of one
        loss, scale, monitor = "mse", table.target_statistics[1] ** -2, "val_loss"
        metrics = ["mae"]
    trained = model.get_layer("network")
    with devices.scope():
        optimizer = training.optimizer_from(config, config.epochs * train.steps, run)
        trained.compile(optimizer, loss=loss, loss_weights=[scale], metrics=metrics)
    training.begin_with(trained, config, run, table)
    run.announce(
        table,
        f"{trained.input_shape[-1]} inputs, {config.members} x units {list(config.units)}: "
        f"{model.count_params():,} parameters, {precision}",
    )
    history = training.fit_with_more(
        trained,
        train,
        validation,
        config=config,
        run=run,
        clean_train=clean,
        monitor=monitor,
    )
    return model, table, history


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Train, evaluate, publish and report; returns the figures of metrics.json."""
    evaluation.cross_validated(main, config, run)
    model, table, history = fit(config, run)
    if not run.chief:
        return run.leave()
    model = evaluation.begin(model, run)
    found = evaluation.explain_table(
        model,
        table,
        history.rows,
        kept=history.best_epoch,
        weighted=config.class_weights,
        seed=config.seed,
    )
    metrics = serving.publish_and_close(
        model,
        run,
        table,
        history,
        found,
        what=f"A multilayer perceptron that predicts '{table.target}'",
        title=f"{table.target} of {table.spec}",
        predict="FILE.csv",
        parameters=model.count_params(),
    )
    print(evaluation.baselines_line(metrics))
    return metrics


if __name__ == "__main__":
    command_line.run(main, Config, check)
