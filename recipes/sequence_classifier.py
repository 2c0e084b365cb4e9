"""Train, explain and publish a network for time series.

    python recipes/sequence_classifier.py
    python recipes/sequence_classifier.py --cell simple
    python recipes/sequence_classifier.py --dataset fashion_mnist --bidirectional --epochs 8
    python recipes/sequence_classifier.py --dataset GunPoint --frame 10 --units 64 64 --residual
    python recipes/sequence_classifier.py --dataset ts:NAME_TRAIN.ts

    series [steps, features] -> recurrent layers -> last valid step -> dense -> logits, or a number

Labelled series are classified by InceptionTime (arXiv:1909.04939) unless they are short and
recurrent layers do better on validation (`--model auto`); the schedule is a number of steps.
The default is the adding problem (Hochreiter and Schmidhuber 1997), generated from random numbers:
two of many are marked, and the target is their sum; `copy` is the other memory task. Both show
whether gradients reach far enough back: a simple cell fails where LSTM (1997) and GRU
(arXiv:1406.1078) do not. Series of unequal lengths are padded with NaN, which does not affect
predictions. Run the same command again to resume a killed run, or to see the result of a finished
one.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import kapps
from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError

KINDS = ("digits", "fashion_mnist", "npz", "csv", "ts")


@dataclasses.dataclass(frozen=True)
class Config(
    training.AveragingFlags,
    training.OptimizationFlags,
    training.SeriesAugmentationFlags,
    training.SeriesNetworkFlags,
    training.SeriesFlags,
    training.MemoryFlags,
    training.PeerFlags,
    training.FoldFlags,
    training.ContinuationFlags,
    training.ClassifierFlags,
    training.CommonFlags,
):
    """Data, network and training."""

    dataset: str = "adding"
    """adding or copy (made here), digits or fashion_mnist (their rows), GunPoint, ArrowHead,
    ItalyPowerDemand, BasicMotions, JapaneseVowels, OSULeaf ... (with aeon), ts:PATH, csv:PATH or
    npz:PATH"""
    epochs: training.PositiveInt | None = None
    """passes over the training data, times --repeats; default: as many as make 1,000 steps, but at
    least 5, and 5 for a memory task"""
    batch_size: training.PositiveInt | None = None
    """series per step, over all devices; default: 64, of fewer than 640 training series 32, of
    fewer than 320 16; 64 for a memory task"""
    per_series: bool = False
    """standardize each series by itself"""
    dropout: training.Rate = 0.0
    """dropout rate of a layer's inputs, with one mask for all steps (arXiv:1512.05287)"""
    label_smoothing: training.Rate = 0.0
    """fraction of the target that is spread over all classes"""
    optimizer: training.OptimizerName = "adam"
    """optimizer"""
    clip: training.NonNegative = 1.0
    """maximum global norm of the gradient; 0 is off"""
    repeats: training.NonNegativeInt = 0
    """passes over the training series in an epoch; 0: one, or as many as make 20 steps"""

    EXCLUSIONS: ClassVar[training.Exclusions] = training.only_for(
        "data that are not made here",
        lambda c: c.dataset not in training.MEMORY_TASKS,
        ("label_smoothing",),
    )

    @property
    def run_name(self) -> str:
        """The kind of data, and the network."""
        return f"{self.dataset.split(':')[0]}-{self.network}"


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported."""
    training.check(config, KINDS, (*training.MEMORY_TASKS, *data.PACKAGED_SERIES))
    if config.dataset in data.PACKAGED_SERIES:
        data.packaged_path(config.dataset)


def load(config: Config) -> data.SequenceData:
    """The series."""
    series = training.load_series(config)
    if not series.classes and config.model not in ("auto", "rnn"):
        raise UserError(f"--model {config.model} classifies series; {config.dataset} has numbers")
    return series


def batches(config: Config, series: data.SequenceData) -> tuple:
    """Training batches, validation batches, and a clean part of the training split."""
    _, std = data.sequence_statistics(series.splits["train"])

    def fresh(count, seed):
        return data.memory_task(config.dataset, count, config.length, seed)

    return training.series_batches(
        series,
        config.batch_size,
        seed=config.seed,
        augmentation=config.augmentation(std.tolist()),
        label_smoothing=config.label_smoothing,
        repeats=config.repeats,
        fresh=fresh if config.fresh else None,
    )


def network(config: Config, series: data.SequenceData):
    """From series to logits, to logits per step, or to a number."""
    mean, std = (
        statistic.tolist() for statistic in data.sequence_statistics(series.splits["train"])
    )
    if config.per_series:  # each is normalized by itself
        mean, std = [0.0] * series.features, [1.0] * series.features
    shared = {
        "feature_mean": mean,
        "feature_std": std,
        "per_series": config.per_series,
        "dropout": config.dropout,
    }
    if config.model == "inception_time":
        return models.inception_time(series.features, series.classes, **shared)
    if config.model != "rnn":
        return models.rnn_fcn(
            series.features,
            series.classes,
            cell=config.model.removesuffix("_fcn"),
            units=config.units[0],
            shuffle_steps=series.steps if config.shuffle else 0,
            **shared,
        )
    if not series.classes:
        centre, spread = target_statistics(series)
        shared |= {"output_mean": centre, "output_std": spread}
    return models.rnn(
        series.features,
        series.classes or 1,
        cell=config.cell,
        units=config.units,
        return_sequences=series.per_step,
        **{name: getattr(config, name) for name in training.RECURRENT},
        **shared,
    )


def target_statistics(series: data.SequenceData) -> tuple[float, float]:
    """Mean and deviation of the numbers to predict."""
    labels = series.splits["train"].labels
    return float(labels.mean()), float(labels.std()) or 1.0


def compiled(config: Config, series: data.SequenceData, steps: int, run=None):
    """The network with its loss, and an optimizer for so many steps."""
    loss, scale = kapps.losses.softmax_cross_entropy, 1.0
    metrics: list = ["accuracy", training.CalibratedLoss()]
    if not series.classes:  # in units of the variance: always answering the mean has a loss of one
        loss, metrics, scale = "mse", ["mse"], target_statistics(series)[1] ** -2
    model = network(config, series)
    optimizer = training.optimizer_from(config, steps, run)
    model.compile(optimizer, loss=loss, loss_weights=[scale], metrics=metrics)
    return model


def fit(config: Config, run: training.Run) -> tuple:
    """Train; returns the model, the data and the history."""
    devices = training.begin(config)
    series = load(config)
    run.record_data(series)
    run.record(features=series.features)
    config = training.settle_series(
        config,
        series,
        run,
        devices,
        lambda config, steps: compiled(config, series, steps),
        lambda config: batches(config, series),
    )
    train, validation, clean = batches(config, series)
    # On so small networks sixteen bits gain nothing: auto is float32.
    with training.scope(config, run, devices) as precision:
        model = compiled(config, series, config.epochs * train.steps, run)
    training.begin_with(model, config, run, series)
    run.announce(series, f"{config.network}: {model.count_params():,} parameters, {precision}")
    history = training.fit_with_more(
        model,
        train,
        validation,
        config=config,
        run=run,
        clean_train=clean,
        monitor=None if series.classes and not series.per_step else "val_loss",
    )
    return model, series, history


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Train, evaluate, publish and report; returns the figures of metrics.json."""
    evaluation.cross_validated(main, config, run)
    model, series, history = fit(config, run)
    if not run.chief:
        return run.leave()
    config, model = training.settled(config, run), evaluation.begin(model, run)
    memory_task = config.dataset in training.MEMORY_TASKS
    found = evaluation.explain_sequences(
        model, series, history.rows, memory_task=memory_task, kept=history.best_epoch
    )
    if config.peers:
        found = evaluation.beside_series_peers(found, series)
    return serving.publish_and_close(
        model,
        run,
        series,
        history,
        found,
        what=f"A network for time series ({config.network})",
        title=f"{config.network} on {series.spec}",
        parameters=model.count_params(),
    )


if __name__ == "__main__":
    command_line.run(main, Config, check)
