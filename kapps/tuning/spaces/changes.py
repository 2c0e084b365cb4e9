"""What differs between two spaces, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def space_changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two spaces (`HyperParameters.get_config()`), in words."""
    older, newer = ({_place(p): p for p in space["space"]} for space in (was, now))
    return [
        *(f"{_named(p)} is gone" for place, p in older.items() if place not in newer),
        *(f"{_named(p)} is new" for place, p in newer.items() if place not in older),
        *(
            f"{_named(p)} was {_bounds(older[place])}, now {_bounds(p)}"
            for place, p in newer.items()
            if place in older and _differ(older[place], p)
        ),
    ]


def _differ(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether what both say is not the same; a newer KerasTuner may say more."""
    shared = was["config"].keys() & now["config"].keys()
    return was["class_name"] != now["class_name"] or any(
        was["config"][name] != now["config"][name] for name in shared
    )


def _place(hp: Mapping[str, Any]) -> str:
    return f"{hp['config']['name']} {hp['config'].get('conditions')}"


def _named(hp: Mapping[str, Any]) -> str:
    return str(hp["config"]["name"])


def _bounds(hp: Mapping[str, Any]) -> str:
    config = {k: v for k, v in hp["config"].items() if k not in ("name", "conditions")}
    return f"{hp['class_name']}({', '.join(f'{k}={v!r}' for k, v in config.items())})"
