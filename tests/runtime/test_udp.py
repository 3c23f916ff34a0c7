"""The UDP sockets: batches, sticky sources, and everything a send can meet."""

import errno
import os
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest

from meshwg.errors import ConfigError
from meshwg.runtime.socket_options import SOL_UDP, UDP_SEGMENT
from meshwg.runtime.udp import (
    MAX_WAITING,
    UdpSocket,
    UdpSockets,
    open_sockets,
)
from meshwg.transmit import Endpoint, Source, Transmit
from netlab.lab import Lab
from tests.runtime.wire import (
    FAMILIES,
    LOOPBACK,
    NOWHERE,
    endpoint_of,
    of_version,
    opened,
    pair,
    receive_all,
    wait_readable,
)

NODAD: dict[int, list[str]] = {4: [], 6: ["nodad"]}
PINNED = NOWHERE._replace(source=Source("192.0.2.2", 7))

IP_RECVTTL = 12

Factory = Callable[..., "ScriptedSocket"]


@pytest.fixture
def scripted() -> Iterator[Factory]:
    """Make sockets whose sends fail with these errors, one after the other."""
    made: list[ScriptedSocket] = []

    def make(*errors: int) -> ScriptedSocket:
        made.append(ScriptedSocket(Script(errors)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_any_port_is_that_of_the_last_run_if_it_is_free() -> None:
    first = open_sockets(0, 0, 0, lambda endpoint: None)
    port = first.port

    second = open_sockets(0, port, 0, lambda endpoint: None)
    assert second.port != port
    first.close()
    second.close()

    third = open_sockets(0, port, 0, lambda endpoint: None)
    assert third.port == port
    third.close()


def test_a_port_that_was_asked_for_must_be_free() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 0))
        port = other.getsockname()[1]

        with pytest.raises(ConfigError, match=f"UDP port {port} cannot be used"):
            open_sockets(port, 0, 0, lambda endpoint: None)


def test_both_families_share_a_port() -> None:
    with closing(UdpSockets.open()) as sockets:
        assert sockets.ipv4 is not None
        assert sockets.ipv6 is not None
        assert sockets.ipv4.port == sockets.ipv6.port == sockets.port != 0


@FAMILIES
def test_a_port_taken_in_either_family_is_an_error(version: int) -> None:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with closing(UdpSocket.open(family)) as other:
        for _ in range(2):  # The second time, nothing is left of the first.
            with pytest.raises(OSError, match="in use") as caught:
                UdpSockets.open(other.port)
            assert caught.value.errno == errno.EADDRINUSE


def test_another_port_is_tried_while_ipv6_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = refuse_ipv6(monkeypatch, errno.EADDRINUSE, times=99)
    with closing(UdpSockets.open()) as sockets:
        assert sockets.ipv6 is not None
    assert len(tried) == 99
    assert 0 not in tried


def test_the_search_for_a_port_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_ipv6(monkeypatch, errno.EADDRINUSE, times=100)
    with pytest.raises(OSError, match="in use"):
        UdpSockets.open()


def test_a_missing_address_family_is_tolerated(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_ipv6(monkeypatch, errno.EAFNOSUPPORT, times=1)
    with closing(UdpSockets.open()) as sockets:
        assert sockets.ipv6 is None
        assert list(sockets) == [sockets.ipv4]
        assert sockets.send(Transmit(Endpoint("::1", 9), [b"a", b"b"]))
        assert sockets.errors == Counter(EAFNOSUPPORT=2)


def test_no_family_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> UdpSocket:
        raise OSError(errno.EAFNOSUPPORT, "not here")

    monkeypatch.setattr(UdpSocket, "open", refuse)
    with pytest.raises(OSError, match="family") as caught:
        UdpSockets.open()
    assert caught.value.errno == errno.EAFNOSUPPORT


@FAMILIES
def test_datagrams_arrive_in_order_with_their_reply_address(version: int) -> None:
    with closing(UdpSockets.open()) as a, closing(UdpSockets.open()) as b:
        datagrams = [bytes([n]) * (100 + n // 3) for n in range(100)]
        assert a.send(Transmit(Endpoint(LOOPBACK[version], b.port), datagrams))
        received, endpoint = receive_all(of_version(b, version))
        assert received == datagrams
        assert endpoint.host == LOOPBACK[version]
        assert endpoint.port == a.port
        assert endpoint.source == Source(LOOPBACK[version], 1)
        assert b.send(Transmit(endpoint, [b"answer"]))
        received, back = receive_all(of_version(a, version))
        assert received == [b"answer"]
        assert back == Endpoint(LOOPBACK[version], b.port, source=endpoint.source)


def test_empty_and_huge_datagrams_do_not_end_the_reception() -> None:
    with closing(UdpSockets.open()) as a, closing(UdpSockets.open()) as b:
        datagrams = [b"", b"first", bytes(65507), b"", b"", b"last"]
        a.send(Transmit(Endpoint("127.0.0.1", b.port), datagrams))
        assert receive_all(of_version(b, 4))[0] == datagrams


def test_a_datagram_that_is_too_long_is_counted_and_the_rest_goes_on() -> None:
    with closing(UdpSockets.open()) as a, closing(UdpSockets.open()) as b:
        datagrams = [b"before", bytes(65508), b"after"]
        assert a.send(Transmit(Endpoint("127.0.0.1", b.port), datagrams))
        assert of_version(a, 4).errors == Counter(EMSGSIZE=1)
        assert receive_all(of_version(b, 4))[0] == [b"before", b"after"]


def test_nothing_to_receive_is_not_an_error() -> None:
    with closing(UdpSockets.open()) as sockets:
        for sock in sockets:
            assert sock.receive() is None
            assert not sock.errors


def test_a_receive_error_is_counted(scripted: Factory) -> None:
    sock = scripted()
    sock.close()
    assert sock.receive() is None
    assert sock.errors == Counter(EBADF=1)


def test_an_auxiliary_socket_has_a_link_of_its_own() -> None:
    with (
        closing(UdpSocket.open(socket.AF_INET, link=3)) as a,
        closing(UdpSocket.open(socket.AF_INET, link=4)) as b,
    ):
        assert a.send(Transmit(Endpoint("127.0.0.1", b.port, link=3), [b"x"]))
        received = b.receive()
        assert received is not None
        assert received[1].link == 4


def test_equal_lengths_go_by_one_call_with_a_shorter_one_at_the_end() -> None:
    assert lengths_by_call([100, 100, 100]) == [[100, 100, 100]]
    assert lengths_by_call([100, 100, 99]) == [[100, 100, 99]]
    assert lengths_by_call([100, 99, 99]) == [[100, 99], [99]]
    assert lengths_by_call([99, 100, 100]) == [[99], [100, 100]]
    assert lengths_by_call([100, 0, 100]) == [[100], [0], [100]]
    assert lengths_by_call([0, 0]) == [[0], [0]]
    assert lengths_by_call([]) == []


def test_a_call_takes_no_more_than_the_kernel_does() -> None:
    assert lengths_by_call([10] * 65) == [[10] * 64, [10]]
    assert lengths_by_call([10] * 64 + [9]) == [[10] * 64, [9]]
    assert lengths_by_call([1452] * 46) == [[1452] * 45, [1452]]
    assert lengths_by_call([40000, 30000]) == [[40000], [30000]]
    assert lengths_by_call([65508, 65508]) == [[65508], [65508]]


def test_eio_turns_segmentation_off_for_good(scripted: Factory) -> None:
    sock = scripted(errno.EIO)
    batch = Transmit(NOWHERE, [b"a", b"b"])
    assert sock.send(batch)
    assert sock.send(batch)
    assert sock.script.calls == [[b"a", b"b"], [b"a"], [b"b"], [b"a"], [b"b"]]
    assert not sock.errors


@pytest.mark.parametrize("number", [errno.EMSGSIZE, errno.EINVAL])
def test_what_cannot_be_segmented_here_is_sent_one_by_one_this_time(
    number: int, scripted: Factory
) -> None:
    sock = scripted(number)
    batch = Transmit(NOWHERE, [b"a", b"b"])
    assert sock.send(batch)
    assert sock.send(batch)
    assert sock.script.calls == [[b"a", b"b"], [b"a"], [b"b"], [b"a", b"b"]]


@pytest.mark.parametrize(
    "number", [errno.ENETUNREACH, errno.EINVAL, errno.EADDRNOTAVAIL, errno.ENODEV]
)
def test_a_source_that_has_gone_is_dropped_and_reported(
    number: int, scripted: Factory
) -> None:
    sock = scripted(number)
    assert sock.send(Transmit(PINNED, [b"aa", b"bb", b"ccc"]))
    assert sock.script.calls == [[b"aa", b"bb"], [b"aa", b"bb"], [b"ccc"]]
    assert sock.script.pinned == [True, False, False]
    assert sock.unpinned == [NOWHERE]
    assert not sock.errors


def test_a_retry_without_the_source_may_fail_as_well(scripted: Factory) -> None:
    sock = scripted(errno.ENETUNREACH, errno.ENETUNREACH)
    assert sock.send(Transmit(PINNED, [b"a", b"b"]))
    assert sock.errors == Counter(ENETUNREACH=2)


@pytest.mark.parametrize(
    "number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EPERM, errno.ECONNREFUSED]
)
def test_other_errors_are_counted_and_the_rest_goes_on(
    number: int, scripted: Factory
) -> None:
    sock = scripted(number)
    assert sock.send(Transmit(NOWHERE, [b"aa", b"bb", b"ccc"]))
    assert sock.script.calls == [[b"aa", b"bb"], [b"ccc"]]
    assert sock.errors == Counter({errno.errorcode[number]: 2})


def test_what_a_blocked_socket_does_not_take_goes_first_later(
    scripted: Factory,
) -> None:
    sock = scripted(0, errno.EAGAIN)
    assert not sock.send(Transmit(NOWHERE, [b"a", b"bb", b"ccc"]))
    assert not sock.send(Transmit(NOWHERE, [b"dddd"]))
    assert sock.flush()
    assert not sock.is_blocked
    expected = [[b"a"], [b"bb"], [b"bb"], [b"ccc"], [b"dddd"]]
    assert sock.script.calls == expected


def test_a_socket_can_block_again_while_it_is_flushed(scripted: Factory) -> None:
    sock = scripted(errno.EAGAIN, 0, errno.EAGAIN)
    assert not sock.send(Transmit(NOWHERE, [b"a", b"bb"]))
    assert not sock.flush()
    assert sock.flush()
    assert sock.script.calls == [[b"a"], [b"a"], [b"bb"], [b"bb"]]


def test_a_dropped_source_stays_dropped_for_waiting_datagrams(
    scripted: Factory,
) -> None:
    sock = scripted(errno.ENETUNREACH, 0, errno.EAGAIN)
    assert not sock.send(Transmit(PINNED, [b"a", b"bb"]))
    assert sock.flush()
    assert sock.script.pinned == [True, False, False, False]


def test_a_blocked_socket_keeps_a_bounded_number_of_batches(scripted: Factory) -> None:
    sock = scripted(errno.EAGAIN)
    for _ in range(MAX_WAITING + 2):
        assert not sock.send(Transmit(NOWHERE, [b"a", b"b"]))
    assert sock.errors == Counter(ENOBUFS=4)
    assert sock.flush()
    assert len(sock.script.calls) == 1 + MAX_WAITING


@FAMILIES
def test_the_hop_limit_holds_for_one_batch(version: int) -> None:
    level, option, kind = {
        4: (socket.IPPROTO_IP, IP_RECVTTL, socket.IP_TTL),
        6: (
            socket.IPPROTO_IPV6,
            socket.IPV6_RECVHOPLIMIT,
            socket.IPV6_HOPLIMIT,
        ),
    }[version]
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with (
        closing(UdpSockets.open()) as sockets,
        socket.socket(family, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.setsockopt(level, option, 1)
        receiver.bind((LOOPBACK[version], 0))
        endpoint = Endpoint(LOOPBACK[version], receiver.getsockname()[1])
        sockets.send(Transmit(endpoint, [b"a", b"b"], ttl=3))
        sockets.send(Transmit(endpoint, [b"c"]))
        limits = []
        for _ in range(3):
            _, ancillary, _, _ = receiver.recvmsg(10, 64)
            assert [item[:2] for item in ancillary] == [(level, kind)]
            limits.append(int.from_bytes(ancillary[0][2], "little"))
    assert limits == [3, 3, 64]


@FAMILIES
@pytest.mark.netns
def test_many_datagrams_cross_a_cable_by_few_calls(lab: Lab, version: int) -> None:
    a, b = pair(lab)
    with opened(a) as sender, opened(b) as receiver:
        datagrams = [bytes([n]) * 1400 for n in range(90)]
        assert sender.send(Transmit(endpoint_of(b, version, receiver), datagrams))
        sock = of_version(receiver, version)
        wait_readable(sock)
        batch, endpoint = sock.receive() or ([], None)
        assert len(batch) > 40
        assert batch + receive_all(sock)[0] == datagrams
        assert endpoint is not None
        assert endpoint.host == a.address(version)
        assert endpoint.source is not None
        assert endpoint.source.host == b.address(version)


@FAMILIES
@pytest.mark.netns
def test_an_answer_leaves_from_the_address_that_was_written_to(
    lab: Lab, version: int
) -> None:
    a, b = pair(lab)
    second, length = ("10.99.0.77", 24) if version == 4 else ("fd99::77", 64)
    b.run(
        ["ip", "address", "add", f"{second}/{length}", "dev", "eth0", *NODAD[version]]
    )
    with opened(a) as asking, opened(b) as answering:
        asking.send(Transmit(Endpoint(second, answering.port), [b"?"]))
        _, endpoint = receive_all(of_version(answering, version))
        answering.send(Transmit(endpoint, [b"!"]))
        _, back = receive_all(of_version(asking, version))
        assert back.host == second


@FAMILIES
@pytest.mark.netns
def test_a_removed_source_address_is_given_up(lab: Lab, version: int) -> None:
    a, b = pair(lab)
    second, length = ("10.99.0.77", 24) if version == 4 else ("fd99::77", 64)
    alias = [f"{second}/{length}", "dev", "eth0"]
    b.run(["ip", "address", "add", *alias, *NODAD[version]])
    unpinned: list[Endpoint] = []
    answering = b.call(lambda: UdpSockets.open(on_unpinned=unpinned.append))
    with opened(a) as asking, closing(answering):
        asking.send(Transmit(Endpoint(second, answering.port), [b"?"]))
        _, endpoint = receive_all(of_version(answering, version))
        b.run(["ip", "address", "delete", *alias])
        assert answering.send(Transmit(endpoint, [b"one", b"two"]))
        received, back = receive_all(of_version(asking, version))
        assert received == [b"one", b"two"]
        assert back.host == b.address(version)
        assert unpinned == [endpoint.unpinned()]
        assert not of_version(answering, version).errors


@FAMILIES
@pytest.mark.netns
def test_datagrams_longer_than_the_mtu_are_fragmented(lab: Lab, version: int) -> None:
    a, b = pair(lab)
    with opened(a) as sender, opened(b) as receiver:
        datagrams = [bytes([n]) * 1600 for n in range(10)]
        assert sender.send(Transmit(endpoint_of(b, version, receiver), datagrams))
        sock = of_version(receiver, version)
        received: list[bytes] = []
        while len(received) < 10:
            received += receive_all(sock)[0]
        assert received == datagrams


@FAMILIES
@pytest.mark.netns
def test_what_comes_through_the_tunnel_itself_is_refused(
    lab: Lab, version: int
) -> None:
    a, b = pair(lab)
    with opened(a) as sender, opened(b) as receiver:
        sock = of_version(receiver, version)
        sock.refuses = b.call(lambda: socket.if_nametoindex("eth0")).__eq__
        for _ in range(2):
            sender.send(Transmit(endpoint_of(b, version, receiver), [b"looped"]))
            wait_readable(sock)
            assert sock.receive() is None
        assert sock.errors == {"ELOOP": 2}
        sock.refuses = None
        sender.send(Transmit(endpoint_of(b, version, receiver), [b"good"]))
        assert receive_all(sock)[0] == [b"good"]


@pytest.mark.netns
def test_a_link_local_endpoint_has_a_zone_that_leads_back(lab: Lab) -> None:
    a, b = pair(lab)
    show = ["ip", "-6", "-brief", "address", "show", "dev", "eth0", "scope", "link"]
    local = b.run(show).stdout.split()
    with opened(a) as asking, opened(b) as answering:
        host = f"{local[2].partition('/')[0]}%eth0"
        a.call(lambda: asking.send(Transmit(Endpoint(host, answering.port), [b"?"])))
        sock = of_version(answering, 6)
        wait_readable(sock)
        batch, endpoint = b.call(sock.receive) or ([], NOWHERE)
        assert batch == [b"?"]
        assert endpoint.host.startswith("fe80::")
        index = b.call(lambda: socket.if_nametoindex("eth0"))
        assert endpoint.host.endswith(f"%{index}")
        b.call(lambda: answering.send(Transmit(endpoint, [b"!"])))
        assert receive_all(of_version(asking, 6))[0] == [b"!"]
        with closing(b.call(lambda: sock.connected(endpoint))) as own:
            a.call(lambda: asking.send(Transmit(Endpoint(host, sock.port), [b"?!"])))
            wait_readable(own)
            assert b.call(own.receive) == ([b"?!"], endpoint)


@pytest.mark.netns
def test_a_mark_is_what_policy_routing_sees(lab: Lab) -> None:
    a, b = pair(lab)
    a.run(["ip", "rule", "add", "fwmark", "77", "unreachable"])
    with opened(a) as sender, opened(b) as receiver:
        sock = of_version(sender, 4)
        endpoint = endpoint_of(b, 4, receiver)
        sender.set_fwmark(77)
        assert sender.send(Transmit(endpoint, [b"marked"]))
        assert sum(sock.errors.values()) == 1
        sender.set_fwmark(0)
        assert sender.send(Transmit(endpoint, [b"unmarked"]))
        assert receive_all(of_version(receiver, 4))[0] == [b"unmarked"]


@pytest.mark.netns
def test_only_a_change_of_the_mark_needs_a_privilege(lab: Lab) -> None:
    a, _ = pair(lab)
    with opened(a) as sockets:
        os.seteuid(65534)
        try:
            sockets.set_fwmark(0)
            with pytest.raises(PermissionError):
                sockets.set_fwmark(1)
        finally:
            os.seteuid(0)


@pytest.mark.netns
def test_a_full_socket_blocks_and_loses_nothing(lab: Lab) -> None:
    a, b = pair(lab)
    # So slow that the receiver's buffer outlasts any pause of this test.
    shaper = ["tbf", "rate", "100mbit", "burst", "128kb", "limit", "100mb"]
    a.run(["tc", "qdisc", "add", "dev", "eth0", "root", *shaper])
    with opened(a) as sender, opened(b) as receiver:
        endpoint = endpoint_of(b, 4, receiver)
        sock = of_version(sender, 4)
        sent = 0
        while sender.send(Transmit(endpoint, numbered(sent))):
            sent += 1
        assert not sender.send(Transmit(endpoint, numbered(sent + 1)))
        received: list[bytes] = []
        while sock.is_blocked or len(received) < 45 * (sent + 2):
            select.select([of_version(receiver, 4)], [], [], 1)
            while (got := of_version(receiver, 4).receive()) is not None:
                received += got[0]
            sock.flush()
        numbers = [int.from_bytes(each[:4], "big") for each in received]
        assert numbers == list(range(45 * (sent + 2)))


class Script(socket.socket):
    """A socket whose sends fail as written, and go nowhere otherwise."""

    def __init__(self, errors: Sequence[int]) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)
        self.errors = iter(errors)
        self.calls: list[list[bytes]] = []
        self.pinned: list[bool] = []

    def sendmsg(  # type: ignore[override]
        self,
        buffers: Sequence[bytes],
        ancillary: Sequence[tuple[int, int, bytes]],
        flags: int,
        address: Any,
    ) -> int:
        self.calls.append(list(buffers))
        self.pinned.append(any(item[0] == socket.IPPROTO_IP for item in ancillary))
        sizes = [item[2] for item in ancillary if item[:2] == (SOL_UDP, UDP_SEGMENT)]
        assert bool(sizes) == (len(buffers) > 1)
        error = next(self.errors, 0)
        if error:
            raise OSError(error, os.strerror(error))
        return sum(map(len, buffers))


class ScriptedSocket(UdpSocket):
    """A socket over a script, which notes what it reports."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.unpinned: list[Endpoint] = []
        super().__init__(script, on_unpinned=self.unpinned.append)


def lengths_by_call(lengths: list[int]) -> list[list[int]]:
    """Return how datagrams of these lengths are put into calls."""
    with closing(ScriptedSocket(Script([]))) as sock:
        sock.send(Transmit(NOWHERE, [bytes(length) for length in lengths]))
        return [[len(each) for each in call] for call in sock.script.calls]


def refuse_ipv6(monkeypatch: pytest.MonkeyPatch, number: int, times: int) -> list[int]:
    """Let that many IPv6 sockets fail; return the ports they were to have."""
    refused: list[int] = []
    original = UdpSocket.open

    def open_or_refuse(
        family: socket.AddressFamily, port: int, *rest: Any
    ) -> UdpSocket:
        if family == socket.AF_INET6 and len(refused) < times:
            refused.append(port)
            raise OSError(number, os.strerror(number))
        return original(family, port, *rest)

    monkeypatch.setattr(UdpSocket, "open", open_or_refuse)
    return refused


def numbered(batch: int) -> list[bytes]:
    """Return 45 datagrams that say which they are."""
    first = batch * 45
    return [n.to_bytes(4, "big") + bytes(1400) for n in range(first, first + 45)]
