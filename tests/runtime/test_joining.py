"""Joining without staying: what is kept, and what is as before."""

from pathlib import Path

import pytest

from meshwg.config import NodeConfig
from meshwg.errors import ConfigError, NotJoined
from meshwg.runtime.joining import join
from meshwg.runtime.state import StateDirectory, StoredMembership
from meshwg.wire.token import AuthKeyText, JoinToken

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
NOWHERE = "http://127.0.0.1:9"


async def test_a_member_whose_coordinator_is_away_stays_what_it_is(
    tmp_path: Path,
) -> None:
    before = StoredMembership("http://192.0.2.1", KEY)
    save(tmp_path, before)

    with pytest.raises(NotJoined, match="cannot be reached"):
        await join(config(tmp_path, KEY), 0.5)

    assert membership(tmp_path) == before


async def test_a_member_of_another_mesh_stays_in_it(tmp_path: Path) -> None:
    before = StoredMembership("http://192.0.2.1", KEY)
    save(tmp_path, before)

    with pytest.raises(ConfigError, match="another mesh"):
        await join(config(tmp_path, OTHER_KEY), 0.5)

    assert membership(tmp_path) == before


async def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    with pytest.raises(ConfigError, match="Another meshwg node"):
        await join(config(tmp_path, KEY), 0.5)
    state.close()


def config(directory: Path, key: bytes) -> NodeConfig:
    token = JoinToken(NOWHERE, key, AuthKeyText("0" * 12, bytes(16)))
    return NodeConfig(join=str(token), state_dir=directory, name="node")


def save(directory: Path, membership_: StoredMembership) -> None:
    state = StateDirectory(directory)
    state.save_membership(membership_)
    state.close()


def membership(directory: Path) -> StoredMembership | None:
    state = StateDirectory(directory)
    try:
        return state.membership()
    finally:
        state.close()
