"""Train, plot and publish a one-layer network: perceptron, pocket or delta rule.

    python recipes/perceptron.py
    python recipes/perceptron.py --classes 3 8
    python recipes/perceptron.py --dataset moons --rule pocket
    python recipes/perceptron.py --dataset blobs --rule delta --batch-size 300

An example x, standardized and with a constant 1 for the bias, is assigned to class 1 if w.x > 0
(with more classes, to the one whose w.x is largest). For each example in turn,

    perceptron   w <- w + x    if class 1 was missed              (Rosenblatt 1958)
                 w <- w - x    if class 0 was missed
                 w             if the example is right
    pocket       the same updates; the best w so far is kept      (Gallant 1990)
    delta rule   w <- w - eta (w.x - y) x,  y = -1 or 1           (Widrow and Hoff 1960)

(`perceptron.py` and `delta_rule.py` in kapps/models/classic). If a plane separates the classes with
margin gamma, the perceptron makes at most (R / gamma)^2 updates (Novikoff 1962), and the report
shows both numbers. The pocket rule is for classes that no plane separates. The delta rule is
gradient descent on the squared error: full-batch, in mini-batches or example by example, depending
on --batch-size. Run the same command again to resume a killed run, bit for bit, or to see the
result of a finished one.

All ten digits, seed 0: no mistake on training images after epoch 24, 1,142 updates (bound: 6,044),
95.0 % on the test split.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, ClassVar, Literal

from kapps import command_line, data, evaluation, models, serving, training

MANY = Annotated[int, training.Range(20, math.inf, "20 or more")]


@dataclasses.dataclass(frozen=True)
class Config(training.ImageFlags, training.CommonFlags):
    """Data, network and training."""

    dataset: str = "digits"
    """blobs, moons, xor, circles (generated), digits, fashion_mnist, tfds:, folder: or npz:"""
    rule: Literal["perceptron", "pocket", "delta"] = "perceptron"
    """learning rule"""
    classes: tuple[str, ...] = ()
    """images: names of the classes to tell apart, two for a single score; default: all"""
    points: MANY = 500
    """generated data: number of points, three fifths of them for training"""
    noise: training.NonNegative = 0.15
    """generated data: standard deviation around the shape"""
    epochs: training.PositiveInt = 60
    """passes over the training data; perceptron and pocket stop once there are no mistakes"""

    EXCLUSIONS: ClassVar[training.Exclusions] = (
        (
            lambda c: c.rule != "delta" and training.named_devices(c.devices) > 1,
            "--rule {rule} looks at one example after another, so --devices {devices} cannot share "
            "the work: use cpu or gpu:1, or --rule delta",
        ),
        (
            lambda c: c.rule != "delta" and c.learning_rate is not None,
            "--learning-rate is for --rule delta; from weights of 0 it would change no decision of "
            "a perceptron",
        ),
        (
            lambda c: c.classes and c.dataset in data.POINT_SETS,
            "--classes is for images; {dataset} has two",
        ),
        (
            lambda c: len(c.classes) == 1 or len(set(c.classes)) < len(c.classes),
            "--classes: name two or more, each once",
        ),
        (
            lambda c: c.precision not in ("auto", "float32"),
            "--precision {precision}: one layer is computed in float32",
        ),
        (lambda c: c.jit == "on", "--jit on: one layer gains nothing from XLA"),
    )

    @property
    def run_name(self) -> str:
        """What the name of the run directory begins with."""
        return f"{self.dataset.split(':')[0]}-{self.rule}"


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported."""
    training.check(
        config,
        names=data.POINT_SETS,
        several_machines=config.rule == "delta",
        instead=f"--rule {config.rule} looks at one example after another, so they cannot share "
        "the work: unset TF_CONFIG, or use --rule delta",
    )


def load(config: Config) -> data.PointData:
    """Points or images, in memory."""
    if config.dataset in data.POINT_SETS:
        return data.load_points(config.dataset, config.points, noise=config.noise, seed=config.seed)
    return data.only_classes(training.load_images(config), config.classes)


def batches(config: Config, points: data.PointData) -> tuple:
    """Training batches, validation batches, and the whole training split in order."""
    import tensorflow as tf

    def in_order(split):
        with tf.device("CPU:0"):
            examples = tf.constant(points.x[split]), tf.constant(points.targets(split))
        return examples, tf.data.Dataset.from_tensor_slices(examples).batch(1024)

    (x, targets), clean = in_order("train")

    def load_rows(rows, seed):
        return tf.gather(x, rows), tf.gather(targets, rows)

    train = data.IndexedBatches(len(x), config.batch_size, seed=config.seed, load=load_rows)
    return train, in_order("validation")[1], clean


def network(config: Config, points: data.PointData) -> models.Perceptron | models.DeltaRule:
    """One layer, its weights 0, on standardized inputs; a score, or of more classes one each."""
    shape = points.x["train"].shape[1:], len(points.class_names)
    if config.rule == "delta":
        return models.delta_rule(*shape, **points.statistics)
    return models.perceptron(*shape, pocket=config.rule == "pocket", **points.statistics)


def compile_rule(config: Config, run: training.Run, model, points: data.PointData, train) -> None:
    """The rule needs no optimizer, the pocket judges, and gradient descent a step size."""
    import keras

    if config.rule == "pocket":
        model.keep_for(points.x["train"], points.targets("train"))
    if config.rule != "delta":
        model.compile()
        return
    seen = evaluation.features_of(model, points.x["train"])
    highest = evaluation.highest_learning_rate(seen, train.batch_size)
    rate = config.learning_rate or highest / 2
    run.record(learning_rate=rate, highest_learning_rate=highest)
    if rate >= highest:
        run.notes.append(
            f"the learning rate {rate:.3g} is not below {highest:.3g}, the step size up to which "
            "the delta rule converges on these examples and batches"
        )
    model.compile(keras.optimizers.SGD(rate))


def fit(config: Config, run: training.Run) -> tuple:
    """Train; returns the model, the data and the history."""
    import keras

    devices = training.begin(config)
    points = load(config)
    run.record_data(points)
    train, validation, clean = batches(config, points)
    with training.scope(config, run, devices):
        model = network(config, points)
        compile_rule(config, run, model, points, train)
    run.announce(points, f"{config.rule}: {model.count_params():,} parameters")

    def end_with_the_last_mistake(epoch, logs):
        model.stop_training = model.stop_training or logs["train_error"] == 0

    callbacks = [
        evaluation.SampleGrids(lambda: evaluation.perceptron_frames(model, points), run.path)
    ]
    if config.rule != "delta":
        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=end_with_the_last_mistake))
    history = training.fit(
        model,
        train,
        validation,
        config=config,
        run=run,
        clean_train=clean,
        monitor="val_loss" if config.rule == "delta" else "train_error",
        callbacks=callbacks,
    )
    return model, points, history


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Train, evaluate, publish and report; returns the figures of metrics.json."""
    model, points, history = fit(config, run)
    if not run.chief:
        return run.leave()
    model = models.for_inference(model)
    classifier = models.class_logits(model)
    classifier.save(run.path / "model.keras")
    print("evaluating on the test split, once")
    found = evaluation.explain_perceptron(
        model,
        points,
        history.rows,
        rule=config.rule,
        kept=history.best_epoch,
        run=run.path,
        rate=run.facts().get("learning_rate"),
        highest_rate=run.facts().get("highest_learning_rate"),
    )
    generated = config.dataset in data.POINT_SETS
    return serving.publish_and_close(
        classifier,
        run,
        points,
        history,
        found,
        what=f"A network of one layer ({config.rule} rule)",
        kind="linear classifier of points" if generated else None,
        title=f"{config.rule} on {points.name}",
        predict=None if generated else "IMAGE.png",
        parameters=model.count_params(),
    )


if __name__ == "__main__":
    command_line.run(main, Config, check)
