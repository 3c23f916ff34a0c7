"""The choice of a data path: what is there, what is asked for, and what is said."""

import importlib
import logging
from types import ModuleType

import pytest

from meshwg import __version__
from meshwg.errors import ConfigError, MeshError
from meshwg.runtime.core import VARIABLE, chosen, find_core, make_datapath
from tests import datapaths


class Installed:
    """What is found when the core is imported."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module: ModuleType | None = None
        self.error: ImportError | None = None
        monkeypatch.setattr(importlib, "import_module", self._load)
        monkeypatch.delenv(VARIABLE, raising=False)

    def version(self, version: str) -> None:
        self.module = ModuleType("meshwg_core")
        vars(self.module)["__version__"] = version

    def _load(self, name: str) -> ModuleType:
        assert name == "meshwg_core"
        if self.module is not None:
            return self.module
        raise self.error or ModuleNotFoundError(name)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Installed:
    return Installed(monkeypatch)


def test_the_core_carries_where_it_is_installed(installed: Installed) -> None:
    installed.version(__version__)
    assert chosen() == "core"
    assert find_core() is installed.module


def test_without_it_python_carries_and_nothing_is_said(
    installed: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    assert chosen() == "python"
    assert make_datapath(roaming=True).kind == "python"
    assert caplog.text == ""


def test_python_can_be_asked_for(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.version(__version__)
    monkeypatch.setenv(VARIABLE, "python")
    assert chosen() == "python"


def test_a_core_that_is_asked_for_and_not_there_is_an_error(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "core")
    with pytest.raises(MeshError, match="is not installed: install it") as caught:
        chosen()
    assert caught.value.exit_status == 1


def test_a_core_of_another_version_is_one_line_and_python_carries(
    installed: Installed,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    installed.version("9.9.9")
    with caplog.at_level(logging.WARNING):
        assert chosen() == "python"
    (record,) = caplog.records
    assert "version 9.9.9" in record.getMessage()
    monkeypatch.setenv(VARIABLE, "core")
    with pytest.raises(MeshError, match=r"version 9\.9\.9"):
        chosen()


def test_a_core_that_cannot_be_loaded_is_one_line_and_python_carries(
    installed: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    installed.error = ImportError("wrong ELF class")
    with caplog.at_level(logging.WARNING):
        assert chosen() == "python"
    (record,) = caplog.records
    assert "wrong ELF class" in record.getMessage()


def test_another_word_is_refused(
    installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "rust")
    with pytest.raises(ConfigError, match="must be 'core' or 'python', not 'rust'"):
        chosen()


@pytest.mark.skipif(not datapaths.has_core(), reason="the core is not installed")
def test_the_real_core_is_the_one_that_is_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "core")
    assert make_datapath(roaming=False).kind == "core"
