"""Train a recurrent network that writes, character by character.

    python recipes/char_rnn.py
    python recipes/char_rnn.py --dataset text:BOOK.txt --units 384 --epochs 5
    python recipes/char_rnn.py --cell lstm --layers 2 --residual --dropout 0.1 --k1 32 --k2 128

Graves 2013 (arXiv:1308.0850), trained by truncated back-propagation through time (Williams and
Peng 1990). The text is read in as many lanes as a batch has rows, each of which goes on from batch
to batch. Judged by bits per character on the end of the text, in one continuous stream, beside
n-grams and xz. The default text is what Python's own `help()` tells about the language (410,000
characters; PSF licence). The same command goes on with a run that was killed, to the same bits,
and shows the result of one that is finished.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Literal

from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError

# Flag, lowest, highest, the range in words, whether its ends belong to it.
RANGES = (
    ("units", 0, math.inf, "1 or more", False),
    ("layers", 0, math.inf, "1 or more", False),
    ("embedding", 0, math.inf, "1 or more", False),
    ("k1", 0, math.inf, "1 or more", False),
    ("k2", 0, math.inf, "1 or more", False),
    ("dropout", 0, 0.999, "between 0 and 0.999", True),
    ("clip", 0, math.inf, "0 or more", True),
    ("warmup", 0, 0.999, "between 0 and 0.999", True),
    ("weight_decay", 0, math.inf, "0 or more", True),
    ("ema", 0, 0.999999, "between 0 and 0.999999", True),
    ("patience", 0, math.inf, "0 or more", True),
    ("temperature", 0, math.inf, "0 or more", True),
    ("top_k", 0, math.inf, "0 or more", True),
    ("sample_length", 0, math.inf, "1 or more", False),
    ("validation_fraction", 0, 0.25, "between 0 and 0.25, 0 excluded", False),
    ("test_fraction", 0, 0.25, "between 0 and 0.25, 0 excluded", False),
)
# Lanes of the validation part: each but the first begins with nothing remembered.
CHARACTERS_PER_LANE = 2000
OPTIMIZERS = Literal["sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"]
SCHEDULES = Literal["constant", "step", "cosine", "one-cycle", "plateau"]


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is trained, on what, and how."""

    dataset: str = "python_topics"
    """python_topics (comes with Python), or text:PATH, a file in UTF-8"""
    cell: Literal["simple", "lstm", "gru"] = "gru"
    """the recurrent layer"""
    units: int = 160
    """of each layer"""
    layers: int = 1
    """how many"""
    embedding: int = 64
    """length of the vector that stands for a character"""
    residual: bool = False
    """layers add to what they are given, after layer normalization"""
    dropout: float = 0.0
    """part of each layer's inputs that is dropped, the same ones in all steps of a window"""
    k1: int = 24
    """steps between updates"""
    k2: int | None = None
    """steps that an error is propagated back; default: k1"""
    clip: float = 1.0
    """highest global norm of the gradient, over all devices; 0 is off"""
    epochs: int = 5
    """passes over the training part"""
    batch_size: int = 64
    """lanes that are read side by side, over all devices"""
    optimizer: OPTIMIZERS = "adam"
    """how weights move"""
    learning_rate: float | None = None
    """highest learning rate; default: 0.01 for adam and adamw, else the optimizer's usual one"""
    schedule: SCHEDULES = "cosine"
    """how the learning rate moves; one-cycle moves the momentum, too"""
    warmup: float = 0.05
    """part of the steps in which the rate rises (one-cycle: 0.25 when this is 0)"""
    weight_decay: float | None = None
    """decoupled, times the learning rate; biases and norms are spared; default: the usual one"""
    ema: float = 0.0
    """decay of the moving average of the weights, 0.999 for example; 0 is off"""
    patience: int = 0
    """epochs without a better validation loss before training stops; 0 is off"""
    prompt: str = ""
    """how the samples in the report begin"""
    temperature: float = 0.8
    """of these samples: below 1 bolder, 0 always the most probable character"""
    top_k: int = 0
    """draw only from the so many most probable characters; 0 is all"""
    sample_length: int = 400
    """characters of a sample"""
    validation_fraction: float = 0.05
    """part of the text, before the test part, that is kept for validation"""
    test_fraction: float = 0.05
    """part of the text, its end, that is kept for the test"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    training.check_common(config, ("text",), ("python_topics",), several_machines=True)
    for name, low, high, words, ends in RANGES:
        training.check_range(config, name, low, high, words, ends=ends)
    if config.warmup != Config.warmup and config.schedule in ("step", "plateau", "constant"):
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
        return run.metrics() if run.finished else train(config, run)


def open_run(config: Config) -> training.Run:
    """The run directory of this configuration."""
    name = f"{config.dataset.split(':')[0]}-{config.cell}"
    return training.open_run("char_rnn", config, name=name)


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
    replicas = strategy.num_replicas_in_sync
    training.check_batch(config.batch_size, replicas)
    training.seed_everything(config.seed)
    text = data.load_text(config.dataset, (config.validation_fraction, config.test_fraction))
    run.record(data={"fingerprint": text.fingerprint, "vocabulary": text.vocabulary})
    batches, validation, clean = batch(config, text, replicas)
    model, precision = build(config, run, text, batches, strategy)
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    print(
        f"data      {text.spec}: {text.counts} characters, {len(text.vocabulary)} symbols\n"
        f"model     {config.layers} x {config.cell} of {config.units}: {parameters:,} parameters, "
        f"{precision}\n"
        f"lanes     {config.batch_size}, an update every {config.k1} steps through the last "
        f"{config.k2 or config.k1}\n"
        f"run       {run.path}"
    )
    for note in (*text.notes, *run.notes):
        print(f"note      {note}")
    samples = evaluation.SampleGrids(writer(config, model), run.path / "samples")
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
        callbacks=[*flow, samples, *callbacks(config, run)],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    if not run.chief:
        return run.leave()
    # Sixteen bits are for training: what is evaluated, saved and served runs anywhere.
    trained, model = model, network(config, text)
    model.set_weights(trained.get_weights())
    model.save(run.path / "model.keras")
    print("evaluating on the test part, once")
    drawn, epochs = samples.grids()
    found = evaluation.explain_text(
        model,
        text,
        history.rows,
        samples=[str(sample[0]) for sample in drawn],
        sample_epochs=epochs,
        train_characters=text.counts["validation"],
    )
    figures = [*found.figures, *evaluation.explain_gradient_flow(flow)]
    metrics = {
        **found.metrics,
        "best_epoch": history.best_epoch,
        "parameters": parameters,
        "train_seconds": history.train_seconds,
        "characters_per_second": history.examples_per_second * config.k1,
        "examples_per_second": history.examples_per_second,
        "precision": precision,
        "exported": None,
    }
    for title, figure, _ in figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    if config.export:
        metrics["exported"] = export(config, run, model, text, found)
    evaluation.write_report(
        run.path / "report.html",
        title=f"{config.cell} writing {text.spec}",
        verdict=found.verdict,
        metrics=metrics,
        figures=figures,
        tables=found.tables,
        config=run.config,
        commands=commands(config, metrics["exported"]),
        notes=(*text.notes, *run.notes, *history.notes),
    )
    run.finish(metrics)
    print(evaluation.summary(metrics, run.path))
    return metrics


def batch(config: Config, text: data.TextData, replicas: int) -> tuple:
    """Training batches, validation, and as much of the training part."""
    import numpy as np

    count = text.counts["validation"]
    lanes = max(1, min(count // CHARACTERS_PER_LANE, config.batch_size))
    stream = {"lanes": lanes, "steps": 256, "share": replicas}
    train = text.splits["train"]
    validation = np.append(text.before("validation"), text.splits["validation"])

    return (
        data.TextLanes(train, config.batch_size, config.k1, seed=config.seed),
        data.text_stream(validation, **stream),
        data.text_stretches(train, count, **stream),
    )


def network(config: Config, text: data.TextData) -> models.TruncatedBPTT:
    """The model of this configuration, untrained."""
    return models.char_rnn(
        text.vocabulary,
        cell=config.cell,
        units=config.units,
        layers=config.layers,
        embedding=config.embedding,
        dropout=config.dropout,
        residual=config.residual,
        k1=config.k1,
        k2=config.k2,
        lanes=config.batch_size,
        validation_lanes=config.batch_size,  # enough, and the same on any number of devices
        clip=config.clip,
    )


def build(config, run, text, batches, strategy) -> tuple:
    """The compiled model, and the precision it computes in."""
    # Many small products in a row: 16 bits gain nothing where it was tried, so they are asked for.
    precision = "float32" if config.precision == "auto" else config.precision
    rate = config.learning_rate
    if rate is None:
        adam = config.optimizer in ("adam", "adamw")
        rate = 0.01 if adam else training.usual_learning_rate(config.optimizer)
    decay = config.weight_decay
    if decay is None:
        decay = training.usual_weight_decay(config.optimizer)
    rate = training.scaled_learning_rate(rate, config.scale_learning_rate, strategy)
    run.record(precision=precision, learning_rate=rate, weight_decay=decay)
    steps = config.epochs * batches.steps
    warmup = 0.0 if config.schedule in ("step", "plateau", "constant") else config.warmup
    with strategy.scope(), training.precision_policy(precision):
        model = network(config, text)
        model.compile(
            training.optimizer(
                config.optimizer,
                training.learning_rate_schedule(config.schedule, rate, steps=steps, warmup=warmup),
                momentum_schedule=(
                    training.momentum_cycle(steps, warmup=warmup or 0.25)
                    if config.schedule == "one-cycle"
                    else None
                ),
                weight_decay=decay,
            )
        )
    return model, precision


def writer(config: Config, model: models.TruncatedBPTT):
    """A function that draws the sample of an epoch, an array of one text."""
    import numpy as np
    import tensorflow as tf

    @tf.function(autograph=False)
    def draw():
        return models.generate_text(
            model,
            [config.prompt],
            config.sample_length,
            config.temperature,
            config.seed,
            config.top_k,
        )["text"]

    return lambda: np.array([text.decode() for text in draw().numpy()])


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


def export(config: Config, run: training.Run, model, text: data.TextData, found) -> str:
    """Publish the next version of the SavedModel, unless this run has done so already."""
    if run.published:
        return run.published
    metrics = found.metrics
    card = (
        f"A character model ({config.layers} x {config.cell} of {config.units} units) trained on "
        f"{text.spec} ({text.counts['train']} characters, fingerprint {text.fingerprint[:12]}), "
        f"seed {config.seed}.\n\n"
        f"{metrics['test_bits_per_character']:.3f} bits per character on the test part "
        f"({metrics['test_characters']} characters); a 5-gram needs "
        f"{metrics['five_gram_bits_per_character']:.3f}, xz {metrics['xz_bits_per_character']:.3f}."
        f"\n\n{found.verdict.label}: {found.verdict.sentence}\n\nRun directory: {run.path.name}\n"
    )
    version = serving.export_text(model, config.export_dir or "saved_models/char_rnn", card=card)
    run.record(exported=str(version))
    print(f"published {version}")
    return str(version)


def commands(config: Config, published: str | None) -> dict[str, str]:
    """What to type next."""
    shown = {"Repeat or resume": training.command(config, "recipes/char_rnn.py")}
    if published:
        shown["Look inside"] = f"saved_model_cli show --dir {published} --all"
    return shown


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
