"""A whole coordinator over real sockets: nodes, offers, administration, restarts."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from coordinator.mesh.operations import Remove
from coordinator.runtime import server
from coordinator.runtime.control import FRAME_LIMIT
from coordinator.runtime.relay import Relay
from coordinator.runtime.server import CoordinatorProcess, Foundation
from coordinator.store import watch as watch_module
from meshwg.control.client import ControlState
from meshwg.control.events import (
    Accepted,
    AuthorityChanged,
    Disconnected,
    MembershipRevoked,
    OfferReceived,
    Refused,
)
from meshwg.errors import ConfigError, MeshError
from meshwg.keys import PrivateKey
from meshwg.relay.server import RelayServer, parse_url
from meshwg.wire.control import (
    CloseCode,
    Error,
    ErrorCode,
    OfferMessage,
    ReportedCandidate,
    load_cache,
)
from meshwg.wire.token import JoinToken
from tests.coordinator.live import PATIENCE, LiveNode, eventually
from tests.coordinator.programs import (
    loopback,
    make_certificate,
    make_token,
    program,
    running,
)
from tests.coordinator.proxy import CLIENT, Proxy, proxy
from tests.coordinator.runtime.relaying import Node
from tests.coordinator.store.middlebox import Middlebox
from tests.coordinator.strangers import register

CANDIDATE = ReportedCandidate(kind="host", host="192.0.2.1", port=7)


async def test_a_key_that_is_damaged_is_not_taken_over_and_one_that_is_mended_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "KEY_INTERVAL", 0.01)
    async with running(tmp_path) as (process, foundation):
        alice = await LiveNode(await make_token(process, foundation)).joined()
        path, old = tmp_path / "coordinator.key", foundation.private_key
        kept = path.read_text()

        path.write_text("damaged")
        await logged(caplog, "is damaged")
        path.write_text(kept)
        new = foundation.directory.rotate_key()

        changed = await alice.event(AuthorityChanged)
        assert (changed.key, changed.former) == (new.public_bytes, old.public_bytes)
        complaints = [text for text in caplog.messages if "is damaged" in text]
        assert len(complaints) == 1
        await alice.vanish()


async def test_nodes_join_find_each_other_and_exchange_offers(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, foundation):
        token = await make_token(process, foundation)
        nodes = [await LiveNode(token, f"n{number}").joined() for number in range(5)]
        for node in nodes:
            await knows(node, 4)
        now = asyncio.get_running_loop().time()
        offer = OfferMessage(
            to=nodes[1].key,
            sequence=1,
            candidates=(CANDIDATE,),
            extension={"x": [1]},
        )
        nodes[0].client.offer(offer, now)
        nodes[0].act()
        event = await nodes[1].event(OfferReceived)
        assert event.offer.sender == nodes[0].key
        assert event.offer.extension == {"x": [1]}
        await nodes[2].stop()
        await nodes[0].until(lambda: not online(nodes[0], nodes[2]))
        for node in nodes:
            await node.vanish()


async def test_nodes_are_told_where_stun_and_relay_are(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, foundation):
        node = await LiveNode(await make_token(process, foundation)).joined()
        registered = (await node.event(Accepted)).registered
        host = process.public.host
        assert registered.stun == (f"{host}:3478",)
        assert [relay.url for relay in registered.relays] == [
            f"turn:{host}:3478?transport=udp",
            f"turn:{host}:{process.public.port}?transport=tcp",
        ]
        assert registered.observed == "127.0.0.1"
        await node.vanish()


async def test_a_removed_node_is_told_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, foundation):
        token = await make_token(process, foundation)
        one, other = await LiveNode(token).joined(), await LiveNode(token).joined()
        await one.until(lambda: online(one, other))
        await process._worker.perform(Remove(other.key))
        await other.event(MembershipRevoked)
        await one.until(lambda: one.client.peers.get(other.key) is None)
        await one.vanish()
        await other.vanish()


async def test_a_netmap_larger_than_a_noise_message_arrives(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, stun=(f"{loopback()}:3478",)) as (process, foundation):
        token = await make_token(process, foundation)
        one = await LiveNode(token).joined()
        noise = os.urandom(400_000).hex()
        payload = foundation.history.full()[0]
        foundation.history._fragments[one.key] = json.dumps(
            {
                "public_key": one.key,
                "name": "n",
                "addresses": [],
                "version": foundation.history.version,
                "filler": noise,
            }
        ).encode()
        foundation.history._snapshots.clear()
        assert len(foundation.history.full()[0]) > len(payload) + 300_000
        other = await LiveNode(token).joined()
        await other.until(lambda: online(other, one) is False)
        await other.until(lambda: other.client.peers.get(one.key) is not None)
        await one.vanish()
        await other.vanish()


async def test_tls_carries_the_same_channel(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    options = {"tls_cert": certificate, "tls_key": key}
    async with running(tmp_path / "data", **options) as (process, foundation):
        assert process.public.url.startswith("https://")
        node = await LiveNode(await make_token(process, foundation)).joined()
        await node.vanish()


async def test_a_certificate_that_does_not_work_is_named(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("no certificate")
    options = {"tls_cert": tmp_path / "c", "tls_key": tmp_path / "c"}
    with pytest.raises(MeshError, match="cannot be used"):
        async with running(tmp_path / "data", **options):
            pass


async def test_a_token_of_another_coordinator_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, foundation):
        token = JoinToken.parse(await make_token(process, foundation))
        stranger = PrivateKey.generate(os.urandom).public_bytes
        node = LiveNode(str(JoinToken(token.url, stranger, token.auth_key)))
        refused = await node.event(Refused)
        assert "does not own the key" in refused.error.message
        await node.vanish()


async def test_frames_that_are_too_large_or_text_end_their_connection(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (process, foundation):
        token = await make_token(process, foundation)
        bystander = await LiveNode(token).joined()
        url = process.public.url + "/v1/control"
        async with aiohttp.ClientSession() as session:
            for send, expected in (
                (b"x" * (FRAME_LIMIT + 1), aiohttp.WSCloseCode.MESSAGE_TOO_BIG),
                (b"short", CloseCode.MALFORMED),
                ("text", CloseCode.MALFORMED),
            ):
                async with session.ws_connect(url) as websocket:
                    if isinstance(send, str):
                        await websocket.send_str(send)
                    else:
                        await websocket.send_bytes(send)
                    await websocket.receive()
                    assert websocket.close_code == expected
        assert bystander.client.state is ControlState.CONNECTED
        await bystander.vanish()


async def test_an_address_with_too_many_connections_is_told_to_retry(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, connections_per_address=2) as (process, _):
        url = process.public.url + "/v1/control"
        async with aiohttp.ClientSession() as session:
            held = [await session.ws_connect(url) for _ in range(2)]
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(url)
            assert caught.value.status == 503
            for websocket in held:
                await websocket.close()


async def test_health_and_metrics_report_the_state(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, foundation):
        node = await LiveNode(await make_token(process, foundation)).joined()
        async with aiohttp.ClientSession(process.public.url) as session:
            async with session.get("/healthz") as response:
                assert (response.status, await response.json()) == (
                    200,
                    {"status": "ok"},
                )
            async with session.get("/metrics") as response:
                text = await response.text()
        assert "meshwg_nodes_online 1.0" in text
        assert 'meshwg_control_total{event="joins"} 1.0' in text
        assert "meshwg_stun_answers_total" in text
        assert "meshwg_relay_allocations" in text
        assert foundation.admin_token not in text
        await node.vanish()


async def test_an_http_client_that_says_nothing_or_garbage_is_sent_away(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, relay=False) as (process, _):
        for data in (b"\x00\x03garbage", b"\xff" * 50, b"GET\r\n\r\n"):
            reader, writer = await asyncio.open_connection(
                process.public.host, process.public.port
            )
            writer.write(data)
            async with asyncio.timeout(10):
                answer = await reader.read()
            assert answer == b"" or answer.startswith(b"HTTP/1.")
            writer.close()


# Behind a proxy.


@pytest.mark.parametrize(
    "request_line",
    [b"GET /healthz", b"DELETE /healthz", b"GET /nowhere", b"OPTIONS *", b"GET /\xff"],
)
async def test_headers_that_are_no_text_surprise_nobody(
    tmp_path: Path, request_line: bytes
) -> None:
    names = (
        b"Expect",
        b"Upgrade",
        b"Connection",
        b"Accept",
        b"Content-Type",
        b"Cookie",
    )
    async with running(tmp_path) as (process, _):
        host, port = process.public.url.removeprefix("http://").split(":")
        for name in names:
            reader, writer = await asyncio.open_connection(host, int(port))
            header = b"Host: x\r\n" + name + b": \xff\xed\xa0\x80\r\n"
            writer.write(request_line + b" HTTP/1.1\r\n" + header + b"\r\n")
            assert b"\xff" not in await reader.read()
            writer.close()
        assert process._unexpected.count == 0


async def test_nodes_join_through_a_proxy_at_a_path(tmp_path: Path) -> None:
    async with proxy() as front:
        url = f"http://{front.host}:{front.port}/mesh"
        options = {"listen": "127.0.0.1:0", "stun": (f"{loopback()}:3478",)}
        async with running(tmp_path, url=url, **options) as (process, foundation):
            front.behind = "127.0.0.1", process.public.port
            token = await make_token(process, foundation)
            node = await LiveNode(token).joined()
            registered = (await node.event(Accepted)).registered
            await node.stop()

    assert JoinToken.parse(token).url == url
    assert front.asked == ["GET /mesh/v1/control HTTP/1.1"]
    assert registered.observed == CLIENT


async def test_nodes_join_through_a_proxy_that_holds_everything_back(
    tmp_path: Path,
) -> None:
    async with proxy() as front, proxied(tmp_path, front) as (process, foundation):
        front.holds_back = 0.3
        node = await LiveNode(await make_token(process, foundation)).joined()
        await node.stop()


@pytest.mark.parametrize("header", ["upgrade", "connection"])
async def test_a_proxy_that_takes_off_what_it_does_not_know_is_named(
    tmp_path: Path, header: str
) -> None:
    async with proxy() as front, proxied(tmp_path, front) as (process, foundation):
        front.takes_off = (header,)
        node = LiveNode(await make_token(process, foundation))
        await node.until(lambda: node.client.error is not None)
        said = node.client.error or ""
        assert "is behind a proxy that takes 'Upgrade' off requests" in said

        front.takes_off = ()
        await node.joined()
        await node.stop()


async def test_nodes_are_told_of_the_relay_behind_a_proxy_and_reach_it(
    tmp_path: Path,
) -> None:
    async with proxy() as front, proxied(tmp_path, front) as (process, foundation):
        node = await LiveNode(await make_token(process, foundation)).joined()
        relays = (await node.event(Accepted)).registered.relays
        (told,) = [relay for relay in relays if relay.url.startswith("ws:")]
        assert told.url == f"ws://{front.host}:{front.port}/mesh/v1/relay"

        async with Node() as client:
            way = parse_url(told.url)
            client.use(RelayServer(way, way.host, told.username, told.password))
            await client.allocated()
            assert front.asked[-1] == "GET /mesh/v1/relay HTTP/1.1"
        await node.stop()


async def test_a_server_with_a_relay_in_a_websocket_stops_at_once(
    tmp_path: Path,
) -> None:
    async with Node() as client:
        async with running(tmp_path) as (process, foundation):
            node = await LiveNode(await make_token(process, foundation)).joined()
            told = (await node.event(Accepted)).registered.relays[0]
            await node.stop()
            way = parse_url(f"ws{process.public.url.removeprefix('http')}/v1/relay")
            client.use(RelayServer(way, way.host, told.username, told.password))
            await client.allocated()
            relay = process._services.services[1]
            assert isinstance(relay, Relay)
            assert relay._streams
        assert not relay._streams


async def test_what_cannot_be_reached_behind_a_proxy_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url, listen = "https://mesh.example.org", f"{loopback()}:0"
    async with running(tmp_path, url=url, listen=listen) as (process, _):
        await process.say_what_lacks()

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "No relay over UDP is advertised" in said[1]
    assert "https://mesh.example.org, listening on" in process.ready_line


# Restarts.


async def test_a_killed_coordinator_comes_back_with_every_node_it_acknowledged(
    tmp_path: Path,
) -> None:
    with program(tmp_path / "data") as coordinator:
        token = coordinator.run("token", "create", "--reusable").stdout.strip()
        nodes: list[LiveNode] = []
        for round_ in range(2):
            nodes += [LiveNode(token, f"n{round_}-{each}") for each in range(8)]
            await nodes[-8].joined()
            await asyncio.to_thread(coordinator.kill)
            acknowledged = {n.key for n in nodes if n.client.registered}
            listed = await asyncio.to_thread(coordinator.json, "node", "list")
            assert acknowledged <= {node["public_key"] for node in listed["nodes"]}
            await asyncio.to_thread(coordinator.start)
        for node in nodes:
            # Otherwise they might wait for half a minute.
            node.client.network_changed(asyncio.get_running_loop().time())
            node.act()
        for node in nodes:
            await node.joined()
        addresses = [
            n.client.registered.addresses for n in nodes if n.client.registered
        ]
        assert len(set(addresses)) == len(nodes)
        for node in nodes:
            await node.vanish()


async def test_a_cached_netmap_is_continued_after_both_sides_restart(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (process, foundation):
        token = await make_token(process, foundation)
        one, other = await LiveNode(token).joined(), await LiveNode(token).joined()
        await one.until(lambda: online(one, other))
        cache = one.client.cache()
        assert cache is not None
        address = f"{process.public.host}:{process.public.port}"
        await other.vanish()
        await one.until(lambda: not online(one, other))
        await one.vanish()
    async with running(tmp_path, listen=address) as (process, foundation):
        built = foundation.history.built
        again = LiveNode(
            token,
            private_key=one.private_key,
            cache=load_cache(cache),
            authenticate=False,
        )
        assert again.client.peers.get(other.key) is not None
        await again.joined()
        await again.until(lambda: not online(again, other))
        assert foundation.history.built - built <= 3
        await again.vanish()


@pytest.mark.postgres
async def test_two_coordinators_on_one_postgresql_act_as_one(
    tmp_path: Path, postgres_url: str
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with running(tmp_path / "one", database=postgres_url) as (first, foundation):
        key = (tmp_path / "one" / "coordinator.key").read_bytes()
        (tmp_path / "two" / "coordinator.key").write_bytes(key)
        async with running(tmp_path / "two", database=postgres_url) as (second, _):
            a = await LiveNode(await make_token(first, foundation), "a").joined()
            b = await LiveNode(await make_token(second, foundation), "b").joined()
            await a.until(lambda: online(a, b))
            await b.until(lambda: online(b, a))
            now = asyncio.get_running_loop().time()
            offer = OfferMessage(to=b.key, sequence=1, candidates=(CANDIDATE,))
            a.client.offer(offer, now)
            a.act()
            assert (await b.event(OfferReceived)).offer.sender == a.key
            await b.stop()
            await a.until(lambda: not online(a, b))
            await a.vanish()


@pytest.mark.postgres
async def test_a_coordinator_that_stops_has_its_nodes_at_another_one_before(
    tmp_path: Path, postgres_url: str
) -> None:
    async with two_coordinators(tmp_path, postgres_url) as (first, second, found, stop):
        token = await make_token(first, found)
        nodes = [await LiveNode(token, f"n{number}").joined() for number in range(6)]
        for node in nodes:
            accepted = await node.event(Accepted)
            assert accepted.registered.coordinators == (second.public.url,)
        await stop()
        assert second._server.members == 6
        assert not any(
            isinstance(event, Disconnected) for node in nodes for event in node.events
        )
        for node in nodes:
            await node.joined()
            await node.vanish()


@pytest.mark.postgres
async def test_offers_between_two_coordinators_go_directly(
    tmp_path: Path, postgres_url: str
) -> None:
    async with two_coordinators(tmp_path, postgres_url) as (first, second, found, _):
        a = await LiveNode(await make_token(first, found), "a").joined()
        b = await LiveNode(await make_token(second, found), "b").joined()
        await a.until(lambda: online(a, b))
        sequence = 0
        async with asyncio.timeout(PATIENCE):
            while not first._siblings.forwarded:
                sequence += 1
                offer = OfferMessage(to=b.key, sequence=sequence)
                a.client.offer(offer, asyncio.get_running_loop().time())
                a.act()
                assert (await b.event(OfferReceived)).offer.sequence == sequence
        assert second._server.counters["siblings"] == 1
        await a.vanish()
        await b.vanish()


@pytest.mark.postgres
async def test_a_coordinator_is_ready_while_it_hears_of_what_others_write(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "RECONNECT_INTERVAL", 0.05)
    monkeypatch.setattr(watch_module, "PULSE_INTERVAL", 0.05)
    monkeypatch.setattr(watch_module, "PULSE_TIMEOUT", 1.0)
    async with (
        Middlebox(postgres_url).running() as box,
        running(tmp_path, database=box.url) as (process, _),
    ):
        await answers(process, "/readyz", 200, "ready")
        box.freeze()
        await answers(process, "/readyz", 503, "notifications")
        box.thaw()
        await answers(process, "/readyz", 200, "ready")
        await answers(process, "/healthz", 200, "ok")


async def test_a_coordinator_that_stops_is_not_ready(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, _):
        await answers(process, "/readyz", 200, "ready")
        process._readiness.leave()
        await answers(process, "/readyz", 503, "about to stop")
        await answers(process, "/healthz", 200, "ok")


@pytest.mark.postgres
async def test_a_second_coordinator_with_another_key_is_refused(
    tmp_path: Path, postgres_url: str
) -> None:
    async with running(tmp_path / "one", database=postgres_url):
        with pytest.raises(ConfigError, match=r"coordinator\.key"):
            async with running(tmp_path / "two", database=postgres_url):
                pass


@pytest.mark.parametrize("auth_key", ["\0.aa", "\0" * 12 + ".aa", "aa\0bb.cc", "é.é"])
async def test_what_a_stranger_calls_its_auth_key_stops_no_joins(
    tmp_path: Path, database_url: str, auth_key: str
) -> None:
    async with running(tmp_path / "data", database=database_url) as (process, found):
        token = await make_token(process, found)
        key = found.private_key.public_bytes
        heard = await asyncio.gather(
            *(register(process.public.url, key, auth_key) for _ in range(5))
        )
        nodes = [await LiveNode(token, f"n{number}").joined() for number in range(3)]
        assert {each.code if isinstance(each, Error) else "" for each in heard} == {
            ErrorCode.TOKEN_UNKNOWN
        }
        assert process._worker.failures == 0
        assert process._unexpected.count == 0
        for node in nodes:
            await node.vanish()


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server((loopback(), 0)) as taken:
        host, port = taken.getsockname()
        with pytest.raises(MeshError, match=f"{port} cannot be listened on"):
            async with running(tmp_path, listen=f"{host}:{port}"):
                pass


@contextlib.asynccontextmanager
async def two_coordinators(
    tmp_path: Path, url: str
) -> AsyncIterator[
    tuple[
        CoordinatorProcess,
        CoordinatorProcess,
        Foundation,
        Callable[[], Awaitable[None]],
    ]
]:
    """Run two on one database that know of each other.

    Yields both, and what stops the first before the second.
    """
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with contextlib.AsyncExitStack() as first_stack:
        first, foundation = await first_stack.enter_async_context(
            running(tmp_path / "one", database=url)
        )
        key = (tmp_path / "one" / "coordinator.key").read_bytes()
        (tmp_path / "two" / "coordinator.key").write_bytes(key)
        async with running(tmp_path / "two", database=url) as (second, _):
            await eventually(lambda: len(first._worker.roll.alive) == 2)
            yield first, second, foundation, first_stack.aclose


async def answers(
    process: CoordinatorProcess, path: str, status: int, named: str
) -> None:
    """Wait until a process answers like this."""
    async with (
        asyncio.timeout(PATIENCE),
        aiohttp.ClientSession(process.public.url) as session,
    ):
        while True:
            async with session.get(path) as response:
                body = await response.json()
                if response.status == status and named in body["status"]:
                    return
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def proxied(
    directory: Path, front: Proxy
) -> AsyncIterator[tuple[CoordinatorProcess, Foundation]]:
    """Run a coordinator that nodes reach through a proxy."""
    url = f"http://{front.host}:{front.port}/mesh"
    stun = (f"{loopback()}:3478",)
    async with running(directory, url=url, listen="127.0.0.1:0", stun=stun) as made:
        front.behind = "127.0.0.1", made[0].public.port
        yield made


async def knows(node: LiveNode, count: int) -> None:
    """Wait until a node has so many peers."""
    await node.until(lambda: len(node.client.peers.peers) == count)


def online(observer: LiveNode, node: LiveNode) -> bool:
    peer = observer.client.peers.get(node.key)
    return peer is not None and peer.online


async def logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Wait until something is logged."""
    for _ in range(2000):
        if any(text in each for each in caplog.messages):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"Nobody says that {text}")
