"""How much one sender may have: token buckets, shares of time, and what counts as one
sender."""

from collections import OrderedDict
from collections.abc import Hashable
from ipaddress import IPv6Address


class TokenBucket:
    """A burst of tokens at once, and then so many a second.

    :param rate: tokens that come in a second.
    :param burst: tokens that it holds at first, and at most.
    :param interval: seconds in which no tokens come until they all come at its end; by
        default they trickle in.
    """

    __slots__ = ("_burst", "_interval", "_level", "_rate", "_updated")

    def __init__(
        self, rate: float, burst: float, now: float, interval: float = 0.0
    ) -> None:
        self._rate, self._burst, self._interval = rate, burst, interval
        self._level, self._updated = burst, now

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take tokens if there is at least one, and return whether there was.

        The last one may be overdrawn, so that an amount above the burst passes once in
        a while instead of never; and an amount of 0 only asks.
        """
        elapsed = now - self._updated
        if self._interval:
            elapsed -= elapsed % self._interval
        self._level = min(self._level + elapsed * self._rate, self._burst)
        self._updated += elapsed
        if self._level < 1:
            return False
        self._level -= amount
        return True


class TimeShare:
    """A burst of time at once, and then a part of all time.

    :param part: of each second.
    :param burst: seconds that it holds at first, and at most.
    """

    __slots__ = ("_burst", "_level", "_part", "_updated")

    def __init__(self, part: float, burst: float, now: float) -> None:
        self._part, self._burst = part, burst
        self._level, self._updated = burst, now

    def spend(self, seconds: float, now: float) -> float:
        """Take time, and return for how many seconds none is left after that."""
        grown = self._level + (now - self._updated) * self._part
        self._level, self._updated = min(grown, self._burst) - seconds, now
        return max(0.0, -self._level / self._part)


class RateLimiter:
    """One token bucket for each key, in bounded memory.

    The least recently used key is forgotten first and then starts with a full bucket,
    so a sender that makes up keys does not shut others out.

    :param max_keys: how many keys are remembered.

    The other parameters are those of :class:`TokenBucket`.
    """

    __slots__ = ("_buckets", "_burst", "_interval", "_max_keys", "_rate")

    def __init__(
        self, rate: float, burst: float, *, max_keys: int, interval: float = 0.0
    ) -> None:
        self._rate, self._burst, self._interval = rate, burst, interval
        self._max_keys = max_keys
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        """How many keys are remembered right now."""
        return len(self._buckets)

    def take(self, key: Hashable, now: float, amount: float = 1.0) -> bool:
        """Take tokens of a key as :meth:`TokenBucket.take` does."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._max_keys:
                self._buckets.popitem(last=False)
            bucket = TokenBucket(self._rate, self._burst, now, self._interval)
            self._buckets[key] = bucket
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now, amount)


def site_of(host: str) -> str:
    """Return what stands for everything that one subscriber can send from.

    An IPv4 address, also a mapped one, stands for itself, and an IPv6 address for its
    /64 in whatever zone. Anything else stands for itself.
    """
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped
    return address.packed[:8].hex() if mapped is None else str(mapped)


def network_of(host: str) -> str:
    """Return what stands for everything that one provider gives to one customer.

    As :func:`site_of`, but an IPv6 address stands for its /48.
    """
    site = site_of(host)
    is_ipv6 = ":" in host and ":" not in site and "." not in site
    return site[:12] if is_ipv6 else site
