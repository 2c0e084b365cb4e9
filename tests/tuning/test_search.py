import csv
import json
import pathlib
import shutil
import subprocess
import sys

import keras_tuner as kt
import pytest

from kapps import tuning
from kapps.errors import UserError
from kapps.tuning import state
from kapps.tuning.workers import journal, pool
from tuning import fakes

ROOT = pathlib.Path(__file__).parents[2]
MAX = kt.Objective("val_score", "max")


def space():
    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 10.0)
    hp.Choice("kind", ["a", "b"])
    return hp


def run(target, directory, algorithm="random", trials=8, workers=0, seed=3, hp=None, **options):
    oracle = tuning.oracle(algorithm, MAX, hp or space(), seed=seed, epochs=9)
    options.setdefault("budget", tuning.Budget(trials=trials))
    return tuning.run_search(target, oracle, directory, workers=workers, **options)


def points(results):
    return [record.values for record in results.records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search in this process, left in peace."""
    directory = tmp_path_factory.mktemp("whole")
    return directory, run(fakes.bowl, directory, epochs=3)


def test_what_a_search_finds_and_writes(whole):
    directory, found = whole
    assert found.complete and len(found.records) == 8
    best = found.best_first()[0]
    scores = [
        -((r.values["x"] - 3) ** 2) - (r.values["kind"] == "a") - 1 / 3 for r in found.records
    ]
    assert [r.score for r in found.records] == pytest.approx(scores)
    assert best.score == max(scores) and best.best_epoch == 3 and best.epochs == 3
    rows = list(csv.DictReader((directory / "search.csv").read_text().splitlines()))
    assert list(rows[0])[:3] == ["trial", "status", "val_score"]
    assert [row["trial"] for row in rows] == [str(i) for i in range(8)]
    assert {row["status"] for row in rows} == {"completed"}
    assert float(rows[best.number]["x"]) == best.values["x"]
    assert int(rows[0]["parameters"]) == 1000 + round(100 * found.records[0].values["x"])
    assert len({r.seeds[0] for r in found.records}) == 8
    assert tuning.read_results(directory).records == found.records


def test_worker_processes_find_the_same(whole, tmp_path):
    found = run(fakes.bowl, tmp_path, workers=2, recycle=3, epochs=3)
    assert points(found) == points(whole[1])
    assert [r.score for r in found.records] == [r.score for r in whole[1].records]
    assert all(0 < r.peak_memory_mb < 200 for r in found.records)  # no TensorFlow in the workers


def test_again_does_nothing_and_a_larger_budget_goes_on(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "copy")

    def never(trial):
        raise AssertionError("nothing is left to try")

    again = run(never, tmp_path / "copy", epochs=3)
    assert again.records == whole[1].records
    more = run(fakes.bowl, tmp_path / "copy", trials=11, epochs=3)
    straight = run(fakes.bowl, tmp_path / "straight", trials=11, epochs=3)
    assert points(more) == points(straight) and len(more.records) == 11


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "trials"), [("bayesian", 8), ("hyperband", 14), ("tpe", 14)])
def test_what_learns_from_trials_goes_on_with_the_same_points(algorithm, trials, tmp_path):
    """Broken off in a trial: its oracle knows afterwards what it knew, and no more."""

    def broken_off(trial):
        if trial.number == trials // 2:
            trial.report(1, {"val_score": 0.0})
            raise KeyboardInterrupt
        return fakes.bowl(trial)

    with pytest.raises(KeyboardInterrupt):
        run(broken_off, tmp_path / "cut", algorithm, trials=trials, epochs=3)
    cut = run(fakes.bowl, tmp_path / "cut", algorithm, trials=trials, epochs=3)
    straight = run(fakes.bowl, tmp_path / "straight", algorithm, trials=trials, epochs=3)
    # The Gaussian process climbs its hill to eight digits, not to the last.
    for one, other in zip(points(cut), points(straight), strict=True):
        assert one == other | {"x": pytest.approx(other["x"], abs=1e-4)}
    assert len({str(point) for point in points(cut)}) > trials // 2


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raise", "RuntimeError: bad x"),
        ("nan", "not a finite number"),
        ("nothing", "no val_score was measured; there is val_other"),
        ("memory", "out of memory"),
    ],
)
def test_failures_are_recorded_with_their_reason_and_end_nothing(tmp_path, how, reason):
    found = run(fakes.Failing(0.6, how), tmp_path, trials=12)
    failed = [r for r in found.records if r.status == "failed"]
    assert len(found.records) == 12 and 4 <= len(failed) < 12
    assert all((r.values["x"] % 1 < 0.6) == (r.status == "failed") for r in found.records)
    assert all(reason in r.reason and r.score is None for r in failed)
    assert sum(map(len, found.failures().values())) == len(failed)


@pytest.mark.slow
def test_a_trial_that_kills_its_worker_every_time_fails(whole, tmp_path):
    found = run(fakes.Failing(0.5, "kill"), tmp_path, workers=1)
    assert points(found) == points(whole[1])
    for record in found.records:
        killed = record.values["x"] % 1 < 0.5
        assert (record.status == "failed") == killed
        assert not killed or "SIGKILL" in record.reason and "3 times" in record.reason


def test_hyperband_with_failures_promotes_and_goes_on_with_the_curve(tmp_path):
    found = run(fakes.Failing(0.3), tmp_path, "hyperband", trials=None)
    promoted = [r for r in found.records if r.past is not None]
    assert {(r.bracket, r.round) for r in promoted} == {(2, 1), (2, 2), (1, 1)}
    for record in promoted:
        past = found.records[record.past]
        assert record.values == past.values and record.seeds == past.seeds
        assert past.status == "completed" and record.epochs == 3 * past.epochs
        assert [row["epoch"] for row in record.curves[0]] == list(range(1, record.epochs + 1))
    assert found.complete


def test_several_seeds_per_point(tmp_path):
    def target(trial):
        assert trial.hp.get("x") == trial.values["x"]
        return {"val_score": float(trial.execution), "val_other": 10.0 * trial.execution}

    hp = space()
    with hp.conditional_scope("kind", ["a"]):
        hp.Int("n", 1, 4)
    found = run(target, tmp_path, trials=2, executions=3, hp=hp)
    for record in found.records:
        assert record.score == 1.0 and record.deviation == 1.0
        assert record.metrics == {"val_score": 1.0, "val_other": 10.0}
        assert len(set(record.seeds)) == 3
    assert not set(found.records[0].seeds) & set(found.records[1].seeds)


@pytest.mark.slow
def test_poor_trials_are_stopped_early(tmp_path):
    found = run(fakes.bowl, tmp_path, trials=30, epochs=6, stop_early="median")
    stopped = [r for r in found.records if r.status == "pruned"]
    best = found.best_first()
    assert 5 <= len(stopped) <= 25 and all(2 <= r.epochs < 6 for r in stopped)
    assert best[0].status == "completed" and best[0].epochs == 6
    peaks = [-((r.values["x"] - 3) ** 2) - (r.values["kind"] == "a") for r in found.records]
    assert peaks.index(max(peaks)) == best[0].number


@pytest.mark.slow
def test_budgets_in_epochs_and_minutes(tmp_path):
    found = run(fakes.bowl, tmp_path / "e", epochs=3, budget=tuning.Budget(epochs=8))
    assert len(found.records) == 3
    target = fakes.Slow(tmp_path / "notes", seconds=0.2, epochs=2)
    budget = tuning.Budget(trials=50, minutes=0.015)
    cut = run(target, tmp_path / "m", workers=1, budget=budget)
    assert len(cut.records) < 5 and cut.seconds < 10
    more = run(target, tmp_path / "m", trials=len(cut.records) + 1)
    assert more.complete and {r.epochs for r in more.records} == {2}
    trained = [tuple(line) for line in fakes.notes(tmp_path / "notes") if line[0] == "epoch"]
    # None twice. The note of the epoch in which time ran out may be missing, its report is not.
    assert len(trained) == len(set(trained)) >= 2 * len(more.records) - 1


def test_a_result_that_was_on_its_way_when_the_parent_was_killed_is_not_lost(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "copy")
    path = tmp_path / "copy" / state.JOURNAL
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    entries = journal.read(path)[0]
    assert entries[-1]["event"] == "created"

    def never(trial):
        raise AssertionError("it had ended")

    assert points(run(never, tmp_path / "copy", epochs=3)) == points(whole[1])
    kept = journal.read(path)[0][-1]
    assert kept["event"] == "ended" and kept["trial"] == entries[-1]["trial"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 4}, r"seed \(was 3, now 4\)"),
        ({"algorithm": "grid"}, "algorithm"),
        ({"epochs": 4}, "epochs"),
        ({"executions": 2}, "executions"),
        ({"identity": {"data": "abc"}}, "data"),
        ({"stop_early": "median"}, "stop_early"),
        ({"cost": "parameters"}, "cost"),
    ],
)
def test_another_search_is_refused_and_what_differs_is_named(whole, change, words):
    before = (whole[0] / state.JOURNAL).read_bytes()
    with pytest.raises(UserError, match=words):
        run(fakes.bowl, whole[0], **{"epochs": 3} | change)
    assert (whole[0] / state.JOURNAL).read_bytes() == before


def test_another_space_is_refused(whole):
    other = kt.HyperParameters()
    other.Float("x", 0.0, 11.0)
    with pytest.raises(UserError, match="x was .*10.0.*11.0.*kind is gone"):
        run(fakes.bowl, whole[0], hp=other, epochs=3)


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="workers=0"):
        run(lambda trial: 0.0, tmp_path / "a", workers=1)
    with pytest.raises(UserError, match="median"):
        run(fakes.bowl, tmp_path / "b", stop_early="maximum")
    with pytest.raises(UserError, match="stops poor trials itself"):
        run(fakes.bowl, tmp_path / "c", "hyperband", stop_early="median")
    with pytest.raises(UserError, match="parameters"):
        run(fakes.bowl, tmp_path / "d", cost="weight")
    for algorithm in ("bayesian", "hyperband", "tpe_local"):
        with pytest.raises(UserError, match="one objective"):
            run(fakes.bowl, tmp_path / "e", algorithm, cost="parameters")


def test_a_search_in_use_is_refused(tmp_path):
    def target(trial):
        with pytest.raises(UserError, match="in use"):
            run(fakes.bowl, tmp_path)
        return 1.0

    assert run(target, tmp_path, trials=1).complete


def test_a_pareto_pair(tmp_path):
    found = run(fakes.bowl, tmp_path, trials=20, cost="parameters")
    front = found.front()
    assert [r.facts["parameters"] for r in front] == sorted(r.facts["parameters"] for r in front)
    assert front[-1] is found.best_first()[0]
    for record in found.records:
        beaten = any(
            other.score >= record.score
            and other.facts["parameters"] <= record.facts["parameters"]
            and (other.score, other.facts) != (record.score, record.facts)
            for other in found.records
        )
        assert beaten != (record in front)


def test_shares_of_a_machine(monkeypatch):
    kept = ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")  # set where Keras was imported before
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", *kept):
        monkeypatch.delenv(name, raising=False)  # what the environment says goes before it
    assert pool.environments(1, [])[0].keys() == {"TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND"}
    two = pool.environments(2, ["0", "1", "5"], cores=8)
    assert [share["CUDA_VISIBLE_DEVICES"] for share in two] == ["0,5", "1"]
    assert {share["TF_NUM_INTRAOP_THREADS"] for share in two} == {"4"}
    crowded = pool.environments(3, ["0", "1"], cores=2)
    assert [share["CUDA_VISIBLE_DEVICES"] for share in crowded] == ["0", "1", "0"]
    assert all(share["TF_FORCE_GPU_ALLOW_GROWTH"] == "true" for share in crowded)
    assert {share["TF_NUM_INTRAOP_THREADS"] for share in crowded} == {"1"}


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
def test_killed_again_and_again(tmp_path):
    """Searches and their workers, by SIGKILL: benchmarks/tuning_kills.py with fewer of them."""
    command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks/tuning_kills.py")]
    flags = ["--kills", "6", "--trials", "10", "--output", str(tmp_path / "found.json")]
    flags += ["--seconds", "0.15", "--only", "random-2", "hyperband-1"]
    answer = subprocess.run([*command, *flags], capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    for algorithm, found in json.loads((tmp_path / "found.json").read_text()).items():
        assert sum(found["kills"].values()) == 3
        for name in ("workers_left_behind", "epochs_trained_twice", "unaccounted"):
            assert found[name] == 0, (algorithm, name)
        assert found["trials_with_epochs_missing"] == []
        assert found["same_points_in_the_same_order"] and found["same_seeds"]
        assert found["same_scores_where_completed"]
        assert found["failed"] <= found["kills"]["worker"]
        assert all("SIGKILL" in reason for reason in found["reasons"])
