"""Which flags do not go together: rows of (condition of the config, sentence).

A `Config`, and each group of flags that it inherits, may have such rows in the class variable
`EXCLUSIONS`. A condition that is true refuses the flags; `{field}` in a sentence is the value of
that field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kapps.errors import UserError

Exclusions = Sequence[tuple[Callable[[Any], object], str]]


def changed(config: Any, *names: str) -> bool:
    """Whether one of these fields of a config differs from its default."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    return any(getattr(config, name) != defaults[name] for name in names)


def only_for(words: str, fits: Callable[[Any], object], names: Iterable[str]) -> Exclusions:
    """Rows that refuse flags where they would change nothing.

    Args:
        words: what the flags are for, to follow "--name is for"; `{field}` as in any sentence.
        fits: (config) -> whether that is the case.
        names: the fields.
    """
    return tuple(
        (
            lambda config, name=name: not fits(config) and changed(config, name),
            f"--{name.replace('_', '-')} is for {words}",
        )
        for name in names
    )


def check_exclusions(config: Any) -> None:
    """Refuse flags that do not go together.

    Raises:
        UserError: the sentence of the first row that applies, those of the `Config` itself first.
    """
    for base in type(config).__mro__:
        for wrong, sentence in vars(base).get("EXCLUSIONS", ()):
            if wrong(config):
                raise UserError(sentence.format_map(vars(config)))
