"""Publishes, takes back and publishes again, killed at each system call in turn.

python publish_cycle.py DIRECTORY

For each k a process is forked that kills itself just before its k-th call of the module `os`; then
what a server would read is looked at. Between two calls nothing on the disk changes, so this is
what a reader sees that looks at any time. Ends when a process gets through; prints how many calls
there were.
"""

import contextlib
import itertools
import os
import shutil
import signal
import sys
import time
import types
from pathlib import Path

from kapps import serving

UNHOOKED = {"_exit", "fork", "fspath", "get_terminal_size", "getpid", "kill", "waitpid"}
SIZE = 1000  # bytes of a file


def contents(number):
    """Files of a version, all of which say which one it is."""
    return {
        name: bytes([number]) * SIZE
        for name in ("saved_model.pb", "variables/variables.index", "assets/labels.txt")
    }


def write(number):
    """Writes the files in halves, so that there are moments when one is half there."""

    def write_into(directory):
        for name, data in contents(number).items():
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.dirname(directory / name))
            descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT)
            os.write(descriptor, data[: SIZE // 2])
            os.write(descriptor, data[SIZE // 2 :])
            os.close(descriptor)

    return write_into


def cycle(root):
    """Version 3 comes and 1 goes, 3 is taken back, 4 comes, all but the highest go."""
    serving.write_version(root, write(3), keep=2)
    serving.rollback(root)
    serving.write_version(root, write(4))
    serving.prune(root, 1)


def kill_at(call):
    """From now on the process ends with a signal before that call of `os`."""
    calls = itertools.count(1)

    def hooked(function):
        def count(*arguments, **keywords):
            if next(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **keywords)

        return count

    for name, function in vars(os).copy().items():
        if isinstance(function, types.BuiltinFunctionType) and name not in UNHOOKED:
            setattr(os, name, hooked(function))


def look(root):
    """Each version that a server would load is whole; there is one at least."""
    found = serving.versions(root)
    served = serving.find_models(root.parent)
    assert found and list(served[root.name][1]) == list(found), (found, served)
    for number, directory in found.items():
        held = {
            str(file.relative_to(directory)): file.read_bytes()
            for file in directory.rglob("*") if file.is_file()
        }  # fmt: skip
        assert held == contents(number), (number, {name: len(data) for name, data in held.items()})
    return set(found)


def main(scratch):
    seen = set()
    for call in itertools.count(1):
        root = scratch / str(call) / "model"
        for number in (1, 2):
            serving.write_version(root, write(number))
        # What a killed process has left, older than a day: it is cleared within the cycle.
        leftover = root / ".tmp-old"
        leftover.mkdir()
        write(0)(leftover)
        os.utime(leftover, (time.time() - 10**6,) * 2)
        child = os.fork()
        if child == 0:
            kill_at(call)
            cycle(root)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        seen.add(frozenset(look(root)))
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        # Whoever publishes next is not in the way of what was left.
        highest = max(serving.versions(root))
        assert int(serving.write_version(root, write(9)).name) > highest
        shutil.rmtree(root.parent)
    states = sorted(map(sorted, seen))
    assert states == [[1, 2], [1, 2, 3], [2], [2, 3], [2, 4], [4]], states
    print(call - 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
