"""Round trips to relays."""

import random

from hypothesis import given
from hypothesis import strategies as st

from meshwg.relay.prober import EVERY, Prober
from meshwg.transmit import Endpoint
from meshwg.wire.stun import binding_response

ONE, TWO = Endpoint("198.51.100.1", 3478), Endpoint("198.51.100.2", 3478)
MAPPED = Endpoint("203.0.113.1", 1111)


def test_every_server_is_asked_at_once_and_then_now_and_then() -> None:
    prober = make_prober()

    assert [t.destination for t in prober.datagrams_to_send()] == [ONE, TWO]


def test_a_server_that_answers_is_left_alone_for_a_while() -> None:
    prober = make_prober()
    one = prober.datagrams_to_send()[0].datagrams[0]

    assert prober.receive(response_to(one), ONE, 0.05) == ONE

    assert prober.round_trip(ONE) == 0.05
    prober.watch([ONE], 1.0)
    assert prober.get_timer() == 0.05 + EVERY


def test_a_lost_request_is_repeated_and_timed_separately() -> None:
    prober = make_prober()
    prober.datagrams_to_send()
    prober.handle_timer(0.2)
    again = prober.datagrams_to_send()[0].datagrams[0]

    prober.receive(response_to(again), ONE, 0.23)

    round_trip = prober.round_trip(ONE)
    assert round_trip is not None
    assert round(round_trip, 6) == 0.03


def test_a_silent_server_has_no_round_trip_time() -> None:
    prober = make_prober()
    first = prober.datagrams_to_send()[0].datagrams[0]
    prober.receive(response_to(first), ONE, 0.05)
    prober.watch([ONE], 0.05)
    times: list[float] = []
    while prober.round_trip(ONE) is not None:
        due = prober.get_timer()
        assert due is not None
        prober.handle_timer(due)
        times.append(round(due - EVERY - 0.05, 6))

    assert times == [0.0, 0.2, 0.6, 1.4]
    assert len(prober.datagrams_to_send()) == 3


def test_measurements_are_smoothed() -> None:
    prober = make_prober()
    now = 0.0
    for round_trip in (0.1, 0.2):
        prober.probe(now)
        [request] = [
            t.datagrams[0] for t in prober.datagrams_to_send() if t.destination == ONE
        ][-1:]
        prober.receive(response_to(request), ONE, now + round_trip)
        now += EVERY

    smoothed = prober.round_trip(ONE)
    assert smoothed is not None
    assert round(smoothed, 6) == 0.125


def test_an_answer_from_elsewhere_is_not_believed() -> None:
    prober = make_prober()
    request = prober.datagrams_to_send()[0].datagrams[0]

    assert prober.receive(response_to(request), TWO, 0.1) is None
    assert prober.round_trip(TWO) is None
    assert prober.claims(request[8:])


def test_servers_that_are_no_longer_watched_are_forgotten() -> None:
    prober = make_prober()
    request = prober.datagrams_to_send()[0].datagrams[0]

    prober.watch([TWO], 0.1)

    assert not prober.claims(request[8:])
    prober.watch([], 0.2)
    assert prober.get_timer() is None


@given(st.binary(max_size=60))
def test_garbage_is_not_an_answer(junk: bytes) -> None:
    prober = make_prober()

    assert prober.receive(junk, ONE, 0.1) is None


def make_prober() -> Prober:
    prober = Prober(random.Random(1).randbytes)
    prober.watch([ONE, TWO], 0.0)
    return prober


def response_to(request: bytes) -> bytes:
    return binding_response(request[8:], MAPPED)
