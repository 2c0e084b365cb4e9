"""Image files through a published version."""

import numpy as np
import pytest
from PIL import Image

from kapps import models, serving
from kapps.errors import UserError
from serving.small_classifier import CLASS_NAMES


@pytest.fixture
def files(images, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.mark.slow
def test_the_most_probable_labels_come_first(published, files):
    for path in (published.version, published.version.parent):
        answers = serving.predict(path, files, top=2)
        assert [file for file, _ in answers] == [str(file) for file in files]
        for (_, best), row in zip(answers, published.expected, strict=True):
            order = sorted(range(4), key=lambda i: row[i], reverse=True)[:2]
            assert [label for label, _ in best] == [CLASS_NAMES[i] for i in order]
            np.testing.assert_allclose([p for _, p in best], row[order], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_a_generative_model_is_told_from_a_classifier(files, tmp_path):
    vae = serving.export_generator(
        models.dense_vae((4, 4, 1), 2, units=(3,), classes=2), tmp_path, class_names=("a", "b")
    )
    with pytest.raises(UserError) as refused:
        serving.predict(vae, files)
    message = str(refused.value)
    assert message.startswith(
        f"{vae}: a generative model, not an image classifier. It reconstructs"
    )
    assert "samples pictures (sample: count, seed)" in message and "model_card.md" in message
    assert "\n" not in message


@pytest.mark.slow
def test_more_files_than_one_batch_keep_their_order(published, files):
    many = [files[i % 3] for i in range(70)]
    answers = serving.predict(published.version, many, top=1)
    one = {file: best for file, best in serving.predict(published.version, files[:3], top=1)}
    assert [(f, best[0][0]) for f, best in answers] == [(str(f), one[str(f)][0][0]) for f in many]


@pytest.mark.slow
def test_top_is_cut_to_the_number_of_classes(published, files):
    [(_, best)] = serving.predict(published.version, files[:1], top=99)
    assert len(best) == 4 and sum(p for _, p in best) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(UserError, match="top is 0"):
        serving.predict(published.version, files, top=0)


@pytest.mark.slow
def test_the_unreadable_files_are_named_and_the_others_answered(published, files):
    expected = serving.predict(published.version, [*files[:4], files[5]])
    files[4].write_text("not an image")
    nowhere = files[0].with_name("nowhere.png")
    with pytest.raises(serving.SomeUnreadable) as refused:
        serving.predict(published.version, [*files[:4], nowhere, *files[4:]])
    first, second = str(refused.value).splitlines()
    assert first.endswith("nowhere.png: cannot be read: No such file or directory")
    assert "4.png: cannot be read as an image" in second
    for (file, labels), (name, wanted) in zip(refused.value.answers, expected, strict=True):
        assert file == name
        assert [label for label, _ in labels] == [label for label, _ in wanted]
        np.testing.assert_allclose([p for _, p in labels], [p for _, p in wanted], rtol=1e-5)


@pytest.mark.slow
def test_a_bad_file_in_a_later_batch(published, files):
    files[4].write_bytes(b"")
    with pytest.raises(
        serving.SomeUnreadable, match="4.png: cannot be read as an image"
    ) as refused:
        serving.predict(published.version, [*files[:4] * 10, files[4], *files[:2]])
    assert len(refused.value.answers) == 42


@pytest.mark.slow
def test_other_formats_are_converted_on_the_way(published, images, tmp_path):
    """The model's own graph reads neither."""
    options = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}
    paths = {format: tmp_path / f"{format}.dat" for format in options}
    for format, path in paths.items():
        Image.fromarray(images[0]).save(path, format, **options[format])
    (_, expected), *others = serving.predict(published.version, list(paths.values()))
    assert [found for _, found in others] == [expected] * 2
    (tmp_path / "drawing.svg").write_text("<svg/>")
    with pytest.raises(UserError, match="drawing.svg: SVG is not read.*rsvg-convert"):
        serving.predict(published.version, [tmp_path / "drawing.svg"])


@pytest.mark.slow
def test_the_missing_file_is_named(published, files, tmp_path):
    with pytest.raises(UserError) as refused:
        serving.predict(published.version, [files[0], tmp_path / "nowhere.png", tmp_path])
    missing, directory = str(refused.value).splitlines()
    assert "nowhere.png: cannot be read: No such file" in missing
    assert "cannot be read: Is a directory" in directory


def test_a_broken_savedmodel_is_named(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"not a graph")
    with pytest.raises(UserError, match="the SavedModel cannot be read"):
        serving.load(tmp_path)
    with pytest.raises(UserError, match="no such directory"):
        serving.load(tmp_path / "nowhere")
