"""The choice of a data path: the compiled core where it is installed, else Python.

``MESHWG_DATAPATH`` forces one of them, with the values ``core`` and ``python``.
"""

import importlib
import logging
import os
from types import ModuleType

from meshwg import __version__
from meshwg.errors import ConfigError, MeshError
from meshwg.wireguard.constants import DEFAULT_MTU
from meshwg.wireguard.core import CompiledCore
from meshwg.wireguard.core_datapath import CoreDatapath
from meshwg.wireguard.datapath import Datapath
from meshwg.wireguard.python_datapath import PythonDatapath

VARIABLE = "MESHWG_DATAPATH"
MODULE = "meshwg_core"
CORE, PYTHON = "core", "python"

logger = logging.getLogger(__name__)


def make_datapath(*, roaming: bool) -> Datapath:
    """Return a new data path of the chosen kind.

    :raises MeshError: as :func:`find_core`.
    """
    module = find_core()
    if module is None:
        return PythonDatapath(roaming=roaming)
    core: CompiledCore = module.Core(DEFAULT_MTU, roaming)
    return CoreDatapath(core, roaming=roaming)


def chosen() -> str:
    """Return the name of the kind of data path that is chosen.

    :raises MeshError: as :func:`find_core`.
    """
    return PYTHON if find_core() is None else CORE


def find_core() -> ModuleType | None:
    """Return the module of the core, ``None`` where Python carries.

    :raises ConfigError: if the environment asks for something unknown.
    :raises MeshError: if it asks for the core, and that cannot be used.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in ("", CORE, PYTHON):
        raise ConfigError(f"{VARIABLE} must be '{CORE}' or '{PYTHON}', not '{wanted}'")
    if wanted == PYTHON:
        return None
    module, fault = _load()
    if fault and wanted == CORE:
        raise MeshError(f"{fault}: install it, or unset {VARIABLE}")
    if fault and module is not None:
        logger.warning("%s: Python carries the packets", fault)
    return None if fault else module


def _load() -> tuple[ModuleType | None, str]:
    """Return the module, if there is one, and why it cannot be used."""
    try:
        module = importlib.import_module(MODULE)
    except ModuleNotFoundError:
        return None, f"The compiled core, {MODULE}, is not installed"
    except ImportError as error:
        # A module that is for another system is there, and of no use.
        return ModuleType(MODULE), f"The compiled core cannot be loaded ({error})"
    version = getattr(module, "__version__", "unknown")
    if version != __version__:
        return module, (
            f"The compiled core has version {version}, and this is {__version__}"
        )
    return module, ""
