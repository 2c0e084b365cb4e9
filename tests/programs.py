"""Programs that tests start: real processes, which need not import TensorFlow once more.

To import it takes 4 s, and of such programs there are dozens. So they are forked off a process that
has imported it and done nothing else: what TensorFlow begins when it is used begins in each.
Where the subject is what happens while kapps is imported, `subprocess` is right.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pathlib
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).parents[1]
_LOCK = threading.Lock()


class Program:
    """As `subprocess.Popen`: `[sys.executable, PATH, ...]` or `[sys.executable, "-c", CODE, ...]`.

    Args:
        command: of a program in Python.
        cwd: where it runs.
        env: its environment; that of this process when None. What TensorFlow reads while it is
            imported has been read.
        stdout: a file, `subprocess.DEVNULL`, `subprocess.PIPE`, or this process' when None.
        stderr: likewise, or `subprocess.STDOUT`.
        more: of the arguments of `Popen`, those that make no difference.
    """

    def __init__(self, command, *, cwd=None, env=None, stdout=None, stderr=None, **more):
        assert not more.keys() - {"stdin", "text"}, more
        self.args, self.returncode, self.stdout = command, None, None
        python, *arguments = map(str, command)
        assert python == sys.executable, command
        request = {
            "arguments": arguments,
            "cwd": str(cwd or pathlib.Path.cwd()),
            "env": dict(os.environ if env is None else env),
        }
        with contextlib.ExitStack() as stack:
            null = stack.enter_context(pathlib.Path(os.devnull).open("w"))
            if stdout == subprocess.PIPE:
                read, write = os.pipe()
                self.stdout = os.fdopen(read, "rb")
                stdout = stack.enter_context(os.fdopen(write, "wb"))
            outputs = [null if stdout == subprocess.DEVNULL else stdout or sys.__stdout__]
            outputs.append(
                outputs[0] if stderr == subprocess.STDOUT
                else null if stderr == subprocess.DEVNULL else stderr or sys.__stderr__
            )  # fmt: skip
            self.pid = _asked(request, [file.fileno() for file in outputs])

    def poll(self):
        """The exit code, None while it runs."""
        if self.returncode is None:
            self.returncode = _asked({"ended": self.pid})
        return self.returncode

    def read(self) -> str:
        """What it has said by its end, where stdout is a pipe."""
        with self.stdout:
            text = self.stdout.read().decode()
        self.wait()
        return text

    def wait(self, timeout=600.0):
        """The exit code, when it has ended."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.02)
        return self.returncode

    def send_signal(self, number):
        """Nothing to one that has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """At once."""
        self.send_signal(signal.SIGKILL)


if not sys.platform.startswith("linux"):  # where TensorFlow cannot be forked

    class Program(subprocess.Popen):
        """Python is started anew."""

        def read(self) -> str:
            """What it has said by its end."""
            return self.communicate()[0].decode()


def run(command, *, timeout=300.0, **settings):
    """As `subprocess.run(..., capture_output=True, text=True)`."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        program = Program(command, stdout=out, stderr=errors, **settings)
        try:
            code = program.wait(timeout)
        except subprocess.TimeoutExpired:
            program.kill()
            raise
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), errors.read())


@functools.cache
def _server():
    """The end to ask at; both ends close with this process."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    with there:
        process = subprocess.Popen(
            [sys.executable, __file__, str(there.fileno())],
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            # NumPy would begin threads while it is imported, one for each core.
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        )
    atexit.register(process.wait, 60)
    atexit.register(here.close)  # first: the other end waits for it
    return here


def _asked(request, files=()):
    with _LOCK:
        server = _server()
        socket.send_fds(server, [json.dumps(request).encode()], files)
        return json.loads(server.recv(1 << 10))


def _serve(channel):
    """Forks for each request; returns it in the child, and nothing at the end."""
    while True:
        message, files, *_ = socket.recv_fds(channel, 1 << 20, 2)
        if not message:
            return None
        request = json.loads(message)
        if "ended" in request:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if not answer:
                channel.close()
                for place, file in enumerate(files, 1):
                    os.dup2(file, place)
                    os.close(file)
                return request
            for file in files:
                os.close(file)
        channel.send(json.dumps(answer).encode())


def _become(request):
    """The program, as if Python had been started with it."""
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    # Those there are may have been for a file, and these are for a pipe.
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, closefd=False)
    if "PYTHONUNBUFFERED" in os.environ:
        sys.stdout.reconfigure(write_through=True)
    first, *rest = request["arguments"]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = ["" if first == "-c" else str(pathlib.Path(first).resolve().parent), *paths]
    if first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    import kapps

    for _module in pkgutil.walk_packages(kapps.__path__, "kapps."):
        if not _module.name.endswith("__main__"):
            importlib.import_module(_module.name)
    for _name in ("sklearn.datasets", "sklearn.linear_model", "scipy.stats", "matplotlib.pyplot"):
        importlib.import_module(_name)  # kapps imports them when it comes to that
    assert len(os.listdir("/proc/self/task")) == 1  # of several threads, one would be forked
    gc.collect()
    gc.freeze()
    sys.path.remove(str(ROOT / "tests"))
    if _request := _serve(socket.socket(fileno=int(sys.argv[1]))):
        _become(_request)
