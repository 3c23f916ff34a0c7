"""What decides about a machine's name servers."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meshwg.errors import MeshError
from meshwg.runtime.dns import resolvconf, resolved
from meshwg.runtime.dns import system as module
from meshwg.runtime.dns.resolvconf import Flavour
from meshwg.runtime.dns.resolved import Resolved
from meshwg.runtime.dns.system import NotAlone, find_integration
from meshwg.runtime.state import StateDirectory


class FoundResolved:
    mode = "systemd-resolved"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(tmp_path / "state")
    yield made
    made.close()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with none of it; what systemd-resolved would have made is returned."""

    async def none() -> None:
        return None

    runs = tmp_path / "resolve"
    monkeypatch.setattr(module, "RESOLVED_RUNS", runs)
    monkeypatch.setattr(module, "is_for_others", lambda path: False)
    monkeypatch.setattr(resolvconf, "find", none)
    return runs


def on_return() -> None:
    """Nothing."""


async def test_without_anything_else_it_is_the_file(
    machine: Path, state: StateDirectory
) -> None:
    found = await find_integration(state, "meshwg0", on_return)

    assert (found.mode, found.forwards) == ("file", True)


async def test_resolvconf_comes_before_the_file(
    machine: Path, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find() -> Flavour:
        return Flavour.OPENRESOLV

    monkeypatch.setattr(resolvconf, "find", find)

    found = await find_integration(state, "meshwg0", on_return)

    assert (found.mode, found.forwards) == ("openresolv", True)


@pytest.mark.parametrize("is_used", [True, False])
async def test_systemd_resolved_comes_first_if_it_is_used(
    machine: Path,
    state: StateDirectory,
    monkeypatch: pytest.MonkeyPatch,
    is_used: bool,
) -> None:
    async def find(
        cls: type[Resolved], on_return: Callable[[], None]
    ) -> FoundResolved | None:
        return FoundResolved() if is_used else None

    os.mkdir(machine)
    monkeypatch.setattr(resolved.Resolved, "find", classmethod(find))

    found = await find_integration(state, "meshwg0", on_return)

    assert found.mode == ("systemd-resolved" if is_used else "file")


async def test_systemd_resolved_that_programs_ask_in_vain_is_an_error(
    machine: Path, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(machine)
    monkeypatch.setattr(resolved, "is_named", lambda: True)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={machine}/nothing")

    with pytest.raises(MeshError, match="which does not run"):
        await find_integration(state, "meshwg0", on_return)


async def test_what_is_for_others_too_is_left_alone(
    machine: Path, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_for_others", lambda path: True)

    with pytest.raises(NotAlone, match="network namespace of its own"):
        await find_integration(state, "meshwg0", on_return)
