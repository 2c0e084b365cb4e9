"""`publish`: any family's model of a run, once, with a card."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data, models, serving
from kapps.errors import UserError
from kapps.serving.publishing.families import family_of
from kapps.serving.savedmodel import input_statistics
from serving.small_families import (
    FAMILIES,
    HEADLINE,
    SHAPE,
    found,
    gan,
    image_classifier,
    image_data,
    point_data,
    points_network,
    run_of,
    text_data,
)


@pytest.fixture
def a_run(tmp_path):
    def open_one(**settings):
        run = run_of(tmp_path, **settings)
        opened.append(run)
        return run

    opened = []
    yield open_one
    for run in opened:
        run.close()


def publish_points(run, **settings):
    """What no family does in another way, by the smallest model."""
    points = point_data(np.eye(2, dtype="f4"))
    return serving.publish(points_network(), run, points, found(), what="A toy", **settings)


def assert_the_calls_on_the_card_run(card, version, directory, signatures):
    """Each signature once, with examples of the shapes that it takes."""
    block = card.split("A call of each signature:\n\n```python\n")[1].split("```")[0]
    called = [line for line in block.splitlines() if line.startswith("model.signatures[")]
    assert {line.split('"')[1] for line in called} == signatures
    (directory / "image.png").write_bytes(
        tf.io.encode_png(image_data().splits["test"].take([0])[0]).numpy()
    )
    block, names = block.replace("DIRECTORY OF THIS FILE", str(version)), {}
    exec(block.replace("image.png", str(directory / "image.png")), names)  # noqa: S102
    assert set(names["model"].signatures) == signatures


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_any_family_is_published_once(family, family_root, tmp_path, capsys):
    build, load, signatures, counted = FAMILIES[family]
    root, model, known = family_root(family), build(), load()
    version = root / "served" / "1"
    card = (version / "model_card.md").read_text(encoding="utf-8")
    spec = getattr(known, "spec", "moons")
    assert f"A toy trained on {spec} ({counted}, fingerprint 0123456789ab), seed 7.\n\n" in card
    assert f"\n\n{HEADLINE}\n\ngood fit: It holds on new data.\n\nRun directory: first\n" in card
    labelled = getattr(known, "class_names", ()) and getattr(model, "classes", 3)
    labels = version / "assets/labels.txt"
    expected = "".join(f"{name}\n" for name in known.class_names) if labelled else None
    assert (labels.read_text() if labels.exists() else None) == expected

    assert_the_calls_on_the_card_run(card, version, tmp_path, signatures)

    # Again, also by another process after a kill: nothing more is published.
    capsys.readouterr()
    with run_of(root) as run:
        assert run.facts()["exported"] == str(version)
        assert serving.publish(model, run, known, found(), what="A toy") == str(version)
    assert [v.name for v in serving.versions(root / "served").values()] == ["1"]
    assert "published" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_answers_are_calibrated(a_run):
    model = image_classifier()
    images = image_data().splits["test"].take([0, 5])
    version = serving.publish(model, a_run(), image_data(), found(temperature=2.0), what="A toy")
    answer = serving.load(version).signatures["serving_default"](image=tf.constant(images))
    expected = keras.ops.softmax(model(images.astype("f4")) / 2.0)
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "name", "mean", "std"),
    [  # greys 10 to 15; rows and points as in small_families; what draws has no inputs to watch
        ("image classifier", "image", [12.5], [np.std(range(6))]),
        ("table", "size", [1.0], [2.0]),
        ("points", "points", [0.5, 0.5], [0.5, 0.5]),
        ("GAN", "", None, None),
    ],
)
def test_what_inputs_were_like_in_training_goes_with_the_version(
    family_version, family, name, mean, std
):
    said = input_statistics.read(family_version(family))
    assert list(said) == ([name] if name else [])
    if name:
        np.testing.assert_allclose((said[name]["mean"], said[name]["std"]), (mean, std), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["image classifier", "autoencoder"])
def test_no_image_of_the_data_is_stored(family_version, family):
    path = family_version(family) / "assets.extra/tf_serving_warmup_requests"
    stored = b"".join(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    assert len(stored) > 1000
    for image in image_data().splits["validation"].take(range(6)):
        assert image.tobytes() not in stored
        assert tf.io.encode_png(image).numpy() not in stored


def test_export_false_publishes_nothing(a_run, tmp_path, capsys):
    run = a_run(export=False)
    assert serving.publish(image_classifier(), run, image_data(), found(), what="A toy") is None
    assert not (tmp_path / "served").exists() and capsys.readouterr().out == ""


def test_where_to_by_default(a_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert publish_points(a_run(export_dir=None)) == "saved_models/tiny/1"
    assert capsys.readouterr().out == "published saved_models/tiny/1\n"


def test_a_version_that_was_deleted_is_published_again(a_run, tmp_path):
    run = a_run()
    run.record(exported=str(tmp_path / "gone" / "4"))
    version = publish_points(run)
    assert version == str(tmp_path / "served" / "1") == run.facts()["exported"]


def test_each_member_of_a_run_is_published(a_run, tmp_path):
    run = a_run()

    def publish(member):
        return publish_points(run, member=member, caveats=("Few.",)).rpartition("/")[2]

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


@pytest.mark.slow
def test_a_model_that_diverged_is_not_noted(a_run, tmp_path):
    model, run = models.linear_autoencoder(SHAPE, 2), a_run()
    model.set_weights([np.full(w.shape, np.nan) for w in model.get_weights()])
    with pytest.raises(UserError, match="not finite"):
        serving.publish(model, run, image_data(), found(), what="A toy")
    assert "exported" not in run.facts() and not serving.versions(tmp_path / "served")


DEEP = data.Reading(4095)  # of a sensor of 12 bits


@pytest.mark.parametrize("family", ["image classifier", "VAE", "VQ-VAE", "autoencoder"])
def test_every_family_of_pictures_is_told_how_files_were_read(family):
    build, load, _, _ = FAMILIES[family]
    model, known = build(), dataclasses.replace(load(), reading=DEEP)
    assert family_of(model, known).settings(model, known, 1.0)["reading"] == DEEP


@pytest.mark.slow
@pytest.mark.parametrize("family", ["image classifier", "autoencoder"])
def test_pngs_of_sixteen_bits_are_read_as_in_training(family, a_run):
    """Level 4095 was white in training, and so it is when served."""
    build, load, _, _ = FAMILIES[family]
    known = dataclasses.replace(load(), reading=DEEP)
    version = serving.publish(build(), a_run(), known, found(), what="A toy")
    signatures = serving.load(version).signatures
    deep = np.linspace(0, 4095, 30).astype("u2").reshape(1, *SHAPE)
    as_trained = np.round(deep * (255 / 4095)).astype("u1")
    by_file = signatures["from_bytes"](image_bytes=[tf.io.encode_png(deep[0])])
    by_pixels = signatures["serving_default"](image=as_trained)
    for name, expected in by_pixels.items():
        np.testing.assert_array_equal(by_file[name], expected)
