"""The daemon by itself: which mesh, which port, signals, and a full disk."""

import random
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwg.config import NodeConfig
from meshwg.errors import ConfigError, NotJoined
from meshwg.runtime import daemon
from meshwg.runtime.state import StateDirectory, StoredMembership
from meshwg.wire.token import AuthKeyText, JoinToken
from netlab.lab import Lab
from tests.interop.meshes import Member, leftovers

RANDOM = random.Random(6).randbytes
KEY, OTHER_KEY = RANDOM(32), RANDOM(32)
URL, OTHER_URL = "http://192.0.2.99:8443", "https://mesh.example"
READY = "is up: interface meshwg0"

# Which mesh


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(tmp_path)
    yield made
    made.close()


def test_a_token_is_remembered_until_the_node_has_joined(
    state: StateDirectory,
) -> None:
    token = make_token(URL, KEY)

    membership = choose(state, token)

    assert membership == StoredMembership(URL, KEY, str(token.auth_key))
    assert choose(state) == membership


def test_without_token_or_membership_there_is_no_mesh(state: StateDirectory) -> None:
    with pytest.raises(NotJoined, match="meshwg node --join TOKEN"):
        choose(state)


def test_a_member_keeps_its_mesh(state: StateDirectory) -> None:
    accepted = StoredMembership(URL, KEY)
    state.save_membership(accepted)

    with pytest.raises(ConfigError, match="already belongs to another mesh"):
        choose(state, make_token(OTHER_URL, OTHER_KEY))

    assert choose(state) == accepted


def test_a_member_follows_its_coordinator_to_another_address(
    state: StateDirectory,
) -> None:
    state.save_membership(StoredMembership(URL, KEY))

    assert choose(state, make_token(OTHER_URL, KEY)).url == OTHER_URL


def test_a_mesh_that_never_took_the_node_does_not_hold_it(
    state: StateDirectory,
) -> None:
    choose(state, make_token(URL, KEY))

    assert choose(state, make_token(OTHER_URL, OTHER_KEY)).coordinator_key == OTHER_KEY


def test_a_member_that_joins_anew_is_still_a_member(state: StateDirectory) -> None:
    choose(state, make_token(URL, KEY))
    state.save_netmap(b"{}")

    with pytest.raises(ConfigError, match="already belongs to another mesh"):
        choose(state, make_token(OTHER_URL, OTHER_KEY))


# Which port


def test_any_port_is_that_of_the_last_run_if_it_is_free() -> None:
    first = daemon._open_sockets(0, 0, lambda endpoint: None)
    port = first.port

    second = daemon._open_sockets(0, port, lambda endpoint: None)
    assert second.port != port
    first.close()
    second.close()

    third = daemon._open_sockets(0, port, lambda endpoint: None)
    assert third.port == port
    third.close()


def test_a_port_that_was_asked_for_must_be_free() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 0))
        port = other.getsockname()[1]

        with pytest.raises(ConfigError, match=f"UDP port {port} cannot be used"):
            daemon._open_sockets(port, 0, lambda endpoint: None)


# Errors


def test_names_in_errors_are_few() -> None:
    assert daemon._shortened(["a", "b"]) == "a, b"
    many = daemon._shortened([f"node-{n}" for n in range(1000)])
    assert len(many) < 300
    assert many.endswith(", ...")


# The program


@pytest.mark.netns
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(lab: Lab, number: signal.Signals) -> None:
    member = lonely_member(lab)
    assert member.process is not None

    member.process.send_signal(number)

    assert member.wait_for_end() == 0
    assert leftovers(member.host) == []


@pytest.mark.netns
def test_the_service_manager_is_told(lab: Lab) -> None:
    path = str(lab.directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(20)
        member = lonely_member(lab, NOTIFY_SOCKET=path)
        assert manager.recv(99).startswith(b"READY=1")

        member.meshwg("down")

        assert manager.recv(99) == b"STOPPING=1"


@pytest.mark.netns
def test_a_full_disk_is_told_at_the_start(lab: Lab) -> None:
    host = lab.add_host("host", lab.add_switch("cable", "192.0.2.0/24"))
    member = Member(host)
    token = str(make_token(URL, KEY))
    # The daemon may write files, but no byte into them.
    command = ["prlimit", "--fsize=0:0", *member.command("--join", token)]

    ended = host.run(command, check=False)

    assert ended.returncode == 1
    assert "cannot be written (File too large): make room on the disk" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert leftovers(host) == []


def lonely_member(lab: Lab, **environment: str) -> Member:
    """Return a node that runs, and whose coordinator is nowhere."""
    host = lab.add_host("host", lab.add_switch("cable", "192.0.2.0/24"))
    member = Member(host)
    member.start("--join", str(make_token(URL, KEY)), env=environment)
    assert member.process is not None
    member.process.wait_for_line(READY)
    return member


def choose(state: StateDirectory, token: JoinToken | None = None) -> StoredMembership:
    """Return which mesh a daemon would be in."""
    config = NodeConfig(join=None if token is None else str(token))
    return daemon.choose_membership(config, state)


def make_token(url: str, key: bytes) -> JoinToken:
    return JoinToken(url, key, AuthKeyText.generate(RANDOM))
