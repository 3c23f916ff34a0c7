"""Options of UDP sockets: set where the system has them, and where it allows them."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from meshwg.runtime import socket_options as module
from meshwg.runtime.socket_options import (
    SOL_UDP,
    UDP_GRO,
    allow_fragments,
    bind_beside,
    can_segment,
    enlarge_buffers,
    get_fwmark,
    last_waited,
    receive_batches,
    set_fwmark,
)


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        yield made


def test_buffers_are_at_least_as_large_as_before(sock: socket.socket) -> None:
    options = socket.SO_RCVBUF, socket.SO_SNDBUF
    before = [sock.getsockopt(socket.SOL_SOCKET, option) for option in options]

    enlarge_buffers(sock)

    after = [sock.getsockopt(socket.SOL_SOCKET, option) for option in options]
    assert all(new >= old for new, old in zip(after, before, strict=True))


def test_without_the_privilege_buffers_are_as_large_as_allowed() -> None:
    refused: list[int] = []

    def setsockopt(level: int, option: int, value: int) -> None:
        if option in (module.SO_RCVBUFFORCE, module.SO_SNDBUFFORCE):
            refused.append(option)
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    enlarge_buffers(cast(socket.socket, SimpleNamespace(setsockopt=setsockopt)))

    assert refused == [module.SO_RCVBUFFORCE, module.SO_SNDBUFFORCE]


@pytest.mark.parametrize(
    ("family", "level", "option"),
    [
        (socket.AF_INET, socket.IPPROTO_IP, module.IP_MTU_DISCOVER),
        (socket.AF_INET6, socket.IPPROTO_IPV6, module.IPV6_MTU_DISCOVER),
    ],
    ids=["ipv4", "ipv6"],
)
def test_datagrams_may_be_fragmented(
    family: socket.AddressFamily, level: int, option: int
) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        assert sock.getsockopt(level, option) != module.PMTUDISC_DONT
        allow_fragments(sock)
        assert sock.getsockopt(level, option) == module.PMTUDISC_DONT


@pytest.mark.parametrize(
    ("release", "joined"),
    [("6.1.0-13-amd64", 1), ("5.12", 1), ("5.11.99", 0), ("4.19.0", 0), ("odd", 0)],
)
def test_datagrams_are_joined_where_the_kernel_does_it_well(
    sock: socket.socket, release: str, joined: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))

    receive_batches(sock)

    assert sock.getsockopt(SOL_UDP, UDP_GRO) == joined


def test_only_udp_can_segment(sock: socket.socket) -> None:
    assert can_segment(sock)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        assert not can_segment(stream)


def test_a_mark_that_does_not_change_is_not_set(sock: socket.socket) -> None:
    # Without the privilege this raises if it is set.
    set_fwmark(sock, get_fwmark(sock))

    assert get_fwmark(sock) == 0


def test_two_sockets_share_a_port_that_is_taken_for_others(
    sock: socket.socket,
) -> None:
    sock.bind(("127.0.0.1", 0))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beside,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        bind_beside(beside, sock, "127.0.0.1")
        assert beside.getsockname() == sock.getsockname()

        with pytest.raises(OSError, match="in use"):
            stranger.bind(sock.getsockname())


def test_a_failure_to_bind_admits_no_other_peer(sock: socket.socket) -> None:
    sock.bind(("127.0.0.1", 0))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beside,
        pytest.raises(OSError, match=r"\[Errno"),
    ):
        bind_beside(beside, sock, "192.0.2.1")

    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0


def test_how_long_a_datagram_has_waited_is_known_from_the_second_one_on(
    sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    sock.bind(("127.0.0.1", 0))
    for _ in range(2):
        sock.sendto(b"x", sock.getsockname())
        sock.recv(1)
        last_waited(sock)
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)

    assert last_waited(sock) >= 60


def test_where_nobody_knows_how_long_it_has_waited_it_has_not(
    sock: socket.socket,
) -> None:
    assert last_waited(sock) == 0
