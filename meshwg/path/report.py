"""What a check and its answer say about the tunnel's messages on their way.

An attribute that a receiver may ignore carries it, in every check, and in the answers
to checks that had it::

    flags (1 byte)  initiations (1)  responses (1)  reserved (1)  bytes of data (4)

The numbers are what the sender of the check or answer received from the other node by
the way that it belongs to, modulo their size.
"""

import struct
from typing import NamedTuple

from meshwg.path.tally import Amount

_FORM = struct.Struct("!BBBxI")
_REFUSES, _IS_STRANGE = 1, 2
HANDSHAKES_MODULUS, DATA_MODULUS = 1 << 8, 1 << 32


class DeliveryReport(NamedTuple):
    """What one node says about one way from the other."""

    initiations: int
    responses: int
    data: int
    refuses: bool = False
    """It does not use the way, because that does not carry its own messages."""
    is_strange: bool = False
    """Data came that way under a session that it does not have."""

    @classmethod
    def of(
        cls, received: Amount, *, refuses: bool, is_strange: bool
    ) -> "DeliveryReport":
        """Return the report of what was received."""
        return cls(
            received.initiations % HANDSHAKES_MODULUS,
            received.responses % HANDSHAKES_MODULUS,
            received.data % DATA_MODULUS,
            refuses,
            is_strange,
        )

    @classmethod
    def parse(cls, value: bytes | None) -> "DeliveryReport | None":
        """Return the report in an attribute; later versions may add to it."""
        if value is None or len(value) < _FORM.size:
            return None
        flags, initiations, responses, data = _FORM.unpack_from(value)
        refuses, is_strange = bool(flags & _REFUSES), bool(flags & _IS_STRANGE)
        return cls(initiations, responses, data, refuses, is_strange)

    def pack(self) -> bytes:
        """Return the value of the attribute."""
        flags = _REFUSES * self.refuses | _IS_STRANGE * self.is_strange
        return _FORM.pack(flags, self.initiations, self.responses, self.data)
