"""A tiny model of each family with tiny data, as a recipe would have them."""

import dataclasses
from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

from kapps import data, models, serving, training
from kapps.data.series.loading import SequenceSplit
from kapps.data.tables.loading import TableSplit
from kapps.data.text.documents import DocumentSplit
from kapps.models.text.char_rnn import UNKNOWN

SHAPE, CLASSES = (6, 5, 1), ("a", "b", "c")
WORDS = ["the", "and", "x"]  # of the examples that are made up for texts
FINGERPRINT = "0123456789abcdef"


def image_data(kind="classes"):
    """Constant images, one grey each: nothing else makes such images."""
    greys = np.arange(10, 16, dtype=np.uint8)
    pixels = np.broadcast_to(greys[:, None, None, None], (6, *SHAPE)).copy()
    split = data.Split(
        np.arange(6, dtype=np.int32) % 3, lambda i: tf.gather(tf.constant(pixels), i)
    )
    splits = dict.fromkeys(("train", "validation", "test"), split)
    names = () if kind == "number" else CLASSES
    return data.ImageData("folder:toys", names, SHAPE, splits, FINGERPRINT, kind=kind)


def point_data(x, class_names=("a", "b")):
    y = np.zeros(len(x), np.int32)
    splits = ("train", "validation", "test")
    return data.PointData(
        "moons", dict.fromkeys(splits, x), dict.fromkeys(splits, y), class_names, FINGERPRINT
    )


def series_data(class_names=CLASSES):
    values = np.random.default_rng(0).normal(size=(4, 5, 2)).astype("f4")
    splits = dict.fromkeys(
        ("train", "validation", "test"), SequenceSplit(values, np.zeros(4, np.int32))
    )
    return data.SequenceData(
        "csv:waves", class_names, splits, FINGERPRINT, feature_names=("a", "b")
    )


def table_data(class_names):
    columns = {"size": {"kind": "number", "median": 1.0, "mean": 1.0, "std": 2.0}}
    targets = np.zeros(3, np.int32 if class_names else np.float32)
    rows = TableSplit({"size": np.ones((3, 1), "f4")}, targets, np.arange(3))
    return data.TableData(
        spec="csv:boxes", target="kind", task="classification", class_names=class_names,
        columns=columns, titles={"size": "Size"}, dropped={},
        splits=dict.fromkeys(("train", "validation", "test"), rows), fingerprint=FINGERPRINT,
    )  # fmt: skip


def text_data():
    splits = dict.fromkeys(("train", "validation", "test"), np.zeros(9, np.int32))
    return data.TextData("text:book", UNKNOWN + "\n ab", splits, FINGERPRINT)


def document_data():
    texts = np.array(["b a", "a"], object)
    texts = DocumentSplit(texts, np.zeros(2, np.int32), np.arange(2))
    splits = dict.fromkeys(("train", "validation", "test"), texts)
    return data.DocumentData("csv:letters", CLASSES, splits, FINGERPRINT)


def image_classifier(shape=SHAPE, outputs=3):
    image = keras.Input(shape, name="image")
    x = keras.layers.Conv2D(4, 3)(image / 255.0)  # of those kernels that abort
    return keras.Model(image, keras.layers.Dense(outputs)(keras.layers.Flatten()(x)))


def vq_vae():
    model = models.vq_vae(SHAPE, codes=6, code_dim=3, filters=4)
    model.compile(keras.optimizers.SGD(0.01))
    model.train_on_batch(image_data().splits["train"].take(range(5)))
    return model.with_prior(models.code_prior((3, 3), 6, filters=4, depth=1))


def gan(classes=0):
    generator = models.gan_dense_generator(SHAPE, 2, classes=classes, units=8)
    discriminator = models.gan_dense_discriminator(
        SHAPE, classes=classes, conditioning="projection" if classes else None, units=7
    )
    return models.GAN(generator, discriminator)


def perceptron():
    model = models.perceptron((2,), mean=0.2)
    model.set_weights([w + 0.5 for w in model.get_weights()])  # it begins at 0
    return models.class_logits(model)


def points_network():
    x = keras.Input((2,), name="points")
    return keras.Model(x, keras.layers.Dense(2)(x))


def table_network(classes):
    columns = table_data(()).columns
    bins = {
        name: [facts["mean"] - facts["std"], facts["mean"], facts["mean"] + facts["std"]]
        for name, facts in columns.items()
        if facts["kind"] == "number"
    }
    return models.tabular_mlp(columns, classes, units=(4,), bins=bins, members=2)


FAMILIES = {  # model, data, signatures, what the data counts
    "image classifier": (
        image_classifier, image_data, {"serving_default", "from_bytes"}, "6 images"
    ),
    "several labels": (
        image_classifier, lambda: image_data("labels"), {"serving_default", "from_bytes"},
        "6 images",
    ),
    "number of an image": (
        lambda: image_classifier(outputs=1), lambda: image_data("number"),
        {"serving_default", "from_bytes"}, "6 images",
    ),
    "VAE": (
        lambda: models.conv_vae(SHAPE, 2, filters=(3,)), image_data,
        {"serving_default", "reconstruct", "from_bytes", "encode", "decode", "sample"}, "6 images",
    ),
    "conditional VAE": (
        lambda: models.dense_vae(SHAPE, 2, units=(8,), classes=3), image_data,
        {"serving_default", "reconstruct", "from_bytes", "encode", "decode", "sample"}, "6 images",
    ),
    "VQ-VAE": (
        vq_vae, image_data,
        {"serving_default", "reconstruct", "from_bytes", "encode", "decode", "sample"}, "6 images",
    ),
    "autoencoder": (
        lambda: models.conv_autoencoder(SHAPE, 2, filters=(3,)), image_data,
        {"serving_default", "reconstruct", "from_bytes", "encode", "decode"}, "6 images",
    ),
    "GAN": (gan, image_data, {"serving_default", "generate", "sample"}, "6 images"),
    "conditional GAN": (
        lambda: gan(3), image_data, {"serving_default", "generate", "sample"}, "6 images"
    ),
    "table": (lambda: table_network(3), lambda: table_data(CLASSES), {"serving_default"}, "3 rows"),
    "regression": (lambda: table_network(0), lambda: table_data(()), {"serving_default"}, "3 rows"),
    "series": (
        lambda: models.rnn(2, 3, units=4), series_data, {"serving_default"}, "4 series"
    ),
    "numbers of series": (
        lambda: models.rnn(2, 1, units=4, cell="lstm", output_mean=1.0), lambda: series_data(()),
        {"serving_default"}, "4 series",
    ),
    "text": (
        lambda: models.char_rnn(UNKNOWN + "\n ab", units=5, embedding=3, lanes=2), text_data,
        {"serving_default", "generate", "score"}, "9 characters",
    ),
    "text classifier": (
        lambda: models.text_classifier(WORDS, 3, embedding=3, units=4), document_data,
        {"serving_default"}, "2 texts",
    ),
    "perceptron": (
        perceptron, lambda: point_data(np.eye(2, dtype="f4")), {"serving_default"}, "2 points"
    ),
    "points": (
        points_network, lambda: point_data(np.eye(2, dtype="f4")), {"serving_default"}, "2 points"
    ),
    "images as points": (
        lambda: image_classifier(outputs=2),
        lambda: point_data(np.zeros((5, *SHAPE), np.uint8)),
        {"serving_default", "from_bytes"}, "5 images",
    ),
}  # fmt: skip


THRESHOLDS = (0.4, 0.5, 0.6)
SETTINGS = {"several labels": {"thresholds": THRESHOLDS}}  # of the exporter, found in a run


@dataclasses.dataclass(frozen=True)
class Config:
    """Of a run that publishes."""

    run_dir: str
    export_dir: str | None
    export: bool = True
    seed: int = 7
    overwrite: bool = False


HEADLINE = "Test loss 1 nat."


def found(**more):
    """What a recipe has found out about its model."""
    verdict = SimpleNamespace(label="good fit", sentence="It holds on new data.")
    return SimpleNamespace(metrics={"test_loss": 1.0}, verdict=verdict, **more)


def run_of(root, **settings):
    """The run under `root` that publishes there, opened."""
    settings = {"export_dir": str(root / "served")} | settings
    return training.open_run("tiny", Config(str(root / "runs" / "first"), **settings))


def model_of(family):
    """The model of a family, always with the same weights."""
    keras.utils.set_random_seed(0)
    return FAMILIES[family][0]()


def publish(family, root):
    """Publishes the model of a family from a run; its directory."""
    _, load, _, _ = FAMILIES[family]
    with run_of(root) as run:
        # What a training leaves: without it the run would begin anew when it is opened again.
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        (run.checkpoints / "state-000000000001.npz").touch()
        known = found(headline=HEADLINE, served=SETTINGS.get(family, {}))
        return serving.publish(model_of(family), run, load(), known, what="A toy")
