"""`folder:PATH`, with the files that real folders hold."""

import io
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from kapps import data
from kapps.errors import UserError


def encode(picture, format, **options):
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture
def classes(noise):
    """Ten different pictures in each of two classes."""
    return {
        f"{name}/{i:02d}.png": noise(10 * label + i)
        for label, name in enumerate(("cat", "dog"))
        for i in range(10)
    }


def pictures(loaded, split):
    return loaded.splits[split].take(range(len(loaded.splits[split])))


def by_name(loaded):
    """File name -> (picture, class name), over all splits."""
    return {
        name: (picture, loaded.class_names[label])
        for split_name, split in loaded.splits.items()
        for name, picture, label in zip(
            split.origins, pictures(loaded, split_name), split.labels, strict=True
        )
    }


@pytest.mark.slow
def test_a_folder_per_class(make_folder, classes):
    """A fifth of 10 + 10 is 2 + 2; a tenth of the other 8 + 8 is 1.6, so 2: one of each."""
    loaded = data.load(f"folder:{make_folder(classes)}")
    assert loaded.class_names == ("cat", "dog") and loaded.image_shape == (8, 8, 3)
    assert loaded.counts == {"train": 14, "validation": 2, "test": 4}
    for split, each in (("train", 7), ("validation", 1), ("test", 2)):
        assert np.bincount(loaded.splits[split].labels).tolist() == [each, each]
    found = by_name(loaded)
    assert set(found) == set(classes)
    for name, (picture, class_name) in found.items():
        np.testing.assert_array_equal(picture, classes[name])
        assert class_name == name.split("/")[0]
    assert list(loaded.splits["train"].origins) == sorted(loaded.splits["train"].origins)
    assert loaded.notes == ()


@pytest.mark.slow
def test_test_stays_and_validation_moves_with_the_seed(make_folder, classes):
    spec = f"folder:{make_folder(classes)}"
    splits = [data.load(spec, seed=seed).splits for seed in (0, 1, 2, 3)]
    assert len({split["test"].origins for split in splits}) == 1
    assert len({split["validation"].origins for split in splits}) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [("train", "validation", "test"), ("Training", "val", "Testing"), ("trn", "dev", "tst")],
)
def test_splits_above_the_classes(make_folder, classes, names):
    files = {
        f"{split}/{file}": x + i for i, split in enumerate(names) for file, x in classes.items()
    }
    loaded = data.load(f"folder:{make_folder(files)}")
    assert loaded.counts == {"train": 20, "validation": 20, "test": 20}
    for split, folder in zip(("train", "validation", "test"), names, strict=True):
        assert all(name.startswith(f"{folder}/") for name in loaded.splits[split].origins)


@pytest.mark.slow
def test_missing_splits_are_carved_from_train(make_folder, classes):
    files = {f"train/{file}": x for file, x in classes.items()}
    files |= {f"test/{file}": x ^ 255 for file, x in classes.items()}
    assert data.load(f"folder:{make_folder(files)}").counts == {
        "train": 18,
        "validation": 2,
        "test": 20,
    }
    shutil.rmtree(make_folder({}) / "test")
    assert data.load(f"folder:{make_folder({})}").counts == {
        "train": 14,
        "validation": 2,
        "test": 4,
    }


@pytest.mark.slow
def test_classes_may_be_named_like_splits(make_folder, classes):
    files = {file.replace("dog", "train"): x for file, x in classes.items()}
    assert data.load(f"folder:{make_folder(files)}").class_names == ("cat", "train")
    files = {file.replace("cat", "test"): x for file, x in files.items()}
    with pytest.raises(UserError, match="test/, train/ and no class folders in them"):
        data.load(f"folder:{make_folder(files, 'other')}")
    nested = {file.replace("train", "train/steam"): x for file, x in classes.items()}
    nested |= {f"train/steam/{i}.png": x for i, x in enumerate(classes.values())}
    loaded = data.load(f"folder:{make_folder(nested, 'nested')}")
    assert loaded.class_names == ("cat", "dog", "train")


@pytest.mark.slow
def test_an_unlabelled_test_folder_is_left_out(make_folder, classes):
    files = {f"train/{file}": x for file, x in classes.items()} | {
        "test/1.png": classes["cat/00.png"]
    }
    loaded = data.load(f"folder:{make_folder(files)}")
    assert loaded.counts["test"] == 4
    assert any("test/ holds no class folders" in note for note in loaded.notes)


@pytest.mark.slow
def test_odd_pictures_are_read(make_folder, classes):
    """Every kind has even colour, so that size and interpolation do not matter."""
    grey = Image.new("L", (5, 9), 100)
    alpha = Image.new("RGBA", (5, 9), (255, 0, 0, 0))
    palette = Image.new("RGB", (5, 9), (10, 200, 30)).quantize(2)
    deep = Image.fromarray(np.full((9, 5), 100 * 257, np.uint16))
    cmyk = encode(Image.new("CMYK", (16, 16), (0, 0, 0, 255)), "JPEG")
    odd = {
        "cat/alpha.png": (alpha, (255, 255, 255)),
        "cat/grey.png": (grey, (100, 100, 100)),
        "cat/palette.png": (palette, (10, 200, 30)),
        "cat/deep.png": (deep, (100, 100, 100)),
        "cat/pixel.gif": (Image.new("RGB", (1, 1), (10, 200, 30)), (10, 200, 30)),
        "cat/large.bmp": (Image.new("RGB", (1500, 1000), (10, 200, 30)), (10, 200, 30)),
        "cat/print.jpeg": (cmyk, (0, 0, 0)),
        "cat/inner/deeper/nested.PNG": (grey, (100, 100, 100)),
        "cat/really a jpeg.png": (encode(Image.new("RGB", (9, 9), "white"), "JPEG"), (255,) * 3),
        "cat/no extension": (encode(grey, "PNG"), (100, 100, 100)),
        "cat/été 猫.png": (grey, (100, 100, 100)),
    }
    root = make_folder(classes | {name: picture for name, (picture, _) in odd.items()})
    loaded = data.load(f"folder:{root}", image_size=8)
    found = by_name(loaded)
    for name, (_, color) in odd.items():
        np.testing.assert_allclose(found[name][0], np.broadcast_to(color, (8, 8, 3)), atol=1)
        assert found[name][1] == "cat"
    # The same grey picture is there four times.
    assert all("exact duplicates" in note for note in loaded.notes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_exif_turns_picture_and_size(make_folder, kind):
    """Upright pictures of 16x24, stored lying: they keep 16x24, and the upper half is black.

    A fifth of 16 is 3.2.
    """
    upright = np.zeros((24, 16, 3), np.uint8)
    upright[12:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = encode(np.rot90(upright).copy(), kind.upper(), quality=95, exif=exif)
    root = make_folder({f"{name}/{i}.{kind}": lying for name in "ab" for i in range(8)})
    loaded = data.load(f"folder:{root}")
    assert loaded.image_shape == (24, 16, 3)
    np.testing.assert_array_equal(pictures(loaded, "test"), np.stack([upright] * 3))


@pytest.mark.slow
def test_the_size_is_chosen_from_the_pictures(make_folder, noise):
    """Sides 40, 50, 90 and 50: the median is 50, and 64 is the multiple of 32 nearest to it."""
    each = [("a", seed) for seed in range(5)] + [("b", seed) for seed in range(5, 10)]
    files = {f"{name}/{i}.png": noise(i, 40, 50) for name, i in each}
    files |= {f"{name}/c{i}.png": noise(i, 90, 50) for name, i in each}
    root = make_folder(files)
    loaded = data.load(f"folder:{root}")
    assert loaded.image_shape == (64, 64, 3)
    assert loaded.notes == (
        "pictures were resized to 64x64 (sides run from 40 to 90 pixels, median 50); image_size "
        "chooses another size",
    )
    assert data.load(f"folder:{root}", image_size=(6, 7)).image_shape == (6, 7, 3)
    # A function is asked about the longer sides, ten of 50 and ten of 90.
    by_side = data.load(f"folder:{root}", image_size=lambda side: {70: 9}[side])
    assert by_side.image_shape == (9, 9, 3)
    huge = make_folder(
        {f"{name}/{i}.png": noise(i, 600, 600) for name in "ab" for i in range(4)}, "huge"
    )
    assert data.load(f"folder:{huge}").image_shape == (224, 224, 3)


@pytest.mark.slow
def test_grey_folders_have_one_channel(make_folder, classes):
    grey = {name: picture[..., 0] for name, picture in classes.items()}
    loaded = data.load(f"folder:{make_folder(grey)}")
    assert loaded.image_shape == (8, 8, 1)
    np.testing.assert_array_equal(by_name(loaded)["cat/03.png"][0][..., 0], grey["cat/03.png"])
    assert data.load(f"folder:{make_folder(grey)}", channels=3).image_shape == (8, 8, 3)
    mixed = make_folder(grey | {"cat/x.png": classes["cat/00.png"]})
    assert data.load(f"folder:{mixed}").image_shape == (8, 8, 3)
    assert data.load(f"folder:{mixed}", channels=1).image_shape == (8, 8, 1)


@pytest.fixture
def broken(classes, noise):
    jpeg = encode(noise(0, 64, 64), "JPEG", quality=95)
    return {
        "cat/cut.jpg": jpeg[: len(jpeg) // 2],
        "cat/cut.png": encode(noise(0, 64, 64), "PNG")[:-3000],
        "dog/empty.jpg": b"",
        "dog/page.jpeg": b"<html>404 Not Found</html>",
    }


@pytest.mark.slow
def test_broken_files_are_named(make_folder, classes, broken):
    root = make_folder(classes | broken)
    (root / "dog/dead.png").symlink_to(root / "nowhere.png")
    with pytest.raises(UserError) as error:
        data.load(f"folder:{root}")
    message = str(error.value)
    assert f"5 files in '{root}' cannot be read" in message
    for said in [
        "cat/cut.jpg (broken or truncated JPEG)",
        "cat/cut.png (broken or truncated PNG)",
        "dog/dead.png (a link to nothing)",
        "dog/empty.jpg (an empty file)",
        "dog/page.jpeg (not the content of a picture)",
        "skip_broken",
    ]:
        assert said in message


@pytest.mark.slow
def test_broken_files_are_skipped_when_asked(make_folder, classes, broken):
    """They leave no trace: the size is that of the others, 8x8, and not chosen for all."""
    whole = data.load(f"folder:{make_folder(classes, 'whole')}")
    loaded = data.load(f"folder:{make_folder(classes | broken)}", skip_broken=True)
    assert set(by_name(loaded)) == set(classes)
    for name, (picture, class_name) in by_name(loaded).items():
        np.testing.assert_array_equal(picture, classes[name])
        assert class_name == name.split("/")[0]
    assert any("4 unreadable files left out: cat/cut.jpg (broken" in note for note in loaded.notes)
    assert loaded.counts == whole.counts and loaded.image_shape == whole.image_shape
    assert loaded.fingerprint == whole.fingerprint


@pytest.mark.slow
def test_no_more_than_ten_are_named(make_folder, classes):
    root = make_folder(classes | {f"cat/b{i:02d}.jpg": b"" for i in range(13)})
    with pytest.raises(
        UserError, match=r"13 files .*b09.jpg \(an empty file\) and 3 more\. Repair"
    ):
        data.load(f"folder:{root}")


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0"])
def test_a_class_of_broken_files_does_not_disappear(make_folder, classes, content):
    root = make_folder(classes | {"ant/1.jpg": content})
    with pytest.raises(UserError, match=r"all 1 pictures of class 'ant'.*unreadable"):
        data.load(f"folder:{root}", skip_broken=True)


@pytest.mark.slow
def test_other_files(make_folder, classes, noise):
    others = {
        "cat/.DS_Store": b"x",
        "dog/Thumbs.db": b"x",
        ".git/config": b"x",
        "cat/._00.png": b"x",
        "cat/notes.txt": b"x",
        "README.md": b"x",
        "cat/photo.jxl": b"\xff\x0a",
        "cat/map.jp2": b"\0\0\0\x0cjP  \r\n",
        "dog/drawing.svg": b"<svg/>",
    }
    loaded = data.load(f"folder:{make_folder(classes | others)}")
    assert set(by_name(loaded)) == set(classes)
    assert loaded.notes == (
        "3 pictures left out, in formats that are not read; convert them to PNG or JPEG; SVG has "
        "no pixels until it is drawn: rsvg-convert -w 512 A.svg -o A.png: "
        "cat/map.jp2 (JPEG 2000), cat/photo.jxl (JPEG XL), dog/drawing.svg (SVG)",
        "2 other files left out: README.md, cat/notes.txt",
    )


def test_empty_and_tiny_classes(make_folder, classes, noise):
    root = make_folder(classes | {"eel/only.png": noise(99)})
    (root / "ant").mkdir()
    loaded = data.load(f"folder:{root}")
    assert loaded.class_names == ("cat", "dog", "eel")
    assert "eel/only.png" in loaded.splits["train"].origins
    assert "class folders without a readable picture: ant" in loaded.notes
    assert "classes of a single picture, which stays in train: eel" in loaded.notes


def test_symbolic_links_are_followed_once(make_folder, classes):
    store = make_folder(classes, "store")
    root = make_folder({}, "linked")
    (root / "dog").symlink_to(store / "dog")
    (root / "cat").mkdir()
    (root / "cat/loop").symlink_to(root / "cat")
    (root / "cat/all").symlink_to(store / "cat")
    (root / "cat/one.png").symlink_to(store / "cat/03.png")
    names = set(by_name(data.load(f"folder:{root}")))
    assert len(names) == 21 and {"dog/09.png", "cat/all/09.png", "cat/one.png"} <= names


def test_both_spellings_of_an_accent_are_one_class(make_folder, noise):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    files = {f"train/{name}/{i}.png": noise(i) for name in (composed, "tea") for i in range(5)}
    files |= {
        f"test/{name}/{i}.png": noise(50 + i) for name in (decomposed, "tea") for i in range(5)
    }
    loaded = data.load(f"folder:{make_folder(files)}")
    assert loaded.class_names == (composed, "tea") and loaded.counts["test"] == 10


@pytest.mark.slow
def test_names_that_are_not_utf8(make_folder, classes):
    root = make_folder(classes)
    try:
        shutil.copy(root / "cat/00.png", os.fsencode(root / "cat") + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for limit in (2**20, 0):
        assert "cat/caf\ufffd.png" in by_name(data.load(f"folder:{root}", memory_limit=limit))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"cat/a.txt": b"x", "dog/b.txt": b"x"},
            "no pictures (JPEG, PNG, GIF, BMP, WebP, TIFF, Netpbm, AVIF, HEIC) in the class",
        ),
        ({"cat/a.jxl": b"\xff\x0a"}, "it holds cat/a.jxl (JPEG XL): convert them"),
        ({"cat/a.jpg": b""}, "no pictures (JPEG, PNG, GIF, BMP, WebP"),
        ({"cat/a.png": 0, "cat/b.png": 1}, "pictures of 1 class: cat; a classifier needs two"),
        ({"train/cat/a.png": 0, "test/dog/a.png": 1}, "the train/ of"),
        ({"test/cat/a.png": 0, "val/dog/a.png": 0}, "test/, val/ but no train/"),
        (
            {"val/a/a.png": 0, "valid/a/a.png": 0, "train/a/a.png": 0},
            "two folders for the validation",
        ),
        (
            {"train/a/a.png": 0, "train/b/a.png": 0, "test/c/a.png": 0, "test/a/a.png": 0},
            "the test split of",
        ),
        ({"a/a.png": 0, "b/b.png": 1}, "no examples are left for the test split"),
    ],
)
def test_what_is_wrong_with_a_folder(make_folder, noise, files, said):
    root = make_folder({k: noise(v) if isinstance(v, int) else v for k, v in files.items()})
    with pytest.raises(UserError) as error:
        data.load(f"folder:{root}")
    assert said in str(error.value)


@pytest.mark.slow
def test_streamed_pictures_are_the_same(make_folder, classes, broken):
    spec = f"folder:{make_folder(classes | broken)}"
    size = 20 * 8 * 8 * 3
    held = data.load(spec, image_size=8, skip_broken=True, memory_limit=24 * 8 * 8 * 3)
    streamed = data.load(spec, image_size=8, skip_broken=True, memory_limit=size)
    assert held.fingerprint == streamed.fingerprint
    held_pictures, streamed_pictures = by_name(held), by_name(streamed)
    assert list(held_pictures) == list(streamed_pictures)
    for name, (picture, class_name) in held_pictures.items():
        np.testing.assert_array_equal(streamed_pictures[name][0], picture)
        assert streamed_pictures[name][1] == class_name
    one, other = (list(x.test.as_numpy_iterator()) for x in (held, streamed))
    for (picture, label), (same, same_label) in zip(one, other, strict=True):
        np.testing.assert_array_equal(picture, same)
        assert label == same_label
    # Only streaming reads the files again.
    name = streamed.splits["test"].origins[0]
    path = spec.removeprefix("folder:") + f"/{name}"
    Image.new("RGB", (8, 8), "white").save(path)
    assert (streamed.splits["test"].take([0]) == 255).all()
    assert not (held.splits["test"].take([0]) == 255).all()


@pytest.mark.slow
def test_streaming_decodes_in_a_dataset_of_batches(make_folder, classes):
    import tensorflow as tf

    split = data.load(f"folder:{make_folder(classes)}", memory_limit=0).splits["train"]
    batches = tf.data.Dataset.range(len(split)).batch(4).map(split.images)
    assert batches.element_spec.shape == (None, 8, 8, 3)
    together = np.concatenate(list(batches.as_numpy_iterator()))
    np.testing.assert_array_equal(together, split.take(range(len(split))))


@pytest.mark.slow
def test_the_fingerprint_is_of_the_content_and_not_of_the_place(make_folder, classes):
    first = data.load(f"folder:{make_folder(classes, 'here')}")
    moved = data.load(f"folder:{make_folder(classes, 'there')}")
    assert first.fingerprint == moved.fingerprint and len(first.fingerprint) == 64
    pixel = classes["dog/07.png"].copy()
    pixel[0, 0, 0] ^= 1
    changed = [
        classes | {"dog/07.png": pixel},
        classes | {"dog/10.png": pixel},
        {name.replace("dog", "eel"): x for name, x in classes.items()},
        {name.replace("dog/07", "dog/07b"): x for name, x in classes.items()},  # in its old place
    ]
    others = {
        data.load(f"folder:{make_folder(files, str(i))}").fingerprint
        for i, files in enumerate(changed)
    }
    spec = f"folder:{make_folder({}, 'here')}"
    others |= {data.load(spec, seed=1).fingerprint, data.load(spec, image_size=9).fingerprint}
    assert len(others - {first.fingerprint}) == 6


@pytest.mark.slow
def test_preparing_a_folder_checks_it(make_folder, classes):
    root = make_folder(classes)
    said = data.prepare(f"folder:{root}")
    assert "14 train, 2 validation, 4 test" in said
    make_folder({"cat/cut.jpg": b""})
    with pytest.raises(UserError, match="cat/cut.jpg"):
        data.prepare(f"folder:{root}")


@pytest.mark.slow
def test_loaded_again_by_the_flags_of_its_run(make_folder, noise):
    """What quantizes or looks at a run later has its splits, groups and folds included."""
    files = {
        f"{c}/p{p}_{i}.png": noise(1000 * p + i + 50 * (c == "dog"))
        for c in ("cat", "dog")
        for p in range(10)
        for i in range(3)
    }
    spec = f"folder:{make_folder(files)}"
    flags = {"dataset": spec, "data_dir": None, "seed": 3, "validation_fraction": 0.2}
    flags |= {"group_pattern": r"(p\d+)_", "epochs": 5}
    plain = data.load(spec, seed=3, validation_fraction=0.2)
    found = data.load_as_configured(flags)
    wanted = data.load(spec, seed=3, validation_fraction=0.2, group_pattern=r"(p\d+)_")
    assert found.fingerprint == wanted.fingerprint != plain.fingerprint
    found = data.load_as_configured(flags | {"folds": 5, "fold": 1})
    wanted = data.load(spec, seed=3, validation_fraction=0.2, group_pattern=r"(p\d+)_", fold=(1, 5))
    assert found.fingerprint == wanted.fingerprint
    found = data.load_as_configured(flags | {"folds": 5, "fold": None}, image_size=4)
    assert found.image_shape[:2] == (4, 4)


@pytest.mark.slow
def test_resize_by_what_the_pictures_are(make_folder, noise):
    wide = {
        f"{c}/{i}.png": noise(i, 8, 16 if i % 2 else 8) for c in ("cat", "dog") for i in range(8)
    }
    spec = f"folder:{make_folder(wide)}"
    found = data.load(spec, image_size=8, resize="auto")
    assert found.reading.resize == "fit" and any("8 of 16 pictures" in n for n in found.notes)
    assert data.load(spec, image_size=8).reading.resize == "stretch"
    prints = {
        data.load(spec, image_size=8, resize=r).fingerprint for r in ("fit", "crop", "stretch")
    }
    assert len(prints) == 3
    square = {
        f"{c}/{i}.png": noise(i + 99 * (c == "cat"), 8, 8) for c in ("cat", "dog") for i in range(8)
    }
    found = data.load(f"folder:{make_folder(square, 'square')}", resize="auto")
    assert found.reading.resize == "stretch" and not found.notes
    with pytest.raises(UserError, match="it is one of"):
        data.load(spec, resize="squash")
    with pytest.raises(UserError, match="is for folder"):
        data.load("digits", resize="crop")


FLAT = {f"{c}_{i}.png": 99 * (c == "cat") + i for c in ("cat", "dog") for i in range(8)}
NESTED = {
    f"{s}/{k}": seed + 500 * (s == "test") for s in ("train", "test") for k, seed in FLAT.items()
}
TABLE = "file_name,label\n" + "".join(f"{name},{name[:3]}\n" for name in FLAT)
IDS = "id,who\n" + "".join(f"{name[:-4]},{name[:3]}\n" for name in FLAT)
# Pictures, further files, arguments of `load`, words of a note or of a refusal (which begins with !).
LABELLED = {
    "a pattern": (FLAT, {}, {"label_pattern": "^([a-z]+)_"}, None),
    "a pattern that fits some": (FLAT | {"7.png": 77}, {}, {"label_pattern": "([a-z]+)_"}, "1 pictures have no label"),
    "a pattern in folders": (NESTED, {}, {"label_pattern": "([a-z]+)_"}, None),
    "a pattern without a group": (FLAT, {}, {"label_pattern": "[a-z]+"}, "!has 0 groups"),
    "a table": (FLAT, {"../t.csv": TABLE}, {"labels": "t.csv"}, None),
    "a table of names without endings": (FLAT, {"../t.csv": IDS}, {"labels": "t.csv"}, None),
    "a table with more files": (FLAT, {"../t.csv": TABLE + "eel.png,eel\n"}, {"labels": "t.csv"}, "1 files of .* such as eel.png"),
    "a table with fewer files": (FLAT | {"x.png": 77}, {"../t.csv": TABLE}, {"labels": "t.csv"}, "1 pictures have no label"),
    "a picture of two classes": (FLAT, {"../t.csv": TABLE + "cat_0.png,dog\n"}, {"labels": "t.csv"}, "!is of two classes"),
    "a name of two pictures": (NESTED, {"../t.csv": IDS}, {"labels": "t.csv"}, "!cat_0 may be"),
    "a table of other columns": (FLAT, {"../t.csv": "a,b,c\n1,2,3\n"}, {"labels": "t.csv"}, "!has the columns 'a', 'b', 'c'"),
    "metadata.csv": (FLAT, {"metadata.csv": TABLE}, {}, None),
    "metadata.csv of each split": (NESTED, {"train/metadata.csv": TABLE, "test/metadata.csv": TABLE}, {}, None),
    "both": (FLAT, {"../t.csv": TABLE}, {"labels": "t.csv", "label_pattern": "(.)"}, "!not by both"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", LABELLED)
def test_labels_that_no_folder_says(make_folder, noise, tmp_path, case):
    files, texts, arguments, words = LABELLED[case]
    root = make_folder({name: noise(seed) for name, seed in files.items()})
    for name, text in texts.items():
        (root / name).write_text(text)
    if "labels" in arguments:
        arguments = arguments | {"labels": tmp_path / arguments["labels"]}
    if words and words[0] == "!":
        with pytest.raises(UserError, match=words[1:]):
            data.load(f"folder:{root}", **arguments)
        return
    found = data.load(f"folder:{root}", **arguments)
    assert found.class_names == ("cat", "dog")
    for name, split in found.splits.items():
        for origin, label in zip(split.origins, split.labels, strict=True):
            assert found.class_names[label] + "_" in origin
            assert ("test/" in origin) == (name == "test") or files.keys() & FLAT.keys()
    assert any(re.search(words, note) for note in found.notes) if words else not found.notes


def test_labels_are_for_folders(tmp_path):
    with pytest.raises(UserError, match="for folder:PATH"):
        data.load("digits", label_pattern="(.)")
