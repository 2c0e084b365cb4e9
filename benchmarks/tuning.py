"""What the search costs, and what it survives.

    python benchmarks/tuning.py trials      # 200 trials on digits: failures, memory, overhead
    python benchmarks/tuning.py hyperband   # promotions with 0, 10 and 30 % of failures

What it finds is in tuning_compare.py, kills are in tuning_kills.py.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results"


def resident_mb() -> float:
    """Resident memory of this process."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def trials_config(given, directory):
    """The recipe's configuration for `trials`."""
    from recipes.tune_cnn import Config

    return Config(
        max_trials=given.trials,
        epochs=given.epochs,
        run_dir=str(directory),
        stop_early="none",
        max_parameters=0,
        max_stages=4,
    )


def trials(given) -> None:
    """Many trials through the runner, then the same trainings in a plain loop."""
    import keras_tuner  # noqa: F401 (memory before the first trial includes it)

    from kapps import training, tuning
    from recipes import tune_cnn

    memory = []
    with tempfile.TemporaryDirectory() as root:
        config = trials_config(given, root)
        target = tune_cnn.CnnTrials(config)
        space = tuning.spaces.declared(target.space)

        def note(record, results):
            memory.append(resident_mb())
            if record.number % 20 == 0:
                print(f"trial {record.number}: {memory[-1]:.0f} MB", flush=True)

        begin, used = time.monotonic(), processor_seconds()
        results = tuning.run_search(
            target,
            tuning.oracle("random", "val_accuracy", space, seed=0),
            root,
            canonical=tuning.spaces.canonical(target.space),
            budget=tuning.Budget(trials=given.trials),
            epochs=given.epochs,
            recycle=given.recycle,
            progress=note,
        )
        seconds, used = time.monotonic() - begin, processor_seconds() - used
        points = [(r.values, r.seeds[0]) for r in results.records]
        pathlib.Path(root, "points.json").write_text(json.dumps([space.get_config(), points]))
        found = {
            "trials": len(results.records),
            "epochs": given.epochs,
            "recycle": given.recycle,
            "failed": results.failures(),
            "parent_mb_after_first_trial": round(memory[0], 1),
            "parent_mb_after_last_trial": round(memory[-1], 1),
            "parent_mb_growth": round(max(memory) - memory[0], 1),
            "worker_peak_mb": round(max(r.peak_memory_mb for r in results.records)),
            "search_seconds": round(seconds, 1),
            "search_processor_seconds": round(used, 1),
            "seconds_inside_trials": round(sum(r.seconds for r in results.records), 1),
            "machine": training.machine(),
            "note": "measured on a machine that was shared: seconds vary, processor time less",
        }
        write(given.output or "tuning_trials.json", found)
        answer = subprocess.run(
            [sys.executable, __file__, "plain", "--epochs", str(given.epochs), "--directory", root],
            capture_output=True,
            text=True,
            check=True,
        )
        plain = json.loads(answer.stdout.splitlines()[-1])
    found |= {
        **plain,
        "overhead_in_processor_time": round(used / plain["plain_processor_seconds"] - 1, 4),
        "overhead_in_seconds": round(seconds / plain["plain_seconds"] - 1, 4),
    }
    write(given.output or "tuning_trials.json", found)


def plain(given) -> None:
    """The trainings of a search one after the other, as a script would do them."""
    begin, used = time.monotonic(), processor_seconds()
    import keras

    from kapps import training, tuning
    from recipes import tune_cnn

    config = trials_config(argparse.Namespace(trials=1, epochs=given.epochs), given.directory)
    images = training.load_images(config)
    target = tune_cnn.CnnTrials(config)
    space, points = json.loads(pathlib.Path(given.directory, "points.json").read_text())
    memory = []
    for values, seed in points:
        hp = tuning.hyperparameters(space, values)
        model, (batches, validation, _) = target.build(hp, images, seed, config.epochs)
        training.fit(model, batches, validation, epochs=config.epochs, verbose=0)
        keras.utils.clear_session(free_memory=False)
        gc.collect()
        memory.append(resident_mb())
    print(
        json.dumps(
            {
                "plain_seconds": round(time.monotonic() - begin, 1),
                "plain_processor_seconds": round(processor_seconds() - used, 1),
                "plain_mb_growth": round(memory[-1] - memory[0], 1),
            }
        )
    )


def hyperband(given) -> None:
    """Trials of each round of each bracket, ours and KerasTuner's, at some shares of failures."""
    import keras_tuner as kt
    import numpy as np

    from kapps import training
    from kapps.tuning import oracles

    goal = kt.Objective("val_score", "max")

    def space():
        hp = kt.HyperParameters()
        hp.Float("x", 0.0, 1.0)
        return hp

    def rounds(oracle, share):
        with oracles.asking():
            while (trial := oracle.create_trial("only")).status == "RUNNING":
                failed = np.random.default_rng(int(trial.trial_id)).random() < share
                trial.status = "FAILED" if failed else "COMPLETED"
                if not failed:
                    score = trial.hyperparameters.values["x"]
                    oracle.update_trial(trial.trial_id, {"val_score": score})
                oracle.end_trial(trial)
        found = {}
        for trial in oracle.trials.values():
            values = trial.hyperparameters.values
            place = f"bracket {values['tuner/bracket']} round {values['tuner/round']}"
            found[place] = found.get(place, 0) + 1
        return found

    answer = {"max_epochs": 27, "factor": 3, "versions": training.versions()}
    for share in (0.0, 0.1, 0.3):
        with tempfile.TemporaryDirectory() as root:
            theirs = kt.oracles.HyperbandOracle(
                goal,
                max_epochs=27,
                hyperparameters=space(),
                seed=1,
                max_consecutive_failed_trials=10_000,
            )
            theirs.verbose = 0
            theirs._set_project_dir(root, "search")
            ours = oracles.oracle("hyperband", goal, space(), seed=1, epochs=27)
            answer[f"{share:.0%} failures"] = {
                "kapps": rounds(ours, share),
                "keras_tuner": rounds(theirs, share),
            }
    write("tuning_hyperband.json", answer)


def write(name: str, found: dict) -> None:
    """Print, and keep under benchmarks/results."""
    print(json.dumps(found, indent=2))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(json.dumps(found, indent=2) + "\n")


def main() -> None:
    """One of the parts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=["trials", "plain", "hyperband"])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--recycle", type=int, default=50)
    parser.add_argument("--directory")
    parser.add_argument("--output", help="name of the file under benchmarks/results")
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if platform.system() != "Linux" and given.part == "trials":
        raise SystemExit("memory is read from /proc: Linux alone")
    globals()[given.part](given)


if __name__ == "__main__":
    main()
