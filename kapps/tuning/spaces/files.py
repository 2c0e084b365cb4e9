"""A search space in a small file: TOML or JSON, one entry per hyperparameter.

An entry has a name, a kind and what that needs (`KINDS`); `when` names an entry before it and its
values under which this one is active:

    [[parameters]]
    name = "optimizer"
    kind = "choice"
    values = ["adamw", "nesterov"]

    [[parameters]]
    name = "learning_rate"
    kind = "float"
    min = 1e-4
    max = 1e-1
    sampling = "log"
    when = { optimizer = ["adamw"] }

In JSON the same is a list of objects.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from typing import Any

from kapps.errors import UserError

# Kind: what an entry has to say, and what it may.
KINDS = {
    "float": (("min", "max"), ("step", "sampling", "default")),
    "int": (("min", "max"), ("step", "sampling", "default")),
    "choice": (("values",), ("default",)),
    "bool": ((), ("default",)),
    "fixed": (("value",), ()),
}
ALWAYS = ("name", "kind", "when")


def read_space(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The entries of a space file, checked. Quick: no TensorFlow.

    Raises:
        UserError: the file is missing or not readable, or an entry is wrong; it is named.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"space file {path}: {error.strerror}") from None
    try:
        content = _toml(text) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        raise UserError(f"space file {path}: {error}") from None
    entries = content.get("parameters") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise UserError(f"space file {path}: no parameters; each is a [[parameters]] table")
    seen: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise UserError(f"space file {path}: parameter {number} has no name")
        problem = _problem(entry, seen)
        if problem:
            raise UserError(f"space file {path}: {entry['name']}: {problem}")
        seen[entry["name"]] = entry
    return entries


def declare(hp: Any, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Declare the entries of a space file.

    Args:
        hp: a `keras_tuner.HyperParameters`.
        entries: of `read_space`.

    Returns:
        The values of those that are active.
    """
    found, known = {}, {entry["name"]: entry for entry in entries}
    for entry in entries:
        with contextlib.ExitStack() as conditions:
            for parent, values in _conditions(entry, known):
                conditions.enter_context(hp.conditional_scope(parent, values))
            value = _declare_one(hp, entry)
        if hp.is_active(entry["name"]):
            found[entry["name"]] = value
    return found


def _conditions(entry: dict[str, Any], known: dict[str, dict[str, Any]]) -> list[tuple]:
    """Parents and their values, the outermost first: KerasTuner finds a parent in its own scope."""
    if not entry.get("when"):
        return []
    ((parent, values),) = entry["when"].items()
    return [*_conditions(known[parent], known), (parent, _listed(values))]


def _declare_one(hp: Any, entry: dict[str, Any]) -> Any:
    name, kind = entry["name"], entry["kind"]
    given = {key: entry[key] for key in ("step", "sampling", "default") if key in entry}
    if kind == "choice":
        return hp.Choice(name, entry["values"], **given)
    if kind == "bool":
        return hp.Boolean(name, **given)
    if kind == "fixed":
        return hp.Fixed(name, entry["value"])
    if kind == "int":
        return hp.Int(name, entry["min"], entry["max"], **given)
    bounds = {key: float(entry[key]) for key in ("min", "max")}
    return hp.Float(name, bounds["min"], bounds["max"], **given)


def _problem(entry: dict[str, Any], seen: dict[str, dict[str, Any]]) -> str | None:
    kind = entry.get("kind")
    if kind not in KINDS:
        return f"kind {kind!r}: it is one of {', '.join(KINDS)}"
    needed, optional = KINDS[kind]
    if missing := [key for key in needed if key not in entry]:
        return f"a {kind} needs {' and '.join(missing)}"
    if odd := [key for key in entry if key not in (*ALWAYS, *needed, *optional)]:
        return f"a {kind} has no {odd[0]!r}; it has {', '.join((*needed, *optional, 'when'))}"
    if entry["name"] in seen:
        return "the name is there twice"
    if kind in ("int", "float"):
        return _range_problem(entry) or _condition_problem(entry, seen)
    if kind == "choice":
        values = entry["values"]
        if not isinstance(values, list) or not values:
            return "values has to be a list with something in it"
        if len({type(v) for v in values}) > 1 or not isinstance(values[0], str | int | float):
            return "values have to be all text, all whole numbers, all numbers or all true or false"
        if "default" in entry and entry["default"] not in values:
            return f"the default {entry['default']!r} is not one of the values"
    return _condition_problem(entry, seen)


def _range_problem(entry: dict[str, Any]) -> str | None:
    kinds = (int,) if entry["kind"] == "int" else (int, float)
    for key in ("min", "max", "step", "default"):
        value = entry.get(key, entry["min"])
        if isinstance(value, bool) or not isinstance(value, kinds):
            return f"{key} {value!r} is not a {'whole ' if kinds == (int,) else ''}number"
    low, high = entry["min"], entry["max"]
    if not low < high:
        return f"min {low} has to be below max {high}"
    if not low <= entry.get("default", low) <= high:
        return f"the default {entry['default']} is outside {low} .. {high}"
    sampling = entry.get("sampling", "linear")
    if sampling not in ("linear", "log", "reverse_log"):
        return f"sampling {sampling!r}: it is linear, log or reverse_log"
    if sampling != "linear" and low <= 0:
        return f"sampling {sampling!r} needs a min above 0"
    if entry.get("step", 2) <= (1 if sampling != "linear" else 0):
        return "step has to be above " + ("1, it is a factor" if sampling != "linear" else "0")
    return None


def _condition_problem(entry: dict[str, Any], seen: dict[str, dict[str, Any]]) -> str | None:
    when = entry.get("when", {})
    if not isinstance(when, dict):
        return "when is a table: the name of another parameter = the values it needs"
    if len(when) > 1:
        return "when names one other parameter; that one may have its own"
    for parent, values in when.items():
        if parent not in seen:
            return f"when: {parent} has to stand before it"
        known = seen[parent].get("values")
        if known is not None and (odd := [v for v in _listed(values) if v not in known]):
            return f"when: {parent} is never {odd[0]!r}"
    return None


def _listed(values: Any) -> list:
    return values if isinstance(values, list) else [values]


def _toml(text: str) -> Any:
    try:
        import tomllib
    except ImportError:  # Python 3.10
        raise UserError("TOML needs Python 3.11; write the space as JSON") from None
    return tomllib.loads(text)
