"""Who waits for whom, and who loses a packet when the queue stands."""

from hypothesis import given
from hypothesis import strategies as st

from meshwg.packet.fairqueue import TURN, FairQueue
from meshwg.packet.lateness import INTERVAL, TARGET

BATCH = 2 * TURN


def test_a_ping_beside_a_transfer_goes_first() -> None:
    queue = FairQueue()
    queue.add(transfer(1000), 0.0)
    queue.take(BATCH, 0.0)

    queue.add([ping()], 0.0)

    assert queue.take(BATCH, 0.0)[0] == ping()


def test_a_new_transfer_has_one_turn_first_and_then_they_take_turns() -> None:
    queue = FairQueue()
    queue.add(transfer(1000), 0.0)
    queue.take(BATCH, 0.0)

    queue.add(transfer(1000, port=2), 0.0)
    taken = queue.take(4 * TURN, 0.0)

    assert [port_of(packet) for packet in taken[::TURN]] == [2, 1, 2, 1]


def test_whoever_comes_back_at_once_does_not_always_go_first() -> None:
    queue = FairQueue()
    queue.add(transfer(1000), 0.0)
    queue.take(TURN, 0.0)
    seen = []
    for _ in range(6):
        queue.add(transfer(TURN, port=2), 0.0)
        seen += [port_of(packet) for packet in queue.take(TURN, 0.0)[::TURN]]

    assert seen == [2, 1, 2, 1, 2, 1]


def test_flows_of_ipv6_are_told_apart_too() -> None:
    queue = FairQueue()
    queue.add(transfer(1000, version=6), 0.0)
    queue.take(BATCH, 0.0)

    queue.add([ping(version=6)], 0.0)

    assert queue.take(1, 0.0)[0] == ping(version=6)


def test_what_is_too_short_for_addresses_waits_like_all_else() -> None:
    queue = FairQueue()
    queue.add([b"", b"\x45", b"\x60\0"], 0.0)

    assert sorted(queue.take(9, 0.0)) == [b"", b"\x45", b"\x60\0"]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 100)), max_size=20),
    st.integers(1, 200),
)
def test_nothing_is_lost_and_each_flow_keeps_its_order(
    arrivals: list[tuple[int, int]], count: int
) -> None:
    queue = FairQueue()
    added: list[bytes] = []
    taken: list[bytes] = []
    for port, number in arrivals:
        packets = transfer(number, port=port, first=len(added))
        added += packets
        queue.add(packets, 0.0)
        taken += queue.take(count, 0.0)
    while queue:
        taken += queue.take(count, 0.0)

    assert len(queue) == 0
    for port in range(4):
        assert of(port, taken) == of(port, added)


def test_a_batch_is_as_large_as_was_asked_or_a_turn_larger() -> None:
    queue = FairQueue()
    queue.add(transfer(1000), 0.0)

    assert BATCH <= len(queue.take(BATCH, 0.0)) < BATCH + TURN
    assert len(queue.take(1, 0.0)) == TURN


def test_where_a_queue_stands_the_longest_line_loses_its_first_packet() -> None:
    queue = FairQueue()
    queue.add(transfer(500), 0.0)
    queue.add([ping()], 0.0)
    late = TARGET * 2

    assert len(queue.take(1, late)) == TURN
    assert queue.dropped == 0
    assert queue.take(1, late + INTERVAL * 1.1) == [ping()]

    assert queue.dropped == 1
    assert len(queue) == 500 - TURN - 1


def test_a_queue_that_was_empty_in_between_loses_nothing() -> None:
    queue = FairQueue()
    now = 0.0
    for _ in range(20):
        queue.add(transfer(100), now)
        queue.take(1, now + TARGET * 2)
        queue.take(1000, now + TARGET * 3)
        now += INTERVAL / 2

    assert queue.dropped == 0


def test_an_idle_queue_keeps_no_flows() -> None:
    queue = FairQueue()
    for port in range(1000):
        queue.add([ping(port=port)], 0.0)
        queue.take(1, 0.0)
    queue.take(1, 0.0)

    assert len(queue._lines) <= 2


def transfer(
    count: int, *, port: int = 1, first: int = 0, version: int = 4
) -> list[bytes]:
    return [
        packet(port, n.to_bytes(4, "big"), version) for n in range(first, first + count)
    ]


def ping(*, port: int = 99, version: int = 4) -> bytes:
    return packet(port, b"ping", version)


def packet(port: int, payload: bytes, version: int = 4) -> bytes:
    if version == 6:
        return b"\x60" + bytes(39) + port.to_bytes(4, "big") + payload
    return b"\x45" + bytes(19) + port.to_bytes(4, "big") + payload


def port_of(packet: bytes) -> int:
    return int.from_bytes(packet[20:24], "big")


def of(port: int, packets: list[bytes]) -> list[bytes]:
    return [packet for packet in packets if port_of(packet) == port]
