"""Token buckets in bounded memory."""

from coordinator.turn.limits import TokenBuckets, site_of


def test_a_bucket_empties_and_fills_again() -> None:
    buckets = TokenBuckets(rate=2, burst=3)

    assert [buckets.take("a", 1, 0.0) for _ in range(4)] == [True, True, True, False]
    assert buckets.take("a", 1, 0.5)
    assert not buckets.take("a", 1, 0.5)


def test_a_bucket_never_holds_more_than_the_burst() -> None:
    buckets = TokenBuckets(rate=100, burst=2)
    buckets.take("a", 0, 0.0)

    assert [buckets.take("a", 1, 60.0) for _ in range(3)] == [True, True, False]


def test_keys_do_not_disturb_each_other() -> None:
    buckets = TokenBuckets(rate=1, burst=1)
    buckets.take("a", 1, 0.0)

    assert buckets.take("b", 1, 0.0)


def test_more_than_the_burst_passes_but_has_to_be_paid_back() -> None:
    buckets = TokenBuckets(rate=10, burst=10)

    assert buckets.take("a", 30, 0.0)
    assert not buckets.take("a", 1, 1.9)
    assert buckets.take("a", 1, 2.1)


def test_nothing_is_taken_by_asking_for_nothing() -> None:
    buckets = TokenBuckets(rate=1, burst=1)
    for _ in range(10):
        assert buckets.take("a", 0, 0.0)

    assert buckets.take("a", 1, 0.0)


def test_the_keys_used_least_recently_are_forgotten() -> None:
    buckets = TokenBuckets(rate=1, burst=1, max_keys=2)
    for key in "abac":
        buckets.take(key, 1, 0.0)

    assert not buckets.take("a", 1, 0.0)
    assert buckets.take("b", 1, 0.0)


def test_a_site_is_an_ipv4_address_or_an_ipv6_64() -> None:
    assert site_of("192.0.2.1") == "192.0.2.1"
    assert site_of("2001:db8::1") == site_of("2001:db8::ffff:1")
    assert site_of("2001:db8::1") != site_of("2001:db8:0:1::1")
    assert site_of("fe80::1%eth0") == site_of("fe80::2")
