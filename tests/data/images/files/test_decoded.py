"""Decoding many files: in bulk what is as it should be, with care what is not."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps import data
from kapps.data.images.files import decoded, index
from kapps.data.images.files.decode import decode_image
from kapps.data.images.files.formats import DECODED
from kapps.data.images.files.transcoding import decodable
from kapps.errors import UserError

NAMES = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WEBP": "webp", "TIFF": "tif"}


@pytest.fixture
def folder(tmp_path, noise):
    """Two pictures of each format, one of them turned where there is EXIF; none is square."""
    for i, kind in enumerate(NAMES):
        for j, name in enumerate("ab"):
            tags = Image.Exif()
            tags[0x0112] = 6
            options = {"exif": tags} if j and kind in ("JPEG", "PNG", "WEBP") else {}
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(noise(10 * i + j, 24, 37))
            picture.save(tmp_path / "data" / name / f"{i}.{NAMES[kind]}", kind, **options)
    return tmp_path / "data"


@pytest.fixture
def careful(monkeypatch):
    """The names of files that were decoded for themselves."""
    names, whole = [], decoded._Decoding._with_care

    def noted(self, row):
        names.append(self._pictures[row].name)
        return whole(self, row)

    monkeypatch.setattr(decoded._Decoding, "_with_care", noted)
    return names


def pictures_of(loaded):
    return {
        name: picture
        for split in loaded.splits.values()
        for name, picture in zip(split.origins, split.take(range(len(split))), strict=True)
    }


@pytest.mark.slow
@pytest.mark.parametrize(("at_once", "side"), [(1, 16), (4, 48)])
def test_all_formats_have_the_pixels_of_the_one_decoder(
    folder, careful, monkeypatch, at_once, side
):
    """Smaller and larger ones; how many are read at once says nothing of how they are resized."""
    monkeypatch.setattr(index.FolderIndex, "at_once", at_once)
    monkeypatch.setattr(decoded, "_TOGETHER", 3)
    loaded = data.load(f"folder:{folder}", decoded="memory", image_size=side, channels=3)
    found = pictures_of(loaded)
    assert len(found) == 2 * len(NAMES)
    for name, picture in found.items():
        contents = decodable((folder / name).read_bytes(), graph=DECODED)
        expected = decode_image(contents, (side, side, 3), loaded.reading)
        np.testing.assert_array_equal(picture, expected, err_msg=name)
    assert not careful


@pytest.mark.slow
def test_broken_files_alone_are_looked_at_with_care(folder, careful):
    for name in ("a/0.jpg", "b/0.jpg", "a/1.png", "b/5.tif"):
        file = folder / name
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError) as refused:
        data.load(f"folder:{folder}", image_size=16, decoded="none")
    for name, kind in {"a/0.jpg": "JPEG", "a/1.png": "PNG", "b/0.jpg": "JPEG"}.items():
        assert f"{name} (broken or truncated {kind})" in str(refused.value)
    assert sorted(careful) == ["a/0.jpg", "a/1.png", "b/0.jpg", "b/5.tif"]
    loaded = data.load(f"folder:{folder}", image_size=16, decoded="none", skip_broken=True)
    assert sum(loaded.counts.values()) == 2 * len(NAMES) - 4


@pytest.mark.slow
def test_files_that_have_become_others_since_they_were_listed(folder, careful, monkeypatch):
    """TensorFlow's decoder of JPEG takes a PNG, too, and drops what is transparent.

    An animated WebP in the place of a WebP must not come to its decoder at all.
    """
    film = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (0, 255)]
    others = {"a/0.jpg": io.BytesIO(), "a/4.webp": io.BytesIO()}
    Image.new("RGBA", (8, 8)).save(others["a/0.jpg"], "PNG")
    film[0].save(others["a/4.webp"], "WEBP", save_all=True, append_images=film[1:])
    read = index.FolderIndex.read

    def another(self, path):
        name = "/".join(path.split("/")[-2:])
        return others[name].getvalue() if name in others else read(self, path)

    monkeypatch.setattr(index.FolderIndex, "read", another)
    found = pictures_of(data.load(f"folder:{folder}", image_size=8, decoded="memory"))
    assert sorted(careful) == sorted(others)
    assert (found["a/0.jpg"] == 255).all() and not found["a/4.webp"].any()


@pytest.mark.slow
def test_a_graph_that_fails_for_lack_of_memory_is_no_verdict(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("KAPPS_CACHE", str(tmp_path / "cache"))

    def fails(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "no memory")

    with monkeypatch.context() as patched:
        patched.setattr(decoded, "decode_kind", lambda content, *_, **__: _failing(content))
        patched.setattr(decoded, "_decoder", lambda *_: fails)
        with pytest.raises(UserError, match="12 files .* cannot be read"):
            data.load(f"folder:{folder}", image_size=16)
    assert len(pictures_of(data.load(f"folder:{folder}", image_size=16))) == 12


def _failing(content):
    with tf.control_dependencies([tf.debugging.Assert(False, [content])]):
        return tf.zeros((16, 16, 3), tf.uint8)


def test_files_are_read_by_number_and_size(monkeypatch):
    monkeypatch.setattr(decoded, "_CHUNK", 10)
    monkeypatch.setattr(decoded, "_TOGETHER", 3)
    chunks = decoded._chunks([1, 1, 1, 1, 30, 5, 5, 1], 1)
    assert chunks.tolist() == [[0, 3], [3, 4], [4, 5], [5, 7], [7, 8]]
    assert decoded._chunks([1, 1], 2).tolist() == [[0, 1], [1, 2]]
