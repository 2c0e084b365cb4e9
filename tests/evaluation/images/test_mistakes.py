"""Pictures that a network is wrong about: where they lie, and that they are mistakes."""

from types import SimpleNamespace

import numpy as np

from kapps.evaluation.images.labels import worst_rows
from kapps.evaluation.images.mistakes import mistakes_by_name


def pictures(folder, kind):
    test = SimpleNamespace(origins=("a.png", "gone.png"))
    return SimpleNamespace(splits={"test": test}, spec=f"{kind}:{folder}")


def test_a_picture_that_has_a_file_is_a_link_to_it(tmp_path):
    (tmp_path / "a.png").touch()
    rows = np.array([1, 0])
    _, columns, table = mistakes_by_name(
        pictures(tmp_path, "folder"), rows, "xy".__getitem__, str, how_sure=float
    )
    assert columns == ("image", "true", "predicted", "how sure")
    assert table == [("gone.png", "y", "1", 1.0), (tmp_path / "a.png", "x", "0", 0.0)]
    _, _, table = mistakes_by_name(pictures(tmp_path, "npz"), rows, str, str)
    assert [row[0] for row in table] == ["gone.png", "a.png"]


def test_a_right_answer_is_no_mistake_however_unsure():
    """Thresholds of one half: right by a hair, wrong by a hair, wrong by far, surely right."""
    labels = np.array([[1], [1], [1], [0]])
    logits = np.array([[0.01], [-0.01], [-4.0], [-4.0]])
    assert worst_rows(labels, logits, np.array([0.5])).tolist() == [2, 1]
