"""Wrong tokens in a loop."""

from coordinator.administration.attempts import BURST, SILENCE, FailedAttempts

SOME = int(BURST)


def test_a_few_wrong_tokens_are_just_wrong() -> None:
    attempts = FailedAttempts()
    assert [attempts.note("192.0.2.1", "a", 0.0) for _ in range(SOME)] == [None] * SOME
    assert attempts.count == SOME


def test_more_from_one_address_are_too_many_whatever_they_try() -> None:
    attempts = FailedAttempts()
    for number in range(SOME):
        attempts.note("192.0.2.1", f"token {number}", 0.0)

    assert attempts.note("192.0.2.1", "another", 0.0) == ("from", "192.0.2.1")
    assert attempts.note("192.0.2.2", "another", 0.0) is None


def test_more_for_one_account_are_too_many_from_wherever_they_come() -> None:
    attempts = FailedAttempts()
    for number in range(SOME):
        attempts.note(f"192.0.2.{number}", "0123456789ab", 0.0)

    assert attempts.note("198.51.100.1", "0123456789ab", 0.0) == ("for", "0123456789ab")
    assert attempts.note("198.51.100.1", "another", 0.0) is None


def test_a_subscriber_has_one_share_for_all_of_his_ipv6_addresses() -> None:
    attempts = FailedAttempts()
    for number in range(SOME):
        attempts.note(f"2001:db8::{number:x}", f"{number}", 0.0)

    assert attempts.note("2001:db8::ffff", "another", 0.0) is not None
    assert attempts.note("2001:db8:1::1", "another", 0.0) is None


def test_after_a_while_some_are_just_wrong_again() -> None:
    attempts = FailedAttempts()
    for _ in range(SOME + 1):
        attempts.note("192.0.2.1", "a", 0.0)
    assert attempts.note("192.0.2.1", "b", 60.0) is None


def test_a_sender_is_news_once() -> None:
    attempts = FailedAttempts()
    one, other = ("from", "192.0.2.1"), ("from", "192.0.2.2")
    news = [attempts.is_news(one, now) for now in (0.0, 1.0, SILENCE + 1)]
    assert news == [True, False, True]
    assert attempts.is_news(other, 1.0)
