"""What is undone; with a killed hub in tests/interop/test_commands.py."""

from pathlib import Path

import pytest

from meshwg.runtime import cleanup as module
from meshwg.runtime.cleanup import clean_up
from meshwg.runtime.state import StateDirectory


@pytest.fixture(autouse=True)
def clean_system(monkeypatch: pytest.MonkeyPatch) -> None:
    async def remove_tables() -> list[str]:
        return ["the nftables table meshwg-x"]

    monkeypatch.setattr(module, "remove_leftovers", lambda: ["rules of table 7"])
    monkeypatch.setattr(module, "remove_tables", remove_tables)


async def test_a_missing_state_directory_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert await clean_up(path) == ["rules of table 7", "the nftables table meshwg-x"]
    assert not path.exists()


async def test_the_notes_of_a_running_node_are_left_alone(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    state.save_forwarding({"system": "another", "table": "meshwg-x", "changes": {}})

    assert "forwarding" not in await clean_up(tmp_path)

    assert state.forwarding() is not None
    state.close()
    assert "forwarding" in await clean_up(tmp_path)


async def test_names_that_a_killed_node_told_of_are_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def recover_names(state: StateDirectory) -> list[str]:
        return ["the name server in /etc/resolv.conf"]

    monkeypatch.setattr(module, "recover_names", recover_names)

    assert "the name server in /etc/resolv.conf" in await clean_up(tmp_path)
