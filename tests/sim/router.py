"""Routers of the simulated internet: they translate, filter, reboot and redial."""

from random import Random
from typing import TYPE_CHECKING

from tests.sim.nat import Firewall, Nat, StatefulFilter, Translation, WanInput
from tests.sim.realm import Packet, Realm, Wire
from tests.sim.tcp import Flag, Segment
from tests.sim.tcpnat import TcpTranslation

if TYPE_CHECKING:
    from tests.sim.network import Network

LAN = Wire(delay=0.0)
"""The inside of a router; hosts there have wires of their own."""


class Router:
    """A router between an outer realm and its own: it translates, filters, or both."""

    def __init__(
        self,
        network: "Network",
        name: str,
        addresses: tuple[str, ...],
        behind: "Router | None",
        nat: Nat | None,
        firewall: Firewall,
    ) -> None:
        self.network = network
        self.name = name
        self.outside = network.internet if behind is None else behind.inside
        self.inside: Realm = Realm(self)
        self.uplink = Wire()
        self.block_udp = False
        self.tcp_ports: frozenset[int] | None = None
        self.reboots = 0
        self.filter = StatefulFilter(firewall)
        self.translation = (
            None if nat is None else Translation(nat, addresses, network.random)
        )
        self.tcp_filter = StatefulFilter(firewall)
        self.tcp = (
            None
            if nat is None
            else TcpTranslation(nat.over_tcp(), addresses, Random(name))
        )
        for address in addresses:
            self.outside.attach(address, self)

    @property
    def addresses(self) -> list[str]:
        """Its public addresses, if it translates."""
        return [] if self.translation is None else self.translation.addresses

    def routes(self, address: str) -> bool:
        """Tell whether the address is routed as it is, and not translated."""
        return self.translation is None or ":" in address

    def lets_stream_out(self, port: int) -> bool:
        """Tell whether the router lets streams connect to a port."""
        return self.tcp_ports is None or port in self.tcp_ports

    def wire(self, realm: Realm) -> Wire:
        """Return the uplink, or for the inside a wire that costs nothing."""
        return LAN if realm is self.inside else self.uplink

    def receive(self, packet: Packet, realm: Realm) -> None:
        """Take a datagram, or a segment of TCP, from either side."""
        if packet.tcp is None and self.block_udp:
            self.network.drop("udp blocked")
        elif packet.tcp is not None and not self._lets_segment_pass(packet, realm):
            self.network.drop("tcp blocked")
        elif realm is self.inside:
            self._receive_from_inside(packet)
        else:
            self._receive_from_outside(packet)

    def reboot(self) -> None:
        """Lose all state; streams through it break."""
        self.reboots += 1
        self.filter.reboot()
        self.tcp_filter.reboot()
        for translation in (self.translation, self.tcp):
            if translation is not None:
                translation.reboot()

    def change_addresses(self, *addresses: str) -> None:
        """Get other public addresses, as a redial does; all state is lost, too."""
        assert self.translation is not None
        assert self.tcp is not None
        for address in self.translation.addresses:
            self.outside.detach(address)
        for address in addresses:
            self.outside.attach(address, self)
        self.translation.addresses = list(addresses)
        self.tcp.addresses = list(addresses)
        self.reboot()

    def _receive_from_inside(self, packet: Packet) -> None:
        packet.ttl -= 1
        if packet.ttl <= 0:
            self.network.drop("ttl")
            return
        now = self.network.now
        translation = self._translation(packet)
        if translation is None or self.routes(packet.destination[0]):
            self._filter(packet).outbound(packet.source, packet.destination, now)
            self.network.carry(packet, self.outside, self)
            return
        hairpins = packet.destination[0] in translation.addresses
        if hairpins and not translation.policy.hairpin:
            self.network.drop("no hairpin")
            return
        if (
            packet.tcp is not None
            and self.tcp is not None
            and not self.tcp.belongs(packet.source, packet.destination, packet.tcp)
        ):
            self.network.drop("invalid")
            return
        source = translation.outbound(packet.source, packet.destination, now)
        if source is None:
            self.network.drop("nat is full")
            return
        packet.source = source
        if hairpins:
            self._translate_in(packet)
        else:
            self.network.carry(packet, self.outside, self)

    def _receive_from_outside(self, packet: Packet) -> None:
        translated = self.translation is not None
        if translated and not self.routes(packet.destination[0]):
            self._translate_in(packet)
        elif self._filter(packet).inbound(
            packet.destination, packet.source, self.network.now
        ):
            self._forward_in(packet)
        else:
            self.network.drop("filtered")

    def _translate_in(self, packet: Packet) -> None:
        translation = self._translation(packet)
        assert translation is not None
        now = self.network.now
        inside = translation.inbound(packet.destination, packet.source, now)
        if inside is None:
            self.network.drop("filtered")
            self._refuse(packet)
            return
        packet.destination = inside
        self._forward_in(packet)

    def _translation(self, packet: Packet) -> Translation | None:
        return self.translation if packet.tcp is None else self.tcp

    def _filter(self, packet: Packet) -> StatefulFilter:
        return self.filter if packet.tcp is None else self.tcp_filter

    def _lets_segment_pass(self, packet: Packet, realm: Realm) -> bool:
        outer = packet.destination if realm is self.inside else packet.source
        return self.lets_stream_out(outer[1])

    def _refuse(self, packet: Packet) -> None:
        """Answer a SYN for the router itself, if it takes what is not asked for."""
        is_syn = packet.tcp is not None and packet.tcp.flag is Flag.SYN
        assert self.translation is not None
        if is_syn and self.translation.policy.wan_input is WanInput.SLOPPY:
            refusal = Segment(Flag.RST)
            back = Packet(packet.destination, packet.source, b"", tcp=refusal)
            self.network.carry(back, self.outside, self)

    def _forward_in(self, packet: Packet) -> None:
        packet.ttl -= 1
        if packet.destination[0] in self.inside.members:
            self.network.carry(packet, self.inside, self)
        else:
            self.network.drop("no route")
