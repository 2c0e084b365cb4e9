"""A tensor of the wrong shape is refused; it used to abort the process that serves the model.

And an empty batch is answered with an empty one.
"""

import json
import subprocess
import sys

import pytest

from serving.small_families import FAMILIES

pytestmark = pytest.mark.slow  # every family is published

# Without kapps and Keras, as servers have it. A line per call: should the process die, those that
# were not answered are missing.
PROGRAM = """
import json, sys
sys.modules["kapps"] = sys.modules["keras"] = None
import numpy as np
import tensorflow as tf

SCALARS = {"count": 2, "seed": 1, "length": 3, "top_k": 0, "temperature": 1.0, "label": 0}

def right(spec):
    if spec.shape.rank is None:
        return tf.constant(SCALARS.get(spec.name, 1.0), spec.dtype)
    filler = "a" if spec.dtype == tf.string else 0
    return tf.cast(tf.fill([2 if n is None else n for n in spec.shape], filler), spec.dtype)

for place in sys.argv[1:]:
    model = tf.saved_model.load(place)
    for name, signature in model.signatures.items():
        specs = signature.structured_input_signature[1]
        for wrong, spec in specs.items():
            given = {key: right(other) for key, other in specs.items()}
            value = given[wrong]
            if spec.shape.rank is None:
                if wrong not in SCALARS:
                    continue  # a column of a table is taken in any rank
                shapes = [tf.stack([value, value])]
            else:
                shapes = [value[0], value[None]]
                if spec.shape.rank > 1:
                    shapes += [tf.concat([value, value], axis=-1)]
                    if spec.shape[-1] is None:
                        shapes.pop()
            for odd in shapes:
                call = [place, name, wrong, odd.shape.as_list()]
                try:
                    answer = signature(**{**given, wrong: odd})
                    said = "answered " + str({k: v.shape for k, v in answer.items()})
                except Exception as error:
                    said = type(error).__name__
                print(json.dumps([*call, said]), flush=True)
        # And no examples at all.
        nothing = {
            key: tf.constant(0, spec.dtype) if spec.shape.rank is None and key == "count"
            else right(spec)[:0] if spec.shape.rank
            else right(spec) if key in SCALARS else tf.zeros([0], spec.dtype)
            for key, spec in specs.items()
        }
        try:
            said = sorted({v.shape[0] for v in signature(**nothing).values()})
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        print(json.dumps([place, name, "empty", said]), flush=True)
"""


@pytest.fixture(scope="module")
def answers(family_version):
    places = {str(family_version(family)): family for family in FAMILIES}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *places], capture_output=True, text=True, timeout=300
    )
    said = {family: [] for family in FAMILIES}
    for line in done.stdout.splitlines():
        place, *call = json.loads(line)
        said[places[place]].append(call)
    return said, done.returncode, done.stderr[-500:]


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
