"""Between the machines of a search: addresses, roles, and connections that are authenticated.

The same command is started everywhere, with KerasTuner's environment variables and a secret:

    KERASTUNER_TUNER_ID      chief, or a name for each worker
    KERASTUNER_ORACLE_IP     address of the chief
    KERASTUNER_ORACLE_PORT   port of the chief
    KAPPS_TUNER_KEY          the same secret everywhere

Nothing is read from a connection before both sides have shown that they know the secret (the HMAC
challenge of `multiprocessing.connection`). Messages are JSON, so they cannot make a process run
code; they are not encrypted.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from kapps import files
from kapps.errors import UserError

HANDSHAKE = 10.0  # seconds for the other side to show that it knows the secret
SILENCE = 30.0  # seconds that half a message, or a machine that is switched off, is waited for
LARGEST = 1 << 26  # bytes of a message
NAMES = (
    "KERASTUNER_TUNER_ID",
    "KERASTUNER_ORACLE_IP",
    "KERASTUNER_ORACLE_PORT",
    "KAPPS_TUNER_KEY",
)


def remote_role() -> str | None:
    """What this process is in a search on several machines: "chief", "worker" or None.

    Raises:
        UserError: some of the environment variables are missing, or the port is no number.
    """
    given = {name: os.environ.get(name, "") for name in NAMES}
    if "KERASTUNER_ORACLE_IP" not in os.environ:
        return None
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise UserError(
            f"KERASTUNER_ORACLE_IP is set, and {' and '.join(missing)} not"
            + ("; it is the same secret on all machines" if NAMES[-1] in missing else "")
        )
    if not given["KERASTUNER_ORACLE_PORT"].isdigit():
        raise UserError(f"KERASTUNER_ORACLE_PORT {given['KERASTUNER_ORACLE_PORT']!r}: no number")
    return "chief" if "chief" in given["KERASTUNER_TUNER_ID"] else "worker"


def address() -> tuple[str, int]:
    """Of the chief."""
    return os.environ["KERASTUNER_ORACLE_IP"], int(os.environ["KERASTUNER_ORACLE_PORT"])


def authenticated(sock: socket.socket, *, chief: bool) -> Connection:
    """A connection whose other side knows the secret.

    Args:
        sock: connected; it is closed.
        chief: whether this is the chief's side, which asks first.

    Raises:
        OSError: it does not answer in time, or not as it should.
        AuthenticationError: it has another secret.
    """
    key = os.environ["KAPPS_TUNER_KEY"].encode()
    keep = {"TCP_KEEPIDLE": 10, "TCP_KEEPALIVE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
    for option, seconds in keep.items():
        if hasattr(socket, option):  # a machine that is switched off does not say good-bye
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    limit = struct.pack("ll", int(SILENCE), 0) if sys.platform != "win32" else int(1000 * SILENCE)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, limit)
    sock.setblocking(True)
    connection = Connection(os.dup(sock.fileno()))
    timer = threading.Timer(HANDSHAKE, _shut, [sock])
    timer.daemon = True
    timer.start()
    try:
        steps = (deliver_challenge, answer_challenge)
        for step in steps if chief else reversed(steps):
            step(connection, key)
    except AuthenticationError:
        connection.close()
        raise
    except Exception as error:  # whatever it makes of noise
        connection.close()
        raise OSError(f"the answer is not understood ({error})") from None
    finally:
        timer.cancel()
        sock.close()
    return connection


class Worker:
    """A worker as the search sees it: the other end of a connection.

    Attributes:
        connection: to wait on; messages and its end both show there.
        name: for messages.
        trial: the one that it runs, or None.
        ready: whether it has loaded what is to be tried.
    """

    remote = True

    def __init__(self, connection: Connection, name: str = "a worker"):
        self.connection, self.name = connection, name
        self.trial: str | None = None
        self.ready = False

    def send(self, message: dict[str, Any]) -> None:
        """Tell it something; whether it is gone shows when it is listened to."""
        send(self.connection, message)

    def receive(self) -> dict[str, Any] | None:
        """What it says, or None if it is gone or sends something else."""
        message = receive(self.connection)
        return message if message and isinstance(message.get("is"), str) else None

    def why_gone(self) -> str:
        """What can be said of its end."""
        return f"{self.name} stopped responding"

    def close(self) -> None:
        """Send it home."""
        self.send({"do": "exit"})
        self.connection.close()


def send(connection: Connection, message: dict[str, Any]) -> None:
    """Send a message; whether the other side is gone shows when it is listened to."""
    with contextlib.suppress(OSError):
        connection.send_bytes(files.to_json(message).encode())


def receive(connection: Connection) -> dict[str, Any] | None:
    """A message, or None if the other side is gone or sends something else."""
    try:
        connection.poll(
            None
        )  # as long as it takes; `SILENCE` is for what comes after the first byte
        message = files.from_json(connection.recv_bytes(LARGEST))
    except (EOFError, OSError, ValueError):
        return None
    return message if isinstance(message, dict) else None


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
