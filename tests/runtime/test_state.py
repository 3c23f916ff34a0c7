"""The state directory: private, locked, and whole whatever happens to the disk."""

import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwg.errors import ConfigError, MeshError, NotPermitted
from meshwg.node.trust import Pins, Trust
from meshwg.relay.transactions import TurnCredentials
from meshwg.runtime.state import StateDirectory, StoredMembership

RANDOM = random.Random(5).randbytes
MEMBERSHIP = StoredMembership("https://mesh.example", bytes(range(32)), "number.secret")
FILES = ("node.key", "membership.json", "netmap.json", "port", "relays.json")
RELAYS = [("turn:relay.test:3478?transport=udp", TurnCredentials("9:node", "secret"))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lib" / "meshwg"


@pytest.fixture
def state(path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(path)
    yield made
    made.close()


def test_what_was_told_is_no_news_at_the_next_start(path: Path) -> None:
    first = StateDirectory(path)
    assert first.is_news("ipv6-disabled")
    assert not first.is_news("ipv6-disabled")
    first.close()

    again = StateDirectory(path)
    assert not again.is_news("ipv6-disabled")
    assert again.is_news("something-else")
    again.close()


def test_what_a_cluster_said_is_kept_until_it_knows_the_node_no_more(
    state: StateDirectory, path: Path
) -> None:
    assert state.cluster() is None
    state.save_cluster({"spec": {}})
    assert state.cluster() == {"spec": {}}
    (path / "cluster.json").write_text("[damaged")
    assert state.cluster() is None
    state.save_cluster(None)
    assert not (path / "cluster.json").exists()


def test_pinned_keys_are_kept_and_never_doubted_silently(
    path: Path, state: StateDirectory
) -> None:
    assert state.pins() == Pins()
    state.save_pins(Trust(Pins(networks=("10.0.0.0/8",))).to_json())
    assert state.pins() == Pins(networks=("10.0.0.0/8",))
    (path / "trust.json").write_text("{")
    with pytest.raises(ConfigError, match="restore the file, or remove it"):
        state.pins()


def test_that_a_node_is_down_is_remembered(path: Path) -> None:
    first = StateDirectory(path)
    assert not first.is_down()
    first.set_down(True)
    first.close()

    again = StateDirectory(path)
    assert again.is_down()
    again.set_down(False)
    assert not again.is_down()
    again.close()


def test_a_mesh_that_is_left_is_forgotten_with_the_key(
    path: Path, state: StateDirectory
) -> None:
    state.private_key(RANDOM)
    state.save_membership(MEMBERSHIP)
    state.save_netmap(b"{}")
    state.save_port(41641)
    state.save_relay_credentials(RELAYS)
    state.set_down(True)

    state.forget()

    assert [each.name for each in path.iterdir()] == ["lock"]


def test_a_new_one_is_empty(state: StateDirectory) -> None:
    assert state.membership() is None
    assert state.netmap() is None
    assert state.last_port() == 0
    assert state.relay_credentials() == []


def test_what_was_saved_is_loaded_again(path: Path, state: StateDirectory) -> None:
    key = state.private_key(RANDOM)
    state.save_membership(MEMBERSHIP)
    state.save_netmap('{"ü": 1}'.encode())
    state.save_port(41641)
    state.save_relay_credentials(RELAYS)
    state.close()

    again = StateDirectory(path)
    assert again.private_key(RANDOM).private_bytes == key.private_bytes
    assert again.membership() == MEMBERSHIP
    assert again.netmap() == '{"ü": 1}'.encode()
    assert again.last_port() == 41641
    assert again.relay_credentials() == RELAYS

    again.forget_netmap()
    again.forget_netmap()
    assert again.netmap() is None


def test_a_port_that_stands_there_is_not_written_again(
    path: Path, state: StateDirectory
) -> None:
    state.save_port(41641)
    (file,) = path.glob("*port*")
    before = file.stat().st_ino

    state.save_port(41641)
    assert file.stat().st_ino == before

    state.save_port(41642)
    assert state.last_port() == 41642


def test_only_its_user_may_read_it(path: Path, state: StateDirectory) -> None:
    fill(state)

    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for name in FILES:
        assert stat.S_IMODE((path / name).stat().st_mode) == 0o600


def test_only_one_daemon_at_a_time_uses_it(path: Path, state: StateDirectory) -> None:
    with pytest.raises(ConfigError, match="Another meshwg node uses"):
        StateDirectory(path)

    state.close()
    StateDirectory(path).close()
    state._lock = os.open(path, os.O_RDONLY)


@pytest.mark.parametrize("text", ["", "x", "A" * 44, "AAAA" * 10 + "AAA=", "\udcff"])
def test_a_damaged_key_is_never_replaced(
    path: Path, state: StateDirectory, text: str
) -> None:
    file = path / "node.key"
    file.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(ConfigError, match="is damaged: restore it"):
        state.private_key(RANDOM)
    assert file.read_bytes() == text.encode(errors="surrogateescape")


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff", b"[]", b"null", b'{"url": "x"}', b'{"url":"x","coordinator_key":1}'],
)
def test_a_damaged_membership_is_named(
    path: Path, state: StateDirectory, text: bytes
) -> None:
    (path / "membership.json").write_bytes(text)

    with pytest.raises(ConfigError, match="is damaged: remove it and join again"):
        state.membership()


@pytest.mark.parametrize("text", ["", "x", "-1", "70000", "²", "9" * 5000])
def test_a_damaged_port_file_gives_no_port(
    path: Path, state: StateDirectory, text: str
) -> None:
    (path / "port").write_text(text)

    assert state.last_port() == 0


@pytest.mark.parametrize("text", ["", "x", "{}", "[1]", '[{"url": "turn:h"}]', "null"])
def test_damaged_relay_credentials_are_none(
    path: Path, state: StateDirectory, text: str
) -> None:
    (path / "relays.json").write_text(text)

    assert state.relay_credentials() == []


def test_a_full_disk_leaves_the_old_file_intact(
    path: Path, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(state)
    before = {name: (path / name).read_bytes() for name in FILES}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)

    with pytest.raises(MeshError, match="free space on the disk"):
        state.save_netmap(b"{}")
    with pytest.raises(MeshError, match="No space left on device"):
        state.save_membership(StoredMembership("http://other", bytes(32)))
    state.save_port(5)
    state.save_relay_credentials([])

    assert {name: (path / name).read_bytes() for name in FILES} == before
    assert not list(path.glob("*.new"))


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="name another one with --state-dir"):
        StateDirectory(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot be created"):
        StateDirectory(tmp_path / "file" / "below")


def test_a_directory_where_a_file_should_be_is_named(
    path: Path, state: StateDirectory
) -> None:
    (path / "node.key").mkdir()

    with pytest.raises(NotPermitted, match="cannot be read"):
        state.private_key(RANDOM)


def test_secrets_are_not_shown(state: StateDirectory) -> None:
    assert "secret" not in repr(MEMBERSHIP)


def test_the_exit_in_use_is_remembered_until_the_mesh_is_left(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    assert state.exit() is None

    state.save_exit({"name": "ams"})
    assert state.exit() == {"name": "ams"}
    for damaged in ("nonsense", "[]", "null", ""):
        (tmp_path / "exit.json").write_text(damaged)
        assert state.exit() is None

    state.save_exit({"name": "ams"})
    state.forget()
    assert state.exit() is None
    state.save_exit(None)
    state.close()


def fill(state: StateDirectory) -> None:
    """Write every file there is."""
    state.private_key(RANDOM)
    state.save_membership(MEMBERSHIP)
    state.save_netmap(b'{"old": true}')
    state.save_port(41641)
    state.save_relay_credentials(RELAYS)


def test_what_names_end_with_is_what_was_said_first(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    assert state.domain("mesh.internal") == "mesh.internal"
    assert state.domain("bank.example") == "mesh.internal"

    state.forget()

    assert state.domain("bank.example") == "bank.example"
    state.close()


def test_what_the_system_was_told_of_names_is_remembered(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    assert state.dns() is None

    state.save_dns({"mode": "file"})
    assert state.dns() == {"mode": "file"}
    for damaged in ("nonsense", "[]", "null", ""):
        (tmp_path / "dns.json").write_text(damaged)
        assert state.dns() is None

    state.save_dns(None)
    state.save_dns(None)
    assert state.dns() is None
    state.close()
