"""The published scorers, as their own packages hold them.

A package's `__init__` is not run: it would import models that scoring does not need. The files
named here are the packages' own, unchanged.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any


def published(name: str) -> Any:
    """Imports a module of a package without running the packages around it.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    parts = name.split(".")
    for depth in range(1, len(parts)):
        _bare_package(".".join(parts[:depth]))
    return importlib.import_module(name)


def _bare_package(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    parent, _, _ = name.rpartition(".")
    spec = PathFinder.find_spec(name, sys.modules[parent].__path__ if parent else None)
    if spec is None:
        raise ModuleNotFoundError(f"'{name}' is not installed: see benchmarks/parity/README.md")
    package = module_from_spec(spec)  # with its path, but not executed
    sys.modules[name] = package
    return package
