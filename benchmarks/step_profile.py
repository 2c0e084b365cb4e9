"""Where the time of a training step goes, operation by operation.

    python benchmarks/step_profile.py resnet efficientnet lstm
    python benchmarks/step_profile.py lstm --bfloat16

The networks of benchmarks/contestants/tensorflow_steps.py, profiled by what `--profile` uses. Each
operation counts by the time between its beginning and its end; operations run side by side, so the
shares are of their sum. Writes benchmarks/results/step_profile.json, a network when it is done.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.harness.turns import environment  # noqa: E402
from kapps import files, training  # noqa: E402

RESULT = pathlib.Path(__file__).parent / "results" / "step_profile.json"
STEPS, KEPT = 10, 8


def main() -> None:
    """Profile each network in a process of its own, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(profiled(given.networks[0], given.bfloat16)))
        return
    rows = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else {}
    for network in given.networks:
        flags = ("--bfloat16",) if given.bfloat16 else ()
        words = (sys.executable, __file__, network, "--here", *flags)
        done = subprocess.run(
            words, check=True, env=environment(), stdout=subprocess.PIPE, text=True
        )
        name = f"{network}, {'bfloat16' if given.bfloat16 else 'float32'}"
        rows[name] = json.loads(done.stdout.splitlines()[-1]) | {"machine": training.machine()}
        print(name)
        for operation, share, count in rows[name]["operations"]:
            print(f"{share:8.1%} {count:6.0f}  {operation}")
        files.write_json(RESULT, {"rows": rows, "versions": training.versions()})


def profiled(network: str, bfloat16: bool) -> dict[str, object]:
    """Shares of the largest types of operations of a step, and how often each runs."""
    from benchmarks.harness import worker

    worker.serve = lambda prepare: None  # the program's functions, not its protocol
    sys.argv = ["tensorflow_steps.py", network, *(("--bfloat16",) if bfloat16 else ())]
    from benchmarks.contestants import tensorflow_steps
    from kapps.training.watching import profiling

    work, facts = tensorflow_steps.prepare()
    work(3)
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as directory:
        tf.profiler.experimental.start(directory)
        work(STEPS)
        tf.profiler.experimental.stop()
        events = profiling.events_of(directory)
    sums, counts = collections.Counter(), collections.Counter()
    for path, operation, milliseconds in profiling.operations(events):
        del path
        sums[operation] += milliseconds
        counts[operation] += 1
    total = sum(sums.values())
    return {
        "operations": [
            (operation, milliseconds / total, counts[operation] / STEPS)
            for operation, milliseconds in sums.most_common(KEPT)
        ],
        "count": sum(counts.values()) / STEPS,
        **facts,
    }


if __name__ == "__main__":
    main()
