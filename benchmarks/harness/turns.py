"""A B C, A B C, ...: contestants measured in turns, so that all see the same machine."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness import machine, peers


@dataclasses.dataclass(frozen=True)
class Contestant:
    """Who takes part.

    Attributes:
        program: a file in benchmarks/contestants, or, with `command`, nothing.
        arguments: of it.
        peer: whether it runs in the environment of benchmarks/peers.
        command: a command that is timed as a whole, once a turn, instead of a program that stays.
        differs: how its work differs from the first one's; empty: it is the same.
        environment: variables of it, in addition.
    """

    program: str = ""
    arguments: Sequence[str] = ()
    peer: bool = False
    command: Sequence[str] = ()
    differs: str = ""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Failed(Exception):
    """A contestant that cannot take part, with its last words."""


class Player:
    """A contestant's process, or its command."""

    def __init__(self, contestant: Contestant):
        self.contestant, self.facts, self._process = contestant, {}, None
        self._environment = environment() | dict(contestant.environment)
        python = str(peers.python()) if contestant.peer else sys.executable
        words = [python, str(peers.ROOT / "benchmarks" / "contestants" / contestant.program)]
        self._words = [*words, *contestant.arguments]
        if contestant.command:
            self._words = [sys.executable if w == "python" else w for w in contestant.command]
            return
        pipe, self._words_of_it = subprocess.PIPE, tempfile.TemporaryFile("w+")  # a pipe fills up
        self._process = subprocess.Popen(
            self._words,
            stdin=pipe,
            stdout=pipe,
            stderr=self._words_of_it,
            text=True,
            env=self._environment,
        )
        try:
            self.facts = self._answer()["ready"]
        except Failed:
            self.close()
            raise

    @property
    def number(self) -> int | None:
        """Of the process that stays."""
        return self._process.pid if self._process else None

    def seconds(self, units: int) -> float:
        """Of one unit of work, the mean of so many."""
        if self._process is None:
            begun = time.perf_counter()
            done = subprocess.run(
                self._words, capture_output=True, text=True, env=self._environment
            )
            if done.returncode:
                raise Failed(done.stderr[-2000:])
            return time.perf_counter() - begun
        self._process.stdin.write(f"{units}\n")
        self._process.stdin.flush()
        return self._answer()["seconds"]

    def close(self) -> None:
        """End the process; it does so when its input ends."""
        if self._process is not None:
            with contextlib.suppress(OSError):  # it has ended, and has not read everything
                self._process.stdin.close()
            self._process.wait(timeout=60)
            self._process.stdout.close()
            self._words_of_it.close()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            self._words_of_it.seek(0)
            raise Failed(self._words_of_it.read()[-2000:])
        return json.loads(line)


def environment() -> dict[str, str]:
    """That of the contestants: kapps of this checkout, no start-up lines."""
    paths = [str(peers.ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def compete(
    contestants: Mapping[str, Contestant], *, repetitions: int, units: int, say=print
) -> dict[str, dict[str, Any]]:
    """Measure all in turns.

    Args:
        contestants: by name; ratios are to the first.
        repetitions: turns.
        units: of work in a turn.
        say: is told what happens.

    Returns:
        By name: `seconds` of a unit in each turn, their `median`, `low` and `high` quartiles, the
        `ratio` of its median to the first one's, `others`, the highest part of all cores that other
        processes used, and `facts`; or `failed` with the reason.
    """
    players, found = {}, {}
    for name, contestant in contestants.items():
        say(f"  preparing {name}")
        try:
            players[name] = Player(contestant)
            found[name] = {"seconds": [], "others": 0.0, "differs": contestant.differs}
        except (Failed, peers.NoPeers, OSError) as error:
            found[name] = {"failed": str(error).strip()}
    ours = [player.number for player in players.values() if player.number]
    for turn in range(repetitions):
        for name, player in list(players.items()):
            try:
                with machine.Others(ours) as others:
                    found[name]["seconds"].append(player.seconds(units))
            except Failed as error:
                found[name] = {"failed": str(error).strip()}
                players.pop(name).close()
                continue
            if player.number:  # what a command does is not told from what others do
                found[name]["others"] = max(found[name]["others"], others.part)
        say(f"  turn {turn + 1} of {repetitions}")
    for name, player in players.items():
        found[name]["facts"] = player.facts
        player.close()
    return summarized(found)


def summarized(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Medians, quartiles and ratios to the first contestant that has not failed."""
    first = None
    for row in found.values():
        if "failed" in row:
            continue
        seconds = row["seconds"]
        row["median"] = statistics.median(seconds)
        low, _, high = (
            statistics.quantiles(seconds, n=4, method="inclusive")
            if len(seconds) > 1
            else seconds * 3
        )
        row["low"], row["high"] = low, high
        first = row["median"] if first is None else first
        row["ratio"] = row["median"] / first
    return found
