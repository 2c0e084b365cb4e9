"""A client that takes little of the processor: one request, made again and again over HTTP."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Client:
    """Connections that each ask again as soon as they have an answer.

    Args:
        url: of the server and the path.
        body: of the request.
        headers: of the request, besides what is needed.
        connections: how many requests are under way.
    """

    def __init__(self, url: str, body: bytes, headers: dict[str, str], connections: int = 1):
        where = urlsplit(url)
        lines = {"Host": where.netloc, "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._request = f"POST {where.path} HTTP/1.1\r\n{head}\r\n".encode() + body
        self._sockets = [
            socket.create_connection((where.hostname, where.port)) for _ in range(connections)
        ]
        for connection in self._sockets:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(
        self, seconds: float, meanwhile: Callable[[float, bytes], object] | None = None
    ) -> list[float]:
        """Asks for so long; seconds of each request that was answered.

        Args:
            seconds: how long.
            meanwhile: is given the seconds and the body of each answer.

        Raises:
            RuntimeError: an answer is not 200, or the connection was closed.
        """
        times: list[float] = []
        until = time.perf_counter() + seconds
        with selectors.DefaultSelector() as selector:
            for connection in self._sockets:
                selector.register(connection, selectors.EVENT_READ, self._exchange(connection))
            for key in list(selector.get_map().values()):
                next(key.data)
            open_ones = len(self._sockets)
            while open_ones:
                for key, _ in selector.select():
                    answer = next(key.data)
                    if answer is None:
                        continue
                    times.append(answer[0])
                    if meanwhile is not None:
                        meanwhile(*answer)
                    if time.perf_counter() < until:
                        next(key.data)
                    else:
                        selector.unregister(key.fileobj)
                        open_ones -= 1
        return times

    def close(self) -> None:
        """Closes the connections."""
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.close()

    def _exchange(self, connection: socket.socket) -> Iterator[tuple[float, bytes] | None]:
        """Asked for the next: sends; then reads, None while there is not enough; and so on."""
        while True:
            began = time.perf_counter()
            connection.sendall(self._request)
            yield None
            received, whole, end = b"", None, 0
            while whole is None or len(received) < whole:
                more = connection.recv(2**18)
                if not more:
                    raise RuntimeError(f"the connection was closed after {received!r}")
                received += more
                end = received.find(b"\r\n\r\n") + 4
                found = _LENGTH.search(received, 0, end) if end > 3 else None
                whole = end + int(found[1]) if found else None
                if whole is None or len(received) < whole:
                    yield None
            if not received.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(received[:500].decode("utf-8", "replace"))
            yield time.perf_counter() - began, received[end:]
