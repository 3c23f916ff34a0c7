"""Which of several coordinators is asked, and which next."""

import random
from dataclasses import replace

from meshwg.control import events
from meshwg.control.backoff import NEXT_TRY
from meshwg.control.client import ControlState
from meshwg.control.coordinators import CoordinatorUrls
from meshwg.wire import control
from meshwg.wire.control import MAX_COORDINATORS, CloseCode
from tests.control.link import REGISTERED, Link

A, B, C = "http://a:1", "https://b", "http://c:3/mesh"


def test_the_first_is_asked_until_it_fails() -> None:
    urls = coordinators(A, B, C)
    assert urls.of(1) == A
    assert urls.of(2) == A
    assert urls.of(1) == A


def test_all_are_tried_before_any_is_tried_again() -> None:
    for seed in range(20):
        urls = coordinators(A, B, C, seed=seed)
        tried = []
        for number in range(3):
            tried.append(urls.of(number))
            urls.failed(number)
        assert tried[0] == A
        assert sorted(tried) == [A, C, B]
        assert not urls.has_untried
        again = urls.of(3)
        assert again in tried
        assert urls.has_untried


def test_nodes_of_one_that_fails_spread_over_the_others() -> None:
    chosen = set()
    for seed in range(20):
        urls = coordinators(A, B, C, seed=seed)
        urls.of(1)
        urls.failed(1)
        chosen.add(urls.of(2))
    assert chosen == {B, C}


def test_one_that_works_is_kept_and_the_others_are_what_it_says() -> None:
    urls = coordinators(A)
    urls.of(1)
    assert urls.learn((B, C), 1)
    assert list(urls.all) == [A, B, C]
    assert not urls.learn((B, C), 1)
    urls.failed(1)
    other = urls.of(2)
    assert other in (B, C)
    assert urls.learn((A,), 2)
    assert list(urls.all) == [other, A]
    assert not urls.learn((A,), 2)


def test_one_that_names_no_others_takes_none_away() -> None:
    urls = coordinators(A, B)
    urls.of(1)
    assert not urls.learn((), 1)
    assert list(urls.all) == [A, B]


def test_what_is_no_url_is_left_out() -> None:
    urls = coordinators(A)
    urls.of(1)
    urls.learn(("ftp://x", "http://", "nonsense", "http://\x00", B), 1)
    assert list(urls.all) == [A, B]


def test_only_so_many_are_remembered() -> None:
    urls = coordinators(A)
    urls.of(1)
    urls.learn([f"http://h{number}" for number in range(100)], 1)
    assert len(urls.all) == MAX_COORDINATORS


def test_one_that_is_about_to_stop_is_left_within_its_time() -> None:
    for seed in range(20):
        urls = coordinators(A, B, C, seed=seed)
        urls.of(1)
        assert urls.leave(8.0, (C,), 100.0)
        assert urls.move_at is not None
        assert 100.0 <= urls.move_at < 108.0
        assert urls.of(2) == C


def test_without_another_nobody_leaves() -> None:
    urls = coordinators(A)
    urls.of(1)
    assert not urls.leave(8.0, (A, "nonsense"), 100.0)
    assert urls.move_at is None
    assert urls.of(2) == A


def test_without_any_url_the_owner_is_left_to_know() -> None:
    urls = coordinators()
    assert urls.of(1) == ""
    urls.failed(1)
    assert not urls.has_untried
    assert not urls.learn((), 1)
    assert list(urls.all) == []
    assert urls.learn((B,), 1)
    urls.failed(1)
    assert urls.of(2) == B


def coordinators(*known: str, seed: int = 1) -> CoordinatorUrls:
    return CoordinatorUrls(known, random.Random(seed).randbytes)


# The client.


def test_another_coordinator_is_tried_soon_after_one_has_failed() -> None:
    link = Link(urls=(A, B, C))
    tried = []
    for number in range(3):
        link.tick_until_connecting()
        tried.append(link.client.coordinators.of(link.number))
        link.client.control_closed(link.number, "No route", link.now)
        if number < 2:
            assert link.wait() <= NEXT_TRY
    assert sorted(tried) == sorted((A, B, C))
    assert link.wait() > NEXT_TRY / 2


def test_a_stranger_at_one_url_does_not_end_the_first_join() -> None:
    link = Link(urls=(A, B))
    for _ in range(2):
        assert link.client.state is not ControlState.ENDED
        link.tick_until_connecting()
        link.client.coordinators.of(link.number)
        link.client.control_opened(link.number, link.now)
        code = CloseCode.WRONG_KEY
        link.client.control_closed(link.number, "Wrong key", link.now, code)
    assert link.client.state is ControlState.ENDED


def test_what_a_coordinator_says_of_others_is_an_event_once() -> None:
    link = Link(urls=(A,))
    link.tick_until_connecting()
    link.client.coordinators.of(link.number)
    link.shake_hands()
    link.hear(replace(REGISTERED, coordinators=(B,)))
    assert link.found(events.CoordinatorsChanged) == [
        events.CoordinatorsChanged((A, B))
    ]
    assert link.client.coordinators.current == A
    link.lose()
    link.tick_until_connecting()
    assert link.client.coordinators.of(link.number) == B
    link.shake_hands()
    link.hear(replace(REGISTERED, coordinators=(A,)))
    assert link.found(events.CoordinatorsChanged)[-1] == events.CoordinatorsChanged(
        (B, A)
    )


def test_a_coordinator_that_stops_is_left_only_when_another_one_answers() -> None:
    link = Link(urls=(A,))
    link.tick_until_connecting()
    link.client.coordinators.of(link.number)
    link.shake_hands()
    link.hear(replace(REGISTERED, coordinators=(B,)))
    old = link.number
    link.hear(control.Elsewhere(within=4.0, coordinators=(B,)))
    link.pass_time(4.0)
    assert list(link.client.connections) == [old, link.number]
    assert link.client.coordinators.of(link.number) == B
    assert link.client.coordinators.of(old) == A
    assert link.client.state is ControlState.CONNECTED
    link.shake_hands()
    link.hear(REGISTERED)
    assert list(link.client.connections) == [link.number]
    assert not link.found(events.Disconnected)


def test_a_coordinator_that_stops_is_kept_while_the_other_does_not_answer() -> None:
    link = Link(urls=(A,))
    link.tick_until_connecting()
    link.client.coordinators.of(link.number)
    link.shake_hands()
    link.hear(REGISTERED)
    link.hear(control.Elsewhere(within=1.0, coordinators=(B,)))
    link.pass_time(1.0)
    link.client.coordinators.of(link.number)
    link.client.control_closed(link.number, "No route", link.now)
    assert link.client.state is ControlState.CONNECTED
    assert len(link.client.connections) == 1
