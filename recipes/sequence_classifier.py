"""Train, explain and publish a recurrent network on series.

    python recipes/sequence_classifier.py
    python recipes/sequence_classifier.py --cell simple
    python recipes/sequence_classifier.py --dataset fashion_mnist --bidirectional --epochs 8
    python recipes/sequence_classifier.py --dataset GunPoint --frame 10 --units 64 64 --residual
    python recipes/sequence_classifier.py --dataset ts:NAME_TRAIN.ts --model lstm_fcn

The default is the adding problem (Hochreiter and Schmidhuber 1997), made of random numbers: two of
many are marked, and their sum is asked for at the end; `copy` is the other memory task. Both show
whether gradients reach far enough back: a simple cell fails where LSTM (1997) and GRU
(arXiv:1406.1078) do not. Series of unequal lengths are padded with NaN, which changes no answer.
The same command goes on with a run that was killed, and shows the result of a finished one.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Literal

import kapps
from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError

KINDS = ("digits", "fashion_mnist", "npz", "csv", "ts")
MEMORY_TASKS = ("adding", "copy")
# Flags of one kind of network, or of one kind of data: what they belong to.
RNN_ONLY = ("bidirectional", "residual", "projection", "activation", "frame", "pooling")
RNN_ONLY += ("recurrent_dropout", "memory")
FCN_ONLY = ("shuffle",)
GENERATED_ONLY = ("length", "examples", "fresh")
AUGMENTATION = ("window", "warp", "scale", "jitter")
RANGES = (
    ("dropout", 0, 0.999, "between 0 and 0.999", True),
    ("recurrent_dropout", 0, 0.999, "between 0 and 0.999", True),
    ("label_smoothing", 0, 0.999, "between 0 and 0.999", True),
    ("window", 0, 0.9, "between 0 and 0.9", True),
    ("warp", 0, 0.9, "between 0 and 0.9", True),
    ("scale", 0, math.inf, "0 or more", True),
    ("jitter", 0, math.inf, "0 or more", True),
    ("warmup", 0, 0.999, "between 0 and 0.999", True),
    ("weight_decay", 0, math.inf, "0 or more", True),
    ("clip", 0, math.inf, "0 or more", True),
    ("ema", 0, 0.999999, "between 0 and 0.999999", True),
    ("patience", 0, math.inf, "0 or more", True),
    ("projection", 0, math.inf, "0 or more", True),
    ("repeats", 0, math.inf, "0 or more", True),
    ("frame", 0, math.inf, "1 or more", False),
    ("examples", 0, math.inf, "1 or more", False),
    ("length", 3, math.inf, "4 or more", False),
    ("validation_fraction", 0, 0.999, "between 0 and 0.999", True),
)
OPTIMIZERS = Literal["sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"]
SCHEDULES = Literal["constant", "step", "cosine", "one-cycle", "plateau"]
TOGETHER = 250  # series evaluated at a time
SHORT = 20  # steps; an epoch of fewer is repeated, because what follows an epoch takes longer


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is trained, on what, and how."""

    dataset: str = "adding"
    """adding or copy (made here), digits or fashion_mnist (their rows), GunPoint, ArrowHead,
    ItalyPowerDemand, BasicMotions, JapaneseVowels, OSULeaf ... (with aeon), ts:PATH, csv:PATH or
    npz:PATH"""
    epochs: int = 5
    """passes over the training data"""
    model: Literal["rnn", "lstm_fcn", "gru_fcn"] = "rnn"
    """recurrent layers, or one beside three convolutions over time (arXiv:1709.05206)"""
    cell: Literal["simple", "lstm", "gru"] = "gru"
    """of the recurrent layers of --model rnn"""
    units: tuple[int, ...] = (64,)
    """of each recurrent layer"""
    activation: Literal["tanh", "relu"] = "tanh"
    """relu, of --cell simple: with an identity to begin with, an IRNN (arXiv:1504.00941)"""
    memory: int = 0
    """lstm, gru: gates that begin with keeping a state for so many steps (arXiv:1804.11188)"""
    bidirectional: bool = False
    """a second layer runs backwards beside each"""
    residual: bool = False
    """add what a layer is given to what it makes, after a layer normalization"""
    projection: int = 0
    """width of a linear layer after each recurrent one; 0 has none"""
    frame: int = 1
    """as many steps become one: makes long series short"""
    pooling: Literal["last", "mean", "max"] = "last"
    """what is read: the last valid step, or the mean or maximum over all"""
    shuffle: bool = True
    """lstm_fcn, gru_fcn: the recurrent layer sees each feature's whole series as one step"""
    per_series: bool = False
    """bring each series to mean 0 and deviation 1 by itself"""
    dropout: float = 0.0
    """part of a layer's inputs that is dropped, the same at every step (arXiv:1512.05287)"""
    recurrent_dropout: float = 0.0
    """the same of what a layer hands on to itself"""
    length: int = 50
    """steps of a memory task: 200 is the usual, and takes longer than the default is for"""
    examples: int = 10_000
    """training series of a memory task"""
    fresh: bool = False
    """memory tasks: new training series at every step"""
    window: float = 0.0
    """cut up to this part off the ends of training series, and stretch the rest"""
    warp: float = 0.0
    """let time run up to this part faster and slower"""
    scale: float = 0.0
    """deviation of a factor for each series and feature"""
    jitter: float = 0.0
    """deviation of noise, relative to that of the feature"""
    label_smoothing: float = 0.0
    """part of the target that is spread over all classes"""
    optimizer: OPTIMIZERS = "adam"
    """how weights move"""
    schedule: SCHEDULES = "one-cycle"
    """how the learning rate moves; one-cycle moves the momentum, too"""
    warmup: float = 0.0
    """part of the steps in which the rate rises (one-cycle: 0.25 when this is 0)"""
    weight_decay: float | None = None
    """decoupled, times the learning rate; biases and norms are spared; default: the usual one"""
    clip: float = 1.0
    """highest global norm of the gradient; 0 is off"""
    ema: float = 0.0
    """decay of the moving average of the weights, 0.99 for example; 0 is off"""
    patience: int = 0
    """epochs without a better validation loss before training stops; 0 is off"""
    validation_fraction: float = 0.2
    """part of the training series kept for validation; 0 trains on all, and the epoch with the
    lowest loss on the training series is taken"""
    repeats: int = 0
    """passes over the training series in an epoch; 0: one, or as many as make 20 steps"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    names = (*MEMORY_TASKS, *data.PACKAGED_SERIES)
    training.check_common(config, KINDS, names, several_machines=True)
    if config.dataset in data.PACKAGED_SERIES:
        data.packaged_path(config.dataset)
    for name, low, high, words, ends in RANGES:
        training.check_range(config, name, low, high, words, ends=ends)
    if not config.units or min(config.units) < 1:
        raise UserError("--units: at least one layer of at least one unit is needed")
    changed = {f.name for f in dataclasses.fields(config) if getattr(config, f.name) != f.default}
    rnn, generated = config.model == "rnn", config.dataset in MEMORY_TASKS
    for names, fits, words in (
        ((*RNN_ONLY, "cell"), rnn, "--model rnn"),
        (FCN_ONLY, not rnn, "--model lstm_fcn and gru_fcn"),
        (GENERATED_ONLY, generated, "the memory tasks adding and copy"),
        ((*AUGMENTATION, "label_smoothing"), not generated, "data that are not made here"),
    ):
        for name in names:
            if name in changed and not fits:
                raise UserError(f"--{name.replace('_', '-')} is for {words}")
    if not rnn and generated:
        raise UserError(f"--model {config.model} classifies series; {config.dataset} asks for more")
    if not rnn and len(config.units) != 1:
        raise UserError(f"--model {config.model} has one recurrent layer: give one of --units")
    if config.activation == "relu" and config.cell != "simple":
        raise UserError("--activation relu is for --cell simple: the gates of others need tanh")
    if config.memory and (config.cell == "simple" or config.memory < 3):
        raise UserError("--memory: 3 steps or more, of the gates of --cell lstm and gru")
    if config.dataset == "copy" and config.frame > 1:
        raise UserError("--frame: the copying task wants an answer at each step")
    if config.warmup and config.schedule in ("step", "plateau"):
        raise UserError(f"--schedule {config.schedule} has no --warmup")
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
        if run.finished:
            return run.metrics()
        return train(config, run)


def open_run(config: Config) -> training.Run:
    """The run directory of this configuration."""
    network = config.cell if config.model == "rnn" else config.model
    name = f"{config.dataset.split(':')[0]}-{network}"
    return training.open_run("sequence_classifier", config, name=name)


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
    series = data.load_sequences(
        config.dataset,
        data_dir=config.data_dir,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
        length=config.length,
        examples=config.examples,
    )
    if not series.classes and config.model != "rnn":
        raise UserError(f"--model {config.model} classifies series; {config.dataset} has numbers")
    run.record(
        data={"fingerprint": series.fingerprint, "class_names": list(series.class_names)},
        features=series.features,
    )
    batches, validation, clean = batch(config, series)
    model = build(config, run, series, batches, strategy)
    asked = f"{series.classes} classes" if series.classes else "a number"
    print(
        f"data      {series.spec}: {series.counts}, up to {series.steps} steps of "
        f"{series.features} values, {asked}{' at each' if series.per_step else ''}\n"
        f"model     {config.cell if config.model == 'rnn' else config.model}: "
        f"{model.count_params():,} parameters, {precision(config)}\n"
        f"run       {run.path}"
    )
    for note in (*series.notes, *run.notes):
        print(f"note      {note}")
    flow = training.gradient_flow(config, run, batches)
    history = training.fit(
        model,
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
    print("evaluating on the test split, once")
    found = evaluation.explain_sequences(
        model, series, history.rows, memory_task=config.dataset in MEMORY_TASKS
    )
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
        metrics["exported"] = export(config, run, model, series, found, metrics)
    evaluation.write_report(
        run.path / "report.html",
        title=f"{config.cell if config.model == 'rnn' else config.model} on {series.spec}",
        verdict=found.verdict,
        metrics=metrics,
        figures=figures,
        tables=found.tables,
        config=run.config,
        commands=commands(config, metrics["exported"]),
        notes=(*series.notes, *run.notes, *history.notes),
    )
    run.finish(metrics)
    print(evaluation.summary(metrics, run.path))
    return metrics


def batch(config: Config, series: data.SequenceData) -> tuple:
    """Training batches, validation batches, and a clean part of the training split."""
    import tensorflow as tf

    train, validation = series.splits["train"], series.splits["validation"]
    exact = data.classification_targets(series.classes) if series.classes else lambda y: y
    with tf.device("CPU:0"):
        values, labels = tf.constant(train.values), tf.constant(train.labels)
    _, std = data.sequence_statistics(train)
    strengths = {name: getattr(config, name) for name in AUGMENTATION}
    augmentation = data.SeriesAugmentation(**strengths, std=tuple(std.tolist()))
    count = len(train)
    size = min(config.batch_size, count)

    def load(rows, seed):
        if config.fresh:
            x, y = data.memory_task(config.dataset, size, config.length, seed)
        else:
            x, y = tf.gather(values, rows % count), tf.gather(labels, rows % count)
        if any(strengths.values()):
            x = augmentation(x, seed)
        y = exact(y)
        if series.classes:
            y = data.smooth(y, config.label_smoothing)
        return tf.ensure_shape(x, [size, *train.values.shape[1:]]), y

    def once(split):
        batches = tf.data.Dataset.from_tensor_slices((split.values, split.labels))
        return batches.batch(TOGETHER).map(lambda x, y: (x, exact(y))).prefetch(1)

    repeats = config.repeats or math.ceil(SHORT / max(1, count // size))
    batches = data.IndexedBatches(count * repeats, size, seed=config.seed, load=load)
    return batches, once(validation), once(train.some(len(validation), config.seed))


def build(config: Config, run: training.Run, series: data.SequenceData, batches, strategy):
    """The compiled model."""
    train = series.splits["train"]
    if config.per_series:  # each is normalised by itself
        mean, std = [0.0] * series.features, [1.0] * series.features
    else:
        mean, std = (statistic.tolist() for statistic in data.sequence_statistics(train))
    shared = {
        "feature_mean": mean,
        "feature_std": std,
        "per_series": config.per_series,
        "dropout": config.dropout,
    }
    rate = config.learning_rate or training.usual_learning_rate(config.optimizer)
    decay = config.weight_decay
    if decay is None:
        decay = training.usual_weight_decay(config.optimizer)
    rate = training.scaled_learning_rate(rate, config.scale_learning_rate, strategy)
    # A resumed run computes as it began.
    run.record(learning_rate=rate, weight_decay=decay)
    steps = config.epochs * batches.steps
    loss, metrics, scale = kapps.losses.softmax_cross_entropy, ["accuracy"], 1.0
    with strategy.scope(), training.precision_policy(precision(config)):
        training.seed_everything(config.seed)
        if config.model == "rnn":
            numbers = {}
            if not series.classes:
                # In units of the variance: always answering the mean has a loss of one.
                spread = float(train.labels.std()) or 1.0
                numbers = {"output_mean": float(train.labels.mean()), "output_std": spread}
                loss, metrics, scale = "mse", ["mse"], spread**-2
            model = models.rnn(
                series.features,
                series.classes or 1,
                cell=config.cell,
                units=config.units,
                recurrent_dropout=config.recurrent_dropout,
                return_sequences=series.per_step,
                **{name: getattr(config, name) for name in RNN_ONLY if name != "recurrent_dropout"},
                **numbers,
                **shared,
            )
        else:
            model = models.rnn_fcn(
                series.features,
                series.classes,
                cell=config.model.removesuffix("_fcn"),
                units=config.units[0],
                shuffle_steps=series.steps if config.shuffle else 0,
                **shared,
            )
        model.compile(
            training.optimizer(
                config.optimizer,
                training.learning_rate_schedule(
                    config.schedule, rate, steps=steps, warmup=config.warmup
                ),
                momentum_schedule=(
                    training.momentum_cycle(steps, warmup=config.warmup or 0.25)
                    if config.schedule == "one-cycle"
                    else None
                ),
                weight_decay=decay,
                global_clipnorm=config.clip,
            ),
            loss=loss,
            loss_weights=[scale],
            metrics=metrics,
        )
    return model


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
        chosen.append(keras.callbacks.ReduceLROnPlateau(factor=0.2, patience=3))
    if config.patience:
        chosen.append(keras.callbacks.EarlyStopping(patience=config.patience))
    return chosen


def export(config: Config, run: training.Run, model, series, found, metrics) -> str:
    """Publish the next version of the SavedModel, unless this run has done so already."""
    if run.published:
        return run.published
    results = "; ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in metrics.items()
        if name.startswith(("test_", "trivial_")) and isinstance(value, int | float)
    )
    card = (
        f"A recurrent network ({config.cell if config.model == 'rnn' else config.model}) trained "
        f"on {series.spec} ({series.counts['train']} series, fingerprint "
        f"{series.fingerprint[:12]}), seed {config.seed}.\n\n{results}.\n\n"
        f"{found.verdict.label}: {found.verdict.sentence}\n\nRun directory: {run.path.name}\n"
    )
    validation = series.splits["validation"]
    version = serving.export_sequences(
        model,
        config.export_dir or "saved_models/sequence_classifier",
        series.class_names,
        temperature=found.temperature,
        card=card,
        sample_series=validation.values[:8],
    )
    run.record(exported=str(version))
    print(f"published {version}")
    return str(version)


def commands(config: Config, published: str | None) -> dict[str, str]:
    """What to type next."""
    shown = {"Repeat or resume": training.command(config, "recipes/sequence_classifier.py")}
    if published:
        shown["Look inside"] = f"saved_model_cli show --dir {published} --all"
    return shown


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
