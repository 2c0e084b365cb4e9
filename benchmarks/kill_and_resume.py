"""Kill a run again and again, and compare what it ends with to a run that was left alone.

    python benchmarks/kill_and_resume.py --kills 20

Both runs are the image classifier recipe on digits, with everything on that has a state: dropout,
mixup, weight average, one-cycle over rate and momentum, early stopping. One of them gets SIGKILL
at random moments after its start, whatever it is doing then (importing, training, writing a
checkpoint, evaluating, exporting). Writes benchmarks/results/kill_and_resume.json.
"""

from __future__ import annotations

import dataclasses
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import tyro

from kapps import files
from kapps.training.fitting import state

ROOT = pathlib.Path(__file__).parents[1]
FLAGS = (
    "--epochs 120 --dropout 0.2 --mixup 0.2 --ema 0.95 --patience 100 --label-smoothing 0.1"
).split()


@dataclasses.dataclass(frozen=True)
class Config:
    """How often, and how it is drawn when."""

    kills: int = 20
    """SIGKILLs"""
    seed: int = 0
    """seed of the moments"""
    shortest: float = 3.0
    """seconds from the start of a process to the earliest kill"""
    longest: float = 9.0
    """seconds from the start of a process to the latest kill"""


def main(config: Config) -> int:
    """Run, kill, compare; returns 1 if a bit differs."""
    random = np.random.default_rng(config.seed)
    with tempfile.TemporaryDirectory() as scratch:
        whole, killed = pathlib.Path(scratch, "whole"), pathlib.Path(scratch, "killed")
        start(whole).wait()
        moments = []
        while len(moments) < config.kills:
            process = start(killed)
            moments.append(random.uniform(config.shortest, config.longest))
            try:
                process.wait(moments[-1])
                if (killed / "metrics.json").exists():
                    print(f"finished after {len(moments) - 1} kills: use more epochs")
                    moments.pop()
                    break
                if process.returncode:
                    raise SystemExit(f"the run failed by itself with code {process.returncode}")
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            epochs = (killed / "metrics.csv").exists() and len(
                (killed / "metrics.csv").read_text().splitlines()
            )
            print(f"kill {len(moments)} after {moments[-1]:.1f} s, epoch {max(0, epochs - 1)}")
            time.sleep(0.1)
        start(killed).wait()
        result = {
            "flags": FLAGS,
            "kills": len(moments),
            "metrics_csv_equal": (whole / "metrics.csv").read_bytes()
            == (killed / "metrics.csv").read_bytes(),
            "final_state_equal": same_state(whole, killed),
            "published": sorted(p.name for p in (killed / "served").iterdir()),
        }
    files.write_json(ROOT / "benchmarks/results/kill_and_resume.json", result)
    print(result)
    return 0 if result["metrics_csv_equal"] and result["final_state_equal"] else 1


def start(run: pathlib.Path) -> subprocess.Popen:
    """Start the recipe, or start it again."""
    recipe = [sys.executable, str(ROOT / "recipes/image_classifier.py"), *FLAGS]
    places = ["--run-dir", str(run), "--export-dir", str(run / "served")]
    return subprocess.Popen([*recipe, *places], stdout=subprocess.DEVNULL, cwd=ROOT)


def same_state(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether the last checkpoints and the best weights are equal, bit by bit."""
    for name in ("state", "best"):
        paths = [sorted(run.glob(f"checkpoints/{name}*.npz"))[-1] for run in (one, other)]
        first, second = (state.read(path).arrays for path in paths)
        if set(first) != set(second):
            return False
        if any(first[key].tobytes() != second[key].tobytes() for key in first):
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
