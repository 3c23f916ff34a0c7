"""TAI64N timestamps: what keeps an initiation from being replayed."""

import struct

LENGTH = 12
# The precision of a timestamp is reduced, so that it tells little about the clock.
_WHITENING = 2**24
_EPOCH = 2**62 + 10
_STAMP = struct.Struct(">QI")


def stamp(unix_time: float) -> bytes:
    """Return the timestamp of a wall-clock time in seconds, rounded down to 1/60 s."""
    seconds, fraction = divmod(max(unix_time, 0.0), 1.0)
    nanoseconds = min(int(fraction * 1e9), 999_999_999)
    return _STAMP.pack(_EPOCH + int(seconds), nanoseconds // _WHITENING * _WHITENING)


def successor(timestamp: bytes) -> bytes:
    """Return the next timestamp that can be told apart from this one."""
    seconds, nanoseconds = _STAMP.unpack(timestamp)
    nanoseconds += _WHITENING
    if nanoseconds >= 1_000_000_000:
        return _STAMP.pack(seconds + 1, 0)
    return _STAMP.pack(seconds, nanoseconds)
