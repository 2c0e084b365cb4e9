"""`publish`: any family's model of a run, once, with a card."""

import dataclasses
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data, models, serving, training
from kapps.data.series.loading import SequenceSplit
from kapps.data.tables.loading import TableSplit
from kapps.errors import UserError
from kapps.models.text.char_rnn import UNKNOWN

SHAPE, CLASSES = (6, 5, 1), ("a", "b", "c")
FINGERPRINT = "0123456789abcdef"


@dataclasses.dataclass(frozen=True)
class Config:
    run_dir: str
    export_dir: str | None
    export: bool = True
    seed: int = 7
    overwrite: bool = False


@pytest.fixture
def a_run(tmp_path):
    def open_one(recipe="tiny", **settings):
        config = Config(
            str(tmp_path / "runs" / "first"),
            **{"export_dir": str(tmp_path / "served")} | settings,
        )
        run = training.open_run(recipe, config)
        opened.append(run)
        return run

    opened = []
    yield open_one
    for run in opened:
        run.close()


def found(**more):
    verdict = SimpleNamespace(label="good fit", sentence="It holds on new data.")
    return SimpleNamespace(metrics={"test_loss": 1.0}, verdict=verdict, **more)


def image_data():
    """Constant images, one grey each: nothing else makes such images."""
    greys = np.arange(10, 16, dtype=np.uint8)
    pixels = np.broadcast_to(greys[:, None, None, None], (6, *SHAPE)).copy()
    split = data.Split(
        np.arange(6, dtype=np.int32) % 3, lambda i: tf.gather(tf.constant(pixels), i)
    )
    splits = dict.fromkeys(("train", "validation", "test"), split)
    return data.ImageData("folder:toys", CLASSES, SHAPE, splits, FINGERPRINT)


def point_data(x, class_names=("a", "b")):
    y = np.zeros(len(x), np.int32)
    splits = ("train", "validation", "test")
    return data.PointData(
        "moons", dict.fromkeys(splits, x), dict.fromkeys(splits, y), class_names, FINGERPRINT
    )


def series_data():
    values = np.random.default_rng(0).normal(size=(4, 5, 2)).astype("f4")
    splits = dict.fromkeys(
        ("train", "validation", "test"), SequenceSplit(values, np.zeros(4, np.int32))
    )
    return data.SequenceData("csv:waves", CLASSES, splits, FINGERPRINT)


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


def image_classifier(shape=SHAPE, outputs=3):
    image = keras.Input(shape, name="image")
    return keras.Model(image, keras.layers.Dense(outputs)(keras.layers.Flatten()(image / 255.0)))


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


def points_network():
    x = keras.Input((2,), name="points")
    return keras.Model(x, keras.layers.Dense(2)(x))


def table_network(classes):
    return models.tabular_mlp(table_data(()).columns, classes, units=(4,))


FAMILIES = {  # model, data, signatures, what the data counts
    "image classifier": (
        image_classifier, image_data, {"serving_default", "from_bytes"}, "6 images"
    ),
    "VAE": (
        lambda: models.dense_vae(SHAPE, 2, units=(8,)), image_data,
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
        lambda: models.linear_autoencoder(SHAPE, 2), image_data,
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
    "text": (
        lambda: models.char_rnn(UNKNOWN + "\n ab", units=5, embedding=3, lanes=2), text_data,
        {"serving_default", "generate", "score"}, "9 characters",
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


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_any_family_is_published_once(family, a_run, tmp_path, capsys):
    build, load, signatures, counted = FAMILIES[family]
    model, known, run = build(), load(), a_run()
    headline = "Test loss 1 nat."
    version = serving.publish(model, run, known, found(headline=headline), what="A toy")
    assert version == str(tmp_path / "served" / "1")
    assert capsys.readouterr().out == f"published {version}\n"
    assert set(serving.load(version).signatures) == signatures
    card = (tmp_path / "served/1/model_card.md").read_text(encoding="utf-8")
    spec = getattr(known, "spec", "moons")
    assert f"A toy trained on {spec} ({counted}, fingerprint 0123456789ab), seed 7.\n\n" in card
    assert f"\n\n{headline}\n\ngood fit: It holds on new data.\n\nRun directory: first\n" in card
    labelled = getattr(known, "class_names", ()) and getattr(model, "classes", 3)
    labels = tmp_path / "served/1/assets/labels.txt"
    expected = "".join(f"{name}\n" for name in known.class_names) if labelled else None
    assert (labels.read_text() if labels.exists() else None) == expected

    # Again, also by another process after a kill: nothing more is published.
    assert run.facts()["exported"] == version
    assert serving.publish(model, run, known, found(), what="A toy") == version
    assert [v.name for v in serving.versions(tmp_path / "served").values()] == ["1"]
    assert capsys.readouterr().out == ""


def test_the_answers_are_calibrated(a_run):
    model = image_classifier()
    images = image_data().splits["test"].take([0, 5])
    version = serving.publish(model, a_run(), image_data(), found(temperature=2.0), what="A toy")
    answer = serving.load(version).signatures["serving_default"](image=tf.constant(images))
    expected = keras.ops.softmax(model(images.astype("f4")) / 2.0)
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=1e-5)


def test_no_image_of_the_data_is_stored(a_run):
    kept, run = [], a_run()
    for build in (image_classifier, lambda: models.linear_autoencoder(SHAPE, 2)):
        member = str(len(kept))
        kept.append(
            serving.publish(build(), run, image_data(), found(), what="A toy", member=member)
        )
    for version in kept:
        path = f"{version}/assets.extra/tf_serving_warmup_requests"
        stored = b"".join(tf.data.TFRecordDataset(path).as_numpy_iterator())
        assert len(stored) > 1000
        for image in image_data().splits["validation"].take(range(6)):
            assert image.tobytes() not in stored
            assert tf.io.encode_png(image).numpy() not in stored


def test_export_false_publishes_nothing(a_run, tmp_path, capsys):
    run = a_run(export=False)
    assert serving.publish(image_classifier(), run, image_data(), found(), what="A toy") is None
    assert not (tmp_path / "served").exists() and capsys.readouterr().out == ""


def test_where_to_by_default(a_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = a_run("my_recipe", export_dir=None)
    version = serving.publish(image_classifier(), run, image_data(), found(), what="A toy")
    assert version == "saved_models/my_recipe/1"


def test_a_version_that_was_deleted_is_published_again(a_run, tmp_path):
    run = a_run()
    run.record(exported=str(tmp_path / "gone" / "4"))
    version = serving.publish(image_classifier(), run, image_data(), found(), what="A toy")
    assert version == str(tmp_path / "served" / "1") == run.facts()["exported"]


def test_each_member_of_a_run_is_published(a_run, tmp_path):
    run, model = a_run(), image_classifier()

    def publish(member):
        version = serving.publish(
            model, run, image_data(), found(), what="A winner", member=member, caveats=("Few.",)
        )
        return version.rpartition("/")[2]

    assert [publish(member) for member in ("3", "3", "9", "3")] == ["1", "1", "2", "1"]
    assert run.facts()["published"] == {
        member: str(tmp_path / "served" / number) for member, number in (("3", "1"), ("9", "2"))
    }
    assert "exported" not in run.facts()
    assert "\n* Few.\n" in (tmp_path / "served/1/model_card.md").read_text()


def test_settings_replace_what_is_worked_out(a_run):
    names = point_data(np.eye(2, dtype="f4"), ())
    version = serving.publish(
        points_network(), a_run(), names, found(), what="A toy", kind="linear thing"
    )
    with open(f"{version}/model_card.md", encoding="utf-8") as card:
        assert "A linear thing" in card.read()


def test_data_without_an_exporter(a_run, tmp_path):
    with pytest.raises(UserError, match="no exporter for a GAN on TextData"):
        serving.publish(gan(), a_run(), text_data(), found(), what="A toy")
    assert not (tmp_path / "served").exists()


def test_a_model_that_diverged_is_not_noted(a_run, tmp_path):
    model, run = models.linear_autoencoder(SHAPE, 2), a_run()
    model.set_weights([np.full(w.shape, np.nan) for w in model.get_weights()])
    with pytest.raises(UserError, match="not finite"):
        serving.publish(model, run, image_data(), found(), what="A toy")
    assert "exported" not in run.facts() and not serving.versions(tmp_path / "served")
