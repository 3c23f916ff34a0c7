"""Receiving, of any UDP socket: runs of datagrams, known sources, counted errors."""

import errno
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from meshwg.packet.lateness import INTERVAL, TARGET
from meshwg.runtime import udp_receiver
from meshwg.runtime.pktinfo import Ancillary, pktinfo
from meshwg.runtime.socket_options import SOL_UDP, UDP_GRO
from meshwg.runtime.udp_receiver import CACHE_SIZE, UdpReceiver
from meshwg.transmit import Endpoint, Source

ADDRESS = ("192.0.2.1", 7)
LOCAL = Source("192.0.2.9", 3)


@pytest.fixture
def receiver() -> Iterator[UdpReceiver]:
    made = UdpReceiver(opened(), link=5)
    yield made
    made.close()


def test_a_batch_is_split_where_the_kernel_joined_it(receiver: UdpReceiver) -> None:
    assert unpack(receiver, b"aabbc", stride=2) == [b"aa", b"bb", b"c"]
    assert unpack(receiver, b"aabb", stride=2) == [b"aa", b"bb"]
    assert unpack(receiver, b"aa", stride=2) == [b"aa"]
    assert unpack(receiver, b"aa", stride=None) == [b"aa"]
    assert unpack(receiver, b"", stride=None) == [b""]


def test_a_source_is_known_with_the_address_that_it_was_heard_at(
    receiver: UdpReceiver,
) -> None:
    (message,) = pktinfo(LOCAL)
    _, endpoint = receiver.unpack(1, [message], ADDRESS) or ([], None)
    _, again = receiver.unpack(1, [message], ADDRESS) or ([], None)
    _, elsewhere = receiver.unpack(1, [], ADDRESS) or ([], None)

    assert endpoint == Endpoint(*ADDRESS, 5, LOCAL)
    assert again is endpoint
    assert elsewhere == Endpoint(*ADDRESS, 5, None)


def test_with_one_local_address_every_source_was_heard_there() -> None:
    receiver = UdpReceiver(opened(), link=5, local=LOCAL)

    _, endpoint = receiver.unpack(1, [], ADDRESS) or ([], None)

    assert endpoint == Endpoint(*ADDRESS, 5, LOCAL)
    receiver.close()


def test_what_comes_through_the_refused_interface_is_counted(
    receiver: UdpReceiver,
) -> None:
    receiver.refuses = LOCAL.interface.__eq__

    assert receiver.unpack(1, pktinfo(LOCAL), ADDRESS) is None
    assert receiver.errors == Counter(ELOOP=1)


def test_the_number_of_known_sources_is_limited(receiver: UdpReceiver) -> None:
    for port in range(CACHE_SIZE + 1):
        receiver.unpack(1, [], ("192.0.2.1", port))

    assert len(receiver._endpoints) == 1


def test_sockets_share_a_buffer_with_those_of_their_thread(
    receiver: UdpReceiver,
) -> None:
    second = UdpReceiver(opened(), link=5)
    with ThreadPoolExecutor() as other_thread:
        third = other_thread.submit(UdpReceiver, opened(), link=5).result()

    assert second.buffer is receiver.buffer
    assert third.buffer is not receiver.buffer
    second.close()
    third.close()


def test_a_queue_that_stands_is_noticed_and_counted(
    receiver: UdpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_receiver, "last_waited", lambda sock: 2 * TARGET)

    found = [receiver.has_stood(number * INTERVAL / 2) for number in range(5)]

    assert found == [False, False, False, True, False]
    assert receiver.late == 1


def test_a_queue_that_is_emptied_does_not_stand(
    receiver: UdpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp_receiver, "last_waited", lambda sock: 2 * TARGET)
    for number in range(9):
        assert not receiver.has_stood(number * INTERVAL / 2)
        receiver.has_been_emptied()


def test_nothing_to_receive_is_not_an_error(receiver: UdpReceiver) -> None:
    assert receiver.receive() is None
    assert receiver.errors == Counter()


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (OSError(errno.ECONNREFUSED, "refused"), "ECONNREFUSED"),
        (OSError(99_999, "new"), "unknown"),
        (OSError("without a number"), "unknown"),
    ],
)
def test_errors_are_counted_by_name(
    receiver: UdpReceiver, error: OSError, name: str
) -> None:
    receiver.cannot_receive(error)

    assert receiver.errors == Counter({name: 1})


def opened() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)


def unpack(receiver: UdpReceiver, data: bytes, stride: int | None) -> list[bytes]:
    """Return the datagrams in what the kernel received at once."""
    receiver.buffer[: len(data)] = data
    ancillary: list[Ancillary] = []
    if stride is not None:
        ancillary.append((SOL_UDP, UDP_GRO, stride.to_bytes(4, "little")))
    datagrams, _ = receiver.unpack(len(data), ancillary, ADDRESS) or ([], None)
    return datagrams
