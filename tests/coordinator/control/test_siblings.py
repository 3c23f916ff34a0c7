"""Connections between coordinators: who may have one, and what goes over it."""

import os
import random

import pytest

from coordinator.control.siblings import (
    ANSWER_TIMEOUT,
    HEARTBEAT_INTERVAL,
    SILENCE,
    LinkState,
    SiblingLink,
)
from meshwg.keys import PrivateKey
from meshwg.wire import channel

KEY = PrivateKey.generate(random.Random(7).randbytes)
OFFER = b'{"type":"offer"}'


class Other:
    """What stands for the coordinator at the other end."""

    def __init__(self, link: SiblingLink, key: PrivateKey = KEY) -> None:
        link.opened(0.0)
        (initiation,) = link.frames_to_send()
        self.link = link
        self.seen, response, self.channel = channel.answer(
            key, initiation, random=os.urandom
        )
        link.receive_frame(response, 0.0)

    def said(self) -> list[bytes]:
        return [self.channel.open(frame) for frame in self.link.frames_to_send()]

    def say(self, payload: bytes, now: float) -> None:
        self.link.receive_frame(self.channel.seal(payload), now)


def test_both_ends_prove_the_key_of_the_mesh_and_the_process_is_named() -> None:
    link = made()
    other = Other(link)
    assert other.seen == KEY.public_bytes
    assert other.said() == [b"home-2"]
    assert not link.send(OFFER, 0.0)
    other.say(channel.HEARTBEAT, 1.0)
    assert link.state is LinkState.READY
    assert link.send(OFFER, 1.0)
    assert other.said() == [OFFER]


def test_offers_go_elsewhere_until_it_is_ready() -> None:
    link = made()
    assert not link.send(OFFER, 0.0)
    link.opened(0.0)
    assert not link.send(OFFER, 0.0)
    assert len(link.frames_to_send()) == 1


@pytest.mark.parametrize("frame", [b"", b"x" * 48, b"x" * 500])
def test_whoever_has_not_the_key_gets_nothing(frame: bytes) -> None:
    link = made()
    link.opened(0.0)
    link.frames_to_send()
    link.receive_frame(frame, 0.0)
    assert link.state is LinkState.DEAD
    assert not link.send(OFFER, 0.0)
    assert link.frames_to_send() == []
    assert link.get_timer() is None


def test_a_frame_that_is_not_authentic_ends_it() -> None:
    link = ready()[0]
    link.receive_frame(b"x" * 40, 2.0)
    assert link.state is LinkState.DEAD
    assert not link.send(OFFER, 2.0)


def test_it_says_that_it_lives_when_there_are_no_offers() -> None:
    link, other = ready()
    now = link.get_timer()
    assert now == HEARTBEAT_INTERVAL
    link.handle_timer(now)
    assert other.said() == [channel.HEARTBEAT]


def test_the_other_end_is_dead_when_it_is_not_heard_any_more() -> None:
    link, _ = ready()
    now = 0.0
    while link.state is LinkState.READY:
        at = link.get_timer()
        assert at is not None
        assert at > now
        now = at
        link.handle_timer(now)
    assert now == SILENCE


def test_an_answer_is_not_waited_for_without_end() -> None:
    for begin in (lambda _: None, lambda link: link.opened(0.0), Other):
        link = made()
        begin(link)
        assert link.get_timer() == ANSWER_TIMEOUT
        link.handle_timer(ANSWER_TIMEOUT)
        assert link.state is LinkState.DEAD


def made() -> SiblingLink:
    return SiblingLink(KEY, "home-2", now=0.0, random=os.urandom)


def ready() -> tuple[SiblingLink, Other]:
    link = made()
    other = Other(link)
    other.said()
    other.say(channel.HEARTBEAT, 0.0)
    return link, other
