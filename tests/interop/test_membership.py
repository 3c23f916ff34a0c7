"""Becoming a member, and what goes wrong: one sentence, and nothing left behind.

One coordinator and one member serve all tests; every test has a host of its own.
"""

import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import pytest

from meshwg.wire.token import JoinToken
from netlab.lab import Lab
from netlab.machine import Host
from tests.interop.meshes import (
    MESHWG,
    Coordinator,
    Json,
    Member,
    files_holding,
    leftovers,
)

pytestmark = pytest.mark.netns

DONE, FAILED, USAGE, NOT_RUNNING, NOT_JOINED, NOT_PERMITTED = range(6)

NOBODY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    # Python may be installed where only root may look.
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)


HOLD = """
import socket, sys, time
held = []
while len(held) < 1200:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    try:
        sock.connect(sys.argv[1])
    except BlockingIOError:
        time.sleep(0.01)
    held.append(sock)
print("held", flush=True)
time.sleep(60)
"""


class World:
    """A running mesh, and hosts that would like to join it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.coordinator = Coordinator.on_the_internet(lab, "--log-level", "debug")
        self.member = Member(lab.add_host("member", lab.internet))
        self.token = self.coordinator.token(reusable=True)
        self.member.join(self.token, "--log-level", "debug")
        self._numbers = count(1)

    def newcomer(self) -> Member:
        name = f"newcomer-{next(self._numbers)}"
        return Member(self.lab.add_host(name, self.lab.internet))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with Lab(title="refusals") as lab:
        yield World(lab)


def used(world: World) -> str:
    token = world.coordinator.token()
    world.newcomer().join(token)
    return token


def expired(world: World) -> str:
    token = world.coordinator.token(expires="1s")
    time.sleep(1.1)
    return token


def revoked(world: World) -> str:
    token = world.coordinator.token()
    world.coordinator.revoke(JoinToken.parse(token).auth_key.number)
    return token


def foreign(world: World) -> str:
    """Return a token of this coordinator with an auth key that it never made."""
    token = JoinToken.parse(world.token)
    auth_key = type(token.auth_key)("0123456789ab", bytes(16))
    return str(JoinToken(token.url, token.coordinator_key, auth_key))


def of_another_coordinator(world: World) -> str:
    token = JoinToken.parse(world.token)
    return str(JoinToken(token.url, bytes(range(32)), token.auth_key))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (used, "This join token was for one node and has been used; ask"),
        (expired, "This join token has expired; ask for a new one"),
        (revoked, "This join token has been revoked; ask for a new one"),
        (foreign, "This coordinator did not make this join token; ask"),
    ],
)
def test_a_bad_token_is_refused(
    world: World, make: Callable[[World], str], sentence: str
) -> None:
    token, newcomer = make(world), world.newcomer()

    ended = newcomer.try_to_start("--join", token)

    assert ended.returncode == NOT_JOINED
    assert sentence in last_line(ended.stderr)
    assert token not in ended.stderr
    assert leftovers(newcomer.host) == []


def test_a_wrong_coordinator_is_detected_and_traps_no_node(world: World) -> None:
    newcomer = world.newcomer()

    ended = newcomer.try_to_start("--join", of_another_coordinator(world))

    assert ended.returncode == NOT_JOINED
    assert "does not own the key that the join token names" in last_line(ended.stderr)
    newcomer.join(world.token)
    newcomer.reaches(world.member)


def test_a_member_stays_in_its_mesh_whatever_token_it_is_started_with(
    world: World,
) -> None:
    newcomer, token = world.newcomer(), world.coordinator.token()
    newcomer.join(token).meshwg("down")

    ended = newcomer.try_to_start("--join", of_another_coordinator(world))
    assert ended.returncode == USAGE
    assert "This node already belongs to another mesh" in ended.stderr

    # Its own is used up, which does no harm to a member.
    newcomer.join(token)


def test_a_damaged_key_is_never_replaced(world: World) -> None:
    newcomer = world.newcomer()
    newcomer.state_dir.mkdir()
    key = newcomer.state_dir / "node.key"
    key.write_text("not a key\n")

    ended = newcomer.try_to_start("--join", world.token)

    assert ended.returncode == USAGE
    assert f"The node's key {key} is damaged" in the_sentence(ended.stderr)
    assert key.read_text() == "not a key\n"
    assert leftovers(newcomer.host) == []


def test_a_taken_port_is_named(world: World) -> None:
    newcomer = world.newcomer()
    newcomer.host.udp_socket(port=45678)

    ended = newcomer.try_to_start("--join", world.token, "--listen-port", "45678")

    assert ended.returncode == USAGE
    assert "UDP port 45678 cannot be used (Address already in use)" in the_sentence(
        ended.stderr
    )
    assert leftovers(newcomer.host) == []


def test_an_interface_that_exists_is_not_touched(world: World) -> None:
    newcomer = world.newcomer()
    newcomer.host.run(["ip", "link", "add", "meshwg0", "type", "bridge"])

    ended = newcomer.try_to_start("--join", world.token)

    assert ended.returncode == USAGE
    assert "meshwg0" in the_sentence(ended.stderr)
    newcomer.host.run(["ip", "link", "show", "meshwg0", "type", "bridge"])


def test_a_second_daemon_is_turned_away(world: World) -> None:
    first = world.member
    state, socket = first.state_dir, first.options[-1]
    second = Member(first.host, suffix="-2")
    same_state = ["--state-dir", str(state), "--interface", "other"]
    same_socket = ["--control-socket", socket, "--interface", "other"]

    ended = second.try_to_start(*same_state)
    assert ended.returncode == USAGE
    assert f"Another meshwg node uses the state directory {state}" in the_sentence(
        ended.stderr
    )

    ended = second.try_to_start("--join", world.token, *same_socket)
    assert ended.returncode == USAGE
    assert f"Another daemon listens at {socket}" in the_sentence(ended.stderr)

    assert leftovers(first.host)[0] == "meshwg0"
    assert first.status()["self"]["coordinator"]["state"] == "connected"


def test_what_a_killed_daemon_left_is_no_obstacle(world: World) -> None:
    newcomer = world.newcomer().join(world.token)
    newcomer.kill()
    assert newcomer.meshwg("status", check=False).returncode == NOT_RUNNING
    (newcomer.state_dir / "netmap.json").write_bytes(b'{"peers": [\xff')

    newcomer.start().wait_until_connected()

    newcomer.reaches(world.member)
    assert "netmap" in newcomer.log()


def test_a_removed_interface_ends_the_daemon(world: World) -> None:
    newcomer = world.newcomer().join(world.token)

    newcomer.host.run(["ip", "link", "delete", "meshwg0"])

    assert newcomer.wait_for_end() == FAILED
    assert "The interface meshwg0 was removed" in newcomer.log()
    assert leftovers(newcomer.host) == []


def test_ordinary_users_may_look_but_not_touch(world: World) -> None:
    socket = ("--control-socket", world.member.options[-1])
    host = world.member.host

    assert run_as_nobody(host, "status", *socket)[0] == DONE
    status, error = run_as_nobody(host, "down", *socket)
    assert status == NOT_PERMITTED
    assert "Only root and the daemon's own user may change anything" in error

    status, error = run_as_nobody(host, "node", "--join", world.token)
    assert status == NOT_PERMITTED
    assert "run as root, or with CAP_NET_ADMIN" in the_sentence(error)
    assert world.member.process is not None
    assert world.member.process.returncode is None


def test_a_user_who_holds_a_thousand_connections_stops_nobody(world: World) -> None:
    member, log = world.member, len(world.member.log())
    hold = [*NOBODY, sys.executable, "-c", HOLD, member.options[-1]]
    crowd = member.host.popen(["prlimit", "--nofile=4096", *hold], log="crowd.log")
    crowd.wait_for_line("held")

    assert member.meshwg("status").returncode == DONE
    assert (
        run_as_nobody(member.host, "status", "--control-socket", member.options[-1])[0]
        == DONE
    )

    crowd.stop()
    assert "Traceback" not in member.log()[log:]
    assert member.log()[log:].count("takes no connections") <= 1


def test_commands_without_a_daemon_say_so(world: World) -> None:
    newcomer = world.newcomer()
    for command in (["status"], ["ping", "member"], ["down"]):
        ended = newcomer.meshwg(command[0], *command[1:], check=False)
        assert ended.returncode == NOT_RUNNING
        assert "No meshwg daemon listens at" in the_sentence(ended.stderr)


def test_pinging_an_unknown_name_lists_the_known_ones(world: World) -> None:
    ended = world.member.meshwg("ping", "nobody", check=False)

    assert ended.returncode == FAILED
    assert "There is no peer 'nobody': use one of" in the_sentence(ended.stderr)


def test_a_node_that_reaches_no_coordinator_keeps_trying(world: World) -> None:
    newcomer = world.newcomer()
    token = JoinToken.parse(world.token)
    closed = JoinToken("http://192.0.2.99:8443", token.coordinator_key, token.auth_key)
    newcomer.start("--join", str(closed))

    newcomer.wait_until(
        lambda status: status["self"]["coordinator"]["error"] is not None,
        "it says what is wrong",
    )
    error = newcomer.status()["self"]["coordinator"]["error"]
    assert "The coordinator at http://192.0.2.99:8443" in error
    ended = newcomer.meshwg("ping", "member", check=False)
    assert ended.returncode == NOT_JOINED

    shown = newcomer.meshwg("status", check=False)
    assert shown.returncode == NOT_JOINED
    assert "has not joined its mesh yet" in shown.stdout
    assert "is up" not in newcomer.log()
    assert newcomer.log().count("has not joined its mesh yet, and goes on trying") <= 2

    newcomer.meshwg("down")
    assert newcomer.wait_for_end() == DONE
    assert leftovers(newcomer.host) == []


def test_an_ephemeral_node_vanishes_when_it_leaves(world: World) -> None:
    runner = world.newcomer().join(world.coordinator.token(ephemeral=True))
    world.member.wait_until(partial(knows, runner.name), "the runner is there")

    runner.meshwg("down")

    world.member.wait_until(
        lambda status: not knows(runner.name, status), "the runner is forgotten"
    )
    assert runner.name not in world.coordinator.nodes()


def test_a_node_that_falls_silent_is_soon_offline(world: World) -> None:
    silent = world.newcomer().join(world.token)

    silent.host.set_link(up=False)

    world.member.wait_until(
        partial(knows, silent.name, online=False), f"{silent.name} is offline"
    )
    silent.host.set_link(up=True)
    world.member.wait_until(partial(knows, silent.name), f"{silent.name} is back")
    silent.reaches(world.member)


def test_a_taken_name_gets_a_suffix_and_its_owner_is_told(world: World) -> None:
    host = world.newcomer().host
    newcomer = Member(host, name="member").join(world.token)

    own = newcomer.status()["self"]
    assert own["name"] == "member-2"
    assert "called member-2 in the mesh: member belongs to another" in own["notice"]
    assert own["notice"] in newcomer.log()
    assert world.member.status()["self"]["name"] == "member"


def test_two_machines_with_one_key_are_told_so(world: World) -> None:
    original, clone = world.newcomer().join(world.token), world.newcomer()
    clone.state_dir.mkdir(mode=0o700)
    key = (original.state_dir / "node.key").read_text()
    (clone.state_dir / "node.key").write_text(key)

    clone.join(world.token)

    original.wait_until_offline()
    error = original.status()["self"]["coordinator"]["error"]
    assert (
        error == "Another connection uses this node's key; use each key on one machine"
    )
    assert clone.addresses == original.addresses


def test_no_token_stands_in_the_list_of_processes(world: World) -> None:
    first, second = world.newcomer(), world.newcomer()
    (first.host.directory / "token").write_text(world.token)

    first.join(f"@{first.host.directory}/token")
    second.join(world.token)

    secret = world.token[-20:]
    shown = first.host.run(["ps", "-ww", "-eo", "args"]).stdout
    assert "meshwg node" in shown
    assert secret not in shown


def test_secrets_stay_in_the_state_directory(world: World) -> None:
    member = world.member
    key = (member.state_dir / "node.key").read_text().strip()
    secret = JoinToken.parse(world.token).auth_key.secret.hex()
    shown = member.meshwg("status", "--json").stdout + member.log()

    assert files_holding(member.host.directory, key) == ["state/node.key"]
    for directory in (member.state_dir, world.coordinator.host.directory):
        for text in (world.token, secret):
            assert files_holding(directory, text) == []
    for text in (key, world.token, secret):
        assert text not in shown


def test_the_coordinator_s_absence_and_return_are_told_once(world: World) -> None:
    newcomer = world.newcomer().join(world.token)

    world.coordinator.kill()
    newcomer.wait_until_offline()
    newcomer.wait_until(
        lambda status: (
            "cannot be reached" in (status["self"]["coordinator"]["error"] or "")
        ),
        "it has tried again",
    )
    (complaint,) = [
        each for each in newcomer.status()["health"] if each["code"] == "coordinator"
    ]
    assert complaint["severity"] == "warning"
    world.coordinator.start()
    newcomer.wait_until_connected()

    warned = [line for line in newcomer.log().splitlines() if "WARNING" in line]
    assert len([line for line in warned if "go on without it" in line]) in (1, 2)
    assert newcomer.log().count(" again, after ") == 1
    assert "coordinator" not in {each["code"] for each in newcomer.status()["health"]}


def knows(name: str, status: Json, online: bool = True) -> bool:
    """Tell whether a status lists a peer of this name in this state."""
    return any(
        peer["name"] == name and peer["online"] is online for peer in status["peers"]
    )


def run_as_nobody(host: Host, *arguments: str) -> tuple[int, str]:
    assert shutil.which(NOBODY[0])
    ended = host.run([*NOBODY, *MESHWG, *arguments], check=False)
    return ended.returncode, ended.stderr


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def the_sentence(text: str) -> str:
    """Return what a command says if that is one sentence, and no traceback."""
    (line,) = text.strip().splitlines()
    assert re.match(r"meshwg: [A-Z/]", line)
    return line
