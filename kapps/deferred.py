"""Modules that are executed when something in them is asked for, and not when they are imported.

Keras imports scikit-learn with scipy.stats for its `wrappers`, and pyplot for its `visualization`:
a third of the time that `import tensorflow` takes. `install`, before Keras is there, defers these
parts of it; whoever uses one finds it as always.

`importlib.util.LazyLoader` would not do: it executes the module when *any* attribute is asked for,
and `inspect.getmodule` asks every module for its `__file__`.

What is touched is imported again, into the module that is there: so threads wait for each other by
Python's own locks, which tell when none of them would ever go on.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import threading
import types
from collections.abc import Sequence
from typing import Any

# Without `wrappers` and `visualization` of the public names, those of `src` would be asked at once.
NAMES = frozenset(
    f"{parent}.{part}"
    for parent in ("keras", "keras.src", "keras._tf_keras.keras")
    for part in ("wrappers", "visualization")
)
_TOUCHED: dict[str, types.ModuleType] = {}  # and not executed to the end
_LOCK = threading.RLock()  # of the two tables, `_TOUCHED` and `sys.modules`; not while one imports


def install() -> None:
    """Defer `NAMES` from now on; those that are imported already stay as they are."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in NAMES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, _TOUCHED.get(name))
        return spec


class _Loader(importlib.abc.Loader):
    """Leaves the work to the loader of the module, for later.

    Attributes:
        own: that loader.
        touched: the module, if it is to be executed now.
    """

    def __init__(self, own: importlib.abc.Loader, touched: types.ModuleType | None):
        self.own, self.touched = own, touched

    def __getattr__(self, name: str) -> Any:
        """What only some loaders have: data, source, resources."""
        if name == "own":  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self.own, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self.touched or self.own.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        if self.touched is None:
            module.__class__ = _Deferred
            return
        if module.__spec__ is not None:
            module.__spec__.loader = self.own
        module.__loader__ = self.own
        self.own.exec_module(module)
        module.__class__ = types.ModuleType
        _TOUCHED.pop(module.__name__)


class _Deferred(types.ModuleType):
    """A module with nothing in it but what the import system has put there."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__") or name == "__all__":
            executed = _executed(self)
            if executed is not self:
                return getattr(executed, name)
        return types.ModuleType.__getattribute__(self, name)  # raises what an ordinary one does

    def __dir__(self) -> list[str]:
        return sorted(vars(_executed(self)))


def _executed(module: types.ModuleType) -> types.ModuleType:
    """The module, or what has taken its place in `sys.modules`.

    It is executed once; other threads wait for its end, and it may ask for its own names. If it
    fails, the next one that asks tries again, and meets the same error.
    """
    name = module.__name__
    with _LOCK:
        # In this order: the loader is another one before the name leaves the table.
        waits = name not in _TOUCHED and isinstance(module.__loader__, _Loader)
        if waits and sys.modules.get(name, module) is module:
            _TOUCHED[name] = module
            sys.modules.pop(name, None)
    return importlib.import_module(name)
