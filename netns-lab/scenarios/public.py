"""Private to public: only the server has an endpoint; the laptop comes and goes.

::

    laptop -- home router --.
       :                     internet -- server
       '----- cafe router --'
    wg0 10.20.0.2 ~~~~~~~~~~~~~~~~~~~~~~ wg0 10.20.0.1

Both routers are symmetric with short-lived mappings, so that nothing works by luck.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from meshwg.nattypes import Mapping, PortAllocation
from netlab.capture import Capture
from netlab.errors import ScenarioFailed
from netlab.lab import Lab
from netlab.nat import Behaviour
from netlab.router import Router
from netlab.scenario import Narrator, Scenario
from netlab.topology import Way
from netlab.wireguard import Config, Peer, Tunnel, make_keys
from scenarios.ciphertext import check_wire, deliver

PORT = 51820
DATAGRAMS = 20
LIFETIME = 4
"""Seconds after which the routers forget a silent mapping."""
KEEPALIVE = 1
IDLE = 2 * LIFETIME

FORGETFUL = Behaviour(
    Mapping.ADDRESS_AND_PORT_DEPENDENT, ports=PortAllocation.RANDOM, lifetime=LIFETIME
)


@dataclass(slots=True)
class Road:
    """A laptop that travels between two routers, and its server."""

    server: Tunnel
    laptop: Tunnel
    home: Router
    cafe: Router
    wire: Capture
    """What the server sends and receives."""


def build(lab: Lab) -> Road:
    server = lab.add_host("server", lab.internet, ipv6=False)
    home = lab.add_router("home", FORGETFUL)
    cafe = lab.add_router("cafe", FORGETFUL)
    laptop = lab.add_host("laptop", home)
    wire = server.capture()
    server_keys, laptop_keys = make_keys(server), make_keys(laptop)
    to_laptop = Peer(laptop_keys.public, "10.20.0.2/32")
    to_server = Peer(
        server_keys.public,
        "10.20.0.0/24",
        endpoint=f"{server.address()}:{PORT}",
        persistent_keepalive=KEEPALIVE,
    )
    server_config = Config(server_keys, "10.20.0.1/24", to_laptop, PORT)
    laptop_config = Config(laptop_keys, "10.20.0.2/24", to_server)
    return Road(
        Tunnel(server, "wg0", server_config, lab.engine),
        Tunnel(laptop, "wg0", laptop_config, lab.engine),
        home,
        cafe,
        wire,
    )


def verify(road: Road, narrator: Narrator) -> None:
    server, laptop = road.server, road.laptop
    ends = {server.host.address(), road.home.address(), road.cafe.address()}
    with narrator.step("the laptop reaches the server, which learns where it is"):
        laptop.host.ping(server.ip)
        deliver(laptop, server, DATAGRAMS)
        expect_endpoint(server, road.home.address())
    with narrator.step(f"after {IDLE} s of silence the server can begin"):
        expect_open_mapping(road)
    with narrator.step("the home router reboots and forgets: the server can begin"):
        expect_found_again(road, road.home.reboot_nat)
    with narrator.step("the home router gets another address: the server can begin"):
        expect_found_again(road, road.home.renumber)
        expect_endpoint(server, road.home.address())
        ends.add(road.home.address())
    with narrator.step("the laptop roams to the cafe: the server can begin"):
        expect_found_again(road, lambda: laptop.host.move_to(road.cafe))
        expect_endpoint(server, road.cafe.address())
        deliver(server, laptop, DATAGRAMS)
    with narrator.step("the server's link saw only WireGuard, and no plaintext"):
        check_wire(road.wire, ends)


def expect_endpoint(server: Tunnel, address: str) -> None:
    """Check that the server sends to this address."""
    endpoint = server.peer_endpoint()
    if not endpoint.startswith(f"{address}:"):
        raise ScenarioFailed(f"The server sends to {endpoint}, not to {address}.")


def expect_open_mapping(road: Road) -> None:
    """Check that keepalives alone hold the mapping open."""
    before = road.server.peer_endpoint()
    time.sleep(IDLE)
    road.server.host.ping(road.laptop.ip, within=2 * KEEPALIVE)
    after = road.server.peer_endpoint()
    if after != before:
        raise ScenarioFailed(f"The mapping {before} was lost, and is now {after}.")


def expect_found_again(road: Road, change: Callable[[], object]) -> None:
    """Check that the server finds the laptop by itself after its endpoint changed."""
    before = road.server.peer_endpoint()
    change()
    road.server.host.wait_until(
        lambda: road.server.peer_endpoint() != before,
        f"the laptop's endpoint is no longer {before}",
    )
    road.server.host.ping(road.laptop.ip)


PUBLIC = Scenario(
    "public",
    "Private to public, roaming",
    build,
    verify,
    (Way(("laptop", "server"), "direct"),),
)
