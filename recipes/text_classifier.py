"""Train, explain and publish a text classifier.

    python recipes/text_classifier.py
    python recipes/text_classifier.py --dataset csv:FILE.csv --text COLUMN --target COLUMN
    python recipes/text_classifier.py --dataset folder:PATH --model gru

    text -> words -> embeddings -> weighted mean -> dense -> logits

Word embeddings are pooled by attention, with --model gru or lstm after a bidirectional layer. The
scores of a linear model on TF-IDF are part of the network (--no-wide leaves them out); the same
model trained alone is the baseline, and hard to beat on small data. The default texts are the
docstrings of Python's standard library: which package does each come from? Run the same command
again to resume a killed run, bit for bit, or to see the result of a finished one.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import kapps
from kapps import command_line, data, evaluation, models, serving, training


@dataclasses.dataclass(frozen=True)
class Config(
    training.AveragingFlags,
    training.OptimizationFlags,
    training.TargetFlags,
    training.ClassifierFlags,
    training.PeerFlags,
    training.FoldFlags,
    training.ContinuationFlags,
    training.CommonFlags,
):
    """Data, network and training."""

    dataset: str = "python_docstrings"
    """python_docstrings (come with Python), csv:FILE, or folder:PATH with a folder per class"""
    text: str | None = None
    """csv: the column with the texts"""
    target: str | None = None
    """csv: the column with the classes"""
    group: str | None = None
    """csv: a column (author, thread): all texts with the same value are in one split"""
    epochs: training.PositiveInt = 15
    """passes over the training texts"""
    batch_size: training.PositiveInt = 32
    """texts per step, over all devices"""
    model: Literal["attention", "mean", "gru", "lstm"] = "attention"
    """how word embeddings are pooled; gru and lstm put a bidirectional layer before attention"""
    wide: bool = True
    """add the scores of a linear model on TF-IDF to the network's"""
    embedding: training.PositiveInt = 64
    """dimension of the word embeddings"""
    units: training.PositiveInt = 64
    """units of the recurrent layers, and of the attention layer"""
    vocabulary: training.PositiveInt = 20_000
    """vocabulary size: the most frequent words of the training texts"""
    most_words: training.PositiveInt = 400
    """words of each text that are read"""
    dropout: training.Rate = 0.4
    """dropout rate of word features and of text features"""
    validation_fraction: training.OpenFraction = 0.15
    """fraction of the non-test texts held out for validation"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported."""
    training.check(config, data.DOCUMENTS, ("python_docstrings",))
    data.check_documents(config.dataset, config.text, config.target, config.group)


def load(config: Config) -> data.DocumentData:
    """The texts."""
    return data.load_documents(
        config.dataset,
        text=config.text,
        target=config.target,
        group=config.group,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
        fold=config.which_fold,
    )


def network(config: Config, documents: data.DocumentData):
    """From texts to logits: a layer that finds words, and the network that is trained."""
    texts = documents.splits["train"].texts
    words = models.word_vocabulary(texts, config.vocabulary)
    return models.text_classifier(
        words,
        documents.classes,
        kind=config.model,
        embedding=config.embedding,
        units=config.units,
        dropout=config.dropout,
        most_words=config.most_words,
        idf=models.word_idf(texts, words) if config.wide else None,
    )


def batches(config: Config, documents: data.DocumentData, model) -> tuple:
    """Training batches, validation batches and as many training texts: places of words, targets."""
    import numpy as np
    import tensorflow as tf

    one_hot, weights = data.classification_targets(documents.classes), None
    train, validation = documents.splits["train"], documents.splits["validation"]
    if config.class_weights:
        weights = data.class_weights(train.labels, documents.classes)
    words = model.get_layer("words")
    with tf.device("CPU:0"):  # a text is looked up once
        places = words(tf.constant(train.texts.tolist(), tf.string))
        of_validation = words(tf.constant(validation.texts.tolist(), tf.string))
        labels = tf.constant(train.labels)

    def load_rows(rows, seed):
        x, targets = tf.gather(places, rows), one_hot(tf.gather(labels, rows))
        # No longer than the longest text of the batch.
        longest = tf.reduce_max(tf.reduce_sum(tf.cast(x > 0, tf.int32), axis=1))
        x, smoothed = x[:, : tf.maximum(longest, 1)], data.smooth(targets, config.label_smoothing)
        return (x, smoothed) if weights is None else (x, smoothed, targets @ weights[:, None])

    def once(x, y):
        rows = tf.data.Dataset.from_tensor_slices((x, y)).batch(256)
        return rows.map(lambda x, y: (x, one_hot(y))).prefetch(1)

    clean = training.clean_examples(documents.counts)
    some = np.random.default_rng(config.seed).permutation(len(train))[:clean]
    return (
        data.IndexedBatches(len(train), config.batch_size, seed=config.seed, load=load_rows),
        once(of_validation, validation.labels),
        once(tf.gather(places, some), train.labels[some]),
    )


def fit(config: Config, run: training.Run) -> tuple:
    """Train; returns the model, the data and the history."""
    devices = training.begin(config)
    documents = load(config)
    run.record_data(documents)
    # On so small networks sixteen bits gain nothing: auto is float32.
    with training.scope(config, run, devices) as precision:
        model = network(config, documents)
    train, validation, clean = batches(config, documents, model)
    trained = model.get_layer("network")
    with devices.scope():
        optimizer = training.optimizer_from(config, config.epochs * train.steps, run)
        loss = kapps.losses.softmax_cross_entropy
        trained.compile(optimizer, loss=loss, metrics=["accuracy", training.CalibratedLoss()])
    training.begin_with(trained, config, run, documents)
    words = len(model.get_layer("words").vocabulary)
    run.announce(
        documents,
        f"{config.model}, {words:,} words: {model.count_params():,} parameters, {precision}",
    )
    history = training.fit_with_more(
        trained, train, validation, config=config, run=run, clean_train=clean
    )
    return model, documents, history


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Train, evaluate, publish and report; returns the figures of metrics.json."""
    evaluation.cross_validated(main, config, run)
    model, documents, history = fit(config, run)
    if not run.chief:
        return run.leave()
    model = evaluation.begin(model, run)
    found = evaluation.explain_documents(
        model,
        documents,
        history.rows,
        kept=history.best_epoch,
        weighted=config.class_weights,
    )
    if config.peers:
        labels, peers = documents.splits["test"].labels, evaluation.document_peers(documents)
        found = evaluation.beside_peers(found, labels, peers)
    return serving.publish_and_close(
        model,
        run,
        documents,
        history,
        found,
        what=f"A text classifier ({config.model})",
        title=f"{config.model} on {documents.spec}",
        predict="'A TEXT'",
        parameters=model.count_params(),
    )


if __name__ == "__main__":
    command_line.run(main, Config, check)
