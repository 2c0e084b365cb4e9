"""Images in shards are those of a folder: examples, classes, batches, and what is wrong."""

import io
import json
import pathlib
import tarfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps import cli, data
from kapps.data.images.files import decoded, index, shard_labels, shards
from kapps.data.shards import storage
from kapps.errors import UserError

CLASSES = ("ape", "bear", "cat")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache directory; every file counts as settled."""
    monkeypatch.setenv("KAPPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(index, "SETTLED", -(10**18))
    monkeypatch.setattr(shards, "SETTLED", -(10**18))
    return tmp_path / "cache"


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def images(noise):
    """(class, content) of eight images of each class, in the order of a folder."""
    return [(name, png(noise(10 * k + i))) for k, name in enumerate(CLASSES) for i in range(8)]


def feature(value):
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    value = value.encode() if isinstance(value, str) else value
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def write_tfrecord(path: pathlib.Path, samples, keys=("image/encoded", "image/class/text")):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for label, content in samples:
            values = dict(zip(keys, (content, label), strict=True))
            features = tf.train.Features(feature={k: feature(v) for k, v in values.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())


def write_tar(path: pathlib.Path, samples, ending="cls", first=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number, (label, content) in enumerate(samples, first):
            for end, part in (("png", content), (ending, label)):
                part = part if isinstance(part, bytes) else str(part).encode()
                info = tarfile.TarInfo(f"{number:06d}.{end}")
                info.size = len(part)
                archive.addfile(info, io.BytesIO(part))


WRITERS = {"tfrecord": (write_tfrecord, "s-{}.tfrecord"), "webdataset": (write_tar, "s-{}.tar")}


def in_shards(root, kind, samples, count=4):
    """Writes samples into shards, in their order; gives the spec."""
    write, name = WRITERS[kind]
    for number, rows in enumerate(np.array_split(np.arange(len(samples)), count)):
        write(root / name.format(number), [samples[row] for row in rows])
    return f"{kind}:{root}/{name.format('*')}"


def contents(loaded):
    """Of each split labels and pixels."""
    return {
        name: (split.labels.tolist(), split.take(range(len(split))).tobytes())
        for name, split in loaded.splits.items()
    }


def first_batches(loaded):
    train = data.TrainingBatches(loaded.splits["train"], 4, prepare=lambda x, y, seed: (x, y))
    batches = train.dataset(0, 1).take(3)
    return [(x.tobytes(), y.tolist()) for x, y in batches.as_numpy_iterator()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_they_are_those_of_a_folder(tmp_path, cache, make_folder, images, kind):
    folder = make_folder({f"{n}/{i:02d}.png": content for i, (n, content) in enumerate(images)})
    expected = data.load(f"folder:{folder}", decoded="memory")
    spec = in_shards(tmp_path / "shards", kind, images)
    for place in ("none", "disk", "memory"):
        loaded = data.load(spec, decoded=place)
        assert loaded.class_names == expected.class_names == CLASSES
        assert loaded.image_shape == expected.image_shape and loaded.counts == expected.counts
        assert contents(loaded) == contents(expected)
        assert first_batches(loaded) == first_batches(expected)
        assert loaded.notes == expected.notes
    names = [name for split in loaded.splits.values() for name in split.origins]
    first = {"tfrecord": "s-0.tfrecord/0", "webdataset": "s-0.tar/000000.png"}[kind]
    assert first in names and len(set(names)) == len(images)


@pytest.mark.slow
def test_a_second_start_goes_through_no_shard_and_decodes_nothing(
    tmp_path, cache, images, monkeypatch
):
    spec = in_shards(tmp_path, "webdataset", images)
    first = data.load(spec, decoded="disk")
    with monkeypatch.context() as patched:
        patched.setattr(shards, "_scan", lambda *given, **_: pytest.fail(f"{given} was scanned"))
        patched.setattr(decoded, "_Decoding", lambda *_: pytest.fail("an image was decoded"))
        patched.setattr(storage._Local, "read", lambda *given: pytest.fail(f"{given} was read"))
        again = data.load(spec, decoded="disk")
    assert contents(again) == contents(first) and again.fingerprint == first.fingerprint
    # One shard has another image: it is noticed, and the others are not gone through.
    scanned, scan = [], shards._scan
    monkeypatch.setattr(
        shards,
        "_scan",
        lambda kind, path, *a, **k: (scanned.append(path), scan(kind, path, *a, **k))[1],
    )
    other = images[:5] + [("ape", png(np.zeros((8, 8, 3), np.uint8)))]
    write_tar(tmp_path / "s-0.tar", other)
    changed = data.load(spec, decoded="disk")
    assert scanned == [f"{tmp_path}/s-0.tar"] and changed.fingerprint != first.fingerprint
    assert b"\0" * 192 in b"".join(pixels for _, pixels in contents(changed).values())


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_another_image_of_the_same_length_in_the_same_place(tmp_path, cache, noise, kind):
    def plain(seed):  # stored, not packed: all are of one length
        buffer = io.BytesIO()
        Image.fromarray(noise(seed)).save(buffer, "PNG", compress_level=0)
        return buffer.getvalue()

    samples = [(name, plain(i)) for i, name in enumerate(CLASSES * 4)]
    spec = in_shards(tmp_path, kind, samples, 1)
    first = data.load(spec, decoded="disk")
    other = [*samples[:-1], (samples[-1][0], plain(99))]
    assert len(other[-1][1]) == len(samples[-1][1])
    in_shards(tmp_path, kind, other, 1)
    again = data.load(spec, decoded="disk")
    assert contents(again) != contents(first) and again.fingerprint != first.fingerprint


@pytest.mark.slow
def test_a_machine_reads_its_own_rows_alone(tmp_path, images, monkeypatch):
    split = data.load(in_shards(tmp_path, "tfrecord", images), decoded="none").splits["train"]
    train = data.TrainingBatches(split, 4, prepare=lambda x, y, seed, part: (x, y), neighbours=0)
    whole = [x[2:] for x, _ in train.dataset(0, 1).as_numpy_iterator()]
    read, one = [], shards._RowReader._one
    monkeypatch.setattr(
        shards._RowReader, "_one", lambda self, row: (read.append(row), one(self, row))[1]
    )
    own = [x for x, _ in train.parts(0, 1, replicas=range(1, 2), of=2).as_numpy_iterator()]
    np.testing.assert_array_equal(own, whole)
    assert len(read) == 2 * train.steps


@pytest.mark.slow
def test_data_that_were_moved_are_the_same(tmp_path, cache, images):
    first = data.load(in_shards(tmp_path / "a", "tfrecord", images), decoded="none")
    assert not cache.exists()
    moved = data.load(in_shards(tmp_path / "b/c", "tfrecord", images), decoded="memory")
    assert moved.fingerprint == first.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_splits_by_the_names_of_shards(tmp_path, cache, images, kind):
    write, _ = WRITERS[kind]
    parts = {"train-0": images[::2], "train-1": images[1::4], "validation-0": images[3::4]}
    for name, samples in parts.items():
        write(tmp_path / f"{name}-of-n", samples)
    loaded = data.load(f"{kind}:{tmp_path}/*-of-n", decoded="memory")
    assert loaded.counts["validation"] == 6
    assert loaded.counts["train"] + loaded.counts["test"] == 18
    held = loaded.splits["validation"]
    decode = [np.asarray(Image.open(io.BytesIO(content))) for _, content in images[3::4]]
    np.testing.assert_array_equal(held.take(range(6)), decode)


@pytest.mark.slow
def test_a_test_split_without_labels_is_left_out(tmp_path, cache, images):
    keys = ("image", "label")
    numbered = [(CLASSES.index(name), content) for name, content in images]
    write_tfrecord(tmp_path / "x-train.tfrecord-0", numbered, keys)
    write_tfrecord(tmp_path / "x-test.tfrecord-0", [(-1, c) for _, c in images], keys)
    loaded = data.load(f"tfrecord:{tmp_path}/x-*", decoded="memory")
    assert any("24 images of the test split have no labels" in note for note in loaded.notes)
    assert sum(loaded.counts.values()) == 24 and loaded.class_names == ("0", "1", "2")
    (tmp_path / "label.labels.txt").write_text("\n".join(CLASSES))
    assert data.load(f"tfrecord:{tmp_path}/x-*", decoded="memory").class_names == CLASSES


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_broken_is_counted_and_named(tmp_path, cache, images, kind, capsys):
    broken = [*images[:3], ("ape", images[3][1][:60]), ("ape", b"text"), *images[5:]]
    spec = in_shards(tmp_path, kind, broken, count=1)
    path = next(tmp_path.glob("s-0.*"))
    # The last image and its label, or the last record, is cut off.
    path.write_bytes(path.read_bytes()[: -30 if kind == "tfrecord" else -9000])
    with pytest.raises(UserError) as error:
        data.load(spec, decoded="memory")
    name = {"tfrecord": "s-0.tfrecord/{}", "webdataset": "s-0.tar/{:06d}.png"}[kind]
    last = {"tfrecord": "s-0.tfrecord/23 (the shard is cut off", "webdataset": "(end) (the shard"}
    for said in (
        f"{name.format(3)} (broken or truncated PNG)",
        f"{name.format(4)} (not the content of a picture)",
        last[kind],
        "--skip-broken",
    ):
        assert said in str(error.value)
    loaded = data.load(spec, decoded="memory", skip_broken=True)
    # Of the tar file three whole samples are lost, and the label of another.
    left = {"tfrecord": 21, "webdataset": 18}[kind]
    assert sum(loaded.counts.values()) == left and "unreadable" in str(loaded.notes)
    cli.main(["data", "describe", spec, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert name.format(3) in report["unreadable"] and sum(report["counts"].values()) == left


@pytest.mark.parametrize(
    "samples, said",
    [
        ([("a", b"<svg"), ("b", b"<svg")], "it holds s-0.tar/000000.png .SVG."),
        ([("a", b"x")], "s-0.tar/000000.png .not the content of a picture."),
    ],
)
def test_no_image_at_all(tmp_path, cache, samples, said):
    with pytest.raises(UserError, match=f"no pictures .*in 'webdataset:.*{said}"):
        data.load(in_shards(tmp_path, "webdataset", samples, 1), decoded="none")


def test_a_class_of_images_that_are_not_read(tmp_path, cache, images):
    samples = [*images[:9], ("svg", b"<svg xmlns>")]
    with pytest.raises(UserError, match="all pictures of class 'svg' in 'webdataset:.*are SVG"):
        data.load(in_shards(tmp_path, "webdataset", samples, 1), decoded="none")


def told(labels, texts=None, asked="auto", paths=("/nowhere/a",)):
    texts = texts or [""] * len(labels)
    return shard_labels.name_classes("tfrecord:x", list(paths), labels, texts, asked)


def test_numbers_of_classes():
    from_one = told(["1", "2", "10"])
    assert from_one.numbered and from_one.kind == "classes"
    assert "run from 1 to 10, without a 0: they are counted from 1" in from_one.notes[0]
    assert told(["0", "2", "10"]).notes == ()
    # However many: they are no quantities.
    assert told([str(7 * i) for i in range(100)]).kind == "classes"
    named = told(["1", "2"], ["tench", "goldfish"])
    assert named.names == ["tench", "goldfish"] and not named.numbered
    # ImageNet has two classes called crane.
    cranes = told(["134", "517", "1"], ["crane", "crane", "tench"])
    assert cranes.names == ["crane (134)", "crane (517)", "tench"]
    assert "numbers are added to crane" in cranes.notes[-1]
    odd = told(["1", "1", "2"], ["a", "b", "c"])
    assert odd.names == ["1", "1", "2"] and "label 1 has several texts (a, b)" in odd.notes[-1]


def test_words_quantities_several_and_captions():
    assert told(["cat", "dog"]) == shard_labels.Told(["cat", "dog"], "auto")
    assert told(["0.5", "1.25", "3"]).kind == "auto"  # `targets_of` makes numbers of them
    assert told(["1", "2"], asked="number").kind == "number"
    assert told(["a|b", "a"]).kind == "auto"
    with pytest.raises(UserError, match=r"several labels, such as 'a\|b'.*--target-kind labels"):
        told(["a|b", "a"], asked="classes")
    with pytest.raises(UserError, match="20 images have 20 different labels.*no classes"):
        told([f"a photograph, number {i}" for i in range(20)])
    told(["cat", "dog"] * 10)


@pytest.mark.slow
def test_numbers_are_ordered_as_numbers(tmp_path, cache, noise):
    samples = [(i % 12 + 1, png(noise(i))) for i in range(60)]
    loaded = data.load(in_shards(tmp_path, "webdataset", samples, 1), decoded="memory")
    assert loaded.class_names == tuple(map(str, range(1, 13)))
    assert any("counted from 1" in note for note in loaded.notes)


@pytest.mark.slow
def test_shards_elsewhere(cache, images, tmp_path):
    memory = pytest.importorskip("fsspec").filesystem("memory")
    expected = data.load(in_shards(tmp_path, "webdataset", images), decoded="memory")
    memory.pipe({f"/far/{path.name}": path.read_bytes() for path in tmp_path.glob("s-*.tar")})
    try:
        for place in ("none", "disk"):
            loaded = data.load("webdataset:memory://far/s-{0..3}.tar", decoded=place)
            assert contents(loaded) == contents(expected)
            assert first_batches(loaded) == first_batches(expected)
            assert loaded.fingerprint == expected.fingerprint
    finally:
        memory.rm("/far", recursive=True)


@pytest.mark.slow
def test_prepare_and_clean(tmp_path, cache, images, capsys):
    spec = in_shards(tmp_path / "shards", "tfrecord", images)
    cli.main(["data", "prepare", spec])
    assert f"{spec} is decoded to 8x8x3, and kept in '{cache}/folders/" in capsys.readouterr().out
    assert len(list(cache.rglob("*.pixels"))) == len(list(cache.rglob("shards.npz"))) == 1
    cli.main(["data", "clean", spec])
    assert f"kept of {spec}" in capsys.readouterr().out and not list(cache.rglob("*.pixels"))


def test_have_the_files_changed(tmp_path, images):
    spec = in_shards(tmp_path, "webdataset", images[:4], 2)
    before = data.quick_fingerprint(spec)
    assert data.quick_fingerprint(spec) == before
    write_tar(tmp_path / "s-1.tar", images[:3])
    assert data.quick_fingerprint(spec) != before
    far = [data.quick_fingerprint(f"webdataset:s3://bucket/{name}.tar") for name in "ab"]
    assert far[0] != far[1]
