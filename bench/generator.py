"""A packet generator: many WireGuard peers of one program, in one process.

The peers are engines of ours without interfaces. They shake hands with the program, and
from then on the work is the program's alone: what they send it has been sealed before,
and what it sends them is only counted. A window keeps a few bursts under way, so that
no queue overflows.
"""

import os
import resource
import select
import socket
import struct
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, ip_network
from pathlib import Path

from bench.programs import Program
from bench.twohosts import MTU, NETWORK, PORT, start
from meshwg.keys import PrivateKey
from meshwg.packet.ip import checksum, pseudo_sum, word_sum
from meshwg.runtime.udp import UdpSocket
from meshwg.transmit import Endpoint, Transmit
from meshwg.wireguard.device import Device
from netlab.errors import NotReady
from netlab.lab import Lab
from netlab.machine import Host
from netlab.process import Process

BURST = 44
"""Packets of one superpacket."""
WINDOW = 4 * BURST
"""Packets under way."""
STALL = 0.2
"""Seconds after which what is under way counts as lost."""
AT_ONCE = 16
"""Handshakes under way: more, and the program thinks that it is attacked."""
HANDSHAKES_WITHIN = 60.0
INSIDE = IPv4Address("10.99.0.1")
"""The program's own address; the peers have those from 10.128.0.1 on."""
FIRST_INSIDE = IPv4Address("10.128.0.1")
DISCARD = 9
PAYLOAD = MTU - 28
SPARE_DESCRIPTORS = 64

_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")


@dataclass(frozen=True, slots=True)
class Rate:
    """How much went through, and what it cost the program."""

    packets: float
    """Delivered in a second."""
    cpu: float
    """Microseconds of the program's CPU for each of them."""


class GeneratedPeer:
    """One peer: an engine and a socket of its own."""

    def __init__(self, host: Host, number: int) -> None:
        self.address = FIRST_INSIDE + number
        self.key = PrivateKey.generate(os.urandom)
        self.socket = host.call(lambda: UdpSocket.open(socket.AF_INET))
        self.device = Device(random=os.urandom, unix_time=_unix_time)
        self.device.set_private_key(self.key)
        self._packet = udp_packet(self.address, INSIDE)
        self._is_known = False

    def connect(self, public_key: bytes, endpoint: Endpoint) -> None:
        """Say where the program is, and whose its key is."""
        peer = self.device.add_peer(public_key)
        self.device.allowed_ips.insert(ip_network("0.0.0.0/0"), peer.lane)
        self.device.set_endpoint(peer, endpoint)
        self.device.up(time.monotonic())

    def shake_hands(self) -> None:
        """Begin a handshake; what waits for it goes to the discard port."""
        self.device.receive_packets([self._packet], time.monotonic())
        self._flush()

    def receive_handshake(self) -> None:
        """Answer what the program sent."""
        while (received := self.socket.receive()) is not None:
            self.device.receive_datagrams(*received, time.monotonic())
            self._is_known = True
        self._flush()

    def handle_timer(self) -> None:
        """Repeat a handshake that was not answered for a while."""
        now, due = time.monotonic(), self.device.get_timer()
        if due is not None and due <= now:
            self.device.handle_timer(now)
            self._flush()

    @property
    def is_known(self) -> bool:
        """Whether the program has answered."""
        return self._is_known

    def seal(self) -> list[Transmit]:
        """Return a burst that the program has not seen before."""
        self.device.receive_packets([self._packet] * BURST, time.monotonic())
        return self.device.datagrams_to_send()

    def _flush(self) -> None:
        for transmit in self.device.datagrams_to_send():
            self.socket.send(transmit)


class Crowd:
    """A program on one host, and its peers on another."""

    def __init__(self, lab: Lab, program: Program, count: int) -> None:
        switch = lab.add_switch("cable", NETWORK)
        self.host = lab.add_host("host", switch)
        self._elsewhere = lab.add_host("elsewhere", switch)
        self.process: Process = start(program, self.host)
        _allow_descriptors(count + SPARE_DESCRIPTORS)
        self.peers = [GeneratedPeer(self._elsewhere, n) for n in range(count)]
        self._configure()
        self._inside = self.host.call(lambda: UdpSocket.open(socket.AF_INET, DISCARD))
        self._poll = select.epoll()
        self._by_descriptor = {peer.socket.fileno(): peer for peer in self.peers}
        for descriptor in self._by_descriptor:
            self._poll.register(descriptor, select.EPOLLIN)
        self._shake_hands()

    def close(self) -> None:
        """Close all sockets."""
        self._poll.close()
        self._inside.close()
        for peer in self.peers:
            peer.socket.close()

    def inward(self, packets: int) -> Rate:
        """Send that many packets to the program, from all peers in turn."""
        bursts = packets // BURST
        peers = self.peers
        sealed = [
            (peer.socket, transmit)
            for number in range(bursts)
            for peer in (peers[number % len(peers)],)
            for transmit in peer.seal()
        ]
        sends = (partial(sock.send, transmit) for sock, transmit in sealed)
        return self._measure(sends, self._arrived_inside)

    def outward(self, packets: int) -> Rate:
        """Send that many packets through the program, to all peers in turn."""
        payload = bytes(PAYLOAD)
        transmits = [
            Transmit(Endpoint(str(peer.address), DISCARD), [payload] * BURST)
            for peer in self.peers
        ]
        sends = (
            partial(self._inside.send, transmits[number % len(transmits)])
            for number in range(packets // BURST)
        )
        return self._measure(sends, self._arrived_elsewhere)

    def _measure(
        self, sends: Iterator[Callable[[], bool]], arrived: Callable[[float], int]
    ) -> Rate:
        delivered = under_way = 0
        cpu, began = _cpu_seconds(self.process.pid), time.monotonic()
        ended = began
        for send in sends:
            send()
            under_way += BURST
            while under_way > WINDOW - BURST:
                found = arrived(STALL)
                delivered += found
                ended = time.monotonic()
                under_way = under_way - found if found else 0
        while found := arrived(STALL):
            delivered += found
            ended = time.monotonic()
        cpu = _cpu_seconds(self.process.pid) - cpu
        return Rate(delivered / (ended - began), cpu / max(1, delivered) * 1e6)

    def _arrived_inside(self, timeout: float) -> int:
        if not select.select([self._inside], [], [], timeout)[0]:
            return 0
        return _count(self._inside)

    def _arrived_elsewhere(self, timeout: float) -> int:
        ready = self._poll.poll(timeout)
        return sum(_count(self._by_descriptor[each].socket) for each, _ in ready)

    def _configure(self) -> None:
        key = PrivateKey.generate(os.urandom)
        lines = ["[Interface]", f"ListenPort = {PORT}"]
        lines.append(f"PrivateKey = {b64encode(key.private_bytes).decode()}")
        outside = self._elsewhere.address(4)
        for peer in self.peers:
            public = b64encode(peer.key.public_bytes).decode()
            lines += ["[Peer]", f"PublicKey = {public}"]
            lines.append(f"AllowedIPs = {peer.address}/32")
            lines.append(f"Endpoint = {outside}:{peer.socket.port}")
            peer.connect(key.public_bytes, Endpoint(self.host.address(4), PORT))
        path = self.host.write_file("wg0.conf", "\n".join(lines) + "\n")
        self.host.run(["wg", "setconf", "wg0", str(path)])
        self.host.run(["ip", "address", "add", f"{INSIDE}/32", "dev", "wg0"])
        self.host.run(["ip", "link", "set", "wg0", "mtu", str(MTU), "up"])
        self.host.run(["ip", "route", "add", "10.128.0.0/9", "dev", "wg0"])

    def _shake_hands(self) -> None:
        deadline = time.monotonic() + HANDSHAKES_WITHIN
        for first in range(0, len(self.peers), AT_ONCE):
            waiting = self.peers[first : first + AT_ONCE]
            for peer in waiting:
                peer.shake_hands()
            while not all(peer.is_known for peer in waiting):
                if time.monotonic() > deadline:
                    raise NotReady("The program does not answer handshakes.")
                for peer in waiting:
                    peer.handle_timer()
                for descriptor, _ in self._poll.poll(STALL):
                    self._by_descriptor[descriptor].receive_handshake()
        while self._arrived_inside(STALL):
            pass


@contextmanager
def crowd(program: Program, count: int) -> Iterator[Crowd]:
    """Bring up a program with that many peers, each with a session."""
    with Lab(title="bench generator") as lab:
        made = Crowd(lab, program, count)
        try:
            yield made
        finally:
            made.close()


def udp_packet(source: IPv4Address, destination: IPv4Address) -> bytes:
    """Return a packet of full length to the discard port."""
    length = _UDP.size + PAYLOAD
    ends = source.packed, destination.packed
    fields = (0x45, 0, _IP.size + length, 0, 0x4000, 64, socket.IPPROTO_UDP)
    header = _IP.pack(*fields, 0, *ends)
    header = _IP.pack(*fields, checksum(word_sum(header)), *ends)
    datagram = _UDP.pack(DISCARD, DISCARD, length, 0) + bytes(PAYLOAD)
    total = pseudo_sum(header, socket.IPPROTO_UDP, length) + word_sum(datagram)
    ports_and_length, payload = datagram[:6], datagram[8:]
    found = checksum(total) or 0xFFFF
    return header + ports_and_length + found.to_bytes(2, "big") + payload


def _cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of the threads that a process has now, to the nanosecond.

    A short run is few of the ticks in which the kernel counts for whole processes.
    """
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def _count(sock: UdpSocket) -> int:
    """Return how many datagrams wait, and forget them."""
    found = 0
    while (received := sock.receive()) is not None:
        found += len(received[0])
    return found


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _unix_time(now: float) -> float:
    return now - time.monotonic() + time.time()
