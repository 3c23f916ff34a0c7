"""Load, and the share of an address under it."""

from meshwg.limits import RateLimiter, site_of
from meshwg.transmit import Endpoint
from meshwg.wireguard.constants import UNDER_LOAD_TIME
from meshwg.wireguard.load import (
    BURST,
    MAX_SOURCES,
    PACKETS_PER_SECOND,
    QUEUE_THRESHOLD,
    SERVICE_RATE,
    LoadMeter,
    handshake_limiter,
)

SOURCE = Endpoint("192.0.2.1", 51820)
INTERVAL = 1 / PACKETS_PER_SECOND


def test_the_kernels_own_test_cases_hold() -> None:
    # Linux, drivers/net/wireguard/selftest/ratelimiter.c: (allowed, time before it)
    steps = [(True, 0.0)] * BURST + [
        (False, 0.0),
        (True, INTERVAL),
        (False, 0.0),
        (True, 2 * INTERVAL),
        (True, 0.0),
        (False, 0.0),
    ]
    limiter, now = handshake_limiter(), 100.0
    for number, (allowed, pause) in enumerate(steps):
        now += pause * 1.0001
        assert allow(limiter, SOURCE, now) is allowed, f"step {number}"


def test_addresses_have_their_own_shares_and_ports_do_not() -> None:
    limiter = handshake_limiter()
    assert all(allow(limiter, SOURCE, 0.0) for _ in range(BURST))
    assert not allow(limiter, Endpoint("192.0.2.1", 1), 0.0)
    assert allow(limiter, Endpoint("192.0.2.2", 51820), 0.0)


def test_an_ipv6_network_shares_one_allowance() -> None:
    limiter = handshake_limiter()
    for host in range(BURST):
        assert allow(limiter, Endpoint(f"2001:db8::{host}", 1), 0.0)
    assert not allow(limiter, Endpoint("2001:db8::ffff", 1), 0.0)
    assert allow(limiter, Endpoint("2001:db8:0:1::1", 1), 0.0)


def test_sources_are_remembered_within_bounds() -> None:
    limiter = handshake_limiter()
    for number in range(MAX_SOURCES + 100):
        allow(limiter, Endpoint(f"10.{number >> 8 & 255}.{number & 255}.1", 1), 0.0)
    assert len(limiter) == MAX_SOURCES


def test_a_burst_that_a_queue_would_hold_is_no_load() -> None:
    meter = LoadMeter()
    assert not any(meter.handshake_arrived(0.0) for _ in range(QUEUE_THRESHOLD))


def test_a_flood_is_load_until_a_second_after_it() -> None:
    meter = LoadMeter()
    for _ in range(QUEUE_THRESHOLD):
        meter.handshake_arrived(0.0)
    assert meter.handshake_arrived(0.0)
    assert meter.handshake_arrived(UNDER_LOAD_TIME - 0.01)
    assert not meter.handshake_arrived(UNDER_LOAD_TIME + 0.01)


def test_the_load_of_a_trickle_is_no_load() -> None:
    # 828 kbit/s of initiations once delayed every new handshake by five seconds.
    meter = LoadMeter()
    assert not any(meter.handshake_arrived(n / 700) for n in range(7000))


def test_a_rate_that_can_be_served_is_never_load() -> None:
    meter = LoadMeter()
    pause = 1.1 / SERVICE_RATE
    assert not any(meter.handshake_arrived(n * pause) for n in range(5000))


def allow(limiter: RateLimiter, source: Endpoint, now: float) -> bool:
    """Ask as a device does."""
    return limiter.take(site_of(source.host), now)
