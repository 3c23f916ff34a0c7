"""Token buckets, limits per sender, and what counts as one sender."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.limits import RateLimiter, TimeShare, TokenBucket, network_of, site_of

# One bucket.


def test_a_bucket_allows_a_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=2.0, burst=5, now=0.0)
    assert [bucket.take(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.take(0.5)
    assert not bucket.take(0.6)


def test_a_bucket_does_not_fill_beyond_its_burst() -> None:
    bucket = TokenBucket(rate=100.0, burst=2, now=0.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False]


@given(st.lists(st.floats(0.0, 2.0), max_size=60))
def test_no_pattern_takes_more_than_burst_and_rate(gaps: list[float]) -> None:
    bucket, now, taken = TokenBucket(rate=3.0, burst=4, now=0.0), 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now)
    assert taken <= 4 + 3.0 * now + 1e-6


def test_tokens_may_arrive_only_at_the_end_of_an_interval() -> None:
    bucket = TokenBucket(rate=10, burst=10, now=5.0, interval=1.0)
    assert sum(bucket.take(5.0) for _ in range(50)) == 10
    assert not bucket.take(5.9)
    assert sum(bucket.take(6.0) for _ in range(50)) == 10
    assert sum(bucket.take(9.5) for _ in range(50)) == 10
    assert not bucket.take(9.9)
    assert bucket.take(10.0)


@given(st.lists(st.floats(0.0, 2.0), max_size=60))
def test_no_pattern_takes_more_than_the_burst_in_an_interval(gaps: list[float]) -> None:
    bucket, now = TokenBucket(rate=4.0, burst=4, now=0.0, interval=1.0), 0.0
    taken: dict[int, int] = {}
    for gap in gaps:
        now += round(gap * 64) / 64
        taken[int(now)] = taken.get(int(now), 0) + bucket.take(now)
    assert all(count <= 4 for count in taken.values())


# A share of the time.


def test_a_burst_of_time_is_free_and_then_only_a_part_is() -> None:
    share = TimeShare(part=0.25, burst=1.0, now=0.0)
    assert share.spend(1.0, 0.0) == 0.0
    assert share.spend(0.5, 0.0) == 2.0
    assert share.spend(0.0, 1.0) == 1.0
    assert share.spend(0.0, 2.0) == 0.0


def test_time_that_is_not_spent_does_not_pile_up() -> None:
    share = TimeShare(part=0.25, burst=1.0, now=0.0)
    assert share.spend(2.0, 1000.0) == 4.0


@given(st.lists(st.floats(0.0, 2.0), max_size=60))
def test_who_rests_as_told_has_its_part_in_the_end(spans: list[float]) -> None:
    share, now, spent = TimeShare(part=0.125, burst=1.0, now=0.0), 0.0, 0.0
    for seconds in spans:
        now += seconds
        spent += seconds
        now += share.spend(seconds, now)
    assert spent <= 1.0 + 0.125 * now + 1e-6


# A bucket for each key.


def test_a_bucket_drains_and_refills() -> None:
    limiter = RateLimiter(rate=2, burst=3, max_keys=10)
    assert [limiter.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert limiter.take("a", 0.5)
    assert not limiter.take("a", 0.5)


def test_a_bucket_never_holds_more_than_the_burst() -> None:
    limiter = RateLimiter(rate=100, burst=2, max_keys=10)
    limiter.take("a", 0.0, 0)
    assert [limiter.take("a", 60.0) for _ in range(3)] == [True, True, False]


def test_keys_do_not_disturb_each_other() -> None:
    limiter = RateLimiter(rate=1, burst=1, max_keys=10)
    limiter.take("a", 0.0)
    assert limiter.take("b", 0.0)


def test_more_than_the_burst_passes_but_is_a_debt() -> None:
    limiter = RateLimiter(rate=10, burst=10, max_keys=10)
    assert limiter.take("a", 0.0, 30)
    assert not limiter.take("a", 1.9)
    assert limiter.take("a", 2.1)


def test_nothing_is_taken_by_asking_for_nothing() -> None:
    limiter = RateLimiter(rate=1, burst=1, max_keys=10)
    for _ in range(10):
        assert limiter.take("a", 0.0, 0)
    assert limiter.take("a", 0.0)
    assert not limiter.take("a", 0.0, 0)


def test_the_keys_used_least_recently_are_forgotten() -> None:
    limiter = RateLimiter(rate=1, burst=1, max_keys=2)
    for key in "abac":
        limiter.take(key, 0.0)
    assert not limiter.take("a", 0.0)
    assert limiter.take("b", 0.0)


def test_invented_keys_take_bounded_memory_and_shut_no_node_out() -> None:
    limiter = RateLimiter(rate=1, burst=1, max_keys=100)
    assert all(limiter.take(number, 0.0) for number in range(1000))
    assert len(limiter) == 100


# Sites.


def test_a_site_is_an_ipv4_address_or_an_ipv6_64() -> None:
    assert site_of("192.0.2.1") == "192.0.2.1"
    assert site_of("2001:db8::1") == site_of("2001:db8::ffff:1")
    assert site_of("2001:db8::1") != site_of("2001:db8:0:1::1")
    assert site_of("fe80::1%eth0") == site_of("fe80::2")


def test_a_mapped_address_belongs_to_the_site_of_its_ipv4_address() -> None:
    assert site_of("::ffff:192.0.2.1") == site_of("::ffff:c000:201") == "192.0.2.1"
    assert site_of("::ffff:192.0.2.1") != site_of("::ffff:192.0.2.2")


@pytest.mark.parametrize("text", ["", "example.org", ":", "1::2::3", "fe80::1::%x"])
def test_an_invalid_address_is_a_site_of_its_own(text: str) -> None:
    assert site_of(text) == text


def test_a_network_is_an_ipv4_address_or_an_ipv6_48() -> None:
    assert network_of("192.0.2.1") == network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("2001:db8:5::1") == network_of("2001:db8:5:ffff::1%eth0")
    assert network_of("2001:db8:5::1") != network_of("2001:db8:6::1")
    assert network_of("") == ""


@given(st.text())
def test_any_text_has_a_site(text: str) -> None:
    assert site_of(text) == site_of(text)
    assert network_of(text) == network_of(text)
