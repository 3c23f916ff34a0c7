"""UDP sockets that are connected to one endpoint, next to the socket for all."""

import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from meshwg.runtime import connected_udp
from meshwg.runtime.udp import UdpSocket, UdpSockets
from meshwg.transmit import Endpoint, Source, Transmit
from netlab.capture import ETHERNET_HEADER
from netlab.lab import Lab
from tests.descriptors import open_descriptors
from tests.runtime.wire import (
    FAMILIES,
    LOOPBACK,
    endpoint_of,
    of_version,
    opened,
    pair,
    receive_all,
    wait_readable,
)


@FAMILIES
def test_a_connected_socket_hears_its_remote_and_the_shared_one_the_rest(
    version: int,
) -> None:
    with opened_three() as (here, remote, stranger):
        sock = of_version(here, version)
        endpoint = known(sock, remote, version)
        with closing(sock.connected(endpoint)) as own:
            to_here = Endpoint(LOOPBACK[version], here.port)
            remote.send(Transmit(to_here, [b"from the remote"]))
            stranger.send(Transmit(to_here, [b"from a stranger"]))
            assert receive_all(own) == ([b"from the remote"], endpoint)
            datagrams, source = receive_all(sock)
            assert datagrams == [b"from a stranger"]
            assert source == endpoint._replace(port=stranger.port)


@FAMILIES
def test_a_connected_socket_sends_from_the_same_port(version: int) -> None:
    with opened_three() as (here, remote, _):
        sock = of_version(here, version)
        with closing(sock.connected(known(sock, remote, version))) as own:
            assert own.send_alone(b"alone") == 5
            datagrams, source = receive_all(of_version(remote, version))
            assert datagrams == [b"alone"]
            assert source.port == here.port


@FAMILIES
def test_datagrams_queued_before_it_was_connected_keep_their_sender(
    version: int,
) -> None:
    with opened_three() as (here, remote, _):
        sock = of_version(here, version)
        endpoint = known(sock, remote, version)
        with closing(sock.connected(endpoint)) as own:
            address = ("192.0.2.9", 9) if version == 4 else ("2001:db8::9", 9, 0, 0)
            own.buffer[:5] = b"early"
            expected = endpoint._replace(host=address[0], port=9)
            assert own.remote_address != address
            assert own.unpack(5, [], address) == ([b"early"], expected)


def test_the_port_stays_taken_for_others_while_some_are_connected() -> None:
    with opened_three() as (here, remote, stranger):
        sock = of_version(here, 4)
        with (
            closing(sock.connected(known(sock, remote, 4))),
            closing(sock.connected(known(sock, stranger, 4))),
        ):
            with pytest.raises(OSError, match="in use"):
                UdpSocket.open(socket.AF_INET, here.port)
            with (
                closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as intruder,
                pytest.raises(OSError, match="in use"),
            ):
                intruder.bind(("127.0.0.1", here.port))


def test_a_socket_that_cannot_be_connected_leaves_nothing() -> None:
    with opened_three() as (here, remote, _):
        sock = of_version(here, 4)
        endpoint = known(sock, remote, 4)
        before = open_descriptors()
        for source in Source("192.0.2.1", 1), Source("127.0.0.1", 1 << 30):
            with pytest.raises(OSError, match=r"\[Errno"):
                sock.connected(endpoint._replace(source=source))
        assert open_descriptors() <= before
        remote.send(Transmit(Endpoint("127.0.0.1", here.port), [b"still here"]))
        assert receive_all(sock)[0] == [b"still here"]


@FAMILIES
def test_a_socket_that_turns_away_leaves_what_comes_to_the_shared_one(
    version: int,
) -> None:
    with opened_three() as (here, remote, _):
        sock = of_version(here, version)
        to_here = Endpoint(LOOPBACK[version], here.port)
        with closing(sock.connected(known(sock, remote, version))) as own:
            remote.send(Transmit(to_here, [b"before"]))
            wait_readable(own)
            own.turn_away()
            remote.send(Transmit(to_here, [b"after"]))
            assert receive_all(sock)[0] == [b"after"]
            assert receive_all(own)[0] == [b"before"]


@pytest.mark.netns
def test_a_socket_that_cannot_be_connected_does_not_take_the_port_first(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pair(lab)
    bound = []
    monkeypatch.setattr(connected_udp, "bind_beside", lambda *args: bound.append(args))
    with opened(a) as here, opened(b) as there:
        sock = of_version(here, 6)
        remote = endpoint_of(b, 6, there)._replace(source=Source(a.address(6), 1))
        with pytest.raises(OSError, match=r"\[Errno"):
            a.call(lambda: sock.connected(remote))
    assert bound == []


def test_what_the_remote_refuses_is_counted_with_the_rest() -> None:
    with opened_three() as (here, remote, _):
        sock = of_version(here, 4)
        with closing(sock.connected(known(sock, remote, 4))) as own:
            remote.close()
            own.send_alone(b"nobody is there")
            wait_readable(own)
            assert own.receive() is None
            assert sock.errors == Counter(ECONNREFUSED=1)


@pytest.mark.netns
def test_a_connected_socket_has_the_mark_of_the_shared_one(lab: Lab) -> None:
    a, _ = pair(lab)
    with opened(a) as sockets:
        sock = of_version(sockets, 4)
        sock.set_fwmark(7)
        remote = Endpoint(a.address(4), 9, source=Source(a.address(4), 0))
        with closing(a.call(lambda: sock.connected(remote))) as own:
            twin = socket.socket(fileno=os.dup(own.fileno()))
            with twin:
                assert twin.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 7


@FAMILIES
@pytest.mark.netns
def test_a_connected_socket_does_not_send_from_an_address_that_is_gone(
    lab: Lab, version: int
) -> None:
    a, b = pair(lab)
    with opened(a) as here, opened(b) as there:
        sock = of_version(here, version)
        local = Source(
            a.address(version), a.call(lambda: socket.if_nametoindex("eth0"))
        )
        remote = endpoint_of(b, version, there)._replace(source=local)
        with closing(a.call(lambda: sock.connected(remote))) as own:
            assert own.send_alone(b"here") == 4
            a.run(["ip", f"-{version}", "address", "flush", "dev", "eth0"])
            with pytest.raises(OSError, match=r"\[Errno"):
                own.send_alone(b"gone")


@pytest.mark.netns
def test_no_datagram_alone_or_in_a_batch_forbids_fragments(lab: Lab) -> None:
    a, b = pair(lab)
    with opened(a) as here, opened(b) as there:
        sock = of_version(here, 4)
        there.send(Transmit(endpoint_of(a, 4, here), [b"hello"]))
        remote = receive_all(sock)[1]
        wire = a.capture(filter=f"udp and src {a.address(4)}")
        for datagrams in [b"alone"], [bytes(1400)] * 3:
            here.send(Transmit(remote, datagrams))
        with closing(a.call(lambda: sock.connected(remote))) as own:
            own.send_alone(b"alone")
        receive_all(of_version(there, 4))
        flags = [frame[ETHERNET_HEADER + 6] >> 5 for frame in wire.packets()]
    assert len(flags) >= 3
    assert set(flags) == {0}


@FAMILIES
@pytest.mark.netns
def test_what_is_too_long_for_the_link_is_sent_in_fragments(
    lab: Lab, version: int
) -> None:
    a, b = pair(lab)
    a.run(["ip", "link", "set", "eth0", "mtu", "1280"])
    with opened(a) as here, opened(b) as there:
        sock = of_version(here, version)
        there.send(Transmit(endpoint_of(a, version, here), [b"hello"]))
        remote = receive_all(sock)[1]
        lone, batch = bytes(1400), [bytes([n]) * 1400 for n in range(3)]
        here.send(Transmit(remote, [lone]))
        here.send(Transmit(remote, batch))
        with closing(a.call(lambda: sock.connected(remote))) as own:
            own.send_alone(lone)
        received: list[bytes] = []
        while len(received) < 5:
            received += receive_all(of_version(there, version))[0]
        assert received == [lone, *batch, lone]


@FAMILIES
@pytest.mark.netns
def test_many_datagrams_reach_a_connected_socket_by_few_calls(
    lab: Lab, version: int
) -> None:
    a, b = pair(lab)
    with opened(a) as sender, opened(b) as receiver:
        sock = of_version(receiver, version)
        sender.send(Transmit(endpoint_of(b, version, receiver), [b"hello"]))
        _, endpoint = receive_all(sock)
        with closing(b.call(lambda: sock.connected(endpoint))) as own:
            datagrams = [bytes([n]) * 1400 for n in range(90)]
            assert sender.send(Transmit(endpoint_of(b, version, receiver), datagrams))
            wait_readable(own)
            batch, source = own.receive() or ([], None)
            assert len(batch) > 40
            assert batch + receive_all(own)[0] == datagrams
            assert source is endpoint


@contextmanager
def opened_three() -> Iterator[tuple[UdpSockets, UdpSockets, UdpSockets]]:
    with (
        closing(UdpSockets.open()) as first,
        closing(UdpSockets.open()) as second,
        closing(UdpSockets.open()) as third,
    ):
        yield first, second, third


def known(sock: UdpSocket, remote: UdpSockets, version: int) -> Endpoint:
    """Return the endpoint of a remote end that a socket has heard."""
    remote.send(Transmit(Endpoint(LOOPBACK[version], sock.port), [b"hello"]))
    return receive_all(sock)[1]
