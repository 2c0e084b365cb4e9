"""Modules that are executed when something in them is asked for, and not when they are imported.

Keras imports scikit-learn with scipy.stats for its `wrappers`, and pyplot for its `visualization`:
a third of the time that `import tensorflow` takes. `install`, before Keras is there, defers these
parts of it; who uses one finds it as ever.

`importlib.util.LazyLoader` would not do: it executes the module when *any* attribute is asked for,
and `inspect.getmodule` asks every module for its `__file__`.
"""

from __future__ import annotations

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
_LOCK = threading.RLock()


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
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """Leaves the work to the loader of the module, for later."""

    def __init__(self, own: importlib.abc.Loader):
        self.own = own

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self.own.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__class__ = _Deferred


class _Deferred(types.ModuleType):
    """A module with nothing in it but what the import system has put there."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__") or name == "__all__":
            _execute(self)
        return types.ModuleType.__getattribute__(self, name)  # raises what an ordinary one does

    def __dir__(self) -> list[str]:
        _execute(self)
        return sorted(vars(self))


def _execute(module: types.ModuleType) -> None:
    """Once; another thread waits for its end, and the module itself may ask for its own names."""
    with _LOCK:
        spec = module.__spec__
        if spec is None or not isinstance(spec.loader, _Loader):
            return
        deferred, own = spec.loader, spec.loader.own
        spec.loader = module.__loader__ = own
        try:
            own.exec_module(module)
        except BaseException:
            spec.loader = deferred  # the next one that asks meets the same error
            raise
        module.__class__ = types.ModuleType
