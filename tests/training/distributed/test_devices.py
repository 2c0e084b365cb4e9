"""Where a training runs. Logical devices are fixed once per process, hence the subprocesses."""

import dataclasses
import importlib
import json
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from kapps import training
from kapps.errors import UserError
from kapps.training.distributed import agreement, devices


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


@pytest.mark.slow
def test_logical_devices_after_the_fact_are_refused():
    said = in_a_new_process(
        """
        import tensorflow as tf
        from kapps import training
        tf.constant(1)
        try:
            training.strategy("cpu:2")
        except ValueError as error:
            print(error)
        """
    )
    assert "before anything else" in said


ADDRESSES = ["a:1", "b:2", "c:3"]


def config(jobs=None, kind="worker", index=0):
    jobs = {"worker": ADDRESSES} if jobs is None else jobs
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (config(index=2), (tuple(ADDRESSES), 2)),
        (config({"worker": ["a:1"]}), None),  # alone
        (config({"chief": ["a:1"], "worker": ["b:2", "c:3"]}, index=1), (tuple(ADDRESSES), 2)),
        (config({"chief": ["a:1"], "worker": ["b:2", "c:3"]}, "chief"), (tuple(ADDRESSES), 0)),
    ],
)
def test_tf_config_says_who_this_is(monkeypatch, text, expected):
    monkeypatch.setenv("TF_CONFIG", text)
    assert training.cluster() == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be understood"),
        ("[1]", "cannot be understood"),
        (config(index=3), "cannot be understood"),
        (config(index=-1), "all tasks are workers"),
        (config({"worker": ["a:1"], "ps": ["b:2"]}), "has ps"),
        (config({"chief": ["a:1", "b:2"], "worker": ["c:3"]}), "several chiefs"),
    ],
)
def test_a_tf_config_that_cannot_be_meant_is_refused(monkeypatch, text, words):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=words):
        training.check_devices("auto")


def test_several_workers_do_not_divide_their_cpus(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config())
    training.check_devices("cpu")
    with pytest.raises(UserError, match="use --devices cpu"):
        training.check_devices("cpu:2")


@pytest.mark.parametrize(
    ("devices", "alone", "three_workers"),
    [("auto", 1, 3), ("cpu", 1, 3), ("gpu", 1, 3), ("gpu:2", 2, 6), ("cpu:12", 12, None)],
)
def test_devices_that_share_a_batch_are_known_from_the_flag(
    monkeypatch, devices, alone, three_workers
):
    assert training.named_devices(devices) == alone
    monkeypatch.setenv("TF_CONFIG", config())
    if three_workers:
        assert training.named_devices(devices) == three_workers


def test_a_chief_that_does_not_answer_is_waited_for_and_then_named(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    monkeypatch.setattr(devices, "JOIN_SECONDS", 0.1)
    with pytest.raises(UserError, match=f"worker 0 at {address} did not answer"):
        devices._wait_for_chief(devices.Cluster((address, "b:2"), 1))
    devices._wait_for_chief(devices.Cluster((address, "b:2"), 0))  # the chief itself


@pytest.mark.parametrize(("rule", "rate"), [("none", 0.1), ("linear", 0.4), ("sqrt", 0.2)])
def test_the_rate_may_grow_with_the_devices(rule, rate):
    class Four:
        num_replicas_in_sync = 4

    assert training.scaled_learning_rate(0.1, rule, Four()) == pytest.approx(rate)
    with pytest.raises(UserError, match="one of none, linear, sqrt"):
        training.scaled_learning_rate(0.1, "square", Four())


def test_on_several_machines_a_process_has_one_strategy_and_keeps_its_devices(monkeypatch):
    import tensorflow as tf

    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{i}", "GPU") for i in range(2)]
    seen = []
    monkeypatch.setattr(devices, "_ONLY", {})
    monkeypatch.setattr(devices, "_wait_for_chief", lambda workers: None)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda found, kind: seen.append(found))
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", object)
    monkeypatch.setenv("TF_CONFIG", config(index=1))
    first = training.strategy("gpu:1")
    assert training.strategy("gpu:1") is first and seen == [gpus[:1]]
    for asked, words in (("cpu", "its CPU"), ("auto", "GPU:0, GPU:1")):
        with pytest.raises(UserError, match=f"trains on GPU:0: worker 1 of 3, on {words}, has to"):
            training.strategy(asked)
    monkeypatch.setenv("TF_CONFIG", config(index=2))
    with pytest.raises(UserError, match="is worker 1 of 3 .*: worker 2 of 3, on GPU:0, has to be"):
        training.strategy("gpu:1")
    assert seen == [gpus[:1]] and len(devices._ONLY) == 1


def test_a_strategy_that_could_not_be_made_is_not_kept(monkeypatch):
    import tensorflow as tf

    def too_late():
        raise RuntimeError

    monkeypatch.setattr(devices, "_ONLY", {})
    monkeypatch.setattr(devices, "_wait_for_chief", lambda workers: None)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda found, kind: None)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", too_late)
    monkeypatch.setenv("TF_CONFIG", config())
    with pytest.raises(UserError, match="made its devices already"):
        training.strategy("cpu")
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", object)
    assert training.strategy("auto") is training.strategy("cpu")


def test_the_directory_of_another_worker_is_inside_the_chiefs(monkeypatch, tmp_path):
    made = training.CommonFlags(run_dir=str(tmp_path / "run"))
    again = dataclasses.replace(made, overwrite=True)
    monkeypatch.setenv("TF_CONFIG", config(index=1))
    with training.open_run("x", made) as run:  # whoever comes first
        assert run.path == tmp_path / "run" / "workers" / "1" and not run.chief
        assert not run.finished and run.leave() == {"worker": 1}
    monkeypatch.setenv("TF_CONFIG", config())
    with training.open_run("x", made) as run:
        assert run.path == tmp_path / "run" and run.chief
        run.finish({"loss": 1.0})
    monkeypatch.setenv("TF_CONFIG", config(index=1))
    with training.open_run("x", made) as run:
        assert run.finished and run.metrics() == {"loss": 1.0}
    with training.open_run("x", again) as run:  # the chief may not have thrown it away yet
        assert not run.finished
    monkeypatch.setenv("TF_CONFIG", config())
    with training.open_run("x", again) as run:
        assert not run.finished and (run.path / "workers" / "1" / "config.json").exists()


@pytest.mark.parametrize(
    ("everybody", "newest"),
    [
        ([[3, 6], [3, 6]], 6),
        ([[3, 6], [6, 9]], 6),
        ([[], []], None),
        ([[3], []], None),  # stopped while they wrote their first
        ([[6, 9], [3]], UserError),
        ([[6, 9], []], UserError),
    ],
)
def test_workers_go_on_from_what_all_of_them_have(monkeypatch, everybody, newest):
    rows = np.array([row + [-1] * (2 - len(row)) for row in everybody])
    monkeypatch.setattr(agreement, "everybodys", lambda strategy, values: rows)
    if newest is UserError:
        with pytest.raises(UserError, match="worker 0 has step 9"):
            agreement.newest_of_all(None, everybody[0], 2)
    else:
        assert agreement.newest_of_all(None, everybody[0], 2) == newest


ON_SEVERAL_MACHINES = (
    "image_classifier tabular sequence_classifier char_rnn transfer_learning autoencoder vae gan "
    "xor_mlp"
).split()


@pytest.mark.parametrize(
    ("recipe", "settings", "words"),
    [
        *((recipe, {}, None) for recipe in ON_SEVERAL_MACHINES),
        ("perceptron", {"rule": "delta"}, None),
        ("perceptron", {"rule": "perceptron"}, "one example after another.*--rule delta"),
        ("perceptron", {"rule": "pocket"}, "one example after another.*--rule delta"),
        ("tune", {}, "divides its trials.*KERASTUNER_TUNER_ID"),
        ("tune_cnn", {}, "divides its trials.*KERASTUNER_TUNER_ID"),
        ("optimizers", {}, "many small trainings.*a part of --optimizers"),
    ],
)
def test_recipes_take_a_tf_config_or_say_why_not(monkeypatch, recipe, settings, words):
    module = importlib.import_module(f"recipes.{recipe}")
    monkeypatch.setenv("TF_CONFIG", config({"worker": ADDRESSES[:2]}))
    check = getattr(module, "check", training.check)
    if words is None:
        check(module.Config(**settings))
        return
    with pytest.raises(UserError, match=f"TF_CONFIG names 2 workers; .*{words}"):
        check(module.Config(**settings))


def test_a_batch_that_workers_cannot_share_is_refused_before_anything_is_loaded(monkeypatch):
    module = importlib.import_module("recipes.vae")
    monkeypatch.setenv("TF_CONFIG", config())
    with pytest.raises(UserError, match="64 cannot be divided by 3 devices: use 63 or 66"):
        module.check(module.Config(batch_size=64))
