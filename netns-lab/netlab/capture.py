"""Captures: ``tcpdump`` on an interface of a machine, and a reader of its files."""

import re
import signal
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from netlab.errors import LabError, NotReady
from netlab.netns import Namespace
from netlab.process import POLL, Process

SETTLE_WITHIN = 10.0
"""Seconds that tcpdump has to catch up."""
BUFFER_KIB = 16384
"""The size of the kernel's capture buffer in KiB."""

# https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html
PCAP_HEADER = 24
PCAP_RECORD = struct.Struct("<IIII")
PCAP_MAGIC = 0xA1B2C3D4

ETHERNET_HEADER = 14
ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_IPV6 = 0x86DD
UDP = 17


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram as it crossed the wire; addresses are ``(host, port)``."""

    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes


class Capture:
    """A running ``tcpdump``, which captures from the moment this object is made.

    :param length: how many bytes are kept of each frame, 0 for all.
    :param limit: the number of frames after which it stops by itself.
    """

    def __init__(
        self,
        namespace: Namespace,
        interface: str,
        path: Path,
        filter: str = "",
        *,
        length: int = 0,
        limit: int | None = None,
    ) -> None:
        self.path = path
        options = [
            "-w",
            str(path),
            "-U",
            "-n",
            "-s",
            str(length),
            "-B",
            str(BUFFER_KIB),
        ]
        # Without -Z it would drop its privileges, and could not write to the directory.
        options += ["-Z", "root"]
        if limit is not None:
            options += ["-c", str(limit)]
        self._process = Process(
            namespace,
            ["tcpdump", "-i", interface, *options, *filter.split()],
            path.with_suffix(".log"),
        )
        self._process.wait_for_line("listening on")

    def packets(self) -> list[bytes]:
        """Return all frames that have crossed the interface so far."""
        self._settle()
        return list(read_pcap(self.path.read_bytes()))

    def datagrams(self) -> list[Datagram]:
        """Return the UDP datagrams among them; fragments are left out."""
        found = (parse_datagram(frame) for frame in self.packets())
        return [datagram for datagram in found if datagram is not None]

    def stop(self) -> None:
        """Stop capturing; what was captured can still be read."""
        if self._process.returncode is None:
            self._settle()
            self._process.stop()

    def _settle(self) -> None:
        """Wait until tcpdump has written all that the kernel has captured so far.

        The kernel delivers packets in blocks, after one second at the latest. While
        packets come there are always some that were not delivered yet.
        """
        deadline = time.monotonic() + SETTLE_WITHIN
        captured, received = self._progress()
        while self._process.returncode is None and captured < received:
            if time.monotonic() > deadline:
                raise NotReady(f"tcpdump does not catch up, see {self.path}.")
            time.sleep(POLL)
            captured, _ = self._progress()

    def _progress(self) -> tuple[int, int]:
        """Return how many packets tcpdump has written, and the kernel received."""
        if self._process.returncode is not None:
            return 0, 0
        seen = len(self._process.output())
        self._process.send_signal(signal.SIGUSR1)
        line = self._process.wait_for_line("dropped by kernel", after=seen)
        report = self._process.output()[seen:]
        dropped = _number_before("packets? dropped by kernel", line)
        if dropped:
            raise LabError(f"The capture {self.path} lost {dropped} packets.")
        captured = _number_before("packets? captured", report)
        return captured, _number_before("packets? received by filter", report)


def read_pcap(data: bytes) -> Iterator[bytes]:
    """Yield the frames of a capture file, except a last one that is incomplete."""
    magic = int.from_bytes(data[:4], "little")
    if magic != PCAP_MAGIC:
        raise ValueError(f"not a little-endian pcap file: {magic:#x}")
    offset = PCAP_HEADER
    while offset + PCAP_RECORD.size <= len(data):
        _, _, length, _ = PCAP_RECORD.unpack_from(data, offset)
        offset += PCAP_RECORD.size
        if offset + length <= len(data):
            yield data[offset : offset + length]
        offset += length


def parse_datagram(frame: bytes) -> Datagram | None:
    """Return the UDP datagram in an Ethernet frame, ``None`` if there is none."""
    ethertype = int.from_bytes(frame[12:14])
    packet = frame[ETHERNET_HEADER:]
    if ethertype == ETHERTYPE_IPV4 and len(packet) >= 20:
        fragmented = int.from_bytes(packet[6:8]) & ~0x4000
        header = (packet[0] & 0x0F) * 4
        protocol, source, destination = packet[9], packet[12:16], packet[16:20]
    elif ethertype == ETHERTYPE_IPV6 and len(packet) >= 40:
        fragmented, header = 0, 40
        protocol, source, destination = packet[6], packet[8:24], packet[24:40]
    else:
        return None
    if protocol != UDP or fragmented or len(packet) < header + 8:
        return None
    source_port, destination_port, length = struct.unpack_from("!HHH", packet, header)
    return Datagram(
        (str(ip_address(source)), source_port),
        (str(ip_address(destination)), destination_port),
        packet[header + 8 : header + length],
    )


def _number_before(what: str, text: str) -> int:
    match = re.search(rf"(\d+) {what}", text)
    return int(match.group(1)) if match else 0
