"""The side of a contestant: it prepares, says so, and then works as often as it is told to.

Only the standard library: PyTorch's environment has this file, too, and not kapps. A line on
standard input is a number of units of work (steps, predictions); the answer is a line of JSON with
the seconds of one. What libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable


def serve(prepare: Callable[[], tuple[Callable[[int], object], dict]]) -> None:
    """Answer until standard input ends.

    Args:
        prepare: builds the work and returns it, a function of how many units to do, with facts for
            the results: versions, parameters, what differs from the others.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    work, facts = prepare()
    for _ in range(2):  # traces, fills caches
        work(2)
    answers.write(json.dumps({"ready": facts}) + "\n")
    for line in sys.stdin:
        units = int(line)
        begun = time.perf_counter()
        work(units)
        answers.write(json.dumps({"seconds": (time.perf_counter() - begun) / units}) + "\n")
