"""The loop of a search with workers that exist on paper: what is begun again, what counts."""

import filelock
import keras_tuner as kt
import pytest

from kapps import files, tuning
from kapps.tuning import dispatch
from kapps.tuning.state import Budget, SearchState
from kapps.tuning.workers import worker
from tuning import fakes

MAX = kt.Objective("val_score", "max")


class Worker:
    """Ready, and gone when it is listened to, unless the crew knows what it says."""

    remote, log = False, "worker.log"

    def __init__(self, runs):
        self.runs, self.ready, self.trial = runs, True, None

    def send(self, message):
        if message["do"] == "run":
            self.runs.append(message["trial"])

    def why_gone(self):
        return "killed by SIGKILL"


class Crew:
    """One worker after the other; `says` is asked for what each says of its trial."""

    def __init__(self, says):
        self.says, self.runs, self.workers = says, [], []

    def fill(self, most):
        if not self.workers:
            self.workers.append(Worker(self.runs))

    def listen(self, hear, timeout):
        for one in list(self.workers):
            if one.trial is not None:
                hear(one, self.says(self.runs[-1], len(self.runs)))

    def released(self, one):
        pass

    def remove(self, one):
        self.workers.remove(one)


def search(directory, says, trials=1):
    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 10.0)
    oracle = tuning.oracle("random", MAX, hp, seed=3)
    state = SearchState(oracle, directory, Budget(trials=trials), 3, 1, None, "none", None)
    state.begin({}, None, None)
    crew = Crew(says)
    try:
        dispatch.Dispatcher(state, crew).run()
    finally:
        state.journal.close()
    return crew.runs, list(state.records.values())


def ended(job):
    return worker.attempt(fakes.bowl, job, lambda message: True)


def test_a_trial_that_kills_its_workers_is_given_up_after_three(tmp_path):
    runs, (record,) = search(tmp_path, lambda job, count: None)
    assert len(runs) == dispatch.ATTEMPTS == 3
    assert record.status == "failed" and record.reason == "killed by SIGKILL, 3 times"


def test_a_trial_whose_worker_is_lost_twice_ends_well(tmp_path):
    runs, records = search(tmp_path, lambda job, count: None if count < 3 else ended(job), 2)
    assert [run["id"] for run in runs] == ["0000"] * 3 + ["0001"]
    assert [record.status for record in records] == ["completed"] * 2


def test_a_result_that_was_on_its_way_when_the_worker_was_killed_is_taken(tmp_path):
    """It is on the disk before it is told; the trial does not run again."""

    def told_to_nobody(job, count):
        ended(job)
        return None

    runs, (record,) = search(tmp_path, told_to_nobody)
    assert len(runs) == 1 and record.status == "completed" and record.epochs == 3


def test_what_a_worker_says_of_a_trial_that_is_not_its_own_is_not_heard(tmp_path):
    state_of = {}

    def late(job, count):
        state_of["seen"] = count
        return ended(job)

    runs, records = search(tmp_path, late, 2)
    assert len(runs) == 2 and len(records) == 2
    loose = dispatch.Dispatcher(None, Crew(late))
    free = Worker([])
    loose._hear(free, {"is": "rows", "execution": 0, "rows": [{"epoch": 1}]})
    loose._hear(free, {"is": "ended", "executions": [], "pruned": False})  # nothing is recorded


def test_two_workers_never_train_one_trial_together(tmp_path, monkeypatch):
    """The worker of a parent that was killed may still be there."""
    monkeypatch.setattr(worker, "LAST_WORKER", 0.05)
    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 10.0)
    job = {
        "id": "0000", "number": 0, "values": {"x": 3.0}, "space": hp.get_config()["space"],
        "seeds": [1], "epochs": 2, "directory": str(tmp_path / "0000"), "past": None,
        "objective": "val_score", "direction": "max",
    }  # fmt: skip
    (tmp_path / "0000").mkdir()
    with filelock.FileLock(tmp_path / "0000/.lock"):
        held = ended(job)
    assert held["is"] == "failed" and "Timeout" in held["reason"]
    assert not (tmp_path / "0000/seed-0").exists()  # nothing was begun
    assert ended(job)["is"] == "ended"
    kept = files.from_json((tmp_path / "0000/result.json").read_text())
    assert kept["executions"][0]["best_epoch"] == 2


@pytest.mark.parametrize("message", ["broken", "fatal"])
def test_what_ends_a_search_is_said(tmp_path, message):
    with pytest.raises(Exception, match="no such module"):
        search(tmp_path, lambda job, count: {"is": message, "reason": "no such module"})
