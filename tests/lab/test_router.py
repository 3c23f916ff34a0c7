"""Routers treat packets as real ones do, and can fail like them."""

import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from meshwg.nattypes import Filtering, Mapping, PortAllocation
from netlab import presets
from netlab.lab import Lab
from netlab.machine import Host, Machine
from netlab.nat import Behaviour
from netlab.presets import Preset

pytestmark = pytest.mark.netns

Endpoint = tuple[str, int]

PATIENCE = 10.0
"""Seconds until a datagram that should arrive counts as lost."""
SILENCE = 0.3
"""Seconds after which one that should not arrive counts as dropped."""


def test_a_rebooted_nat_forgets_its_mappings(lab: Lab) -> None:
    server, _, client = behind(lab, presets.OFFICE)
    router = lab.router("router")
    before = reflexive(client, server)

    router.reboot_nat()

    server.sendto(b"late", before)
    assert is_silent(client)
    assert reflexive(client, server) != before


def test_a_router_can_become_one_of_another_kind(lab: Lab) -> None:
    server, _, client = behind(lab, presets.PORT_RESTRICTED)
    other = listener(lab.add_host("other", lab.internet))
    assert reflexive(client, server) == reflexive(client, other)

    lab.router("router").set_behaviour(varied(presets.OFFICE))

    assert reflexive(client, server) != reflexive(client, other)


def test_a_renumbered_router_has_another_public_address(lab: Lab) -> None:
    server, _, client = behind(lab, presets.HOME_ROUTER)
    before = reflexive(client, server)

    lab.router("router").renumber()

    after = reflexive(client, server)
    assert after[0] != before[0]
    assert after[0] == lab.router("router").address(4)


def test_a_pulled_wan_cable_comes_back(lab: Lab) -> None:
    server, _, client = behind(lab, presets.HOME_ROUTER)
    router = lab.router("router")

    router.set_link(up=False)
    with pytest.raises(TimeoutError):
        reflexive(client, server, patience=SILENCE)
    router.set_link(up=True)
    assert reflexive(client, server)[0] == router.address(4)


def test_a_host_roams_from_one_router_to_another(lab: Lab) -> None:
    server, host, client = behind(lab, presets.HOME_ROUTER)
    cafe = lab.add_router("cafe", presets.LINUX)
    assert reflexive(client, server)[0] == lab.router("router").address(4)

    host.move_to(cafe)

    assert reflexive(client, server)[0] == cafe.address(4)


def test_a_mapping_dies_after_its_lifetime_and_lives_while_it_is_used(
    lab: Lab,
) -> None:
    short = varied(presets.FULL_CONE, lifetime=3)
    server, _, client = behind(lab, short)
    stranger = listener(lab.add_host("stranger", lab.internet))
    mapped = reflexive(client, server)

    for _ in range(4):
        time.sleep(1)
        assert reflexive(client, server) == mapped
    stranger.sendto(b"hello", mapped)
    assert not is_silent(client)

    time.sleep(4)
    stranger.sendto(b"hello", mapped)
    assert is_silent(client)


def test_what_comes_in_keeps_a_mapping_alive(lab: Lab) -> None:
    short = varied(presets.PORT_RESTRICTED, lifetime=3)
    server, _, client = behind(lab, short)
    mapped = reflexive(client, server)
    other = listener(lab.add_host("other", lab.internet))

    for _ in range(4):
        time.sleep(1)
        server.sendto(b"hello", mapped)
        assert not is_silent(client)

    assert reflexive(client, other) == mapped


def test_a_sequential_nat_counts_its_ports(lab: Lab) -> None:
    step = varied(presets.SEQUENTIAL, port_step=3)
    server, host, _ = behind(lab, step)
    clients = [client_socket(host) for _ in range(4)]

    ports = [reflexive(client, server)[1] for client in clients]

    assert [port - ports[0] for port in ports] == [0, 3, 6, 9]


def test_a_port_preserving_nat_keeps_a_port_unless_a_neighbour_has_it(
    lab: Lab,
) -> None:
    server, _, client = behind(lab, presets.PORT_RESTRICTED)
    neighbour = lab.add_host("neighbour", lab.router("router"))
    rival = client_socket(neighbour, client.getsockname()[1])

    assert reflexive(client, server)[1] == client.getsockname()[1]
    assert reflexive(rival, server)[1] != client.getsockname()[1]
    assert reflexive(client, server)[1] == client.getsockname()[1]


def test_two_public_addresses_are_both_used(lab: Lab) -> None:
    server, host, _ = behind(lab, presets.TWO_ADDRESSES)
    clients = [client_socket(host) for _ in range(40)]

    seen = {reflexive(client, server)[0] for client in clients}

    assert seen == set(lab.router("router").addresses(4))


def test_neighbours_meet_by_their_outside_endpoints_if_the_router_hairpins(
    lab: Lab,
) -> None:
    server, _, client = behind(lab, presets.FULL_CONE)
    neighbour = client_socket(lab.add_host("neighbour", lab.router("router")))
    ours, theirs = reflexive(client, server), reflexive(neighbour, server)

    client.sendto(b"hello", theirs)
    assert receive(neighbour) == (b"hello", ours)
    neighbour.sendto(b"welcome", ours)
    assert receive(client) == (b"welcome", theirs)


@pytest.mark.parametrize(
    ("preset", "opens"), [(presets.LINUX, True), (presets.SLOPPY, False)]
)
def test_an_early_packet_spoils_the_punch_only_where_the_router_takes_it(
    lab: Lab, preset: Preset, opens: bool
) -> None:
    server, _, client = behind(lab, preset)
    stranger = listener(lab.add_host("stranger", lab.internet))
    mapped = reflexive(client, server)

    stranger.sendto(b"early", mapped)
    assert is_silent(client)
    client.sendto(b"hello", stranger.getsockname())

    _, source = receive(stranger)
    assert (source == mapped) is opens


def test_a_rejecting_router_tells_the_sender(lab: Lab) -> None:
    _, _, client = behind(lab, presets.REJECTING)
    stranger = listener(lab.add_host("stranger", lab.internet))

    stranger.connect((lab.router("router").address(4), client.getsockname()[1]))
    stranger.send(b"hello")

    with pytest.raises(ConnectionRefusedError):
        stranger.recv(100)


def test_where_udp_is_blocked_tcp_still_leaves(lab: Lab) -> None:
    server, host, client = behind(lab, presets.UDP_BLOCKED)

    with pytest.raises(TimeoutError):
        reflexive(client, server, patience=SILENCE)
    connect_tcp(lab, host, 8443)


def test_where_only_443_is_open_nothing_else_leaves(lab: Lab) -> None:
    server, host, client = behind(lab, presets.ONLY_443)

    with pytest.raises(OSError, match="No route to host"):
        connect_tcp(lab, host, 8443)
    connect_tcp(lab, host, 443)
    with pytest.raises(TimeoutError):
        reflexive(client, server, patience=SILENCE)


def test_a_stateful_ipv6_firewall_lets_answers_in_and_nothing_else(lab: Lab) -> None:
    host = lab.add_host("host", lab.add_router("router", presets.IPV6))
    server = lab.add_host("server", lab.internet)
    inside, outside = listener(host, 6), listener(server, 6)

    outside.sendto(b"knock", inside.getsockname()[:2])
    assert is_silent(inside)
    inside.sendto(b"hello", outside.getsockname()[:2])
    data, source = receive(outside)
    assert (data, source[0]) == (b"hello", host.address(6))
    outside.sendto(b"welcome", source)
    assert receive(inside)[0] == b"welcome"


def test_hosts_behind_a_firewall_without_nat_have_public_addresses(lab: Lab) -> None:
    server, host, client = behind(lab, presets.FIREWALL)

    assert reflexive(client, server) == (host.address(4), client.getsockname()[1])


def test_a_lossy_router_loses_about_its_share(lab: Lab) -> None:
    server, _, client = behind(lab, Behaviour(loss=0.5))

    for _ in range(200):
        client.sendto(b"one of many", server.getsockname())
    received = 0
    while not is_silent(server):
        received += 1

    assert 50 < received < 150


def test_a_rate_limit_can_be_set_and_lifted(lab: Lab) -> None:
    router = lab.add_router("router", Behaviour(rate_mbit=5))
    shaped = router.run(["tc", "qdisc", "show", "dev", "wan"]).stdout
    router.set_behaviour(Behaviour())
    lifted = router.run(["tc", "qdisc", "show", "dev", "wan"]).stdout

    assert "tbf" in shaped
    assert "rate 5Mbit" in shaped
    assert "tbf" not in lifted


def test_a_port_mapping_router_opens_a_port_on_request(lab: Lab) -> None:
    _, _, client = behind(lab, presets.PORT_MAPPING)
    router = lab.router("router")
    stranger = listener(lab.add_host("stranger", lab.internet))
    port = client.getsockname()[1]

    # NAT-PMP (RFC 6886 section 3.3): map UDP, inside and outside port, one hour.
    request = b"\x00\x01\x00\x00" + port.to_bytes(2) * 2 + (3600).to_bytes(4)
    client.sendto(request, (router.lan_address, 5351))
    response, _ = receive(client)
    assert response[:4] == b"\x00\x81\x00\x00"

    stranger.sendto(b"hello", (router.address(4), port))
    assert receive(client) == (b"hello", stranger.getsockname())


def test_impossible_combinations_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot preserve ports"):
        Behaviour(Mapping.ADDRESS_AND_PORT_DEPENDENT, ports=PortAllocation.PRESERVING)
    with pytest.raises(ValueError, match="filters by address and port"):
        Behaviour(filtering=Filtering.ENDPOINT_INDEPENDENT, kernel=True)


def behind(
    lab: Lab, kind: Preset | Behaviour
) -> tuple[socket.socket, Host, socket.socket]:
    """Return a server's socket, a host behind a new router, and a socket of it."""
    server = lab.add_host("server", lab.internet)
    host = lab.add_host("host", lab.add_router("router", kind))
    return listener(server), host, client_socket(host)


def varied(preset: Preset, **changes: Any) -> Behaviour:
    assert preset.behaviour is not None
    return replace(preset.behaviour, **changes)


def listener(machine: Machine, version: int = 4) -> socket.socket:
    """Return a UDP socket that is bound to the machine's first address."""
    made = machine.udp_socket(machine.address(version))
    made.settimeout(PATIENCE)
    return made


def client_socket(machine: Machine, port: int = 0) -> socket.socket:
    """Return a UDP socket that leaves with whatever address the machine has."""
    made = machine.udp_socket(port=port)
    made.settimeout(PATIENCE)
    return made


def reflexive(
    client: socket.socket, server: socket.socket, patience: float = PATIENCE
) -> Endpoint:
    """Return the endpoint that a server sees, after its answer has come back."""
    client.sendto(b"who am I", server.getsockname())
    server.settimeout(patience)
    data, source = receive(server)
    assert data == b"who am I"
    server.sendto(b"answer", source)
    assert receive(client)[0] == b"answer"
    return source


def receive(sock: socket.socket) -> tuple[bytes, Endpoint]:
    data, source = sock.recvfrom(2048)
    return data, source[:2]


def is_silent(sock: socket.socket) -> bool:
    """Return whether nothing arrives, although it had the time to."""
    sock.settimeout(SILENCE)
    try:
        sock.recv(2048)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(PATIENCE)
    return False


def connect_tcp(lab: Lab, host: Host, port: int) -> None:
    """Connect to a fresh public host, which answers."""
    other = lab.add_host(f"tcp-{port}", lab.internet)
    address = (other.address(4), port)
    with (
        other.call(lambda: socket.create_server(address)),
        host.call(lambda: socket.create_connection(address, timeout=PATIENCE)),
    ):
        pass
