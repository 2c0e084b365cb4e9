"""A search ends, whatever is killed, and the same command goes on with the same points."""

import os
import signal
import threading
import time

import keras_tuner as kt
import pytest

import json_files
from kapps import tuning
from kapps.errors import UserError
from kapps.tuning import state
from kapps.tuning.workers import journal, pool
from tuning import fakes

MAX = kt.Objective("val_score", "max")


def space():
    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 10.0)
    hp.Choice("kind", ["a", "b"])
    return hp


def run(target, directory, algorithm="random", trials=8, workers=1, oracle=None, **options):
    oracle = oracle or tuning.oracle(algorithm, MAX, space(), seed=3, epochs=9)
    options.setdefault("budget", tuning.Budget(trials=trials))
    return tuning.run_search(target, oracle, directory, workers=workers, **options)


def points(results):
    return [record.values for record in results.records]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "workers", "numbers"),
    [
        ("random", 1, [3]),  # the last worker of the last trial
        ("random", 2, [2, 3]),  # both of them
        ("hyperband", 1, [1, 4]),
        ("tpe", 1, [0, 7]),
        ("bayesian", 1, [4]),
        ("grid", 1, [1, 2]),
    ],
)
def test_a_killed_worker_costs_no_trial_and_changes_no_point(algorithm, workers, numbers, tmp_path):
    trials = {"random": 4, "bayesian": 6}.get(algorithm, 12)
    found = run(fakes.KillsOnce(tmp_path, numbers), tmp_path / "a", algorithm, trials, workers)
    assert sorted(tmp_path.glob("killed-*"))[-1].name.startswith("killed-")
    assert len(list(tmp_path.glob("killed-*"))) == len(numbers)
    assert found.complete and {r.status for r in found.records} == {"completed"}
    assert all([row["epoch"] for row in r.curves[0]] == [1, 2, 3] for r in found.records)
    straight = run(fakes.KillsOnce(tmp_path, []), tmp_path / "b", algorithm, trials, 0)
    assert points(found) == points(straight)


def test_a_worker_that_is_killed_before_it_is_ready_is_replaced(tmp_path, monkeypatch):
    started = []

    class Killed(pool.LocalWorker):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            started.append(self)
            if len(started) in (1, 2):
                self._process.kill()

    monkeypatch.setattr(pool, "LocalWorker", Killed)
    assert run(fakes.bowl, tmp_path, trials=2).complete and len(started) == 3


def test_workers_that_never_start_end_the_search(tmp_path, monkeypatch):
    class Killed(pool.LocalWorker):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self._process.kill()

    monkeypatch.setattr(pool, "LocalWorker", Killed)
    with pytest.raises(UserError, match="no worker process starts: killed by SIGKILL"):
        run(fakes.bowl, tmp_path)


@pytest.mark.parametrize("cost", [None, float("inf"), float("nan")])
@pytest.mark.parametrize("algorithm", ["random", "tpe"])
def test_a_cost_that_is_unknown_or_infinite_ends_nothing(algorithm, cost, tmp_path):
    def target(trial):
        if cost is not None:
            trial.facts["parameters"] = cost
        return {"val_score": trial.values["x"]}

    found = run(target, tmp_path, algorithm, 13, 0, cost="parameters")
    assert len(found.records) == 13 and found.front() == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_trials_that_the_time_cuts_off_are_stopped_and_go_on(workers, tmp_path, monkeypatch):
    target = fakes.Slow(tmp_path / "notes", seconds=0.1, epochs=3)

    def over(search):
        """When the second trial has begun: a clock would say it too early on a busy machine."""
        made = tmp_path / "notes"
        return made.exists() and ["begin", "1"] in [note[:2] for note in fakes.notes(made)]

    with monkeypatch.context() as patch:
        patch.setattr(state.SearchState, "out_of_time", property(over))
        patch.setattr(
            state.SearchState,
            "seconds_left",
            lambda search: 0.01 if len(search.records) > 1 else None,
        )
        cut = run(target, tmp_path / "run", workers=workers)
    assert [r.status for r in cut.records] == ["completed", "stopped"] and not cut.complete
    assert tuning.read_results(tmp_path / "run").records[-1].status == "stopped"
    more = run(target, tmp_path / "run", trials=3, workers=0)
    assert more.complete and [r.status for r in more.records] == ["completed"] * 3


@pytest.mark.slow
def test_the_budget_of_epochs_counts_what_was_inherited_once(tmp_path):
    """Hyperband with 9 epochs: 9 of 1, 3 of 3 (2 more), 1 of 9 (6 more), then a new bracket."""
    for budget, expected in ((9 + 1, 10), (9 + 3 * 2, 12), (9 + 3 * 2 + 6, 13)):
        directory = tmp_path / f"{budget}"
        found = run(
            fakes.bowl, directory, "hyperband", workers=0, budget=tuning.Budget(epochs=budget)
        )
        assert len(found.records) == expected


def test_the_best_epoch_counts_and_not_the_last(tmp_path):
    def target(trial):
        for epoch, value in enumerate((3.0, 1.0, 2.0), start=1):
            trial.report(epoch, {"val_loss": value, "other": 10.0 * epoch})

    for direction, best, score in (("min", 2, 1.0), ("max", 1, 3.0)):
        oracle = tuning.oracle("random", kt.Objective("val_loss", direction), space())
        (record,) = run(target, tmp_path / direction, oracle=oracle, trials=1, workers=0).records
        assert (record.best_epoch, record.score, record.epochs) == (best, score, 3)
        assert record.metrics["other"] == 10.0 * best


@pytest.mark.slow
def test_poor_trials_are_pruned_where_less_is_better(tmp_path):
    def target(trial):
        for epoch in range(1, 5):
            if not trial.report(epoch, {"val_loss": trial.values["x"] + 1 / epoch}):
                return

    oracle = tuning.oracle("random", "val_loss", space(), seed=1)
    found = run(target, tmp_path, oracle=oracle, trials=30, workers=0, stop_early="median")
    pruned = [r.values["x"] for r in found.records if r.status == "pruned"]
    completed = [r.values["x"] for r in found.records if r.status == "completed"]
    assert len(pruned) > 5 and min(pruned) > min(completed)
    assert sum(pruned) / len(pruned) > sum(completed) / len(completed)


def test_every_entry_is_on_the_disk_before_anything_is_done_about_it(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(journal.os, "fsync", lambda number: synced.append(fsync(number)))

    def target(trial):
        entries, _ = journal.read(tmp_path / state.JOURNAL)
        assert entries[-1]["event"] == "created" and len(synced) >= len(entries)
        return 1.0

    assert len(run(target, tmp_path, trials=3, workers=0).ended_well) == 3


def theirs(seed=None, **options):
    return kt.oracles.RandomSearchOracle(MAX, hyperparameters=space(), seed=seed, **options)


def test_a_seed_that_keras_tuner_drew_is_taken_from_the_journal(tmp_path):
    first = run(fakes.bowl, tmp_path / "a", oracle=theirs(max_trials=4), workers=0)
    again = run(fakes.bowl, tmp_path / "a", oracle=theirs(max_trials=4), workers=0)
    assert again.records == first.records
    more = run(fakes.bowl, tmp_path / "a", oracle=theirs(max_trials=7), workers=0)
    assert points(more)[:4] == points(first) and len(more.records) == 7


def test_the_same_oracle_can_be_searched_with_twice(tmp_path):
    oracle = tuning.oracle("hyperband", MAX, space(), seed=3, epochs=9)
    first = run(fakes.bowl, tmp_path, oracle=oracle, trials=5, workers=0)
    more = run(fakes.bowl, tmp_path, oracle=oracle, trials=14, workers=0)
    assert points(more)[:5] == points(first) and len(more.records) == 14


@pytest.mark.slow
def test_a_larger_budget_keeps_the_brackets_of_hyperband(tmp_path):
    def search(directory, trials, sized):
        oracle = tuning.oracle("hyperband", MAX, space(), seed=3, epochs=54, trials=sized)
        return run(fakes.bowl, directory, oracle=oracle, trials=trials, workers=0)

    search(tmp_path / "a", 13, 13)
    more = search(tmp_path / "a", 20, 100)
    assert points(more) == points(search(tmp_path / "b", 20, 13))


@pytest.mark.parametrize("algorithm", ["random", "hyperband", "tpe", "bayesian"])
def test_a_library_that_draws_otherwise_since_an_upgrade_changes_nothing_of_the_past(
    algorithm, tmp_path, monkeypatch
):
    first = run(fakes.bowl, tmp_path, algorithm, 4, 0)
    drawn = kt.engine.hyperparameters.Float.random_sample
    monkeypatch.setattr(
        kt.engine.hyperparameters.Float,
        "random_sample",
        lambda self, seed=None: drawn(self, seed + 1),
    )
    more = run(fakes.bowl, tmp_path, algorithm, 6, 0)
    assert points(more)[:4] == points(first) and len(more.records) == 6


def test_a_newer_keras_tuner_may_say_more_of_a_space(tmp_path, monkeypatch):
    run(fakes.bowl, tmp_path, trials=2, workers=0)
    kind = kt.engine.hyperparameters.Float
    said, made = kind.get_config, kind.from_config.__func__

    def from_config(cls, config):
        return made(cls, {name: value for name, value in config.items() if name != "unit"})

    monkeypatch.setattr(kind, "from_config", classmethod(from_config))
    monkeypatch.setattr(kind, "get_config", lambda self: said(self) | {"unit": None})
    assert len(run(fakes.bowl, tmp_path, trials=3, workers=0).records) == 3


def test_states_of_trials(tmp_path):
    seen = []

    def target(trial):
        seen.append([r.status for r in tuning.read_results(tmp_path).records])
        if trial.number == 1:
            raise RuntimeError
        return 1.0

    run(target, tmp_path, trials=3, workers=0)
    assert seen == [["queued"], ["completed", "queued"], ["completed", "failed", "queued"]]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills processes")
def test_a_worker_killed_from_outside_while_it_is_the_only_one(tmp_path):
    """The moment that waited for ever: nothing to create, and nobody to listen to."""
    target = fakes.Slow(tmp_path / "notes", seconds=0.2, epochs=3)
    found = []

    def kill():
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if (tmp_path / "notes").exists() and ["epoch", "0", "1"] in fakes.notes(
                tmp_path / "notes"
            ):
                for child in pool.multiprocessing.active_children():
                    os.kill(child.pid, signal.SIGKILL)
                    found.append(child.pid)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    results = run(target, tmp_path / "run", trials=1)
    thread.join()
    assert found and results.complete and results.records[0].status == "completed"


def test_a_loss_that_is_no_number_is_remembered_as_such(tmp_path):
    """A parent killed as such a trial ends: the rule that prunes sees again what it had seen."""

    def target(trial):
        for epoch, value in enumerate((0.1, float("nan"), 0.2), start=1):
            trial.report(epoch, {"val_score": value + trial.values["x"]})

    def search(trials):
        return run(target, tmp_path, trials=trials, workers=0, stop_early="median", epochs=3)

    first = search(2)
    assert [row["val_score"] == row["val_score"] for row in first.records[1].curves[0]] == [
        True, False, True
    ]  # fmt: skip
    path = tmp_path / state.JOURNAL
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert len(search(3).records) == 3  # takes the answer that the worker had kept
    again = search(7)
    assert len(again.ended_well) == 7
    told = tuning.read_results(tmp_path).records[1].curves[0][1]["val_score"]
    assert told != told
    found = json_files.checked(tmp_path)
    assert {"search.journal", "rows.journal", "result.json", "execution.json"} <= set(found)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_answer_that_is_no_number_is_a_failure(value, tmp_path):
    found = run(lambda trial: value, tmp_path, "tpe", trials=8, workers=0)
    assert {r.status for r in found.records} == {"failed"} and found.best_first() == []
    assert all("not a finite number" in r.reason for r in found.records)
