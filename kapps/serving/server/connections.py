"""HTTP connections: uvicorn's, which by themselves wait for ever and hold any head.

httptools parses several times as fast as h11, which is there always.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:
    HttpToolsProtocol = None

HEADERS_SECONDS = 10.0
HEAD_BYTES = 65536


class _AtOnce:
    """A transport that sends the head of an answer together with its body.

    uvicorn writes them one after the other: two calls of the system, and the client wakes twice.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop):
        self._transport, self._loop = transport, loop
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Holds it until `flush`, or until the loop comes round."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)

    def flush(self) -> None:
        """Sends what is held."""
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._transport.write(data)

    def close(self) -> None:
        """Sends what is held, and closes."""
        self.flush()
        self._transport.close()


class _Impatient:
    """Clients have ten seconds for the head of a request.

    uvicorn itself closes connections that have been idle after a request, not those that never
    make one, or half of the next one.
    """

    loop: asyncio.AbstractEventLoop
    transport: Any
    cycle: Any
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(_AtOnce(transport, self.loop))  # type: ignore[misc]
        self._wait()

    def on_response_complete(self) -> None:
        self.transport.flush()
        super().on_response_complete()  # type: ignore[misc]

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)  # type: ignore[misc]

    def data_received(self, data: bytes) -> None:
        super().data_received(data)  # type: ignore[misc]
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
        elif self._patience is None:
            self._wait()

    def _wait(self) -> None:
        self._patience = self.loop.call_later(HEADERS_SECONDS, self._give_up)

    def _wait_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if not self.transport.is_closing():
            self.transport.close()


class H11(_Impatient, H11Protocol):  # type: ignore[misc]
    """What is parsed in Python; h11 limits heads by itself."""


HTTP: type = H11

if HttpToolsProtocol is not None:

    class _HttpTools(_Impatient, HttpToolsProtocol):  # type: ignore[misc]
        """What is parsed in C, where a head may have any length: here it may not."""

        _unread = 0  # bytes since something came of them

        def data_received(self, data: bytes) -> None:
            self._unread += len(data)
            super().data_received(data)
            if self._unread > HEAD_BYTES:
                self.transport.close()

        def on_headers_complete(self) -> None:
            self._unread = 0
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._unread = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._unread = 0
            super().on_message_complete()

    HTTP = _HttpTools
