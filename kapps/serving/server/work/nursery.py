"""A process that has TensorFlow imported and nothing else done: workers are forked from it.

Importing takes seconds, a fork takes milliseconds. TensorFlow starts its threads with the first
operation, which happens in the workers only, so the fork is of a process with one thread.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys


def main(descriptor: int) -> None:
    """Forks a worker for each connection that comes over a Unix socket, until that is closed.

    Args:
        descriptor: of the socket. Each message on it carries the descriptor of a connection, and is
            answered by the worker's number, as JSON in a line; or by an object with an `error`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the server decides
    control = socket.socket(fileno=descriptor)
    try:
        from kapps.serving.server.work import worker  # TensorFlow with it
    except Exception as error:  # whatever an installation may lack
        control.sendall(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode() + b"\n")
        return
    # Ended workers are not waited for by anybody.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        child = os.fork()
        if child == 0:
            control.close()
            code = 1
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                worker.serve(socket.socket(fileno=descriptors[0]))
                code = 0
            except (BrokenPipeError, ConnectionResetError):
                code = 0  # the server is gone
            finally:
                sys.stderr.flush()
                os._exit(code)
        for handed in descriptors:
            os.close(handed)
        control.sendall(json.dumps(child).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
