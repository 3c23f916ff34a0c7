"""The coordinator's relay with coturn's test client, and with our own nodes."""

import asyncio
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from coordinator.turn import Limits
from meshwg.relay.server import Transport
from meshwg.transmit import Endpoint
from tests.interop.relays import (
    HOST,
    PEER_HOST,
    SECRET,
    LiveNode,
    OwnRelay,
    free_port,
    make_certificate,
    own_relay,
    server_at,
)

UCLIENT = "turnutils_uclient"
PACKETS = 10

needs_uclient = pytest.mark.skipif(
    shutil.which(UCLIENT) is None, reason="coturn is not installed"
)


# How coturn's client is to send, in a mode for each line; all run at once, since each
# takes its five seconds.
TO_A_PEER = {
    "UDP channels": ["-c"],
    "UDP indications": ["-c", "-s"],
    "UDP padded": ["-c", "-D"],
    "TCP channels": ["-t", "-c"],
    "TCP indications": ["-t", "-c", "-s"],
    "four clients and extra requests": ["-c", "-m", "4", "-G"],
}
TO_EACH_OTHER = {
    "UDP channels": ["-y", "-c"],
    "UDP indications": ["-y", "-c", "-s"],
    "TCP channels": ["-t", "-y", "-c"],
    "an even port and the next": ["-y"],
}


@needs_uclient
async def test_every_packet_to_a_peer_is_echoed() -> None:
    async with own_relay() as relay:
        with echoing_peer() as port:
            lost = await asyncio.gather(
                *(
                    uclient(relay, *options, "-e", PEER_HOST, "-r", str(port))
                    for options in TO_A_PEER.values()
                )
            )

        assert dict(zip(TO_A_PEER, lost, strict=True)) == dict.fromkeys(TO_A_PEER, 0)
        assert relay.turn.counters.from_peers.packets >= 9 * PACKETS
        assert relay.turn.counters.internal.packets == 0


@needs_uclient
async def test_clients_of_coturn_reach_each_other_inside() -> None:
    async with own_relay() as relay:
        lost = await asyncio.gather(
            *(uclient(relay, *options) for options in TO_EACH_OTHER.values())
        )

        modes = dict.fromkeys(TO_EACH_OTHER, 0)
        assert dict(zip(TO_EACH_OTHER, lost, strict=True)) == modes
        assert relay.turn.counters.internal.packets >= 8 * PACKETS
        assert relay.turn.counters.to_peers.packets == 0


@needs_uclient
async def test_coturns_client_gets_through_over_tls(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(tmp_path))
    async with own_relay(tls=context) as relay:
        with echoing_peer() as port:
            options = ["-t", "-S", "-c", "-e", PEER_HOST, "-r", str(port)]
            await uclient(relay, *options)

        # What it says it lost does not count here: it takes a TLS record for a message,
        # and so misses the second one of two that come together.
        counters = relay.turn.counters
        assert counters.to_peers.packets == counters.from_peers.packets == PACKETS


@needs_uclient
async def test_a_client_with_a_wrong_secret_gets_nothing() -> None:
    async with own_relay() as relay:
        with pytest.raises(AssertionError, match="Cannot complete Allocation"):
            await uclient(relay, "-c", "-y", secret="another")

        assert relay.turn.counters.allocated == 0


async def test_http_and_turn_share_one_tcp_port() -> None:
    async with own_relay() as relay:
        node = LiveNode()
        try:
            node.use(server_at(relay.port, "alice", Transport.TCP))
            await node.allocated()

            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{HOST}:{relay.port}/") as response,
            ):
                assert response.status == 404
        finally:
            node.close()


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP, Transport.TLS])
async def test_our_nodes_reach_each_other(transport: Transport, tmp_path: Path) -> None:
    context = None
    if transport is Transport.TLS:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*make_certificate(tmp_path))
    async with own_relay(tls=context) as relay:
        alice, bob = LiveNode(), LiveNode()
        try:
            alice.use(server_at(relay.port, "alice", transport))
            bob.use(server_at(relay.port, "bob"))
            await alice.allocated()
            await bob.allocated()
            alice.open(bob.relayed)
            bob.open(alice.relayed)

            await bob.hears(b"from alice", alice)
            await alice.hears(b"from bob", bob)
            bob.received.clear()
            alice.send(bob.relayed, *[bytes(1452)] * 44, b"last")
            await bob.until(lambda: len(bob.received) >= 45)
        finally:
            alice.close()
            bob.close()


async def test_a_node_at_its_quota_is_told_why() -> None:
    async with own_relay(limits=Limits(allocations_per_node=1)) as relay:
        first, second = LiveNode(), LiveNode()
        try:
            first.use(server_at(relay.port, "same"))
            await first.allocated()
            second.use(server_at(relay.port, "same"))
            await second.until(lambda: second.pool.status.error is not None)

            assert "486" in (second.pool.status.error or "")
        finally:
            first.close()
            second.close()


async def test_nodes_that_leave_take_their_allocations_along() -> None:
    async with own_relay() as relay:
        node = LiveNode()
        node.use(server_at(relay.port, "alice"))
        await node.allocated()
        node.open(Endpoint(PEER_HOST, 9))
        await node.until(lambda: len(relay.relay._sockets) == 1)
        node.close()

        async with asyncio.timeout(5):
            while relay.turn.allocations:  # noqa: ASYNC110 (a datagram changes it)
                await asyncio.sleep(0.01)
        assert not relay.relay._sockets


async def uclient(relay: OwnRelay, *options: str, secret: str = SECRET) -> int:
    """Run coturn's client; return how many packets it lost."""
    process = await asyncio.create_subprocess_exec(
        *(UCLIENT, "-u", "alice", "-W", secret, "-n", str(PACKETS), "-l", "200"),
        *("-z", "5", "-p", str(relay.port), *options, HOST),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    found = re.search(rb"Total lost packets (\d+)", output)
    assert found is not None, output.decode(errors="replace")
    return int(found[1])


@contextmanager
def echoing_peer() -> Iterator[int]:
    """Run coturn's echo server at another address than the relay's."""
    port = free_port()
    process = subprocess.Popen(
        ["turnutils_peer", "-p", str(port), "-L", PEER_HOST],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield port
    finally:
        process.kill()
        process.wait()
