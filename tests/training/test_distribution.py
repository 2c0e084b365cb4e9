"""Where a training runs. Logical devices are fixed once per process, hence the subprocesses."""

import subprocess
import sys
import textwrap

import pytest

from kapps import evaluation, training
from kapps.errors import UserError


def in_a_new_process(code):
    program = f"import sys; sys.path[:0] = {sys.path!r}\n" + textwrap.dedent(code)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


@pytest.mark.parametrize("devices", ["auto", "cpu", "cpu:1"])
def test_one_device_needs_no_strategy(devices):
    strategy = training.strategy(devices)
    assert strategy.num_replicas_in_sync == 1
    with strategy.scope():
        pass


def test_more_gpus_than_there_are():
    with pytest.raises(UserError, match="sees 0 GPUs"):
        training.strategy("gpu:64")


@pytest.mark.parametrize(("batch", "replicas", "words"), [(50, 4, "48 or 52"), (3, 4, "use 4$")])
def test_a_batch_that_cannot_be_shared(batch, replicas, words):
    training.check_batch(64, 4)
    with pytest.raises(UserError, match=words):
        training.check_batch(batch, replicas)


def test_logical_devices_after_the_fact_are_refused():
    said = in_a_new_process(
        """
        import tensorflow as tf
        from kapps import evaluation, training
        tf.constant(1)
        try:
            training.strategy("cpu:2")
        except ValueError as error:
            print(error)
        """
    )
    assert "before anything else" in said


@pytest.mark.slow
def test_two_devices_train_as_one_does(tmp_path):
    """No BatchNormalization here: its statistics are those of a replica."""
    code = """
        import sys
        from recipes.image_classifier import Config, main
        main(Config(model="mlp", epochs=3, export=False, run_dir={run!r}, devices={devices!r},
                    optimizer="momentum", learning_rate=0.02, clip=0.0))
    """
    rows = []
    for devices in ("cpu:2", "cpu"):
        run = tmp_path / devices.replace(":", "")
        in_a_new_process(code.format(run=str(run), devices=devices))
        rows.append(evaluation.read_history(run))
    for two, one in zip(*rows, strict=True):
        for name in ("loss", "val_loss", "train_loss"):
            assert two[name] == pytest.approx(one[name], rel=2e-4)
