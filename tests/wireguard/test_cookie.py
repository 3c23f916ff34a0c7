"""MACs and cookies: who made a message, and whether its sender reads its answers."""

import os

import pytest

from meshwg.transmit import Endpoint
from meshwg.wireguard.constants import COOKIE_LIFETIME, COOKIE_SECRET_TIME
from meshwg.wireguard.cookie import CookieChecker, CookieJar, hchacha20, mac

PUBLIC_KEY = bytes(range(32))
SOURCE = Endpoint("192.168.13.37", 4000)
MESSAGE = b"\x01\0\0\0" + b"\x07\0\0\0" + bytes(108)


def test_hchacha20_gives_the_vector_of_the_draft() -> None:
    # draft-irtf-cfrg-xchacha-03, section 2.2.1
    subkey = hchacha20(
        bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927")
    )
    assert subkey.hex() == (
        "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    )


def test_mac1_says_that_a_message_is_for_us() -> None:
    signed = CookieJar(PUBLIC_KEY).sign(MESSAGE, 0.0)
    assert len(signed) == len(MESSAGE) + 32
    assert signed[-16:] == bytes(16)
    assert CookieChecker(PUBLIC_KEY).check_mac1(signed)
    assert not CookieChecker(bytes(32)).check_mac1(signed)
    assert not CookieChecker(PUBLIC_KEY).check_mac1(b"\x02" + signed[1:])


def test_a_cookie_makes_mac2_valid_for_its_source_only() -> None:
    checker, jar = CookieChecker(PUBLIC_KEY), CookieJar(PUBLIC_KEY)
    assert exchange_cookie(checker, jar, now=0.0)
    signed = jar.sign(MESSAGE, 1.0)
    assert checker.check_mac2(signed, SOURCE, 1.0)
    for other in (
        Endpoint("192.168.13.38", 4000),
        Endpoint("192.168.13.37", 4001),
        Endpoint("2001:db8::1", 4000),
    ):
        assert not checker.check_mac2(signed, other, 1.0)
    assert not checker.check_mac2(signed[:5] + b"\x20" + signed[6:], SOURCE, 1.0)


def test_a_reply_is_addressed_to_the_sender_of_the_message() -> None:
    signed = CookieJar(PUBLIC_KEY).sign(MESSAGE, 0.0)
    reply = CookieChecker(PUBLIC_KEY).reply(signed, SOURCE, 0.0, os.urandom)
    assert len(reply) == 64
    assert reply[:8] == b"\x03\0\0\0\x07\0\0\0"


def test_a_cookie_is_used_for_less_time_than_its_maker_accepts_it() -> None:
    checker, jar = CookieChecker(PUBLIC_KEY), CookieJar(PUBLIC_KEY)
    assert exchange_cookie(checker, jar, now=0.0)
    assert jar.sign(MESSAGE, COOKIE_LIFETIME - 1)[-16:] != bytes(16)
    assert jar.sign(MESSAGE, COOKIE_LIFETIME)[-16:] == bytes(16)


def test_the_secret_behind_cookies_is_renewed() -> None:
    checker, jar = CookieChecker(PUBLIC_KEY), CookieJar(PUBLIC_KEY)
    assert exchange_cookie(checker, jar, now=0.0)
    signed = jar.sign(MESSAGE, 100.0)
    assert checker.check_mac2(signed, SOURCE, COOKIE_SECRET_TIME - 1)
    assert not checker.check_mac2(signed, SOURCE, COOKIE_SECRET_TIME)


def test_without_a_secret_no_cookie_is_valid() -> None:
    signed = CookieJar(PUBLIC_KEY).sign(MESSAGE, 0.0)
    forged = signed[:-16] + mac(b"", signed[:-16])
    assert not CookieChecker(PUBLIC_KEY).check_mac2(forged, SOURCE, 0.0)


@pytest.mark.parametrize("position", [8, 40, 63])
def test_a_changed_reply_is_refused_and_the_right_one_still_works(
    position: int,
) -> None:
    checker, jar = CookieChecker(PUBLIC_KEY), CookieJar(PUBLIC_KEY)
    signed = jar.sign(MESSAGE, 0.0)
    reply = bytearray(checker.reply(signed, SOURCE, 0.0, os.urandom))
    reply[position] ^= 1
    assert not jar.receive(bytes(reply), 0.0)
    reply[position] ^= 1
    assert jar.receive(bytes(reply), 0.0)


def test_a_reply_to_nothing_and_a_second_reply_are_refused() -> None:
    checker, jar = CookieChecker(PUBLIC_KEY), CookieJar(PUBLIC_KEY)
    other = CookieJar(PUBLIC_KEY).sign(MESSAGE, 0.0)
    reply = checker.reply(other, SOURCE, 0.0, os.urandom)
    assert not jar.receive(reply, 0.0)
    signed = jar.sign(MESSAGE, 0.0)
    reply = checker.reply(signed, SOURCE, 0.0, os.urandom)
    assert jar.receive(reply, 0.0)
    assert not jar.receive(reply, 0.0)


def test_link_local_sources_count_without_their_zone() -> None:
    checker, jar = CookieChecker(PUBLIC_KEY), CookieJar(PUBLIC_KEY)
    signed = jar.sign(MESSAGE, 0.0)
    with_zone = Endpoint("fe80::1%eth0", 4000)
    assert jar.receive(checker.reply(signed, with_zone, 0.0, os.urandom), 0.0)
    again = jar.sign(MESSAGE, 0.0)
    assert checker.check_mac2(again, Endpoint("fe80::1", 4000), 0.0)


def exchange_cookie(checker: CookieChecker, jar: CookieJar, now: float) -> bool:
    signed = jar.sign(MESSAGE, now)
    return jar.receive(checker.reply(signed, SOURCE, now, os.urandom), now)
