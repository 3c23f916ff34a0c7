"""IP packets of the systems that nodes run on, as few kinds as tests need."""

from ipaddress import ip_address

from meshwg.packet.ip import checksum, word_sum

ICMP, UDP = 1, 17
ECHO_REPLY, ECHO_REQUEST = 0, 8


def udp_packet(source: str, destination: str, payload: bytes) -> bytes:
    """Return an IPv4 packet with a payload; nobody looks at the rest of it."""
    length = (20 + len(payload)).to_bytes(2)
    header = b"\x45\0" + length + bytes(5) + b"\x11\0\0"
    ends = ip_address(source).packed + ip_address(destination).packed
    return header + ends + payload


def datagram_packet(
    source: str, source_port: int, destination: str, port: int, datagram: bytes
) -> bytes:
    """Return an IPv4 packet with a UDP header, whose checksum is left out."""
    ports = source_port.to_bytes(2) + port.to_bytes(2)
    return udp_packet(source, destination, ports + bytes(4) + datagram)


def addresses_of(packet: bytes) -> tuple[str, str]:
    """Return source and destination of an IPv4 packet."""
    return str(ip_address(packet[12:16])), str(ip_address(packet[16:20]))


def is_echo_request(packet: bytes) -> bool:
    if len(packet) < 28 or packet[9] != ICMP:
        return False
    return packet[20] == ECHO_REQUEST


def echo_reply(request: bytes) -> bytes:
    """Return what a system answers to an echo request."""
    echo = bytes([ECHO_REPLY, 0, 0, 0]) + request[24:]
    echo = echo[:2] + checksum(word_sum(echo)).to_bytes(2) + echo[4:]
    return request[:12] + request[16:20] + request[12:16] + echo
