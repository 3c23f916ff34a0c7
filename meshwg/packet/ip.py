"""IP, TCP and UDP headers as the data plane sees them: offsets and checksums.

Checksums follow RFC 1071. The one's complement sum of 16-bit words equals the
big-endian number that those words form, modulo 65535, because 65536 leaves the
remainder 1; Python computes that faster than any loop. Sums are therefore plain
integers that may be added in any order and are reduced only when one is stored.
"""

from collections.abc import Callable

TCP = 6
UDP = 17

MAX_PACKET = 65535
IPV4_HEADER_LENGTH = 20
"""Without options."""
IPV6_HEADER_LENGTH = 40
MIN_TCP_HEADER_LENGTH = 20
UDP_HEADER_LENGTH = 8

TCP_FIN = 0x01
TCP_PSH = 0x08
TCP_ACK = 0x10
TCP_CWR = 0x80


def word_sum(data: bytes | bytearray) -> int:
    """Return the sum of the 16-bit words, an odd last byte padded, modulo 65535."""
    total = int.from_bytes(data, "big") % 65535
    return total * 256 % 65535 if len(data) & 1 else total


def checksum(total: int) -> int:
    """Return the checksum field that makes words of the sum ``total`` valid.

    Zero stands for the sum 65535 here, as in IPv4 and TCP. UDP writes
    ``checksum(…) or 65535``, since zero means "no checksum" there (RFC 768).
    """
    return -total % 65535


def pseudo_sum(packet: bytes | bytearray, protocol: int, length: int) -> int:
    """Return the sum of the pseudo-header (RFC 793 section 3.1, RFC 8200 section 8.1).

    :param packet: starts with an IPv4 or IPv6 header.
    :param length: of the transport header and its payload.
    """
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    return word_sum(addresses) + protocol + length


def payload_summer(length: int) -> Callable[[bytes], int]:
    """Return a faster :func:`word_sum`, without the last reduction, for one length.

    Dividing a large number is the most expensive step of :func:`word_sum`. Adding the
    number's upper half to its lower half first, twice, leaves a quarter to divide.
    """
    half = (length + 3) // 4 * 16
    quarter = (half // 16 + 1) // 2 * 16
    half_mask = (1 << half) - 1
    quarter_mask = (1 << quarter) - 1
    padding = 256 if length & 1 else 1
    from_bytes = int.from_bytes

    def payload_sum(payload: bytes) -> int:
        number = from_bytes(payload, "big")
        number = (number & half_mask) + (number >> half)
        return ((number & quarter_mask) + (number >> quarter)) % 65535 * padding

    return payload_sum
