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
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-4000:]
    return {line["case"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.parametrize("case", names())
def test_two_and_four_devices_do_as_one_does(found, case):
    """Three steps or more and a validation whose batches cannot be divided, in float32."""
    assert list(found[case]["weights"]) in (["2"], ["2", "4"])
    for count in found[case]["weights"]:
        assert found[case]["weights"][count] < 1e-6
        assert found[case]["figures"][count] < 1e-6
        assert found[case]["replicas"][count] == 0.0
        assert found[case]["facts"][count] == found[case]["facts"]["1"]


@pytest.mark.slow
def test_some_cases_are_tried_on_four_devices(found):
    assert sum("4" in found[case]["weights"] for case in names()) == 5


@pytest.mark.slow
@pytest.mark.parametrize("count", ["1", "2"])
def test_of_a_backbone_nothing_moves_but_kernels(found, count):
    """Fine-tuning of all stages: what its normalization has learned is kept to the last bit."""
    facts = found["transfer, parameter groups"]["facts"][count]
    assert facts["factors"] == [0.25, 0.5, 1.0, 1.0]
    assert facts["moved"] == [name == "kernel" for name in facts["of"]]
    assert facts["of"].count("moving_mean") == facts["of"].count("moving_variance") == 2


@pytest.mark.slow
def test_a_plateau_and_patience_end_it_where_they_do_on_one_device(found):
    """The case is one in which both have something to do; that all agree is tested above."""
    facts = found["fit, average, plateau, early stopping"]["facts"]["1"]
    assert 1 < facts["best epoch"] == facts["epochs"] - 2 < 5
    assert facts["learning rates"][0] > facts["learning rates"][-2] > facts["learning rates"][-1]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["plain", "noisy"])
def test_two_devices_go_on_after_a_kill_to_the_same_bits(found, variant):
    """The plain one is equal to one device, too: it is a case above. The other has what differs
    from device to device: noise, and statistics that are each one's own."""
    assert found["resumed"]["code"] == -9
    resumed = found["resumed"][variant]
    assert resumed["newest"] == 8  # two of three steps into the third epoch
    assert 0 < resumed["steps"] < 15  # of 21, or fewer with early stopping
    assert resumed["same bits"] and resumed["same rows"]


@pytest.mark.slow
def test_each_device_gets_its_own_statistics_back(found):
    noisy = found["resumed"]["noisy"]
    assert noisy["copies"] == 2 and noisy["same checkpoint"]


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resized crop", "jitter", "RandAugment", "own", "all"])
def test_two_devices_share_the_batches_of_one(found, name):
    assert found["augmented"][name] == {"batches": 4, "same bits": True}
