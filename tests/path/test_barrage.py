"""Shots are fired when they are due, and wait for room."""

from itertools import count

from meshwg.path.barrage import SHOTS_AT_ONCE, Barrage
from meshwg.path.room import PATIENCE, RoomWatch
from meshwg.path.volley import OPENER_TTL, Shot
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire import stun

TARGET = Endpoint("203.0.113.1", 1111)
SERVER = Endpoint("198.51.100.1", 3478)
STEPS = (2, 4)


def test_shots_are_fired_when_they_are_due() -> None:
    barrage = Barrage([shot(1.0, 1), shot(2.0, 2)])
    assert barrage.get_timer() == 1.0
    assert barrage.take_due(0.9) == []
    assert barrage.take_due(1.0) == [shot(1.0, 1)]
    assert barrage.get_timer() == 2.0
    assert barrage.take_due(9.0) == [shot(2.0, 2)]
    assert barrage.get_timer() is None


def test_a_late_timer_does_not_let_all_off_at_once() -> None:
    barrage = Barrage([shot(1.0, link) for link in range(100)])
    assert len(barrage.take_due(50.0)) == SHOTS_AT_ONCE


def test_what_follows_a_canary_waits_for_its_answer_and_keeps_its_distance() -> None:
    watch = watching()
    barrage = Barrage([shot(0.0, 1), shot(0.1, 2), shot(0.2, 3), shot(0.3, 4)], watch)
    assert barrage.take_due(0.0) == []
    answer(watch, 0.05)
    assert links(barrage.take_due(0.05)) == [1]
    assert barrage.take_due(0.1) == []
    assert links(barrage.take_due(0.2)) == [2]
    assert barrage.take_due(0.4) == []
    answer(watch, 0.4)
    assert links(barrage.take_due(0.4)) == []
    assert links(barrage.take_due(0.5)) == [3]
    assert barrage.delay > 0.2


def test_without_room_only_flows_that_found_some_are_used_again() -> None:
    watch = watching()
    shots = [shot(0.0, link) for link in range(1, 7)]
    barrage = Barrage(
        [*shots, *(shot(5.0, each.endpoint.link) for each in shots)], watch
    )
    answer(watch, 0.0)
    assert links(barrage.take_due(0.0)) == [1, 2]
    answer(watch, 0.0)
    assert links(barrage.take_due(0.0)) == [3, 4]
    answer(watch, 0.0, room=False)
    assert barrage.take_due(PATIENCE / 2) == []
    assert links(barrage.take_due(PATIENCE + 0.1)) == []
    assert watch.is_full
    assert links(barrage.take_due(9.0)) == [1, 2]


def test_a_flow_is_new_again_when_it_first_goes_all_the_way() -> None:
    watch = watching()
    opener = Shot(0.0, TARGET._replace(link=1), OPENER_TTL)
    barrage = Barrage([opener, shot(0.0, 1), shot(0.0, 1), shot(0.0, 2)], watch)
    answer(watch, 0.0)
    assert links(barrage.take_due(0.0)) == [1, 1, 1, 2]
    assert watch.waits, "two flows go all the way"


def shot(when: float, link: int) -> Shot:
    return Shot(when, TARGET._replace(link=link))


def links(shots: list[Shot]) -> list[int]:
    return [each.endpoint.link for each in shots]


def watching() -> RoomWatch:
    ids = count(1)
    links = range(100, 110)
    return RoomWatch(links, SERVER, lambda: next(ids).to_bytes(12), STEPS, 0.0)


def answer(watch: RoomWatch, now: float, *, room: bool = True) -> None:
    """Answer what is asked, without room only the socket that asked first."""
    asked: list[Transmit] = watch.datagrams_to_send(now)
    for request in asked:
        if room or request.destination.link == 100:
            transaction_id = stun.quick_binding(request.datagrams[0])
            assert transaction_id is not None
            message = stun.parse(stun.binding_response(transaction_id, SERVER))
            assert watch.receive(message, request.destination)
