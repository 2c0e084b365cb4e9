"""Does a search find at least what a recipe reaches by itself?

    python benchmarks/tune_each.py                # each recipe that has no result yet
    python benchmarks/tune_each.py vae tabular    # these, anew

The first point of a search is the recipe's own defaults, with the seed of a plain run, so its
winner cannot be worse on the figure that is sought: that is what is checked, with a budget of three
trials and few epochs. What was found goes into results/tune_each.json, recipe by recipe.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results" / "tune_each.json"
TRIALS = 3
# What makes a trial a matter of seconds; all else is as the recipe has it.
SHORT = {
    "autoencoder": ("epochs=3",),
    "char_rnn": ("epochs=1",),
    "gan": ("epochs=2",),
    "image_classifier": ("epochs=3",),
    "perceptron": (),
    "sequence_classifier": ("epochs=2", "examples=4000"),
    "tabular": ("epochs=10",),
    "text_classifier": ("epochs=3",),
    "transfer_learning": ("probe_epochs=2", "fine_tune_epochs=1"),
    "vae": ("epochs=3",),
    "vq_vae": ("epochs=2", "prior_epochs=2"),
    "xor_mlp": ("epochs=5",),
}


def search(recipe: str, algorithm: str, directory: pathlib.Path) -> dict[str, object]:
    """One search, by the command that a user would type."""
    command = [
        *(sys.executable, str(ROOT / "recipes" / "tune.py"), "--recipe", recipe),
        *("--algorithm", algorithm, "--max-trials", str(TRIALS), "--workers", "0", "--no-export"),
        *("--run-dir", str(directory)),
        *(("--fix", *SHORT[recipe]) if SHORT[recipe] else ()),
    ]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{recipe}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    from kapps.tuning.results import read_results

    found = read_results(directory)
    first, winner = found.records[0], found.best_first()[0]
    sign = 1.0 if found.direction == "max" else -1.0
    return {
        "algorithm": algorithm,
        "fixed": list(SHORT[recipe]),
        "objective": found.objective,
        "direction": found.direction,
        "trials": len(found.records),
        "failed": sum(record.status == "failed" for record in found.records),
        "default": first.score,
        "winner": winner.score,
        "winner_trial": winner.number,
        "at_least_the_default": bool(
            first.ended_well and sign * winner.known_score >= sign * first.known_score
        ),
        "seconds": round(time.perf_counter() - began, 1),
    }


def main() -> None:
    """Search for each, keep what was found, and fail where a winner is worse."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", nargs="*", help=f"of {', '.join(SHORT)}; default: the rest")
    parser.add_argument("--algorithm", default="random")
    given = parser.parse_args()
    worse, there = [], json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for recipe in given.recipes or [name for name in SHORT if name not in there]:
        with tempfile.TemporaryDirectory() as directory:
            row = search(recipe, given.algorithm, pathlib.Path(directory, "run"))
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps(dict(sorted((known | {recipe: row}).items())), indent=1))
        print(f"{recipe:<22}{json.dumps(row)}", flush=True)
        if not row["at_least_the_default"]:
            worse.append(recipe)
    if worse:
        raise SystemExit(f"worse than the default: {', '.join(worse)}")


if __name__ == "__main__":
    main()
