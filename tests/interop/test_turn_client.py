"""Our TURN client with Debian's coturn: UDP, TCP, TLS, and what goes wrong."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from meshwg.relay.allocation import RelayState
from meshwg.relay.server import Transport
from meshwg.transmit import Endpoint
from tests.interop.relays import (
    PEER_HOST,
    LiveNode,
    coturn,
    free_port,
    needs_coturn,
    server_at,
)

pytestmark = needs_coturn

UDP, TCP, TLS = Transport.UDP, Transport.TCP, Transport.TLS


@pytest.mark.parametrize("transport", [UDP, TCP, TLS])
async def test_packets_go_both_ways_between_two_clients(
    transport: Transport, tmp_path: Path
) -> None:
    async with coturn(tmp_path) as server:
        port = server.tls_port if transport is TLS else server.port
        with nodes() as (alice, bob):
            alice.use(server_at(port, "alice", transport))
            bob.use(server_at(server.port, "bob"))
            await alice.allocated()
            await bob.allocated()
            alice.open(bob.relayed)
            bob.open(alice.relayed)

            await bob.hears(b"from alice", alice)
            await alice.hears(b"from bob", bob)

            assert alice.pool.status.transport is transport
            assert bob.received[0][0][:2] == alice.relayed[:2]


@pytest.mark.parametrize("transport", [UDP, TCP])
async def test_packets_go_both_ways_with_a_plain_peer(
    transport: Transport, tmp_path: Path
) -> None:
    async with coturn(tmp_path) as server:
        with nodes() as (alice, _), plain_peer() as peer:
            address = Endpoint(*peer.getsockname())
            alice.use(server_at(server.port, "alice", transport))
            await alice.allocated()
            loop = asyncio.get_running_loop()

            for size in (1, 2, 3, 1452):
                alice.send(address, bytes(size))
                data, source = await loop.sock_recvfrom(peer, 2000)
                assert (data, source) == (bytes(size), alice.relayed[:2])
                await loop.sock_sendto(peer, data, source)

            await alice.until(lambda: len(alice.received) == 4)
            assert [len(data) for _, data in alice.received] == [1, 2, 3, 1452]


async def test_bursts_arrive_whole(tmp_path: Path) -> None:
    async with coturn(tmp_path) as server:
        with nodes() as (alice, bob):
            for node, name in ((alice, "alice"), (bob, "bob")):
                node.use(server_at(server.port, name))
                await node.allocated()
            alice.open(bob.relayed)
            bob.open(alice.relayed)
            await bob.hears(b"ready", alice)
            bob.received.clear()

            alice.send(bob.relayed, *[bytes([n]) * 1452 for n in range(44)], b"short")

            await bob.until(lambda: len(bob.received) == 45)
            assert {len(data) for _, data in bob.received} == {1452, 5}


async def test_a_stale_nonce_ends_nothing(tmp_path: Path) -> None:
    async with coturn(tmp_path, "--stale-nonce=1") as server:
        with nodes() as (alice, bob):
            for node, name in ((alice, "alice"), (bob, "bob")):
                node.use(server_at(server.port, name))
                await node.allocated()
            alice.open(bob.relayed)
            bob.open(alice.relayed)
            before = alice.relayed
            for number in range(3):
                await bob.hears(b"%d" % number, alice)
                await asyncio.sleep(1.2)

            assert alice.relayed == before


async def test_a_client_that_only_receives_outlives_short_channels(
    tmp_path: Path,
) -> None:
    short = ("--channel-lifetime=3", "--permission-lifetime=3")
    async with coturn(tmp_path, *short) as server:
        with nodes(renew_after=1.0) as (alice, bob):
            for node, name in ((alice, "alice"), (bob, "bob")):
                node.use(server_at(server.port, name))
                await node.allocated()
            alice.open(bob.relayed)
            bob.open(alice.relayed)
            await asyncio.sleep(5)

            await bob.hears(b"still there", alice)


async def test_a_wrong_password_is_explained_and_can_be_corrected(
    tmp_path: Path,
) -> None:
    async with coturn(tmp_path) as server:
        with nodes() as (alice, _):
            entry = server_at(server.port, "alice")
            alice.use(replace(entry, password="wrong"))
            await alice.until(lambda: alice.pool.status.error is not None)
            assert "401" in (alice.pool.status.error or "")

            alice.use(entry)
            await alice.allocated()


async def test_expired_credentials_are_explained_and_can_be_replaced(
    tmp_path: Path,
) -> None:
    async with coturn(tmp_path) as server:
        with nodes() as (alice, _):
            alice.use(server_at(server.port, "alice", lifetime=-10))
            await alice.until(lambda: alice.pool.status.error is not None)
            assert "401" in (alice.pool.status.error or "")

            # For a minute coturn takes no other user name from the same UDP port.
            alice.use(
                server_at(server.port, "alice"), server_at(server.port, "alice", TCP)
            )
            await alice.allocated()

            assert alice.pool.status.transport is TCP


async def test_renewed_credentials_keep_the_allocation(tmp_path: Path) -> None:
    async with coturn(tmp_path, "--stale-nonce=1") as server:
        with nodes() as (alice, _):
            alice.use(server_at(server.port, "alice"))
            await alice.allocated()
            before = alice.relayed

            alice.use(server_at(server.port, "alice", lifetime=7200))
            for _ in range(12):
                alice.send(Endpoint(PEER_HOST, 9), b"keeps it in use")
                await asyncio.sleep(0.25)

            assert alice.pool.status.state is RelayState.ALLOCATED
            assert alice.relayed == before


async def test_a_restarted_relay_is_used_again(tmp_path: Path) -> None:
    async with coturn(tmp_path) as server:
        with nodes() as (alice, bob):
            for node, name in ((alice, "alice"), (bob, "bob")):
                node.use(server_at(server.port, name))
                await node.allocated()
            alice.open(bob.relayed)
            bob.open(alice.relayed)
            await bob.hears(b"before", alice)
            before = alice.relayed, bob.relayed

            server.stop()
            await server.start()
            async with asyncio.timeout(20):
                while before[0] == alice.pool.relayed or before[1] == bob.pool.relayed:
                    alice.send(Endpoint(PEER_HOST, 9), b"anybody?")
                    bob.send(Endpoint(PEER_HOST, 9), b"anybody?")
                    await asyncio.sleep(0.1)
            await alice.allocated()
            await bob.allocated()
            alice.open(bob.relayed)
            bob.open(alice.relayed)

            await bob.hears(b"after", alice)


async def test_a_relay_that_was_tried_before_another_one_takes_over(
    tmp_path: Path,
) -> None:
    """Both grant an allocation when the node starts, and it gives one of them back."""
    (tmp_path / "other").mkdir()
    async with coturn(tmp_path) as first, coturn(tmp_path / "other") as second:
        with nodes() as (alice, _):
            alice.use(server_at(first.port, "alice"), server_at(second.port, "alice"))
            await alice.allocated()
            url = str(alice.pool.status.url)
            home = first if f":{first.port}?" in url else second

            home.stop()
            async with asyncio.timeout(12):
                while alice.pool.status.url == url or alice.pool.relayed is None:
                    alice.send(Endpoint(PEER_HOST, 9), b"anybody?")
                    await asyncio.sleep(0.1)


async def test_another_relay_takes_over_when_one_dies(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with coturn(tmp_path) as first, coturn(tmp_path / "other") as second:
        with nodes() as (alice, _):
            alice.use(server_at(first.port, "alice"))
            await alice.allocated()
            alice.use(server_at(first.port, "alice"), server_at(second.port, "alice"))

            first.stop()
            async with asyncio.timeout(15):
                while (
                    alice.pool.status.url
                    != f"turn:127.0.0.1:{second.port}?transport=udp"
                ):
                    alice.send(Endpoint(PEER_HOST, 9), b"anybody?")
                    await asyncio.sleep(0.1)
            await alice.allocated()


async def test_a_quota_is_explained(tmp_path: Path) -> None:
    async with coturn(tmp_path, "--user-quota=1") as server:
        with nodes() as (alice, bob):
            entry = server_at(server.port, "same")
            alice.use(entry)
            await alice.allocated()
            bob.use(entry)
            await bob.until(lambda: bob.pool.status.error is not None)

            assert bob.pool.status.error is not None
            assert "486" in bob.pool.status.error


async def test_a_killed_process_gives_its_quota_to_the_next_one(tmp_path: Path) -> None:
    async with coturn(tmp_path, "--user-quota=1") as server:
        killed = LiveNode()
        killed.use(server_at(server.port, "same", lifetime=3600))
        await killed.allocated()
        port = killed.socket.port
        killed.die()

        again = LiveNode(port=port)
        again.pool.remember(killed.used)
        again.use(server_at(server.port, "same", lifetime=3700))
        await again.until(lambda: again.pool.relayed is not None, limit=5)
        again.close()


async def test_a_relay_that_sends_elsewhere_is_followed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with coturn(tmp_path) as real:
        option = f"--alternate-server=127.0.0.1:{real.port}"
        async with coturn(tmp_path / "other", option) as front:
            with nodes() as (alice, _):
                alice.use(server_at(front.port, "alice"))
                await alice.allocated()

                url = alice.pool.status.url
                assert url == f"turn:127.0.0.1:{real.port}?transport=udp"


async def test_where_nothing_listens_the_status_says_so() -> None:
    with nodes() as (alice, _):
        alice.use(server_at(free_port(), "alice", TCP))
        await alice.until(lambda: alice.pool.status.error is not None)

        assert alice.pool.status.error is not None
        assert alice.pool.status.error.endswith("Connection refused")


@contextmanager
def nodes(renew_after: float = 120.0) -> Iterator[tuple[LiveNode, LiveNode]]:
    """Return two nodes without relays."""
    pair = LiveNode(renew_after), LiveNode(renew_after)
    try:
        yield pair
    finally:
        for node in pair:
            node.close()


@contextmanager
def plain_peer() -> Iterator[socket.socket]:
    """Return a UDP socket at another address than the relay's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setblocking(False)
        peer.bind((PEER_HOST, 0))
        yield peer
