"""Admission: what a handshake message has to show before it costs any work."""

import random

from meshwg.keys import PrivateKey
from meshwg.transmit import Endpoint
from meshwg.wireguard.admission import Admission
from meshwg.wireguard.cookie import CookieJar
from meshwg.wireguard.drop import Drop

NOW = 1000.0
SOURCE = Endpoint("192.0.2.1", 7)
KEY = PrivateKey.generate(random.Random(3).randbytes).public_bytes
OTHER_KEY = PrivateKey.generate(random.Random(4).randbytes).public_bytes


def test_a_message_for_this_key_is_let_in() -> None:
    assert admission().refusal(message(CookieJar(KEY)), SOURCE, NOW) is None


def test_a_message_for_another_key_is_not_even_counted_as_load() -> None:
    gate = admission()
    for _ in range(1000):
        refusal = gate.refusal(message(CookieJar(OTHER_KEY)), SOURCE, NOW)
        assert refusal is Drop.INVALID_MAC1
    assert gate.refusal(message(CookieJar(KEY)), SOURCE, NOW) is None


def test_under_load_a_message_is_answered_with_a_cookie_that_lets_it_in() -> None:
    gate, jar = loaded(), CookieJar(KEY)
    assert gate.refusal(message(jar), SOURCE, NOW) is Drop.UNDER_LOAD
    (reply,) = gate.take_replies()
    assert reply.destination == SOURCE
    assert gate.take_replies() == []
    assert jar.receive(reply.datagrams[0], NOW)
    assert gate.refusal(message(jar), SOURCE, NOW) is None


def test_a_cookie_is_valid_for_one_address_only() -> None:
    gate, jar = loaded(), CookieJar(KEY)
    gate.refusal(message(jar), SOURCE, NOW)
    jar.receive(gate.take_replies()[0].datagrams[0], NOW)
    elsewhere = SOURCE._replace(host="192.0.2.2")
    assert gate.refusal(message(jar), elsewhere, NOW) is Drop.UNDER_LOAD


def test_one_address_with_a_cookie_does_not_get_everything() -> None:
    gate, jar = loaded(), CookieJar(KEY)
    gate.refusal(message(jar), SOURCE, NOW)
    jar.receive(gate.take_replies()[0].datagrams[0], NOW)
    refusals = [gate.refusal(message(jar), SOURCE, NOW) for _ in range(20)]
    assert refusals[0] is None
    assert refusals[-1] is Drop.RATE_LIMITED


def admission() -> Admission:
    return Admission(KEY, random.Random(5).randbytes)


def loaded() -> Admission:
    """Return an admission that has seen a flood."""
    gate = admission()
    for _ in range(200):
        gate.load.handshake_arrived(NOW)
    return gate


def message(jar: CookieJar) -> bytes:
    """Return an initiation with valid MACs; its content is never looked at here."""
    return jar.sign(b"\1\0\0\0" + bytes(112), NOW)
