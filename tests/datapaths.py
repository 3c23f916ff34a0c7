"""The data paths that tests of engines run over: the core where it is installed."""

import importlib.util
import os
from collections.abc import Callable

import pytest

from meshwg.wireguard.core import CompiledCore
from meshwg.wireguard.core_datapath import CoreDatapath
from meshwg.wireguard.datapath import Datapath
from meshwg.wireguard.python_datapath import PythonDatapath

MTU = 1420


def new_core(*, roaming: bool = True) -> CompiledCore:
    """Return a data path of the core itself."""
    module = importlib.import_module("meshwg_core")
    core: CompiledCore = module.Core(MTU, roaming)
    return core


def has_core() -> bool:
    """Return whether the core is installed."""
    return importlib.util.find_spec("meshwg_core") is not None


def python(*, roaming: bool = True) -> Datapath:
    """Return a data path in Python."""
    return PythonDatapath(roaming=roaming)


def core(*, roaming: bool = True) -> Datapath:
    """Return a compiled data path."""
    return CoreDatapath(new_core(roaming=roaming), roaming=roaming)


MAKERS: dict[str, Callable[..., Datapath]] = {"python": python}
"""What makes a data path, by its name."""
if has_core():
    MAKERS["core"] = core


over_each = pytest.mark.parametrize("data_path", list(MAKERS), indirect=True)
"""Repeats a test of whole programs over each of them (tests/interop/conftest.py)."""


def use(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make devices over that data path, unless they are given another."""
    monkeypatch.setattr("meshwg.wireguard.device.PythonDatapath", MAKERS[name])


def chosen() -> str:
    """Return the name of the data path that the environment asks for."""
    return os.environ.get("MESHWG_DATAPATH") or "python"
