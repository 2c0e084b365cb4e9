"""What is found in a shard: an image and its label, where it lies, or why it is of no use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from kapps.errors import UserError

# Content of an image -> what is to be known of it: it is shown to nobody else, so that no more
# than one is held at a time.
Look = Callable[[bytes], Any]
BETWEEN = "|"  # the labels of one image


class Found(NamedTuple):
    """One image of a shard.

    Attributes:
        name: within its shard, of which no other image has it.
        offset: of its content in the shard, in bytes.
        length: of its content, in bytes.
        seen: what `Look` has made of it.
        label: as the shard has it, several of them with `BETWEEN` between; None: there is none.
        text: words for the label, where the shard has a number and words.
        fault: why it is of no use; empty: it is of use. An image with a fault has no more than
            its name.
    """

    name: str
    offset: int = 0
    length: int = 0
    seen: Any = None
    label: str | None = None
    text: str | None = None
    fault: str = ""


class WrongKeys(UserError):
    """Records that do not hold what is wanted, under the names that are known."""


def compressed(path: str, by: str) -> UserError:
    """For files from whose middle nothing can be read."""
    return UserError(
        f"'{path}' is compressed ({by}), and no image can be read without all that is before it: "
        "decompress it (gunzip); images are compressed in themselves"
    )
