"""What a router tells its peers of the networks behind it, from node to node.

An attribute of its checks that a receiver may ignore carries it. It is about those of
its networks that are dead, as far as the router itself can see, and about all of them
when it is about to stop, so that nobody is in the middle who would have to be there::

    number (4 bytes)  flags (1)  reserved (1)  dead networks (4 each)

The number is the time of the last change, in milliseconds modulo its size: what was
overtaken on its way is known by that. A network is named by a digest of its text.
"""

import struct
from collections.abc import Iterable
from hashlib import blake2s
from typing import NamedTuple, Self

_HEADER = struct.Struct("!IBx")
_LEAVES = 1
_TAG_LENGTH = 4
NUMBERS = 1 << 32
MAX_DEAD = 64
"""Networks that one report names: a node offers no more."""


class RouteReport(NamedTuple):
    """What one router says of the networks behind it."""

    number: int
    leaves: bool = False
    """It stops in a moment: nothing may be sent to any of its networks."""
    dead: tuple[bytes, ...] = ()
    """Tags of the networks that it does not reach itself."""

    @classmethod
    def of(cls, changed_at: float, networks: Iterable[str], *, leaves: bool) -> Self:
        """Return the report of these dead networks.

        :param changed_at: Unix time of the last change.
        """
        dead = tuple(tag_of(each) for each in networks)[:MAX_DEAD]
        return cls(int(changed_at * 1000) % NUMBERS, leaves, dead)

    @classmethod
    def parse(cls, value: bytes | None) -> Self | None:
        """Return the report in an attribute; later versions may add flags."""
        if value is None or len(value) < _HEADER.size:
            return None
        number, flags = _HEADER.unpack_from(value)
        rest = value[_HEADER.size :][: MAX_DEAD * _TAG_LENGTH]
        tags = tuple(
            rest[start : start + _TAG_LENGTH]
            for start in range(0, len(rest) // _TAG_LENGTH * _TAG_LENGTH, _TAG_LENGTH)
        )
        return cls(number, bool(flags & _LEAVES), tags)

    def pack(self) -> bytes:
        """Return the value of the attribute."""
        return _HEADER.pack(self.number, _LEAVES * self.leaves) + b"".join(self.dead)

    def reaches(self, network: str) -> bool:
        """Tell whether packets to a network arrive there, as far as this says."""
        return not self.leaves and tag_of(network) not in self.dead

    def is_older(self, other: "RouteReport") -> bool:
        """Tell whether another report was made later (RFC 1982)."""
        return 0 < (other.number - self.number) % NUMBERS < NUMBERS // 2


def tag_of(network: str) -> bytes:
    """Return the name of a network, given in its usual form."""
    return blake2s(network.encode(), digest_size=_TAG_LENGTH).digest()
