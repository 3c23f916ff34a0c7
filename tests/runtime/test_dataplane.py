"""The pump: what it reads, in which batches, when it waits, and when it stops."""

import errno
import socket
from contextlib import closing
from typing import Any, cast

import pytest

from meshwg.packet import fairqueue
from meshwg.runtime import clock, dataplane
from meshwg.runtime.dataplane import (
    BURST,
    DATAGRAMS_PER_TURN,
)
from meshwg.runtime.peersockets import CONNECT_AFTER
from meshwg.runtime.routes import Routes
from meshwg.runtime.tun import TunGone
from meshwg.runtime.udp import UdpSocket, UdpSockets
from meshwg.transmit import Endpoint, Transmit
from tests.runtime.pump import (
    ALICE,
    BOB,
    LINK,
    LOCAL,
    PING,
    TRANSFER,
    RecordingLink,
    loopback_socket,
    pumping,
    readable,
)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two packets be a batch."""
    monkeypatch.setattr(dataplane, "BATCH", 2)
    monkeypatch.setattr(fairqueue, "TURN", 2)


async def test_packets_of_the_interface_become_datagrams() -> None:
    async with pumping() as world:
        world.engine.answer = [Transmit(world.remote, [b"one", b"two"])]
        world.tun.send(b"packet")
        assert await world.hear(2) == [b"one", b"two"]
        assert world.engine.packets == [b"packet"]


async def test_datagrams_become_packets_of_the_interface() -> None:
    async with pumping() as world:
        world.engine.to_write = [b"first", b"second"]
        world.say(b"datagram")
        await world.until(lambda: world.engine.batches != [])
        assert world.engine.datagrams == [b"datagram"]
        assert [world.tun.recv(99), world.tun.recv(99)] == [b"first", b"second"]


async def test_what_piled_up_from_one_source_is_one_batch() -> None:
    async with pumping() as world:
        await world.busy()
        world.say(b"1", b"2", b"3")
        await world.until(lambda: world.engine.batches != [])
        assert world.engine.batches == [[b"1", b"2", b"3"]]
        assert world.engine.sources == [world.remote]


async def test_after_a_quiet_time_the_first_is_passed_on_at_once() -> None:
    async with pumping() as world:
        world.stop_time()
        world.say(b"1", b"2", b"3")
        await world.until(lambda: len(world.engine.datagrams) == 3)
        assert world.engine.batches == [[b"1"], [b"2", b"3"]]


async def test_packets_behind_a_first_one_are_read_together() -> None:
    async with pumping() as world:
        await world.busy()
        read: list[int] = []
        world.engine.on_packets = lambda: read.append(len(world.engine.packets))
        for number in b"1", b"2", b"3":
            world.tun.send(number)
        await world.until(lambda: len(world.engine.packets) == 3)
        assert read == [1, 3]


async def test_sources_are_not_mixed_and_each_keeps_its_order() -> None:
    async with pumping() as world:
        await world.busy()
        for number in b"1", b"2", b"3":
            world.say(b"a" + number, source=ALICE)
            world.say(b"b" + number, source=BOB)
        await world.until(lambda: world.engine.batches != [])
        assert world.engine.batches == [[b"a1", b"a2", b"a3"], [b"b1", b"b2", b"b3"]]
        assert world.engine.sources == [ALICE, BOB]


async def test_a_burst_is_passed_on_before_more_is_read() -> None:
    async with pumping() as world:
        await world.busy()
        world.say(*[b"x"] * (BURST + 1))
        await world.until(lambda: world.engine.batches != [])
        assert list(map(len, world.engine.batches)) == [BURST, 1]


async def test_a_flood_of_datagrams_does_not_starve_the_interface() -> None:
    async with pumping() as world:
        world.say(*[b"x"] * (3 * DATAGRAMS_PER_TURN))
        world.tun.send(b"packet")
        heard: list[int] = []
        world.engine.on_packets = lambda: heard.append(len(world.engine.datagrams))
        await world.until(lambda: heard != [])
        assert heard[0] <= DATAGRAMS_PER_TURN


async def test_a_flood_of_packets_does_not_starve_the_sockets() -> None:
    async with pumping() as world:
        world.engine.on_packets = lambda: world.tun.send(b"and another")
        world.tun.send(b"packet")
        world.say(b"x")
        await world.until(lambda: world.engine.datagrams != [])


async def test_a_ping_behind_a_transfer_waits_for_one_batch(
    small_batches: None,
) -> None:
    async with pumping() as world:
        await world.crowd(*TRANSFER, PING)
        await world.until(lambda: len(world.engine.packets) == len(TRANSFER) + 1)
        assert world.engine.packets == [*TRANSFER[:2], PING, *TRANSFER[2:]]


async def test_what_waits_here_is_passed_on_without_more_to_read(
    small_batches: None,
) -> None:
    async with pumping() as world:
        sizes: list[int] = []
        world.engine.on_packets = lambda: sizes.append(len(world.engine.packets))
        await world.crowd(*TRANSFER)
        await world.until(lambda: len(world.engine.packets) == len(TRANSFER))
        assert sizes == [2, 4, 6]
        assert world.engine.packets == TRANSFER


async def test_what_waits_here_goes_on_waiting_while_a_socket_blocks(
    small_batches: None,
) -> None:
    async with pumping() as world:
        world.wire.blocks = True
        world.engine.answer = [Transmit(world.remote, [b"late"])]
        await world.crowd(*TRANSFER)
        await world.pause()
        assert world.engine.packets == TRANSFER[:2]
        world.wire.blocks = False
        await world.until(lambda: world.engine.packets == TRANSFER)


async def test_of_datagrams_that_wait_for_too_long_one_is_dropped() -> None:
    async with pumping() as world:
        await world.busy()
        cast(Any, world.wire).has_stood = lambda now: True
        sent = [str(number).encode() for number in range(DATAGRAMS_PER_TURN + 1)]
        world.say(*sent)
        await world.until(lambda: sent[-1] in world.engine.datagrams)
        sent.remove(sent[DATAGRAMS_PER_TURN - 1])
        assert world.engine.datagrams == sent


async def test_while_a_socket_blocks_the_interface_is_not_read() -> None:
    async with pumping() as world:
        world.wire.blocks = True
        world.engine.answer = [Transmit(world.remote, [b"late"])]
        world.tun.send(b"first")
        await world.until(lambda: world.engine.packets == [b"first"])
        world.tun.send(b"second")
        await world.pause()
        assert world.engine.packets == [b"first"]
        world.wire.blocks = False
        assert await world.hear(1) == [b"late"]
        await world.until(lambda: world.engine.packets == [b"first", b"second"])


async def test_the_engine_is_woken_when_it_asked() -> None:
    async with pumping() as world:
        due = world.engine.timer = clock.now() + 0.05
        world.pump.turn()
        await world.until(lambda: world.engine.woken != [])
        assert world.engine.woken[0] >= due


async def test_an_earlier_time_replaces_a_later_one() -> None:
    async with pumping() as world:
        world.engine.timer = clock.now() + 3600
        world.pump.turn()
        world.engine.timer = clock.now()
        world.pump.turn()
        await world.until(lambda: world.engine.woken != [])


async def test_a_timer_that_fails_is_logged_once_and_the_engine_is_woken_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dataplane, "AFTER_SURPRISE", 0.01)
    async with pumping() as world:
        handle_timer, failures = world.engine.handle_timer, 3

        def fail(now: float) -> None:
            nonlocal failures
            if failures:
                failures -= 1
                raise OverflowError("nobody expected this")
            handle_timer(now)

        monkeypatch.setattr(world.engine, "handle_timer", fail)
        world.engine.timer = clock.now()
        world.pump.turn()
        await world.until(lambda: world.engine.woken != [])

    assert failures == 0
    (record,) = caplog.records
    assert "OverflowError" in record.getMessage()


async def test_a_turn_is_reported_once() -> None:
    turns: list[str] = []
    async with pumping(on_turn=lambda: turns.append("a turn")) as world:
        turns.clear()
        world.pump.turn()
        assert turns == ["a turn"]


async def test_a_link_takes_what_is_meant_for_it_while_it_is_there() -> None:
    async with pumping() as world:
        link = RecordingLink()
        before, meanwhile, after = (
            Transmit(ALICE._replace(link=LINK), [text]) for text in (b"1", b"2", b"3")
        )
        world.tell(before)
        world.pump.add_link(LINK, link)
        world.tell(meanwhile)
        world.pump.remove_link(LINK)
        world.tell(after)
        assert link.sent == [meanwhile]


async def test_a_second_socket_is_a_link_that_is_read_too() -> None:
    async with pumping() as world:
        with closing(UdpSocket.open(socket.AF_INET, link=LINK)) as second:
            address = "127.0.0.1", second.port
            world.pump.add_link(LINK, second)
            world.remote_socket.sendto(b"in time", address)
            await world.until(lambda: world.engine.batches != [])
            world.pump.remove_link(LINK)
            world.remote_socket.sendto(b"too late", address)
            await world.pause()
            assert world.engine.batches == [[b"in time"]]
            assert world.engine.sources[0].link == LINK


async def test_what_a_socket_has_heard_is_passed_on_before_it_is_closed() -> None:
    async with pumping() as world:
        with closing(UdpSocket.open(socket.AF_INET, link=LINK)) as second:
            world.pump.add_link(LINK, second)
            world.remote_socket.sendto(b"just before", ("127.0.0.1", second.port))
            world.pump.remove_link(LINK)
            assert world.engine.batches == [[b"just before"]]


async def test_once_stopped_it_reads_nothing_and_wakes_nothing() -> None:
    async with pumping() as world:
        world.engine.timer = clock.now() + 0.01
        world.pump.turn()
        world.pump.stop()
        world.tun.send(b"packet")
        world.say(b"datagram")
        await world.pause()
        engine = world.engine
        assert [engine.packets, engine.batches, engine.woken] == [[], [], []]


@pytest.mark.parametrize("notices", [["read_raw", "read"], ["read"], ["write"]])
async def test_an_interface_that_has_gone_is_reported_once_and_stops_it(
    notices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TunGone("The interface 'wg0' was removed")

    def fail_raw(*_: object) -> None:
        raise OSError(errno.EBADFD, "File descriptor in bad state")

    async with pumping() as world:
        await world.busy()
        for notice in notices:
            failing = fail_raw if notice.endswith("raw") else fail
            monkeypatch.setattr(world.interface, notice, failing)
        world.tun.send(b"packet")
        world.tun.send(b"and another")
        for _ in range(2):
            world.engine.to_write = [b"packet"]
            world.pump.turn()
        await world.pause()
        world.say(b"datagram")
        await world.pause()
        assert world.gone == 1
        assert world.engine.batches == []


# The fast path.


async def test_a_lone_packet_takes_the_fast_path() -> None:
    async with pumping() as world:
        await world.converse(2)
        assert world.engine.packets == []
        assert world.engine.lone_packets == [b"packet"] * 2


async def test_after_some_lone_packets_the_peer_has_a_socket_of_its_own() -> None:
    async with pumping(real_socket=True) as world:
        world.engine.opened = b"opened"
        await world.converse(CONNECT_AFTER - 1)
        world.say(b"before")
        await world.until(lambda: world.engine.batches == [[b"before"]])
        await world.converse(3)
        world.say(b"after")
        await world.until(lambda: world.engine.lone_datagrams == [b"after"])
        assert world.tun.recv(99) == b"opened"
        assert world.engine.batches == [[b"before"]]


async def test_packets_not_meant_for_the_interface_do_not_reach_it() -> None:
    async with pumping(real_socket=True) as world:
        world.engine.opened = b""
        await world.converse()
        world.say(b"datagram")
        await world.pause()
        assert world.engine.lone_datagrams == [b"datagram"]
        assert readable(world.tun) == []


async def test_what_the_fast_path_declines_takes_the_slow_path() -> None:
    async with pumping(real_socket=True) as world:
        await world.converse()
        world.engine.sealed = None
        world.say(b"datagram")
        await world.pause()
        world.tun.send(b"last packet")
        await world.pause()
        assert world.engine.lone_datagrams == [b"datagram"]
        assert world.engine.datagrams == [b"datagram"]
        assert world.engine.lone_packets[-1] == b"last packet"
        assert world.engine.packets == [b"last packet"]


async def test_a_burst_is_sent_as_one_batch_by_the_peers_own_socket_too() -> None:
    async with pumping(real_socket=True) as world:
        await world.converse()
        world.stop_time()
        world.say(b"0", b"1", b"2")
        await world.until(lambda: len(world.engine.datagrams) == 3)
        assert world.engine.batches == [[b"0"], [b"1", b"2"]]
        assert set(world.engine.sources) == {world.remote}


async def test_two_peers_have_a_socket_each() -> None:
    async with pumping(real_socket=True) as world:
        with loopback_socket() as socket_of_other:
            world.engine.opened = b""
            other = Endpoint(*socket_of_other.getsockname())._replace(source=LOCAL)
            for _ in range(CONNECT_AFTER + 1):
                world.engine.sealed = other, b"to the other"
                world.tun.send(b"packet")
                await world.pause()
                await world.converse(1)
            socket_of_other.sendto(b"from the other", ("127.0.0.1", world.socket.port))
            await world.until(lambda: world.engine.lone_datagrams != [])
            world.say(b"from the first")
            await world.until(lambda: len(world.engine.lone_datagrams) == 2)
            heard = [socket_of_other.recv(99) for _ in range(CONNECT_AFTER + 1)]
            assert heard == [b"to the other"] * (CONNECT_AFTER + 1)
            assert world.engine.lone_sources == [other, world.remote]


async def test_a_peer_that_refused_a_datagram_still_gets_the_next_one() -> None:
    async with pumping(real_socket=True) as world:
        await world.converse()
        port = world.remote.port
        world.remote_socket.close()
        world.tun.send(b"packet")  # This one is refused, of which the kernel tells.
        await world.pause()
        world.remote_socket = loopback_socket(port)
        world.tun.send(b"packet")
        assert await world.hear(1) == [b"sealed"]


async def test_without_its_own_sockets_the_pump_has_none_for_peers() -> None:
    async with pumping(real_socket=True) as world:
        await world.converse()
        world.pump.stop()
        world.pump.start(UdpSockets(world.socket, None))
        world.say(b"datagram")
        await world.until(lambda: world.engine.datagrams == [b"datagram"])
        assert world.engine.lone_datagrams == []


async def test_what_waits_at_a_peers_own_socket_is_not_lost_with_it() -> None:
    async with pumping(real_socket=True) as world:
        await world.converse()
        world.say(b"just before")
        world.pump.disconnect()
        assert world.engine.datagrams == [b"just before"]


async def test_peers_keep_their_own_sockets_while_the_routes_lead_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with pumping(real_socket=True) as world:
        world.engine.opened = b""
        await world.converse()
        world.pump.follow_routes()
        world.say(b"one")
        await world.until(lambda: world.engine.lone_datagrams == [b"one"])
        monkeypatch.setattr(Routes, "source_for", lambda *_: None)
        world.pump.follow_routes()
        await world.converse()
        world.say(b"two")
        await world.until(lambda: world.engine.datagrams == [b"two"])


async def test_disconnected_peers_return_to_the_shared_sockets() -> None:
    async with pumping(real_socket=True) as world:
        await world.converse()
        # The same endpoint, but known from elsewhere.
        world.remote = world.remote._replace()
        await world.converse(1)
        world.pump.disconnect()
        await world.converse(1)
        world.say(b"datagram")
        await world.until(lambda: world.engine.datagrams == [b"datagram"])
        assert world.engine.lone_datagrams == []


async def test_what_took_the_fast_path_is_noted_when_there_is_time() -> None:
    async with pumping() as world:
        before = world.engine.noted
        world.engine.sealed = world.remote, b"sealed"
        world.tun.send(b"packet")
        await world.hear(1)
        await world.until(lambda: world.engine.noted > before)


async def test_a_lone_packet_waits_for_a_socket_that_blocks() -> None:
    async with pumping() as world:
        world.wire.blocks = True
        world.engine.sealed = world.remote, b"sealed"
        world.tun.send(b"packet")
        await world.until(lambda: world.wire.is_blocked)
        world.wire.blocks = False
        assert await world.hear(1) == [b"sealed"]


async def test_a_lone_packet_that_cannot_be_written_is_counted() -> None:
    async with pumping(real_socket=True) as world:
        world.engine.opened = bytes(1 << 20)
        await world.converse()
        world.say(b"datagram")
        await world.pause()
        assert world.interface.dropped == 1
