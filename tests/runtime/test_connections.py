"""The connections that a machine has: who began them, as its sockets show."""

import contextlib
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from meshwg.runtime import connections
from meshwg.runtime.connections import PORT_RANGE, earlier_connections
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns

PORT = 8022


@pytest.fixture
def host(lab: Lab) -> Host:
    cable = lab.add_switch("cable", "203.0.113.0/24", "2001:db8::/64")
    return lab.add_host("host", cable)


@pytest.fixture
def not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sockets of these tests be those of other programs."""
    monkeypatch.setattr(connections, "_own_inodes", lambda: iter(()))


@pytest.mark.usefixtures("not_ours")
@pytest.mark.parametrize("version", [4, 6])
def test_accepted_connections_are_told_from_those_begun_here(
    host: Host, version: int
) -> None:
    address = host.address(version)
    with connected(host, address) as own_port:
        found = host.call(earlier_connections)

    assert found.accepted == [(ip_address(address), own_port, PORT)]
    assert found.begun == [(ip_address(address), PORT, own_port)]


@pytest.mark.usefixtures("not_ours")
def test_ipv4_in_an_ipv6_socket_is_ipv4(host: Host) -> None:
    with connected(host, host.address(4), listen="::"):
        found = host.call(earlier_connections)

    assert [str(each[0]) for each in found.accepted] == [host.address(4)]


@pytest.mark.usefixtures("not_ours")
def test_ports_that_the_system_chose_are_known(host: Host) -> None:
    chosen = host.udp_socket().getsockname()[1]
    host.udp_socket(port=5353)
    first, last = map(int, PORT_RANGE.read_text().split())
    assert first <= chosen <= last

    assert host.call(earlier_connections).ports == [chosen]


@pytest.mark.usefixtures("not_ours")
def test_what_stays_on_the_machine_does_not_count(host: Host) -> None:
    with connected(host, "127.0.0.1"):
        found = host.call(earlier_connections)

    assert found.accepted == found.begun == []


def test_what_this_process_has_itself_does_not_count(host: Host) -> None:
    host.udp_socket()
    with connected(host, host.address()):
        found = host.call(earlier_connections)

    assert found.accepted == found.begun == []
    assert found.ports == []


@contextlib.contextmanager
def connected(host: Host, address: str, listen: str = "") -> Iterator[int]:
    """Have a connection from the host to itself; yield the port of who began it."""
    listen = listen or address
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    far = socket.AF_INET6 if ":" in address else socket.AF_INET
    both = listen == "::"
    with (
        host.call(
            lambda: socket.create_server(
                (listen, PORT), family=family, dualstack_ipv6=both
            )
        ) as server,
        host.call(lambda: socket.socket(far)) as client,
    ):
        client.connect((address, PORT))
        accepted, _ = server.accept()
        with accepted:
            yield client.getsockname()[1]
