"""What a bystander sees of a WireGuard tunnel: ciphertext and nothing else."""

import socket
from collections import Counter

from netlab.capture import Capture, Datagram, parse_datagram
from netlab.errors import ScenarioFailed
from netlab.wireguard import Tunnel, message_type

SECRET = b"this sentence must never be seen on the wire"
PATIENCE = 10.0
"""Seconds after which a datagram counts as lost."""


def deliver(sender: Tunnel, receiver: Tunnel, count: int) -> None:
    """Send the secret through the tunnel, and compare what arrives."""
    source = sender.host.udp_socket(sender.ip)
    target = receiver.host.udp_socket(receiver.ip)
    target.settimeout(PATIENCE)
    for number in range(count):
        message = b"%d: %b" % (number, SECRET)
        source.sendto(message, target.getsockname())
        received = _receive(target, f"datagram {number} of {count}")
        if received != message:
            raise ScenarioFailed(f"{received!r} arrived instead of {message!r}.")


def check_wire(capture: Capture, ends: set[str]) -> "Counter[int]":
    """Check that a capture has nothing but one tunnel's messages, and count them.

    :param ends: the addresses of the tunnel's ends, as seen there.
    :raises ScenarioFailed: if there is anything else, or not every type of message.
    """
    seen: Counter[int] = Counter()
    for frame in capture.packets():
        if SECRET in frame:
            raise ScenarioFailed(f"The secret is in the clear in {capture.path}.")
        datagram = parse_datagram(frame)
        if datagram is not None:
            seen[_message_between(datagram, ends, capture)] += 1
    missing = {1, 2, 4} - set(seen)
    if missing:
        raise ScenarioFailed(
            f"{capture.path} has no messages of the types {sorted(missing)}."
        )
    return seen


def _message_between(datagram: Datagram, ends: set[str], capture: Capture) -> int:
    kind = message_type(datagram.payload)
    if not {datagram.source[0], datagram.destination[0]} <= ends or kind is None:
        raise ScenarioFailed(
            f"{capture.path} has a datagram from {datagram.source} to "
            f"{datagram.destination} that is no WireGuard message of this tunnel."
        )
    return kind


def _receive(target: socket.socket, what: str) -> bytes:
    try:
        return target.recv(2048)
    except TimeoutError:
        raise ScenarioFailed(f"{what} did not arrive.") from None
