"""Time kapps against what one would use instead, in turns on one machine.

    python benchmarks/run.py --list
    python benchmarks/run.py resnet lstm
    python benchmarks/run.py --tiny resnet      # does it run at all? Nothing is written

Every contestant is a process that stays; they work in turns, A B C A B C, and medians and quartiles
of the turns are written to benchmarks/results (JSON, a plot, and run.md, the table). On a machine
that does something else it refuses to time, unless it is told --busy. Peers get an environment of
their own, made from benchmarks/peers/requirements.txt when it is first needed.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.harness import machine, results, turns  # noqa: E402
from benchmarks.workloads import WORKLOADS  # noqa: E402
from kapps import training  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    """Measure what is named, or everything; 2 where that cannot be done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="workloads; default: all")
    parser.add_argument("--repetitions", type=int, default=7, help="turns")
    parser.add_argument("--units", type=int, help="work in a turn; default: the workload's")
    parser.add_argument("--only", default="", help="contestants whose names hold this")
    parser.add_argument("--busy", action="store_true", help="time on a busy machine, too")
    parser.add_argument("--tiny", action="store_true", help="one turn of two units, not written")
    parser.add_argument("--list", action="store_true", help="say what there is")
    given = parser.parse_args(argv)
    if given.list:
        for name, workload in WORKLOADS.items():
            print(f"{name:<20}{workload.title}: {', '.join(workload.contestants)}")
        return 0
    unknown = [name for name in given.names if name not in WORKLOADS]
    if unknown:
        print(
            f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}", file=sys.stderr
        )
        return 2
    if not (given.busy or given.tiny) and (part := machine.others_now()) > machine.BUSY:
        print(
            f"other processes use {part:.0%} of the cores: end them, or say --busy, and compare "
            "ratios only",
            file=sys.stderr,
        )
        return 2
    for name in given.names or WORKLOADS:
        measure(name, given)
    return 0


def measure(name: str, given: argparse.Namespace) -> None:
    """One workload: compete, print, write."""
    workload = WORKLOADS[name]
    chosen = {n: c for n, c in workload.contestants.items() if given.only in n}
    repetitions, units = given.repetitions, given.units or workload.units
    if given.tiny:
        repetitions, units = 1, 2
    print(workload.title, flush=True)
    found = turns.compete(chosen, repetitions=repetitions, units=units)
    result = {
        "name": name,
        "title": workload.title,
        "unit": workload.unit,
        "command": f"python benchmarks/run.py {name}",
        "repetitions": repetitions,
        "units": units,
        "machine": training.machine(),
        "versions": training.versions(),
        "contestants": found,
    }
    print(results.table(result), flush=True)
    if not given.tiny:
        results.write(name, result)


if __name__ == "__main__":
    sys.exit(main())
