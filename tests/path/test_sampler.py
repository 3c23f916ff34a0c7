"""Which ports a NAT gives out right now."""

import pytest

from meshwg.path.sampler import DURATION, Sampler
from meshwg.transmit import Endpoint
from meshwg.wire import stun
from meshwg.wire.stun import Class, Message, Method

SERVER = Endpoint("198.51.100.1", 3478)
LINKS = (7, 8, 9)
IDS = tuple(bytes([n] * 12) for n in LINKS)


def test_each_socket_asks_once_and_is_asked_for_again() -> None:
    sampler = new_sampler()
    assert [t.destination.link for t in sampler.datagrams_to_send(0.0)] == [7, 8, 9]
    assert sampler.datagrams_to_send(0.1) == []
    answer(sampler, 8, 5001)
    assert [t.destination.link for t in sampler.datagrams_to_send(0.2)] == [7, 9]


def test_the_last_port_and_the_step_are_the_result() -> None:
    sampler = new_sampler()
    for link, port in zip(LINKS, (5000, 5002, 5004), strict=True):
        assert answer(sampler, link, port)
    assert sampler.is_done(0.1)
    assert sampler.result(expected_delta=3) == (5004, 2)


def test_a_request_that_was_repeated_does_not_set_the_sequence_back() -> None:
    sampler = new_sampler()
    for link, port in zip(LINKS, (5002, 5000, 5001), strict=True):
        answer(sampler, link, port)
    assert sampler.result(expected_delta=1) == (5002, 1)


def test_a_falling_sequence_ends_at_its_lowest_port() -> None:
    sampler = new_sampler()
    for link, port in zip(LINKS, (5000, 4998, 4996), strict=True):
        answer(sampler, link, port)
    assert sampler.result(expected_delta=-2) == (4996, -2)


def test_one_answer_has_to_suffice_when_time_is_up() -> None:
    sampler = new_sampler()
    answer(sampler, 8, 5000)
    assert not sampler.is_done(DURATION - 0.01)
    assert sampler.is_done(DURATION)
    assert sampler.result(expected_delta=2) == (5000, 2)


def test_without_an_answer_there_is_no_result() -> None:
    assert new_sampler().result(expected_delta=1) is None


@pytest.mark.parametrize(
    ("source", "transaction_id"),
    [
        (SERVER._replace(link=8), IDS[0]),
        (SERVER._replace(link=7, port=1), IDS[0]),
        (SERVER._replace(link=7, host="198.18.0.1"), IDS[0]),
        (SERVER._replace(link=7), bytes(12)),
    ],
)
def test_only_the_server_answers(source: Endpoint, transaction_id: bytes) -> None:
    sampler = new_sampler()
    message = Message(Method.BINDING, Class.SUCCESS, transaction_id)
    assert not sampler.receive(message, source)


def test_an_error_is_an_answer_without_a_port() -> None:
    sampler = new_sampler()
    message = Message(Method.BINDING, Class.ERROR, IDS[0])
    assert sampler.receive(message, SERVER._replace(link=7))
    assert sampler.result(expected_delta=1) is None


def new_sampler() -> Sampler:
    return Sampler(LINKS, SERVER, IDS, 0.0)


def answer(sampler: Sampler, link: int, port: int) -> bool:
    data = stun.binding_response(IDS[link - 7], Endpoint("203.0.113.1", port))
    return sampler.receive(stun.parse(data), SERVER._replace(link=link))
