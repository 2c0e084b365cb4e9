"""What runs in a worker process: one trial after the other, told over a connection.

Messages are JSON, so that none can make a process run code. A worker ends
when its parent does, whatever it is doing: a thread waits for that alone.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pathlib
import pickle
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import filelock

from kapps import files
from kapps.errors import UserError
from kapps.tuning.workers import wire
from kapps.tuning.workers.trial import SearchError, Trial, numbers

Tell = Callable[[dict[str, Any]], bool]
LAST_WORKER = 300  # seconds to wait for the last worker of a trial to be gone


def main(
    connection: Connection,
    blob: bytes,
    environment: dict[str, str],
    log: str,
    told: Callable[[str], bool] = lambda what: True,
    placed: Callable[[dict[str, Any]], dict[str, Any]] = lambda job: job,
) -> bool:
    """The whole life of a worker process.

    Args:
        connection: to the parent, or to a chief.
        blob: the pickled target; loaded after the environment is set, since that may import
            TensorFlow.
        environment: what to set before.
        log: where its output goes between trials.
        told: called with "ready", and with "ran" after each trial; whether to go on.
        placed: a job as it is run here.

    Returns:
        Whether there are no more trials; else the other side is gone, or `told` has said no.

    Raises:
        UserError: the other side has sent this worker away.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    _end_with_parent()
    os.environ.update(environment)
    with _output_to(log):
        try:
            target = pickle.loads(blob)
        except BaseException as error:
            wire.send(connection, {"is": "broken", "reason": _one_line(error)})
            return True
        wire.send(connection, {"is": "ready"})
        told("ready")

        def tell(message: dict[str, Any]) -> bool:
            wire.send(connection, message)
            order = wire.receive(connection)
            if order is None:
                os._exit(1)  # the parent is gone, and the trial has not failed
            return order["do"] != "stop"

        while (order := wire.receive(connection)) is not None:
            if order["do"] == "exit":
                if order.get("why"):
                    raise UserError(f"the chief refuses this worker: {order['why']}")
                return True
            if order["do"] == "declare":
                wire.send(connection, declared(target, order["given"]))
                continue
            job = placed(order["trial"])
            directory = pathlib.Path(job["directory"])
            directory.mkdir(parents=True, exist_ok=True)
            with _output_to(str(directory / "log.txt")):
                answer = attempt(target, job, tell)
            _collect()
            wire.send(connection, answer)
            if not told("ran"):
                break
        return False


def declared(target: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The space of a target that only it can tell, from what is given of it."""
    try:
        return {"is": "declared", "space": target.declare(given).get_config()}
    except Exception as error:
        return {"is": "broken", "reason": _one_line(error), "detail": traceback.format_exc()}


def space(message: dict[str, Any]) -> dict[str, Any]:
    """The space in an answer of `declared`.

    Raises:
        UserError: there is none; says why.
    """
    if message["is"] != "declared":
        if message.get("detail"):
            sys.stderr.write(message["detail"])
        raise UserError(f"the space could not be found: {message['reason']}")
    return message["space"]


def attempt(target: Any, job: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Run a trial: its result, or why there is none. No exception gets out.

    A result is also kept in the trial's directory before it is told, so that it is not lost with
    the parent.
    """
    directory = pathlib.Path(job["directory"])
    directory.mkdir(parents=True, exist_ok=True)
    try:
        # The worker of a parent that was killed may live for a moment longer.
        with filelock.FileLock(directory / ".lock").acquire(timeout=LAST_WORKER):
            answer = _all_executions(target, job, tell)
    except Exception as error:
        answer = {
            "is": "fatal" if _is_fatal(error) else "failed",
            "reason": _one_line(error),
            "detail": traceback.format_exc(),
        }
    finally:
        if "keras" in sys.modules:  # its global state names the last trial's graphs
            sys.modules["keras"].utils.clear_session(free_memory=False)
    if answer["is"] != "fatal":
        files.write_text(directory / "result.json", files.to_json(answer))
    return answer


def _all_executions(target: Any, job: dict[str, Any], tell: Tell) -> dict[str, Any]:
    goal, sign = job["objective"], 1.0 if job["direction"] == "max" else -1.0
    done, facts, grown = [], {}, None
    for execution in range(len(job["seeds"])):
        kept = pathlib.Path(job["directory"], f"seed-{execution}", "execution.json")
        if kept.exists():
            done.append(files.from_json(kept.read_text()))
            facts = done[-1]["facts"]
            continue
        with _peak_memory() as memory:
            answer, trial, pruned, seconds = _one_execution(target, job, execution, tell)
        facts = trial.facts
        if "hp" in vars(trial) and len(trial.hp.space) > len(job["space"]):
            grown = trial.hp.get_config()  # hyperparameters that showed themselves while building
        row = _best(answer, trial.rows, goal, sign)
        done.append(
            {
                "score": row[goal],
                "best_epoch": int(row.get("epoch", 0)) or len(trial.rows),
                "epochs": max((r["epoch"] for r in trial.rows), default=0),
                "metrics": {k: v for k, v in row.items() if k != "epoch"},
                "rows": trial.rows,
                "seconds": seconds,
                "pruned": pruned,
                "facts": facts,
                **memory,
            }
        )
        files.write_text(kept, files.to_json(done[-1]))
        if pruned:
            break
    return {
        "is": "ended",
        "executions": done,
        "pruned": any(d["pruned"] for d in done),
        "grown": grown,
    }


def _one_execution(target: Any, job: dict[str, Any], execution: int, tell: Tell) -> tuple:
    pruned = False

    def heard(message: dict[str, Any]) -> bool:
        nonlocal pruned
        go_on = tell(message)
        pruned = pruned or not go_on
        return go_on

    begin = time.monotonic()
    trial = Trial(job, execution, heard)
    try:
        answer = target(trial)
    finally:
        trial.close()
    seconds = trial.facts.pop("seconds", None) or time.monotonic() - begin
    return answer, trial, pruned, seconds


def _best(answer: Any, rows: list[dict], goal: str, sign: float) -> dict[str, Any]:
    """The row that counts: that of the best epoch, or what the target returned instead."""
    if isinstance(answer, int | float) or hasattr(answer, "__float__"):
        rows = [{goal: float(answer)}]
    elif isinstance(answer, dict):
        rows = [numbers(answer)]
    measured = [row for row in rows if goal in row]
    if not measured:
        names = sorted({name for row in rows for name in row} - {"epoch"})
        raise ValueError(f"no {goal} was measured; there is {', '.join(names) or 'nothing'}")
    finite = [row for row in measured if abs(row[goal]) < float("inf")]  # NaN is not
    if not finite:
        raise ArithmeticError(f"{goal} is not a finite number")
    return max(finite, key=lambda row: sign * row[goal])


def copy_checkpoints(trial: Trial, name: str = "checkpoints") -> None:
    """Give a promoted trial the state of the one before it, unless it has gone further already.

    Args:
        trial: promoted or not.
        name: of a directory or file in `trial.directory`.
    """
    own = trial.directory / name
    if trial.past is None or own.exists() or not (trial.past / name).exists():
        return
    beside = trial.directory / f".{name}.tmp"
    if (trial.past / name).is_dir():
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(trial.past / name, beside)
    else:
        shutil.copyfile(trial.past / name, beside)
    beside.rename(own)


def _is_fatal(error: Exception) -> bool:
    """Whether the search is to end: the target says so, or KerasTuner would."""
    if isinstance(error, SearchError):
        return True
    errors = sys.modules.get("keras_tuner.src.errors")
    return errors is not None and isinstance(error, errors.FatalError)


def _one_line(error: BaseException) -> str:
    """What an exception says, shortened to what can be counted in a table."""
    kind, words = type(error).__name__, str(error).strip().split("\n")[0]
    if isinstance(error, MemoryError) or kind == "ResourceExhaustedError":
        return f"out of memory ({kind})"
    if isinstance(error, UserError):
        return words[:200]
    return f"{kind}: {words[:200]}" if words else kind


def _collect() -> None:
    """Let go of the last trial's graphs, which refer to themselves."""
    if "keras" in sys.modules:
        gc.collect()
    if not gc.get_freeze_count():
        # What is left is TensorFlow and what is loaded once: looking through all of it after every
        # trial takes a third of a second.
        gc.freeze()


@contextlib.contextmanager
def _peak_memory() -> Iterator[dict[str, float]]:
    """The largest resident memory of the process while the context lasts, in megabytes.

    Linux resets the mark when 5 is written to clear_refs; elsewhere nothing is measured.
    """
    found: dict[str, float] = {}
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    yield found
    with contextlib.suppress(OSError, StopIteration):
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        mark = next(line for line in lines if line.startswith("VmHWM"))
        found["peak_memory_mb"] = int(mark.split()[1]) / 1024


@contextlib.contextmanager
def _output_to(path: str) -> Iterator[None]:
    """Standard output and errors, those of C++ included, at the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)


def _end_with_parent() -> None:
    import multiprocessing
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
