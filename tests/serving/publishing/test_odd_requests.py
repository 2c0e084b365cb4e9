"""A tensor of the wrong shape is refused; it used to abort the process that serves the model.

And an empty batch is answered with an empty one.
"""

import pytest

from serving.small_families import FAMILIES

pytestmark = pytest.mark.slow  # every family is published


@pytest.fixture(scope="module")
def answers(without_keras):
    """Family -> signature, what is wrong, its shape, what was said; and how the process ended."""
    said = {
        family: [call for name, *call in without_keras.odd if name == family] for family in FAMILIES
    }
    return said, without_keras.code, without_keras.errors


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tensor_of_another_rank_is_refused(answers, family):
    said, code, errors = answers
    assert code == 0, f"the process died: {errors}"
    calls = [call for call in said[family] if call[1] != "empty"]
    assert calls or family in ("table", "regression")
    assert [call for call in calls if not call[-1].endswith("InvalidArgumentError")] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_batch_has_an_empty_answer(answers, family):
    empty = [call for call in answers[0][family] if call[1] == "empty"]
    assert {name for name, *_ in empty} == FAMILIES[family][2]
    assert [call for call in empty if call[2] != [0]] == []
