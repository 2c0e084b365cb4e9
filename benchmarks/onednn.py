"""Training steps and predictions with TensorFlow's oneDNN kernels and without, in turns.

    python benchmarks/onednn.py                   every workload
    python benchmarks/onednn.py resnet lstm       these
    python benchmarks/onednn.py --busy            on a machine that does something else, too

On processors with AVX2 but without VNNI units TensorFlow 2.21 leaves them off, and so does kapps:
with TF_ENABLE_ONEDNN_OPTS=1 steps of convolutional networks take little more than half the time,
but convolutions that are fused with what follows them, as in predictions, take many times longer.
Writes benchmarks/results/onednn.json, a row when it is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.harness import machine, turns  # noqa: E402
from benchmarks.workloads import WORKLOADS  # noqa: E402
from kapps import files, training  # noqa: E402

RESULT = pathlib.Path(__file__).parent / "results" / "onednn.json"
FIRST = {  # of each workload the contestant that is measured both ways
    name: next(iter(WORKLOADS[name].contestants))
    for name in (
        "resnet",
        "vgg",
        "cnn",
        "efficientnet",
        "gan",
        "vae",
        "lstm",
        "gru",
        "char_rnn",
        "tabular",
        "prediction_1",
        "prediction_32",
    )
}


def main() -> int:
    """Run, print, write; 2 on a busy machine."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--repetitions", type=int, default=3, help="turns")
    parser.add_argument("--busy", action="store_true", help="time on a busy machine, too")
    given = parser.parse_args()
    if not given.busy and (part := machine.others_now()) > machine.BUSY:
        print(f"other processes use {part:.0%} of the cores: end them, or say --busy")
        return 2
    rows = json.loads(RESULT.read_text())["rows"] if given.names and RESULT.exists() else {}
    for name in given.names or FIRST:
        workload = WORKLOADS[name]
        contestant = workload.contestants[FIRST[name]]
        both = {
            kernels: dataclasses.replace(contestant, environment={"TF_ENABLE_ONEDNN_OPTS": value})
            for kernels, value in (("oneDNN", "1"), ("Eigen", "0"))
        }
        found = turns.compete(both, repetitions=given.repetitions, units=workload.units)
        rows[name] = {
            "title": workload.title,
            "times_as_fast": found["Eigen"]["ratio"],
            **{
                kernels: {key: row[key] for key in ("median", "low", "high", "others")}
                for kernels, row in found.items()
            },
        }
        print(
            f"{workload.title}: Eigen {1000 * found['Eigen']['median']:.1f} ms, "
            f"oneDNN {1000 * found['oneDNN']['median']:.1f} ms, "
            f"{found['Eigen']['ratio']:.2f} times as fast",
            flush=True,
        )
        files.write_json(
            RESULT,
            {
                "command": f"python {' '.join(sys.argv)}",
                "rows": rows,
                "machine": training.machine(),
                "versions": training.versions(),
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
