"""A stock wireguard-go that is reached from a relayed address."""

import random
import sys
import time

import pytest

from coordinator.credentials import password
from netlab.lab import Lab
from netlab.machine import Host
from netlab.wireguard import WIREGUARD_GO
from tests.interop.tunnels import Side, join, ping, transfer
from tests.interop.turn_relay import READY

pytestmark = pytest.mark.netns

REALM, SECRET, PORT = "mesh.test", "top secret", 3478
PAYLOAD = random.Random(1).randbytes(1 << 20)


@pytest.mark.parametrize("relay", ["coturn", "ours"])
def test_wireguard_go_sees_the_relay_as_its_peer(lab: Lab, relay: str) -> None:
    node, peer = join_through(lab, relay)

    ping(node, peer.ip, count=20)
    ping(peer, node.ip, count=20)
    transfer(node, peer, peer.ip, PAYLOAD)
    transfer(peer, node, node.ip, PAYLOAD)

    assert peer.peer_endpoint().split(":")[0] == lab.host("relay").address()


@pytest.mark.parametrize("relay", ["coturn", "ours"])
def test_wireguard_go_can_renew_the_session_through_the_relay(
    lab: Lab, relay: str
) -> None:
    node, peer = join_through(lab, relay)
    ping(node, peer.ip)
    where = peer.peer_endpoint()

    # It forgets all sessions, knows the relayed address only, and speaks first.
    peer.restart()
    peer.set_peer("endpoint", where)
    ping(peer, node.ip)

    assert peer.peer_endpoint() == where


def join_through(lab: Lab, relay: str) -> tuple[Side, Side]:
    """Return our end of a tunnel, which has only a relay, and wireguard-go's."""
    switch = lab.add_switch("switch", "192.0.2.0/24")
    server, node, peer = (
        lab.add_host(name, switch) for name in ("relay", "node", "peer")
    )
    serve(server, relay)
    username = f"{int(time.time()) + 3600}:node"
    engine = (
        *(sys.executable, "-m", "tests.interop.relayed_wg", server.address()),
        *(str(PORT), username, password(username, SECRET.encode())),
    )
    return join(node, peer, (engine, WIREGUARD_GO))


def serve(host: Host, relay: str) -> None:
    """Run a relay on a host."""
    address = host.address()
    if relay == "ours":
        program = [sys.executable, "-m", "tests.interop.turn_relay"]
        host.popen([*program, address, str(PORT), REALM, SECRET]).wait_for_line(READY)
        return
    directory = host.directory
    host.popen(
        [
            *("turnserver", "-n", "--log-file", "stdout", "--no-cli"),
            *("-L", address, "-E", address, "-p", str(PORT), "--no-tls", "--no-dtls"),
            *("--use-auth-secret", "--static-auth-secret", SECRET, "-r", REALM),
            *("--pidfile", str(directory / "pid"), "-b", str(directory / "db")),
        ]
    )
    request = f"import socket; socket.create_connection(({address!r}, {PORT}))"
    host.wait_until(
        lambda: host.run([sys.executable, "-c", request], check=False).returncode == 0,
        "coturn listens",
    )
