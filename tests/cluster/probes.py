"""What is sent between the pods of a cluster, and what is seen of it where."""

import json
import signal
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from netlab.capture import Capture
from netlab.machine import Host
from netlab.pings import unanswered

SECRET = b"this sentence must never be seen outside of the nodes"
DATAGRAMS = 20
PATIENCE = 10.0
"""Seconds after which a datagram counts as lost."""
INTERVAL = 0.05
"""Seconds from one ping to the next."""
UNDER_WAY = 40
"""Pings that may have been on the way when their sender was stopped."""


@dataclass(frozen=True, slots=True)
class Beats:
    """What came of a row of pings."""

    sent: int
    lost: int
    longest: float
    """Seconds of the longest time without an answer."""

    def __str__(self) -> str:
        return f"{self.lost} of {self.sent} lost, {self.longest:.2f} s at a stretch"


class Heartbeat:
    """Pings from one host to an address while the ``with`` block runs."""

    def __init__(self, sender: Host, address: str) -> None:
        self._sender, self._address = sender, address

    def __enter__(self) -> "Heartbeat":
        command = ["ping", "-n", "-i", str(INTERVAL), self._address]
        self._process = self._sender.popen(command)
        self._process.wait_for_line("bytes from")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=PATIENCE)

    @property
    def beats(self) -> Beats:
        """The outcome, once the block has ended."""
        lost, sent = unanswered(self._process.output(), UNDER_WAY)
        return Beats(sent, len(lost), longest_run(lost) * INTERVAL)


def longest_run(numbers: Iterable[int]) -> int:
    """Return how many numbers follow each other without a gap, at most."""
    longest = run = 0
    before = None
    for number in numbers:
        run = run + 1 if before is not None and number == before + 1 else 1
        longest, before = max(longest, run), number
    return longest


def deliver(sender: Host, source: str, receiver: Host, target: str) -> None:
    """Send the secret from one address to another; it must arrive from that address."""
    sending, receiving = sender.udp_socket(source), receiver.udp_socket(target)
    receiving.settimeout(PATIENCE)
    with sending, receiving:
        for _ in range(DATAGRAMS):
            sending.sendto(SECRET, receiving.getsockname()[:2])
            message, seen = receiving.recvfrom(2048)
            assert (message, seen[:2]) == (SECRET, sending.getsockname()[:2])


def fetch(pod: Host, url: str) -> bytes:
    """Return what a web server tells a pod."""

    def ask() -> bytes:
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            content: bytes = response.read()
        return content

    return pod.call(ask)


def assert_unseen(capture: Capture, networks: Iterable[str]) -> None:
    """Assert that a capture has neither the secret nor an address of these networks."""
    inside = [ip_network(each) for each in networks]
    for frame in capture.packets():
        assert SECRET not in frame, f"the secret is in {capture.path}"
        for address in map(ip_address, _addresses(frame)):
            assert not any(address in each for each in inside), (
                f"{address} is in {capture.path}"
            )


def mtu(host: Host, interface: str) -> int:
    """Return the length in bytes of the longest packet of an interface."""
    done = host.run(["ip", "-json", "link", "show", interface])
    found: int = json.loads(done.stdout)[0]["mtu"]
    return found


def _addresses(frame: bytes) -> list[bytes]:
    """Return source and destination of the IP packet in an Ethernet frame."""
    kind, packet = frame[12:14], frame[14:]
    if kind == b"\x08\x00":
        return [packet[12:16], packet[16:20]]
    if kind == b"\x86\xdd":
        return [packet[8:24], packet[24:40]]
    return []
