"""The words for NATs that all parts share: mapping, filtering, port allocation.

The values of the enums are what messages, ``meshwg netcheck`` and ``meshwg status``
carry.
"""

from enum import Enum


class Mapping(Enum):
    """When a socket's public endpoint changes (RFC 4787 section 4.1).

    From the mildest to the strictest.
    """

    NONE = "none"
    """There is no NAT: the public endpoint is the local one."""
    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    UNKNOWN = "unknown"


class Filtering(Enum):
    """Whose datagrams pass to a socket (RFC 4787 section 5), mildest first."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    """Everyone's."""
    ADDRESS_DEPENDENT = "address-dependent"
    """Those of addresses that the socket has sent to."""
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    """Those of endpoints that the socket has sent to."""
    UNKNOWN = "unknown"


class PortAllocation(Enum):
    """How a NAT chooses the public port of a new mapping (RFC 4787 section 4.2)."""

    PRESERVING = "preserving"
    SEQUENTIAL = "sequential"
    RANDOM = "random"
    UNKNOWN = "unknown"


class NatType(Enum):
    """The classic names (RFC 3489 section 5)."""

    OPEN_INTERNET = "open-internet"
    FULL_CONE = "full-cone"
    RESTRICTED_CONE = "restricted-cone"
    PORT_RESTRICTED_CONE = "port-restricted-cone"
    SYMMETRIC = "symmetric"
    SYMMETRIC_UDP_FIREWALL = "symmetric-udp-firewall"
    UDP_BLOCKED = "udp-blocked"
    UNKNOWN = "unknown"


class Difficulty(Enum):
    """What a NAT is to those who look for a direct path."""

    NONE = "none"
    """There is no NAT, though perhaps a firewall."""
    EASY = "easy"
    """A socket has one public port for everyone."""
    HARD = "hard"
    """A socket has another public port for each host or peer."""
    UNKNOWN = "unknown"
