"""What a bystander may see of a WireGuard tunnel: its outside, never its inside."""

import socket
from collections import Counter

from netlab.capture import Capture, Datagram, parse_datagram
from netlab.errors import ScenarioFailed
from netlab.wireguard import Tunnel, message_type

SECRET = b"this sentence must never be seen on the wire"
PATIENCE = 10.0
"""Seconds until a datagram that should arrive counts as lost."""


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
    """Check that a capture shows one tunnel's ciphertext and count its messages.

    :param ends: the addresses between which the tunnel may run, as seen there.
    :raises ScenarioFailed: if anything else was seen, or the tunnel was not.
    """
    seen: Counter[int] = Counter()
    for frame in capture.packets():
        if SECRET in frame:
            raise ScenarioFailed(f"The secret is in {capture.path}, in the clear.")
        datagram = parse_datagram(frame)
        if datagram is not None:
            seen[_message_between(datagram, ends, capture)] += 1
    missing = {1, 2, 4} - set(seen)
    if missing:
        raise ScenarioFailed(f"No messages of type {missing} are in {capture.path}.")
    return seen


def _message_between(datagram: Datagram, ends: set[str], capture: Capture) -> int:
    kind = message_type(datagram.payload)
    if not {datagram.source[0], datagram.destination[0]} <= ends or kind is None:
        raise ScenarioFailed(
            f"In {capture.path} is a datagram from {datagram.source} to "
            f"{datagram.destination} that is no WireGuard message of this tunnel."
        )
    return kind


def _receive(target: socket.socket, what: str) -> bytes:
    try:
        return target.recv(2048)
    except TimeoutError:
        raise ScenarioFailed(f"{what} did not arrive.") from None
