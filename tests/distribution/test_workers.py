"""Two processes on the loopback interface give what one gives, also after one was killed."""

import csv
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import programs
import small_transfer
from distribution import half, worker
from kapps import launch as launching, models
from kapps.training.fitting import state as states

WORKER = str(pathlib.Path(worker.__file__))
pytestmark = pytest.mark.slow


def launch(jobs, then=lambda processes: None):
    """The worker program by two processes; the exit code and what they said."""
    processes, out = [], io.StringIO()

    def started(command, config):
        env = {**os.environ, "TF_CONFIG": config, "PYTHONUNBUFFERED": "1"}
        output = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        processes.append(programs.Program(command, env=env, **output))
        return processes[-1]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(launching, "_start", started)
        paths = [path for path in sys.path if path]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
        helper = threading.Thread(target=then, args=(processes,))
        helper.start()
        code = launching.launch([sys.executable, WORKER, json.dumps(jobs)], 2, out=out)
        helper.join()
    return code, out.getvalue()


@pytest.fixture(scope="module", autouse=True)
def small():
    """The tiny backbone, for this process as for the workers."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(models.backbone_table.BACKBONES, "small", None)
        small_transfer.install(monkeypatch.setattr)
        yield


def rows(directory):
    with (directory / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def newest_state(run):
    """Of the last phase, if there are several."""
    return states.load_newest(max((run / "checkpoints").rglob("state-*")).parent)[0]


# The others by hand alone, before a release: `pytest -m sweep`. Their steps are in test_equality.
ALWAYS = ("image_classifier", "gan", "char_rnn", "transfer_learning")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A recipe of which one worker was killed: where, the seconds the other needed to end, words.

    Processes of two workers take as long to begin as to train: what follows is all done by two.
    """
    directory, ends = tmp_path_factory.mktemp("killed"), []

    def kill_one(processes):
        checkpoints = directory / "image_classifier" / "checkpoints"
        deadline = time.monotonic() + 300
        while not (checkpoints / "state-000000000009.npz").exists():
            assert time.monotonic() < deadline
            assert all(process.poll() is None for process in processes)
            time.sleep(0.02)
        processes[1].send_signal(signal.SIGKILL)
        ends.append(time.monotonic())

    code, said = launch([killed_job(directory)], then=kill_one)
    ends.append(time.monotonic())
    return directory, ends[-1] - ends[0], code, said


def killed_job(directory):
    return [str(directory), "image_classifier", {"save_steps": 3}]


@pytest.fixture(scope="module")
def together(tmp_path_factory, killed):
    """Recipes by two workers, which first go on with what was killed."""
    directory = tmp_path_factory.mktemp("together")
    jobs = [[str(directory), name, {}] for name in ("half", *ALWAYS)]
    code, said = launch([killed_job(killed[0]), *jobs])
    assert code == 0, said
    return directory


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """The other recipes."""
    directory = tmp_path_factory.mktemp("others")
    code, said = launch(
        [[str(directory), name, {}] for name in worker.SETTINGS.keys() - set(ALWAYS)]
    )
    assert code == 0, said
    return directory


@pytest.mark.parametrize(
    "recipe",
    [r if r in ALWAYS else pytest.param(r, marks=pytest.mark.sweep) for r in worker.SETTINGS],
)
def test_two_workers_do_as_one_process_does(request, tmp_path, recipe):
    together = request.getfixturevalue("together" if recipe in ALWAYS else "others")
    worker.train(recipe, tmp_path)
    one, two = rows(tmp_path / recipe), rows(together / recipe)
    settings = worker.SETTINGS[recipe]
    assert len(one) == len(two) == settings["epochs"] + settings.get("fine_tune_epochs", 0)
    for expected, found in zip(one, two, strict=True):
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            if value:
                close = pytest.approx(float(value), rel=1e-5, abs=1e-5, nan_ok=True)
                assert float(found[name]) == close, name


def test_each_of_two_workers_loads_its_half(together):
    """And one row more: mixup takes the one before the first. The weights are those of one."""
    half.train(together)
    one, *workers = (dict(np.load(together / f"{name}.npz")) for name in ("one", "0", "1"))
    assert one["loaded"] == one["steps"] * half.BATCH
    for found in workers:
        batches, rest = divmod(int(found["loaded"]), half.BATCH // 2 + 1)
        assert rest == 0 and 0 <= batches - one["steps"] <= 4  # some are loaded ahead of the end
        for name in ("w0", "w1"):
            np.testing.assert_allclose(found[name], one[name], rtol=1e-5, atol=1e-6)


def test_the_other_worker_writes_beside_the_chief_and_the_same(together):
    for recipe in ALWAYS:
        chief, other = together / recipe, together / recipe / "workers" / "1"
        assert rows(chief) == rows(other)
        files = {path.name for path in chief.iterdir()}
        assert files - {path.name for path in other.iterdir()} <= {"workers", ".lock"}
        newest = [newest_state(place) for place in (chief, other)]
        for name, value in newest[0].arrays.items():
            if name.startswith(("model/", "optimizer/", "discriminator_optimizer/")):
                np.testing.assert_array_equal(newest[1].arrays[name], value, err_msg=name)


def test_one_is_killed_and_the_other_says_so(killed):
    _, seconds, code, said = killed
    assert seconds < 60  # the grace of `launch` is longer: the other has ended by itself
    assert code == 137 and "[0] error: another worker has stopped" in said, said
    assert "The same command on all workers goes on" in said and "Traceback" not in said


def test_both_go_on_to_the_same_bits(killed, together):
    for place in ("image_classifier", "image_classifier/workers/1"):
        found, expected = killed[0] / place, together / place
        assert (found / "metrics.csv").read_bytes() == (expected / "metrics.csv").read_bytes()
        state, uninterrupted = newest_state(found), newest_state(expected)
        assert state.arrays.keys() == uninterrupted.arrays.keys()
        for name, value in uninterrupted.arrays.items():
            np.testing.assert_array_equal(state.arrays[name], value, err_msg=name)
