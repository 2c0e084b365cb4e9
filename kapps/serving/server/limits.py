"""What one client may ask for, so that the others are answered as well."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of sizes and times.

    Attributes:
        workers: processes for each version.
        together: most requests, and most examples, that are computed at once.
        queue: most requests that wait for a version.
        body: bytes of a request.
        bodies: bytes of all requests that are being answered.
        seconds: for an answer, waiting included; for a request to arrive.
        load_seconds: for a version to be loaded and warmed up.
        connections: open at once.
    """

    workers: int = 1
    together: int = 64
    queue: int = 512
    body: int = 32 * 2**20
    bodies: int = 256 * 2**20
    seconds: float = 30.0
    load_seconds: float = 300.0
    connections: int = 1000
