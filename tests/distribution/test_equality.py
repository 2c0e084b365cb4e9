"""Several devices give what one gives: the cases of `equality.py`, in one process of their own."""

import ast
import functools
import json
import os
import pathlib
import subprocess
import sys

import pytest

import programs

pytestmark = pytest.mark.slow

PROGRAM = pathlib.Path(__file__).with_name("equality.py")
# Of these another case has every part: one-cycle, clipping and weights of classes the transfer,
# convolutions and the GRU those with normalization and with padding.
IN_OTHERS = ("mlp, AdamW, one-cycle, clipped, class weights", "cnn", "gru")
BY_FOUR_ALWAYS = ("cnn, batch normalization", "vq-vae")  # statistics, and sums over a batch


def constant(name):
    """A table of the program, or its keys; importing it here would import Keras twice over."""
    for node in ast.parse(PROGRAM.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return [key.value for key in getattr(node.value, "keys", 0) or node.value.elts]
    raise AssertionError(f"there is no table {name}")


def cases(names, always):
    """Some of them by hand alone, before a release: `pytest -m sweep`."""
    return [n if n in always else pytest.param(n, marks=pytest.mark.sweep) for n in names]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Name of a case, devices -> what the program says of it; each is run when first asked for."""
    paths = f"import sys; sys.path[:0] = {sys.path!r}; sys.argv = [{str(PROGRAM)!r}, '--serve']\n"
    program = paths + "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    errors = tmp_path_factory.mktemp("equality") / "errors.txt"
    with errors.open("w") as file:
        child = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True,
        )  # fmt: skip

    @functools.cache
    def ask(case, devices=2):
        print(json.dumps([case, devices]), file=child.stdin, flush=True)
        line = child.stdout.readline()
        assert line, errors.read_text()[-4000:]
        return json.loads(line)

    yield ask
    child.stdin.close()
    assert child.wait(60) == 0
    child.stdout.close()


def assert_equal(said):
    """Three steps or more and a validation whose batches cannot be divided, in float32."""
    assert said["weights"] < 1e-6
    assert said["figures"] < 1e-6
    assert said["replicas"] == 0.0
    assert said["facts"][0] == said["facts"][1]


@pytest.mark.parametrize("case", cases(constant("CASES"), set(constant("CASES")) - set(IN_OTHERS)))
def test_two_devices_do_as_one_does(found, case):
    assert_equal(found(case))


@pytest.mark.parametrize("case", cases(constant("BY_FOUR"), BY_FOUR_ALWAYS))
def test_four_devices_do_as_one_does(found, case):
    assert_equal(found(case, 4))


@pytest.mark.parametrize("which", [0, 1])
def test_of_a_backbone_nothing_moves_but_kernels(found, which):
    """Fine-tuning of all stages: what its normalization has learned is kept to the last bit."""
    facts = found("transfer, parameter groups")["facts"][which]  # of one device, of two
    assert facts["factors"] == [0.25, 0.5, 1.0, 1.0]
    assert facts["moved"] == [name == "kernel" for name in facts["of"]]
    assert facts["of"].count("moving_mean") == facts["of"].count("moving_variance") == 2


def test_a_plateau_and_patience_end_it_where_they_do_on_one_device(found):
    """The case is one in which both have something to do; that all agree is tested above."""
    facts = found("fit, average, plateau, early stopping")["facts"][0]
    assert 1 < facts["best epoch"] == facts["epochs"] - 2 < 5
    assert facts["learning rates"][0] > facts["learning rates"][-2] > facts["learning rates"][-1]


@pytest.fixture(scope="module")
def resumed(found, tmp_path_factory):
    """A variant -> what is said of a training on two devices that was killed, and gone on with."""

    @functools.cache
    def ask(variant):
        directory = str(tmp_path_factory.mktemp("killed"))
        path = os.pathsep.join(filter(None, sys.path))
        command = [sys.executable, PROGRAM, "--die", directory, variant]
        killed = programs.run(command, env={**os.environ, "PYTHONPATH": path})
        assert killed.returncode == -9, killed.stderr
        return found(f"resumed, {variant}", directory)

    return ask


@pytest.mark.parametrize("variant", ["noisy", pytest.param("plain", marks=pytest.mark.sweep)])
def test_two_devices_go_on_after_a_kill_to_the_same_bits(resumed, variant):
    """The noisy one has what differs from device to device: noise, statistics of its own."""
    said = resumed(variant)
    assert said["newest"] == 8  # two of three steps into the third epoch
    assert 0 < said["steps"] < 15  # of 21, or fewer with early stopping
    assert said["same bits"] and said["same rows"]


def test_each_device_gets_its_own_statistics_back(resumed):
    noisy = resumed("noisy")
    assert noisy["copies"] == 2 and noisy["same checkpoint"]


def test_noise_of_layers_differs_from_device_to_device_and_comes_back(found):
    checks = found("checks")
    assert checks["noise differs"] and checks["noise comes back"]


@pytest.mark.parametrize("what", ["gradient_accumulation_steps=2", "jit_compile=True"])
def test_what_cannot_work_is_refused_with_the_reason(found, what):
    message = found("checks")[what]
    assert what in message and "on 4 devices" in message


def test_a_model_that_was_mended_is_saved_as_any_other(found):
    assert found("checks")["saved"] == ["Functional", 0.0]


def test_one_overflow_leaves_the_step_out_everywhere(found):
    """Under float16: a gradient that is not finite on the last device alone."""
    assert found("checks")["overflow"] == {"weights": 0.0, "scale": 2.0**14}


@pytest.mark.parametrize("name", ["resized crop", "jitter", "RandAugment", "own", "all"])
def test_two_devices_share_the_batches_of_one(found, name):
    assert found("augmented")[name] == {"batches": 4, "same bits": True}
