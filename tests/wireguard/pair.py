"""Two WireGuard devices in memory, in virtual time, with an eavesdropper between them.

``pair.run(until)`` delivers datagrams, jumps to the next timer, and so on. Every
datagram that was sent stays in ``pair.wire``, and a test can lose or change some.
"""

import random
import struct
from collections.abc import Callable
from ipaddress import ip_address, ip_network

from meshwg.keys import PrivateKey
from meshwg.transmit import Endpoint
from meshwg.wireguard.device import Device
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.peer import Peer

START = 1000.0
UNIX_START = 1_700_000_000.0

INITIATION, RESPONSE, COOKIE, DATA = 1, 2, 3, 4


class Side:
    """One device, its name for the other, and what it delivered."""

    def __init__(
        self, name: str, seed: int, address: str, host: str, *, roaming: bool = True
    ) -> None:
        self.name = name
        self.address = address
        self.endpoint = Endpoint(host, 51820)
        source = random.Random(seed)
        self.clock_error = 0.0
        self.device = Device(
            random=source.randbytes,
            unix_time=lambda now: UNIX_START - START + now + self.clock_error,
            roaming=roaming,
        )
        self.device.set_private_key(PrivateKey.generate(source.randbytes))
        self.received: list[bytes] = []

    @property
    def public_key(self) -> bytes:
        assert self.device.private_key is not None
        return self.device.private_key.public_bytes

    @property
    def peer(self) -> Peer:
        """The only peer of this side: the other one."""
        (peer,) = self.device.peers.values()
        return peer

    def put_under_load(self, now: float) -> None:
        """Let the device see more handshakes than it could answer."""
        assert self.device._admission is not None
        for _ in range(200):
            self.device._admission.load.handshake_arrived(now)

    @property
    def drops(self) -> dict[Drop, int]:
        return {reason: count for reason, count in self.device.drops.items() if count}


class Pair:
    """Alice knows where Bob is; Bob only knows who Alice is.

    :param roaming: whether Bob's engine finds out itself where Alice is.
    """

    fast_path = False
    """Whether packets and datagrams that come alone take the fast path."""

    def __init__(
        self,
        seed: int = 1,
        *,
        preshared_key: bytes | None = None,
        roaming: bool = True,
    ) -> None:
        self.now = START
        self.alice = Side("alice", seed, "10.0.0.1", "192.0.2.1")
        self.bob = Side("bob", seed + 1000, "10.0.0.2", "192.0.2.2", roaming=roaming)
        self.wire: list[tuple[float, Side, bytes]] = []
        self.lose: Callable[[Side, bytes], bool] = lambda _side, _datagram: False
        for side, other in ((self.alice, self.bob), (self.bob, self.alice)):
            peer = side.device.add_peer(other.public_key)
            network = ip_network(other.address)
            side.device.allowed_ips.insert(network, peer.lane)
            if preshared_key is not None:
                side.device.set_preshared_key(peer, preshared_key)
        self.alice.device.set_endpoint(self.alice.peer, self.bob.endpoint)
        self.alice.device.up(self.now)
        self.bob.device.up(self.now)

    def send(self, side: Side, *packets: bytes) -> None:
        """Let a side send packets to the other, and deliver all that follows."""
        sealed = None
        if self.fast_path and len(packets) == 1:
            sealed = side.device.seal_one(packets[0], self.now)
        if sealed is None:
            side.device.receive_packets(packets, self.now)
        else:
            self._carry_datagram(side, *sealed)
        self.deliver()

    def connect(self) -> None:
        """Let Alice send one packet, which makes a session."""
        self.send(self.alice, self.packet(self.alice, b"hello"))
        assert self.bob.received
        self.bob.received.clear()

    def packet(self, sender: Side, payload: bytes = b"") -> bytes:
        """Return an IPv4 packet from one side to the other."""
        return ipv4(sender.address, self.other(sender).address, payload)

    def other(self, side: Side) -> Side:
        return self.bob if side is self.alice else self.alice

    def deliver(self) -> None:
        """Carry datagrams back and forth until neither side sends any more."""
        while self._carry(self.alice) | self._carry(self.bob):
            pass
        for side in (self.alice, self.bob):
            side.device.settle()

    def _carry(self, side: Side) -> bool:
        carried = False
        for transmit in side.device.datagrams_to_send():
            carried = True
            for datagram in transmit.datagrams:
                self._carry_datagram(side, transmit.destination, datagram)
        side.received += side.device.packets_to_write()
        return carried

    def _carry_datagram(
        self, side: Side, destination: Endpoint, datagram: bytes
    ) -> None:
        other, packet = self.other(side), None
        self.wire.append((self.now, side, datagram))
        if self.lose(side, datagram) or destination[:2] != other.endpoint[:2]:
            return
        if self.fast_path:
            packet = other.device.open_one(datagram, side.endpoint, self.now)
        if packet is None:
            other.device.receive_datagrams([datagram], side.endpoint, self.now)
            other.received += other.device.packets_to_write()
        elif packet:
            other.received.append(packet)

    def run(self, until: float) -> None:
        """Let time pass, jumping from timer to timer."""
        self.deliver()
        while True:
            timers = [self.alice.device.get_timer(), self.bob.device.get_timer()]
            due = min((timer for timer in timers if timer is not None), default=until)
            self.now = max(self.now, min(due, until))
            for side in (self.alice, self.bob):
                side.device.handle_timer(self.now)
            self.deliver()
            if self.now >= until:
                return

    def sent(self, side: Side, kind: int, since: float = 0.0) -> list[float]:
        """Return when a side sent messages of a kind."""
        return [
            at
            for at, sender, datagram in self.wire
            if sender is side and datagram[0] == kind and at >= since
        ]


def ipv4(source: str, destination: str, payload: bytes = b"") -> bytes:
    """Return an IPv4 packet; its checksum is not what the engine looks at."""
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, 17, 0)
    addresses = b"".join(
        bytes(int(part) for part in address.split("."))
        for address in (source, destination)
    )
    return header + addresses + payload


def ipv6(source: str, destination: str, payload: bytes = b"") -> bytes:
    """Return an IPv6 packet."""
    header = struct.pack("!IHBB", 0x60000000, len(payload), 17, 64)
    return header + b"".join(map(_packed, (source, destination))) + payload


def _packed(address: str) -> bytes:
    return ip_address(address).packed


def flip(datagram: bytes, position: int) -> bytes:
    """Return the datagram with one bit changed."""
    changed = bytearray(datagram)
    changed[position] ^= 1
    return bytes(changed)
