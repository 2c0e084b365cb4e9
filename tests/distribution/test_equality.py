"""Several devices give what one gives: the cases of `equality.py`, in one process of their own."""

import ast
import json
import pathlib
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).with_name("equality.py")


def names():
    """Of the cases; importing them here would import Keras twice over."""
    for node in ast.parse(PROGRAM.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CASES":
            return [key.value for key in node.value.keys]
    raise AssertionError("there is no table CASES")


@pytest.fixture(scope="module")
def found():
    paths = f"import sys; sys.path[:0] = {sys.path!r}; sys.argv = [{str(PROGRAM)!r}]\n"
    program = paths + "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-4000:]
    return {line["case"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize("case", names())
def test_two_and_four_devices_do_as_one_does(found, case):
    """Three steps and a validation whose batches cannot be divided, in float32."""
    assert "4" in found[case]["weights"]
    for count in found[case]["weights"]:
        assert found[case]["weights"][count] < 1e-6
        assert found[case]["figures"][count] < 1e-6
        assert found[case]["replicas"][count] == 0.0


@pytest.mark.slow
def test_noise_of_layers_differs_from_device_to_device_and_comes_back(found):
    checks = found["checks"]
    assert checks["noise differs"] and checks["noise comes back"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["gradient_accumulation_steps=2", "jit_compile=True"])
def test_what_cannot_work_is_refused_with_the_reason(found, what):
    message = found["checks"][what]
    assert what in message and "on 4 devices" in message


@pytest.mark.slow
def test_a_model_that_was_mended_is_saved_as_any_other(found):
    assert found["checks"]["saved"] == ["Functional", 0.0]


@pytest.mark.slow
def test_one_overflow_leaves_the_step_out_everywhere(found):
    """Under float16: a gradient that is not finite on the last device alone."""
    assert found["checks"]["overflow"] == {"weights": 0.0, "scale": 2.0**14}
