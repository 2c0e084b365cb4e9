"""What is in a picture, without a trained model. `kapps predict --pretrained` is in test_cli.py."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps import models, serving
from kapps.errors import UserError
from kapps.serving import naming


@pytest.mark.parametrize(
    "height, width, rows, columns",
    [
        (5, 5, slice(0, 5), slice(0, 5)),
        (4, 7, slice(0, 4), slice(1, 5)),
        (8, 3, slice(2, 5), slice(0, 3)),
    ],
)
def test_centre_square(height, width, rows, columns):
    image = np.arange(height * width * 3).reshape(height, width, 3)
    np.testing.assert_array_equal(naming.centre_square(image), image[rows, columns])


@pytest.mark.slow
def test_batches_labels_and_mistakes(tmp_path, monkeypatch):
    """A network that tells how red a picture is: class 0, 1, 2, ... for redness 0, 1, 2, ..."""

    def classifier(name):
        return lambda x, training: tf.one_hot(tf.cast(x[:, 0, 0, 0], tf.int32), 1000) * 20.0

    monkeypatch.setattr(models, "pretrained_classifier", classifier, raising=False)
    files = [tmp_path / f"{red}.png" for red in range(35)]
    for red, file in enumerate(files):
        Image.new("RGB", (9, 7), (red, 99, 99)).save(file)
    answers = serving.name_pictures(files, top=1)
    names = models.imagenet_names()
    assert [(file, best[0][0]) for file, best in answers] == [
        (str(file), names[red]) for red, file in enumerate(files)
    ]
    assert answers[0][1][0][1] == pytest.approx(1 / (1 + 999 * np.exp(-20)))

    (tmp_path / "no.png").write_text("nothing")
    words = "no.png: cannot be read as an image; JPEG, PNG, GIF, BMP"
    with pytest.raises(serving.SomeUnreadable, match=words) as refused:
        serving.name_pictures([tmp_path / "no.png", *files], top=1)
    assert [(file, best[0][0]) for file, best in refused.value.answers] == [
        (file, best[0][0]) for file, best in answers
    ]
    with pytest.raises(UserError, match="nowhere.png: cannot be read: No such file"):
        serving.name_pictures([tmp_path / "nowhere.png"])
    with pytest.raises(UserError, match="top is 0"):
        serving.name_pictures(files, top=0)
    with pytest.raises(UserError, match="backbone 'alexnet' is unknown"):
        serving.name_pictures(files, network="alexnet")
