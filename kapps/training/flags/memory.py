"""The flag of recipes whose data are held in memory. No TensorFlow here."""

from __future__ import annotations

import dataclasses

from kapps.training.flags.ranges import Positive


@dataclasses.dataclass(frozen=True)
class MemoryFlags:
    """How much memory tables and series may take."""

    memory_limit: Positive = 4.0
    """GiB that the data may take: they are held in memory, and larger ones are refused"""

    @property
    def memory_bytes(self) -> int:
        """The same in bytes."""
        return int(self.memory_limit * 2**30)
