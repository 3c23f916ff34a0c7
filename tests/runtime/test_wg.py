"""An interface and its link: when it has sockets, on which port, and from where."""

import errno
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from meshwg.keys import PrivateKey
from meshwg.runtime import clock
from meshwg.runtime.links import LinkState
from meshwg.runtime.tun import TunDevice
from meshwg.runtime.wg import WireGuardInterface
from meshwg.transmit import Endpoint, Source

UP = LinkState(is_up=True, mtu=1420, name="wg0")
DOWN = LinkState(is_up=False, mtu=1420, name="wg0")
ALICE = PrivateKey.from_bytes(b"a" * 32).public_bytes


async def test_sockets_exist_while_the_link_is_up() -> None:
    async with interface() as wg:
        assert wg.listen_port == 0
        wg.follow(UP)
        assert is_taken(wg.listen_port)
        assert wg.device.is_up
        wg.follow(DOWN)
        assert not is_taken(wg.listen_port)
        assert not wg.device.is_up


async def test_a_port_once_chosen_is_kept() -> None:
    async with interface() as wg:
        wg.follow(UP)
        port = wg.listen_port
        wg.follow(DOWN)
        wg.follow(UP)
        assert wg.listen_port == port


async def test_the_link_says_the_mtu_and_may_say_it_twice() -> None:
    async with interface() as wg:
        wg.follow(UP)
        port = wg.listen_port
        wg.follow(LinkState(is_up=True, mtu=1280, name="wg0"))
        assert wg.device.mtu == 1280
        assert wg.listen_port == port


async def test_a_port_set_while_the_link_is_down_is_used_when_it_is_up() -> None:
    async with interface() as wg:
        port = free_port()
        wg.rebind(port)
        assert not is_taken(port)
        wg.follow(UP)
        assert wg.listen_port == port
        assert is_taken(port)


async def test_rebinding_moves_to_another_port() -> None:
    async with interface() as wg:
        wg.follow(UP)
        before = wg.listen_port
        after = free_port()
        wg.rebind(after)
        assert wg.listen_port == after
        assert is_taken(after)
        assert not is_taken(before)


async def test_rebinding_to_any_port_chooses_a_new_one() -> None:
    async with interface() as wg:
        wg.follow(UP)
        before = wg.listen_port
        wg.rebind(0)
        assert wg.listen_port not in (0, before)


async def test_rebinding_to_the_same_port_changes_nothing() -> None:
    async with interface() as wg:
        wg.follow(UP)
        pinned(wg)
        wg.rebind(wg.listen_port)
        assert wg.device.peers[ALICE].endpoint == PINNED


async def test_a_taken_port_is_refused_and_the_old_one_kept() -> None:
    async with interface() as wg:
        wg.follow(UP)
        port = wg.listen_port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("", 0))
            with pytest.raises(OSError, match="Address already in use") as refusal:
                wg.rebind(other.getsockname()[1])
        assert refusal.value.errno == errno.EADDRINUSE
        assert wg.listen_port == port
        assert is_taken(port)
        assert wg.device.is_up


async def test_a_port_found_taken_is_reported_and_can_be_changed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with interface() as wg:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(("", 0))
            port = other.getsockname()[1]
            wg.rebind(port)
            with caplog.at_level(logging.ERROR):
                wg.follow(UP)
        assert f"UDP port {port} cannot be used (Address already in use)" in caplog.text
        assert not wg.device.is_up
        wg.rebind(port)
        assert is_taken(port)


async def test_a_new_port_and_a_new_mark_forget_the_sources_of_endpoints() -> None:
    async with interface() as wg:
        wg.follow(UP)
        pinned(wg)
        wg.rebind(0)
        assert wg.device.peers[ALICE].endpoint == PINNED.unpinned()
        pinned(wg)
        wg.set_fwmark(0)
        assert wg.device.peers[ALICE].endpoint == PINNED.unpinned()


async def test_a_source_that_the_system_lost_is_forgotten() -> None:
    async with interface() as wg:
        wg.follow(UP)
        wg.device.set_private_key(PrivateKey.from_bytes(b"s" * 32))
        pinned(wg)
        wg.device.peers[ALICE].send_keepalive(clock.now())
        wg.turn()
        assert wg.device.peers[ALICE].endpoint == PINNED.unpinned()


async def test_interfaces_are_found_by_their_names() -> None:
    async with interface() as wg:
        assert wg.index_of("lo") == socket.if_nametoindex("lo")
        assert wg.index_of("nowhere") is None


async def test_closing_frees_the_port_and_reports_what_was_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with interface() as wg:
        wg.follow(UP)
        wg.device.receive_datagrams([b"garbage"], Endpoint("127.0.0.1", 1), clock.now())
        with caplog.at_level(logging.DEBUG):
            wg.close()
        assert "Dropped: {'INVALID_MESSAGE': 1}" in caplog.text
        assert not is_taken(wg.listen_port)


# A source that no machine has: the address is reserved for documentation.
PINNED = Endpoint("127.0.0.1", 9, source=Source("192.0.2.1", 0))


def pinned(wg: WireGuardInterface) -> None:
    """Let a peer have an endpoint with a sticky source address."""
    peer = wg.device.add_peer(ALICE)
    wg.device.set_endpoint(peer, PINNED)


@asynccontextmanager
async def interface() -> AsyncIterator[WireGuardInterface]:
    """An interface whose TUN device is a socket with nobody at the other end."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    tun = TunDevice(near.detach(), "wg0", has_vnet_header=False)
    wg = WireGuardInterface(tun, on_tun_gone=lambda: None)
    try:
        yield wg
    finally:
        wg.close()
        tun.close()
        far.close()


def is_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return True
    return False


def free_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
