"""Train a recurrent network that writes text, character by character.

    python recipes/char_rnn.py
    python recipes/char_rnn.py --dataset text:BOOK.txt --units 384 --epochs 5
    python recipes/char_rnn.py --cell lstm --layers 2 --residual --dropout 0.1 --k1 32 --k2 128

    character -> embedding -> recurrent layers -> logits of the next character

Graves 2013 (arXiv:1308.0850), trained by truncated back-propagation through time (Williams and Peng
1990). The text is read in as many lanes as a batch has rows; each lane continues from batch to
batch. The figure of merit is bits per character on the end of the text, read as one continuous
stream, compared with n-grams and xz. The default text is what Python's own `help()` says about the
language (410,000 characters; PSF licence). Run the same command again to resume a killed run, bit
for bit, or to see the result of a finished one.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from kapps import command_line, data, evaluation, models, serving, training

# Lanes of the validation part: each but the first begins with nothing remembered.
CHARACTERS_PER_LANE = 2000
Part = Annotated[float, training.Range(0, 0.25, "between 0 and 0.25, 0 excluded", ends=False)]


@dataclasses.dataclass(frozen=True)
class Config(training.AveragingFlags, training.OptimizationFlags, training.CommonFlags):
    """Data, network and training."""

    dataset: str = "python_topics"
    """python_topics (comes with Python), or text:PATH, a file in UTF-8"""
    epochs: training.PositiveInt = 5
    """passes over the training part"""
    batch_size: training.PositiveInt = 64
    """lanes read in parallel, over all devices"""
    learning_rate: training.Positive | None = None
    """highest learning rate; default: 0.01 for adam and adamw, else the optimizer's usual one"""
    optimizer: training.OptimizerName = "adam"
    """optimizer"""
    schedule: training.ScheduleName = "cosine"
    """learning-rate schedule; one-cycle changes the momentum, too"""
    warmup: training.Rate = 0.05
    """fraction of the steps in which the rate rises (one-cycle: 0.25 when this is 0)"""
    clip: training.NonNegative = 1.0
    """maximum global norm of the gradient, over all devices; 0 is off"""
    cell: Literal["simple", "lstm", "gru"] = "gru"
    """the recurrent layer"""
    units: training.PositiveInt = 160
    """units of each recurrent layer"""
    layers: training.PositiveInt = 1
    """number of recurrent layers"""
    embedding: training.PositiveInt = 64
    """dimension of the character embedding"""
    residual: bool = False
    """residual connections around the layers, after layer normalization"""
    dropout: training.Rate = 0.0
    """dropout rate of each layer's inputs, with one mask for all steps of a window"""
    k1: training.PositiveInt = 24
    """steps between updates"""
    k2: training.PositiveInt | None = None
    """steps over which gradients are propagated back; default: k1"""
    prompt: str = ""
    """how the samples in the report begin"""
    temperature: training.NonNegative = 0.8
    """sampling temperature: below 1 is more conservative, 0 takes the most probable character"""
    top_k: training.NonNegativeInt = 0
    """draw only from the k most probable characters; 0 draws from all"""
    sample_length: training.PositiveInt = 400
    """characters per sample"""
    validation_fraction: Part = 0.05
    """fraction of the text held out for validation, just before the test part"""
    test_fraction: Part = 0.05
    """fraction of the text held out for testing, at its end"""

    @property
    def run_name(self) -> str:
        """The kind of data, and the cell."""
        return f"{self.dataset.split(':')[0]}-{self.cell}"


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported."""
    training.check(config, ("text",), ("python_topics",))


def batches(config: Config, text: data.TextData, replicas: int) -> tuple:
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


def fit(config: Config, run: training.Run) -> tuple:
    """Train; returns the model, the data and the history."""
    devices = training.begin(config)
    text = data.load_text(config.dataset, (config.validation_fraction, config.test_fraction))
    run.record_data(text)
    train, validation, clean = batches(config, text, devices.num_replicas_in_sync)
    rate = config.learning_rate
    if rate is None and config.optimizer in ("adam", "adamw"):
        rate = 0.01
    # Many small products in a row: sixteen bits gain nothing, so auto is float32.
    with training.scope(config, run, devices) as precision:
        model = network(config, text)
        alone = dataclasses.replace(config, clip=0.0)  # the model clips by itself
        steps = config.epochs * train.steps
        model.compile(training.optimizer_from(alone, steps, run, learning_rate=rate))
    count = models.trainable_parameters(model)
    run.announce(
        text,
        f"{config.layers} x {config.cell} of {config.units}: {count:,} parameters, {precision}\n"
        f"lanes     {config.batch_size}, an update every {config.k1} steps through the last "
        f"{config.k2 or config.k1}",
    )
    history = training.fit(
        model,
        train,
        validation,
        config=config,
        run=run,
        clean_train=clean,
        callbacks=[evaluation.SampleGrids(writer(config, model), run.path)],
    )
    return model, text, history


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Train, evaluate, publish and report; returns the figures of metrics.json."""
    model, text, history = fit(config, run)
    if not run.chief:
        return run.leave()
    model = evaluation.begin(model, run)
    drawn, epochs = evaluation.samples_of(run.path)
    found = evaluation.explain_text(
        model,
        text,
        history.rows,
        samples=[str(sample[0]) for sample in drawn],
        sample_epochs=epochs,
        train_characters=text.counts["validation"],
        kept=history.best_epoch,
    )
    return serving.publish_and_close(
        model,
        run,
        text,
        history,
        found,
        what=f"A character model ({config.layers} x {config.cell} of {config.units} units)",
        title=f"{config.cell} writing {text.spec}",
        parameters=models.trainable_parameters(model),
        characters_per_second=history.examples_per_second * config.k1,
    )


if __name__ == "__main__":
    command_line.run(main, Config, check)
