"""A published model of any family, asked by what a person has."""

import os
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps import serving
from kapps.errors import UserError
from serving.small_families import SHAPE


@pytest.fixture
def place(family_version):
    return lambda family: str(family_version(family))


def answers(*arguments, **settings):
    return list(serving.ask(*arguments, **settings))


def signature(place, name="serving_default"):
    return tf.saved_model.load(place).signatures[name]


@pytest.mark.slow
def test_series_of_a_csv_file_may_have_other_lengths_and_no_labels(place, tmp_path):
    path = tmp_path / "waves.csv"
    path.write_text("series,time,a,b\none,1,0.5,1\ntwo,0,2,2\none,0,-1,3\none,2,0,0\n")
    model = place("series")
    one, two = answers(model, [path])
    assert (one["series"], two["series"]) == ("one", "two") and one["file"] == str(path)
    values = np.full((2, 3, 2), np.nan, "f4")
    values[0] = [[-1, 3], [0.5, 1], [0, 0]]  # in the order of time
    values[1, 0] = [2, 2]
    expected = signature(model)(sequence=tf.constant(values))
    for answer, chances, label in zip(
        (one, two), expected["probabilities"].numpy(), expected["label"].numpy(), strict=True
    ):
        assert answer["label"] == label.decode()
        np.testing.assert_allclose(list(answer["probabilities"].values()), chances, rtol=1e-5)
    np.savez(tmp_path / "waves.npz", x=values)
    again = answers(model, [tmp_path / "waves.npz"])
    assert [answer["label"] for answer in again] == [one["label"], two["label"]]
    with pytest.raises(UserError, match=r"series come as .csv"):
        answers(model, [tmp_path / "waves.txt"])


@pytest.mark.slow
def test_features_of_series_are_found_by_their_names(place, tmp_path):
    tables = {
        "as trained": "series,a,b\none,0.5,1\none,-1,3\n",
        "turned": "b,series,extra,a\n1,one,9,0.5\n3,one,9,-1\n",
        "absent": "series,b,c\none,0.5,1\n",
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    notes = []
    as_trained, turned = (
        answers(place("series"), [tmp_path / f"{name}.csv"], notes=notes)[0]["probabilities"]
        for name in ("as trained", "turned")
    )
    assert turned == as_trained
    assert notes == [f"'{tmp_path}/turned.csv': the model knows no 'extra': left out"]
    with pytest.raises(UserError, match="lacks the column 'a' that the model .*; it has 'b', 'c'"):
        answers(place("series"), [tmp_path / "absent.csv"])


@pytest.mark.slow
def test_points(place, tmp_path):
    (tmp_path / "named.csv").write_text("x,y\n1,2\n-0.5,1e-3\n")
    said = answers(place("points"), [tmp_path / "named.csv"])
    expected = signature(place("points"))(points=tf.constant([[1, 2], [-0.5, 1e-3]]))
    assert [row["row"] for row in said] == [1, 2]
    chances = [list(row["probabilities"].values()) for row in said]
    np.testing.assert_allclose(chances, expected["probabilities"], rtol=1e-5)
    (tmp_path / "wide.csv").write_text("x,y,z\n1,2,3\n")
    with pytest.raises(UserError, match="3 columns, but a point has 2"):
        answers(place("points"), [tmp_path / "wide.csv"])


@pytest.mark.slow
def test_prompts_are_continued(place):
    first, second = answers(place("text"), ["ab", "b a"], length=7)
    assert first["prompt"] == "ab" and first["text"].startswith("ab") and len(first["text"]) == 9
    assert second["text"].startswith("b a")


@pytest.mark.slow
def test_seeds_draw_images_and_images_are_reconstructed(place, tmp_path):
    for family in ("VAE", "GAN", "conditional GAN"):
        (answer,) = answers(place(family), ["7"], directory=tmp_path / family)
        assert answer["seed"] == 7
        image = np.asarray(Image.open(answer["written"])).reshape(SHAPE)
        asked = {"label": tf.constant(-1)} if "conditional" in family else {}
        sample = signature(place(family), "sample")
        expected = sample(count=tf.constant(1), seed=tf.constant(7), **asked)["image"][0]
        np.testing.assert_array_equal(image, expected)
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "mine.png")
    (answer,) = answers(place("autoencoder"), [tmp_path / "mine.png"], directory=tmp_path)
    expected = signature(place("autoencoder"))(image=tf.constant(pixels[None]))
    assert answer["error"] == pytest.approx(float(expected["error"][0]), rel=1e-4)
    assert answer["written"] == str(tmp_path / "mine_reconstruction.png")
    with pytest.raises(UserError, match="mine.png: this model takes a seed"):
        answers(place("GAN"), [tmp_path / "mine.png"])
    with pytest.raises(UserError, match="12: this model takes an image file"):
        answers(place("autoencoder"), ["12"])


@pytest.mark.slow
def test_images_that_can_be_read_are_answered_first(place, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    for name in ("a.png", "c.png"):
        Image.fromarray(pixels[..., 0]).save(tmp_path / name)
    (tmp_path / "b.png").write_text("no image")
    said = []
    files = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    with pytest.raises(serving.SomeUnreadable, match="b.png: cannot be read as an image"):
        for answer in serving.ask(place("image classifier"), files, top=2):
            said.append(answer)
    assert [answer["file"] for answer in said] == [str(files[0]), str(files[2])]
    assert [len(answer["predictions"]) for answer in said] == [2, 2]


def test_a_table(place, tmp_path):
    (tmp_path / "boxes.csv").write_text("size\n1\n3.5\n")
    said = answers(place("table"), [tmp_path / "boxes.csv"])
    expected = signature(place("table"))(size=tf.constant([1.0, 3.5]))
    assert [row["label"].encode() for row in said] == expected["label"].numpy().tolist()


def answered(model, files, **settings):
    """What is answered, and what is said of the rest."""
    said = []
    with pytest.raises(serving.SomeUnreadable) as refused:
        for answer in serving.ask(model, files, **settings):
            said.append(answer)
    return said, str(refused.value).splitlines()


def test_good_tables_are_answered_and_bad_ones_named(place, tmp_path):
    good, nowhere, other = (tmp_path / f"{name}.csv" for name in ("good", "nowhere", "other"))
    good.write_text("size\n1\n")
    other.write_text("length\n1\n")
    said, faults = answered(place("table"), [good, nowhere, other, good])
    assert [row["file"] for row in said] == [str(good)] * 2
    assert "nowhere.csv' cannot be read" in faults[0]
    assert "other.csv: there is no column 'size'" in faults[1]


def test_a_table_may_come_through_a_pipe(place, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("size\n1\n3.5\n"))
    writer.start()
    said = answers(place("table"), [pipe])
    writer.join()
    assert [(row["file"], row["row"]) for row in said] == [(str(pipe), 1), (str(pipe), 2)]


@pytest.mark.slow
def test_good_series_and_pictures_are_answered_and_bad_ones_named(place, tmp_path):
    for name, shape in (("good", (1, 4, 2)), ("narrow", (1, 4, 1))):
        np.save(tmp_path / f"{name}.npy", np.ones(shape, "f4"))
    np.save(tmp_path / "words.npy", np.full((1, 4, 2), "x"))
    (tmp_path / "times.csv").write_text("series,time,a,b\none,noon,1,2\n")
    (tmp_path / "none.csv").write_text("series,time\none,1\n")
    names = ("narrow.npy", "good.npy", "words.npy", "times.csv", "none.csv", "good.npy")
    said, faults = answered(place("series"), [tmp_path / name for name in names])
    assert len(said) == 2
    words = ("1 numbers at each step, but the model takes 2", "numbers are wanted",
             "'noon' in time is neither a number nor a date", "has no values")  # fmt: skip
    assert all(word in fault for word, fault in zip(words, faults, strict=True))

    Image.fromarray(np.zeros(SHAPE[:2], np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"junk")
    files = [tmp_path / "a.png", tmp_path / "b.png", 2**31, "hello", tmp_path / "a.png"]
    said, faults = answered(place("VAE"), list(map(str, files)), directory=tmp_path)
    assert [answer["file"] for answer in said] == [str(files[0])] * 2
    assert "b.png: cannot be read as an image" in faults[0]
    assert faults[1] == "2147483648: seeds are from -2147483648 to 2147483647"
    assert faults[2].startswith("hello: cannot be read") and "seeds are whole" in faults[2]


@pytest.mark.slow
def test_prompts_are_texts_as_they_are(place, tmp_path):
    (tmp_path / "begin.txt").write_text("a\nb", encoding="utf-8-sig")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    long = "ab " * 200
    asked = ["a // b/", tmp_path / "begin.txt", long, "caf\udce9", tmp_path / "latin.txt"]
    said, faults = answered(place("text"), asked, length=3)
    assert [answer["prompt"] for answer in said] == ["a // b/", "a\nb", long]
    assert len(faults) == 2 and all("no text in UTF-8" in fault for fault in faults)
