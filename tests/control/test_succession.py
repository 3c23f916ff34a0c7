"""A connection that may be dead: another is made beside it, and takes over."""

import pytest

from meshwg.control import events
from meshwg.control.backoff import CONTESTED_RETRY_MIN, RETRY_MIN
from meshwg.control.client import ControlState
from meshwg.control.succession import (
    HEAD_START,
    PROBE_TIMEOUT,
    REDIAL_INTERVAL,
    SUCCESSOR_RETRY,
    SUCCESSOR_TIMEOUT,
)
from meshwg.wire import control
from meshwg.wire.control import Error, ErrorCode, OfferMessage
from tests.control.link import CANDIDATE, OTHER_KEY, REGISTERED, Link

REPLACED = Error(code=ErrorCode.REPLACED, message="Elsewhere", fatal=True)


def test_a_change_of_network_asks_the_coordinator_whether_it_is_there() -> None:
    link = Link().joined()
    link.client.network_changed(link.now)
    (ping,) = link.messages()
    assert isinstance(ping, control.Ping)
    assert len(link.client.connections) == 1


def test_a_coordinator_that_answers_at_once_keeps_its_only_connection() -> None:
    link = Link().joined()
    number = link.number
    link.client.network_changed(link.now)
    answer(link)
    link.pass_time(PROBE_TIMEOUT + 1.0)
    assert link.client.state is ControlState.CONNECTED
    assert link.client.connections == (number,)


def test_one_that_does_not_answer_at_once_gets_a_second_connection() -> None:
    link = Link().joined()
    link.client.network_changed(link.now)
    link.pass_time(HEAD_START)
    assert len(link.client.connections) == 2
    assert link.client.state is ControlState.CONNECTED


def test_what_a_cluster_says_is_shown_on_a_connection_of_its_own() -> None:
    link = Link().joined()
    link.client.show_service_token("later", link.now, at_once=False)
    assert len(link.client.connections) == 1
    link.client.show_service_token("now", link.now, at_once=True)
    link.client.show_service_token("again", link.now, at_once=True)
    assert len(link.client.connections) == 2


def test_a_successor_takes_over_once_it_is_registered() -> None:
    link = Link().joined()
    first = link.number
    successor = doubted(link)
    link.shake_hands()
    assert first in link.client.connections
    link.hear(REGISTERED)
    assert set(link.client.connections) == {successor}
    assert link.client.state is ControlState.CONNECTED
    assert len(link.found(events.Accepted)) == 2
    assert link.found(events.Disconnected) == []


def test_the_first_connection_goes_on_if_its_successor_fails() -> None:
    link = Link().joined()
    first = link.number
    link.client.control_closed(doubted(link), "No route", link.now)
    assert link.client.connections == (first,)
    assert link.client.state is ControlState.CONNECTED
    assert link.client.error is None
    offer = OfferMessage(to=OTHER_KEY, sequence=1)
    link.messages()
    assert link.client.offer(offer, link.now)
    assert link.messages() == [offer]


def test_a_successor_that_failed_is_tried_again_while_the_doubt_lasts() -> None:
    link = Link().joined()
    failed = doubted(link)
    link.client.control_closed(failed, "No route", link.now)
    link.pass_time(SUCCESSOR_RETRY)
    assert link.number > failed
    assert len(link.client.connections) == 2


def test_a_successor_that_hangs_is_given_up_before_tcp_would_repeat_itself() -> None:
    link = Link().joined()
    hanging = doubted(link)
    link.pass_time(SUCCESSOR_TIMEOUT)
    assert hanging not in link.client.connections


def test_a_late_answer_of_the_first_connection_ends_the_succession() -> None:
    link = Link().joined()
    first = link.number
    link.client.network_changed(link.now)
    (ping,) = link.messages()
    assert isinstance(ping, control.Ping)
    link.pass_time(HEAD_START)
    assert link.number != first
    link.hear(control.Pong(id=ping.id))
    assert link.client.connections == (first,)


def test_what_was_on_its_way_before_the_change_proves_nothing() -> None:
    link = Link().joined()
    link.client.network_changed(link.now)
    link.hear_heartbeat()
    link.hear(control.Pong(id=1))
    link.pass_time(HEAD_START)
    assert len(link.client.connections) == 2


def test_a_dead_connection_leaves_its_place_to_the_one_that_is_being_made() -> None:
    link = Link().joined()
    successor = doubted(link)
    link.lose()
    assert link.client.connections == (successor,)
    assert link.client.state is ControlState.CONNECTING


def test_the_one_that_is_being_made_then_goes_on() -> None:
    link = Link().joined()
    doubted(link)
    link.lose()
    link.shake_hands()
    link.hear(REGISTERED)
    assert link.client.state is ControlState.CONNECTED


def test_a_connection_that_stays_silent_is_dead_after_a_few_seconds() -> None:
    link = Link().joined()
    first = link.number
    link.client.network_changed(link.now)
    link.pass_time(PROBE_TIMEOUT)
    assert first not in link.client.connections
    assert link.client.state is ControlState.CONNECTING


def test_to_be_replaced_by_its_own_successor_is_no_contest() -> None:
    link = Link().joined()
    successor = doubted(link)
    link.hear(REPLACED)
    assert link.client.connections == (successor,)
    link.shake_hands()
    link.hear(REGISTERED)
    assert link.client.state is ControlState.CONNECTED


def test_an_older_connection_that_comes_late_costs_no_long_wait() -> None:
    link = Link().joined()
    doubted(link)
    link.shake_hands()
    link.hear(REGISTERED)
    link.hear(REPLACED)
    assert link.wait() < CONTESTED_RETRY_MIN / 2


def test_a_change_of_network_gives_up_a_connection_that_is_being_dialled() -> None:
    link = Link()
    link.tick()
    numbers = [link.number]
    for pause in (0.0, 0.0, REDIAL_INTERVAL):
        link.pass_time(pause)
        link.client.network_changed(link.now)
        numbers += link.client.connections
    first, *others = numbers
    assert others == [first + 1, first + 1, first + 2], "not with every change"


def test_a_report_that_only_a_failed_successor_carried_is_sent_again() -> None:
    link = Link().joined()
    link.client.network_changed(link.now)
    link.client.report([CANDIDATE], None, link.now)
    link.pass_time(HEAD_START)
    successor = link.number
    link.client.control_opened(successor, link.now)
    link.client.control_closed(successor, "No route", link.now)
    link.pass_time(1.0)
    assert any(isinstance(each, control.Report) for each in link.messages())


def test_offers_that_a_dead_connection_was_given_are_sent_again_when_asked() -> None:
    link = Link().joined()
    link.client.network_changed(link.now)
    offer = OfferMessage(to=OTHER_KEY, sequence=1)
    assert link.client.offer(offer, link.now)
    succeed(link)
    link.client.repeat_offers(link.now)
    assert link.messages() == [offer]
    link.client.repeat_offers(link.now)
    assert link.messages() == []


def test_an_offer_of_the_new_connection_takes_the_place_of_the_lost_one() -> None:
    link = Link().joined()
    link.client.network_changed(link.now)
    link.client.offer(OfferMessage(to=OTHER_KEY, sequence=1), link.now)
    succeed(link)
    newer = OfferMessage(to=OTHER_KEY, sequence=2)
    link.client.offer(newer, link.now)
    link.client.repeat_offers(link.now)
    assert link.messages() == [newer]


def test_offers_that_the_answered_ping_followed_have_arrived() -> None:
    link = Link().joined()
    link.client.offer(OfferMessage(to=OTHER_KEY, sequence=1), link.now)
    link.messages()
    link.client.network_changed(link.now)
    answer(link)
    link.client.network_changed(link.now)
    succeed(link)
    link.client.repeat_offers(link.now)
    assert link.messages() == []


@pytest.mark.parametrize("code", [ErrorCode.NOT_A_MEMBER, ErrorCode.NODE_EXPIRED])
def test_a_node_that_was_removed_learns_it_from_the_successor_too(
    code: ErrorCode,
) -> None:
    link = Link().joined()
    doubted(link)
    link.shake_hands()
    link.hear(Error(code=code, message="Who?", fatal=True))
    assert link.client.state is ControlState.ENDED
    assert link.client.connections == ()


def test_an_attempt_that_is_hastened_comes_soon_but_not_at_once() -> None:
    link = Link()
    for _ in range(6):
        link.fail()
    link.client.hasten(link.now)
    assert 0.0 < link.wait() <= RETRY_MIN


def doubted(link: Link) -> int:
    """Let the network change and the coordinator be silent; return the successor."""
    link.client.network_changed(link.now)
    link.pass_time(HEAD_START)
    assert len(link.client.connections) == 2
    return link.number


def succeed(link: Link) -> None:
    """Let a successor take over from a connection that is in doubt."""
    link.pass_time(HEAD_START)
    link.shake_hands()
    link.hear(REGISTERED)
    link.messages()


def answer(link: Link) -> None:
    """Let the coordinator answer the last ping."""
    (ping,) = (each for each in link.messages() if isinstance(each, control.Ping))
    link.hear(control.Pong(id=ping.id))
