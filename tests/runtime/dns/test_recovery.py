"""What is undone of a node that was killed."""

import asyncio
from pathlib import Path

import pytest

from meshwg.errors import MeshError
from meshwg.runtime.dns import file, resolvconf
from meshwg.runtime.dns.recovery import recover_names
from meshwg.runtime.state import StateDirectory

OURS = """\
#meshwg: 'meshwg down' and 'meshwg cleanup' put back what was here before.
#meshwg+
nameserver 127.0.77.60
nameserver 192.0.2.1
"""


def test_it_is_said_what_was_undone(tmp_path: Path) -> None:
    state, path = StateDirectory(tmp_path / "state"), tmp_path / "resolv.conf"
    path.write_text(OURS)

    assert asyncio.run(recover_names(state, path)) == [f"the name server in {path}"]
    assert asyncio.run(recover_names(state, path)) == []
    assert path.read_text() == "nameserver 192.0.2.1\n"
    state.close()


async def test_resolvconf_forgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def recover(state: StateDirectory) -> bool:
        return True

    state = StateDirectory(tmp_path / "state")
    monkeypatch.setattr(resolvconf, "recover", recover)

    assert await recover_names(state) == ["the name server that resolvconf was told of"]
    state.close()


@pytest.mark.parametrize("error", [MeshError("no"), PermissionError(13, "no")])
async def test_trouble_with_it_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def recover(state: StateDirectory, path: Path) -> bool:
        raise error

    state = StateDirectory(tmp_path / "state")
    monkeypatch.setattr(file, "recover", recover)

    assert await recover_names(state, tmp_path / "resolv.conf") == []
    state.close()
