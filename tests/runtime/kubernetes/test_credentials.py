"""How an agent becomes a member: by a file that kubelet renews."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwg.errors import ConfigError
from meshwg.runtime.kubernetes.credentials import enter_mesh, read_service_token
from meshwg.runtime.kubernetes.settings import Membership
from meshwg.runtime.state import StateDirectory, StoredMembership
from meshwg.wire.control import MAX_SERVICE_TOKEN

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
URL = "https://mesh.example"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(tmp_path / "state")
    yield made
    made.close()


def test_a_token_is_read_without_the_line_s_end(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("a.b.c\n")
    assert read_service_token(path) == "a.b.c"


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xff\xfe", "é.ü".encode(), b"x" * (MAX_SERVICE_TOKEN + 1)]
)
def test_what_can_be_no_token_is_named_by_its_file(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="audience meshwg") as refused:
        read_service_token(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_service_token(tmp_path / "token")


def test_a_node_enters_a_mesh_without_secret(state: StateDirectory) -> None:
    enter_mesh(Membership(URL, KEY), state)
    assert state.membership() == StoredMembership(URL, KEY)


def test_a_coordinator_that_moved_or_has_another_key_by_now_is_the_same(
    state: StateDirectory,
) -> None:
    state.save_membership(StoredMembership(URL, OTHER, former_key=KEY))
    enter_mesh(Membership("https://new.example", KEY), state)
    assert state.membership() == StoredMembership(
        "https://new.example", OTHER, former_key=KEY
    )


def test_a_member_of_another_mesh_stays_that(state: StateDirectory) -> None:
    state.save_membership(StoredMembership(URL, OTHER))
    with pytest.raises(ConfigError, match="belongs to another mesh"):
        enter_mesh(Membership(URL, KEY), state)
    assert state.membership() == StoredMembership(URL, OTHER)
