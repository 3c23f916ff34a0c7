"""Two servers show how a NAT maps TCP."""

import random

import pytest

from meshwg.nat.streamprobe import ANSWER_LIMIT, DEADLINE, GRACE, StreamProbe
from meshwg.nattypes import Mapping
from meshwg.transmit import Endpoint
from meshwg.wire import stun
from meshwg.wire.stun import Attribute, Class, Message, Method

NOW = 1000.0
SERVERS = (Endpoint("198.51.100.1", 443, -1), Endpoint("198.51.100.2", 443, -2))
ONE, OTHER = Endpoint("203.0.113.1", 5000), Endpoint("203.0.113.1", 5001)


def test_the_same_endpoint_for_both_servers_is_an_easy_nat() -> None:
    probe = make()
    answer(probe, -1, ONE)
    answer(probe, -2, ONE)

    assert probe.is_done(NOW)
    assert probe.result().mapping is Mapping.ENDPOINT_INDEPENDENT
    assert probe.result().public == ONE


def test_another_endpoint_for_each_server_is_a_hard_nat() -> None:
    probe = make()
    answer(probe, -1, ONE)
    answer(probe, -2, OTHER)

    assert probe.result().mapping is Mapping.ADDRESS_DEPENDENT


def test_an_own_address_means_that_there_is_no_nat() -> None:
    probe = make("203.0.113.1")
    answer(probe, -1, ONE)
    answer(probe, -2, ONE)

    assert probe.result().mapping is Mapping.NONE


def test_one_server_shows_the_endpoint_and_not_the_mapping() -> None:
    probe = make()
    answer(probe, -1, ONE)
    assert not probe.is_done(NOW)
    probe.closed(-2)

    assert probe.is_done(NOW)
    assert probe.result().mapping is Mapping.UNKNOWN
    assert probe.result().public == ONE


def test_the_first_answer_does_not_wait_long_for_the_second() -> None:
    probe = make()
    answer(probe, -1, ONE)

    assert not probe.is_done(NOW + GRACE - 0.1)
    assert probe.is_done(NOW + GRACE)


def test_silence_ends_in_time() -> None:
    probe = make()

    assert not probe.is_done(NOW + DEADLINE - 0.1)
    assert probe.is_done(NOW + DEADLINE)
    assert probe.result().public is None


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 400 Bad Request\r\n", b"\0" * 64, b"\1\1\xff\xfc" + b"x" * 40],
)
def test_what_is_not_stun_ends_the_question(data: bytes) -> None:
    probe = make()
    probe.receive(-1, data, NOW)
    probe.receive(-2, data, NOW)

    assert probe.is_done(NOW)
    assert probe.result().public is None


def test_an_answer_to_another_question_is_ignored() -> None:
    probe = make()
    message = Message(Method.BINDING, Class.SUCCESS, bytes(12))
    message.attributes[Attribute.XOR_MAPPED_ADDRESS] = ONE
    probe.receive(-1, stun.encode(message), NOW)

    assert probe.result().public is None


def test_a_long_answer_is_not_waited_for() -> None:
    probe = make()
    start = stun.encode(Message(Method.BINDING, Class.SUCCESS, bytes(12)))
    length = (ANSWER_LIMIT * 2).to_bytes(2)
    probe.receive(-1, start[:2] + length + start[4:], NOW)
    probe.closed(-2)

    assert probe.is_done(NOW)


def make(*addresses: str) -> StreamProbe:
    return StreamProbe(
        SERVERS, addresses=addresses, random=random.Random(1).randbytes, now=NOW
    )


def answer(probe: StreamProbe, link: int, mapped: Endpoint) -> None:
    request = stun.parse(probe.opened(link))
    message = Message(Method.BINDING, Class.SUCCESS, request.transaction_id)
    message.attributes[Attribute.XOR_MAPPED_ADDRESS] = mapped
    probe.receive(link, stun.encode(message), NOW)
