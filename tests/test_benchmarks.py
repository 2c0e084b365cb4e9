"""The harness of benchmarks/run.py: turns, medians, what is done about a busy machine."""

import os
import statistics
import subprocess
import sys
import textwrap
import time

import pytest

from benchmarks import fast, run
from benchmarks.harness import machine, results, turns
from benchmarks.harness.turns import Contestant
from benchmarks.workloads import WORKLOADS

TOY = """
    import sys, time
    from benchmarks.harness.worker import serve
    def prepare():
        print("libraries print what they like")
        print("and warn" * 20_000, file=sys.stderr)
        if sys.argv[1] == "broken":
            raise RuntimeError("no such instruction")
        def work(units):
            with open(sys.argv[2], "a") as log:
                log.write(f"{sys.argv[1]}{units} ")
            time.sleep(float(sys.argv[3]) * units)
        return work, {"versions": {"toy": "1"}}
    serve(prepare)
"""


@pytest.fixture
def toy(tmp_path):
    program = tmp_path / "toy.py"
    program.write_text(textwrap.dedent(TOY))
    log = tmp_path / "log"
    return lambda name, seconds=0.0: Contestant(str(program), (name, str(log), str(seconds))), log


@pytest.mark.slow
def test_contestants_take_turns_and_one_that_fails_does_not_stop_the_others(toy):
    make, log = toy
    contestants = {"a": make("a", 0.01), "broken": make("broken"), "b": make("b", 0.03)}
    found = turns.compete(contestants, repetitions=3, units=4, say=lambda *_: None)
    assert log.read_text().split() == ["a2"] * 2 + ["b2"] * 2 + ["a4", "b4"] * 3
    assert "no such instruction" in found["broken"]["failed"]
    assert found["a"]["ratio"] == 1.0 and found["a"]["facts"]["versions"] == {"toy": "1"}
    for name, least in (("a", 0.01), ("b", 0.03)):  # sleeping takes no less; load makes it more
        assert len(found[name]["seconds"]) == 3 and min(found[name]["seconds"]) >= least


def test_medians_quartiles_and_ratios_by_hand():
    found = {
        "gone": {"failed": "why"},
        "x": {"seconds": [4.0, 1.0, 2.0, 3.0, 5.0]},
        "y": {"seconds": [6.0]},
    }
    found = turns.summarized(found)
    assert [found["x"][k] for k in ("low", "median", "high", "ratio")] == [2.0, 3.0, 4.0, 1.0]
    assert [found["y"][k] for k in ("low", "median", "high", "ratio")] == [6.0, 6.0, 6.0, 2.0]


def test_a_command_is_timed_as_a_whole():
    wait = Contestant(command=("python", "-c", "import time; time.sleep(0.2)"))
    wrong = Contestant(command=("python", "-c", "raise SystemExit('no')"))
    found = turns.compete(
        {"wait": wait, "wrong": wrong}, repetitions=1, units=1, say=lambda *_: None
    )
    assert found["wait"]["median"] >= 0.2 and "no" in found["wrong"]["failed"]


@pytest.mark.slow
def test_what_others_do_is_seen_and_what_we_do_is_not():
    burning = "import time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: pass"
    process = subprocess.Popen([sys.executable, "-c", burning])
    try:
        before = machine.used_by([process.pid])
        deadline = time.monotonic() + 10
        while machine.used_by([process.pid]) - before < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
        with machine.Others() as all_others:
            time.sleep(0.6)
        with machine.Others([process.pid]) as others:
            time.sleep(0.6)
    finally:
        process.kill()
        process.wait()
    share = 0.3 / (os.cpu_count() or 1)  # of a core, at the very least, however busy the machine
    assert all_others.part > share / 2
    assert 0.0 <= others.part <= 1.0


def test_a_busy_machine_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(machine, "others_now", lambda: 0.4)
    measured = []
    monkeypatch.setattr(run, "measure", lambda name, given: measured.append(name))
    assert run.main(["resnet"]) == 2 and measured == []
    assert "other processes use 40%" in capsys.readouterr().err
    assert run.main(["resnet", "--busy"]) == 0 and measured == ["resnet"]
    assert run.main(["resnte"]) == 2 and "resnet" in capsys.readouterr().err


def test_results_are_written_and_the_table_says_what_was_not_measured(tmp_path):
    row = {"seconds": [0.5], "median": 0.5, "low": 0.4, "high": 0.75, "ratio": 1.0, "others": 0.3}
    result = {
        "title": "Adding",
        "unit": "a step",
        "command": "python benchmarks/run.py add",
        "repetitions": 7,
        "units": 3,
        "machine": {"cpu": "an abacus", "cores": 2, "flags": []},
        "contestants": {
            "kapps": row,
            "other": {**row, "median": 1.0, "ratio": 2.0, "differs": "in red", "others": 0.0},
            "gone": {"failed": "Traceback\nno | such"},
        },
    }
    results.write("add", result, tmp_path)
    table = (tmp_path / "run.md").read_text()
    assert "| kapps | 500 | 400 to 750 | 1.00 | others used 30% of the cores |" in table
    assert "| other | 1,000 | 400 to 750 | 2.00 | in red |" in table
    assert "| gone | – | | | not measured: no / such |" in table
    assert (tmp_path / "run_add.png").stat().st_size > 3000
    assert (tmp_path / "run_add.json").exists()


def test_every_workload_names_programs_that_are_there():
    for workload in WORKLOADS.values():
        for contestant in workload.contestants.values():
            path = turns.peers.ROOT / "benchmarks/contestants" / contestant.program
            assert contestant.command or path.is_file()


def test_seeds_are_added_to_means_and_deviations_that_are_there():
    values = [0.3, 0.5, 0.9, 1.2, 0.1]
    whole = pytest.approx((statistics.mean(values), statistics.stdev(values)))
    assert fast.pooled(values) == whole
    first = (statistics.mean(values[:3]), statistics.stdev(values[:3]), 3)
    assert fast.pooled(values[3:], first) == whole
    assert fast.pooled(values[1:], (values[0], 0.0, 1)) == whole
    assert fast.pooled([2.0]) == (2.0, 0.0)


def test_a_row_that_lacks_a_figure_or_the_load_gets_more_seeds():
    runs = [{"seconds": 3.0, "validation_accuracy": 0.9}]
    there = {"seconds": 1.0, "seconds_spread": 0.0, "seeds": 1, "others": None}
    added = fast.together(runs, 0.1, there)
    assert added == {"others": None, "seconds": 2.0, "seconds_spread": pytest.approx(2**0.5)}
    assert fast.together(runs, 0.1, there | {"others": 0.3})["others"] == 0.3
    alone = fast.together(runs, 0.1)
    assert alone["validation_accuracy"] == 0.9 and alone["others"] == 0.1
