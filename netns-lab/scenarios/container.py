"""Container to container, direct: two WireGuard files and no coordinator.

::

    c1 ------ bridge ------ c2           172.18.0.0/24
    wg1 ~~~~~~~~~~~~~~~~~~ wg2           10.10.0.1, 10.10.0.2

A capture on the bridge shows UDP between the containers, with WireGuard's message types
and no plaintext.
"""

from dataclasses import dataclass

from netlab.capture import Capture
from netlab.lab import Lab
from netlab.lan import Switch
from netlab.scenario import Narrator, Scenario
from netlab.topology import Way
from netlab.wireguard import Config, Peer, Tunnel, make_keys
from scenarios.ciphertext import check_wire, deliver

PORT = 51820
DATAGRAMS = 50


@dataclass(slots=True)
class Containers:
    """Two containers on one bridge, joined by a tunnel."""

    bridge: Switch
    one: Tunnel
    two: Tunnel
    wire: Capture


def build(lab: Lab) -> Containers:
    bridge = lab.add_switch("bridge", "172.18.0.0/24")
    c1, c2 = lab.add_host("c1", bridge), lab.add_host("c2", bridge)
    wire = bridge.capture()
    keys1, keys2 = make_keys(c1), make_keys(c2)
    peer1 = Peer(keys1.public, "10.10.0.1/32", f"{c1.address()}:{PORT}")
    peer2 = Peer(keys2.public, "10.10.0.2/32", f"{c2.address()}:{PORT}")
    config1 = Config(keys1, "10.10.0.1/24", peer2, PORT)
    config2 = Config(keys2, "10.10.0.2/24", peer1, PORT)
    return Containers(
        bridge,
        Tunnel(c1, "wg1", config1, lab.engine),
        Tunnel(c2, "wg2", config2, lab.engine),
        wire,
    )


def verify(containers: Containers, narrator: Narrator) -> None:
    one, two, wire = containers.one, containers.two, containers.wire
    with narrator.step("c1 and c2 ping each other through the tunnel"):
        one.host.ping(two.ip)
        two.host.ping(one.ip)
    with narrator.step(f"{DATAGRAMS} datagrams arrive in each direction, unchanged"):
        deliver(one, two, DATAGRAMS)
        deliver(two, one, DATAGRAMS)
    with narrator.step("after a restart of its engine c2 is reached again"):
        two.restart()
        two.host.ping(one.ip)
        one.host.ping(two.ip)
    with narrator.step("the bridge saw only WireGuard between them, and no plaintext"):
        check_wire(wire, {one.host.address(), two.host.address()})


CONTAINER = Scenario(
    "container",
    "Container to container, direct",
    build,
    verify,
    (Way(("c1", "c2"), "direct"),),
)
