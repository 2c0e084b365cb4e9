"""One search, killed again and again: is anything lost, run twice, or tried in another order?

    python benchmarks/tuning_kills.py --kills 200

A search of trials that only wait is killed with SIGKILL at random moments, itself or one of its
workers, and started again each time. It is then compared with the same search left in peace. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))


class Waiting:
    """Three epochs of doing nothing; a line for every beginning, epoch and end."""

    def __init__(self, notes, seconds):
        self.notes, self.seconds = str(notes), seconds

    def __call__(self, trial):
        """Go on where the trial was."""
        done = len(trial.rows)
        for epoch in range(done + 1, 4):
            time.sleep(self.seconds)
            trial.report(epoch, {"val_score": trial.values["x"] + epoch})
            with open(self.notes, "a") as file:
                file.write(f"{trial.number} {epoch} {os.getpid()}\n")


def search(directory, algorithm, trials, workers, seconds):
    """The search, or what is left of it."""
    import keras_tuner as kt

    from kapps import tuning

    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 10.0)
    hp.Choice("kind", ["a", "b", "c"])
    oracle = tuning.oracle(algorithm, kt.Objective("val_score", "max"), hp, seed=7, epochs=9)
    return tuning.run_search(
        Waiting(directory / "notes", seconds),
        oracle,
        directory,
        budget=tuning.Budget(trials=trials),
        workers=workers,
    )


def processes(parent: int) -> list[int]:
    """Worker processes of a process."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            status = (path / "status").read_text()
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        mine = f"PPid:\t{parent}\n" in status and "State:\tZ" not in status
        if mine and b"spawn_main" in command:
            found.append(int(path.name))
    return found


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return "State:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def begin(directory, *arguments) -> int:
    """The search in a process of its own: TensorFlow is imported, and has computed nothing."""
    child = os.fork()
    if child:
        return child
    with open(directory / "output", "a") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    try:
        search(directory, *arguments)
    except BaseException:
        traceback.print_exc()
        os._exit(3)
    os._exit(0)


def killed_search(directory, algorithm, trials, workers, seconds, kills, rng) -> dict:
    """Run a search to its end through `kills` kills; what became of it."""
    count, left_behind, slowest = {"parent": 0, "worker": 0}, 0, 0.0
    while True:
        child = begin(directory, algorithm, trials, workers, seconds)
        status = None
        while status is None:
            wanted = sum(count.values()) < kills
            ended = time.monotonic() + rng.uniform(0.1, 0.8)
            while status is None and (time.monotonic() < ended or not wanted):
                done, code = os.waitpid(child, os.WNOHANG)
                status = code if done else None
                time.sleep(0.005)
            if status is not None:
                break
            theirs = processes(child)
            if theirs and rng.random() < 0.4:
                os.kill(rng.choice(theirs), signal.SIGKILL)
                count["worker"] += 1
                continue
            os.kill(child, signal.SIGKILL)
            count["parent"] += 1
            os.waitpid(child, 0)
            killed = time.monotonic()
            while any(map(alive, theirs)) and time.monotonic() < killed + 10:
                time.sleep(0.005)
            left_behind += sum(map(alive, theirs))
            slowest = max(slowest, time.monotonic() - killed)
            break
        if status == 0:
            return {
                "kills": count,
                "workers_left_behind": left_behind,
                "seconds_until_workers_ended": round(slowest, 2),
            }
        if status is not None:
            raise RuntimeError((directory / "output").read_text())


def same_points(one, other) -> bool:
    """Whether trials have the same values; a Gaussian process climbs its hill to eight digits."""
    return len(one) == len(other) and all(
        a.values == b.values | {"x": a.values["x"]} and abs(a.values["x"] - b.values["x"]) < 1e-4
        for a, b in zip(one, other, strict=True)
    )


def compare(root, algorithm, trials, workers, seconds, kills, seed=0) -> dict:
    """A search in peace and the same one killed: the differences."""
    from kapps import tuning

    whole, killed = root / f"{algorithm}-whole", root / f"{algorithm}-killed"
    for directory in (whole, killed):
        directory.mkdir()
    search(whole, algorithm, trials, workers, 0.0)
    found = killed_search(killed, algorithm, trials, workers, seconds, kills, random.Random(seed))
    one, other = (tuning.read_results(path).records for path in (whole, killed))
    epochs = [tuple(line.split()[:2]) for line in (killed / "notes").read_text().splitlines()]
    failed = [record for record in other if record.status == "failed"]
    lost = [
        record.number
        for record in other
        if record.status == "completed" and [r["epoch"] for r in record.curves[0]] != [1, 2, 3]
    ]
    return found | {
        "trials": trials,
        "same_points_in_the_same_order": same_points(one, other),
        "same_seeds": [r.seeds for r in one] == [r.seeds for r in other],
        "epochs_trained_twice": len(epochs) - len(set(epochs)),
        "trials_with_epochs_missing": lost,
        "unaccounted": sum(record.status in ("queued", "running", "stopped") for record in other),
        "failed": len(failed),
        "reasons": sorted({record.reason for record in failed}),
        "same_scores_where_completed": all(
            abs(a.score - b.score) < 1e-3
            for a, b in zip(one, other, strict=True)
            if b.status == "completed"
        ),
    }


# In parallel, what learns from results asks when others happen to end: its order is not the same.
CASES = (
    ("random", 1), ("random", 2), ("grid", 1), ("bayesian", 1), ("hyperband", 1), ("tpe", 1),
    ("tpe_local", 1),
)  # fmt: skip


def main() -> None:
    """All kinds of search, and a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="in all")
    parser.add_argument("--trials", type=int, default=60, help="of each kind of search")
    parser.add_argument("--seconds", type=float, default=0.08, help="of an epoch")
    parser.add_argument("--only", nargs="*", help="kinds, as random-2; default: all")
    parser.add_argument("--output", default="benchmarks/results/tuning_kills.json")
    given = parser.parse_args()
    cases = [case for case in CASES if not given.only or f"{case[0]}-{case[1]}" in given.only]
    found = {}
    with tempfile.TemporaryDirectory() as root:
        for number, (algorithm, workers) in enumerate(cases):
            kills = given.kills // len(cases) + (number < given.kills % len(cases))
            directory = pathlib.Path(root, f"{workers}")
            directory.mkdir(exist_ok=True)
            name = f"{algorithm}-{workers}"
            found[name] = compare(
                directory, algorithm, given.trials, workers, given.seconds, kills, seed=number
            )
            print(name, json.dumps(found[name], indent=1), flush=True)
            pathlib.Path(given.output).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
