"""A phone: plain WireGuard on a host, which knows nothing but its configuration."""

from ipaddress import ip_network

from coordinator.mesh.operations import Accepted, AddPeer
from coordinator.mesh.peerconfig import PeerConfig, config_of
from meshwg.keys import PrivateKey, format_key, parse_key
from meshwg.packet.icmp import echo_request, parse_echo_reply
from meshwg.transmit import Endpoint, Transmit
from meshwg.wireguard.device import Device
from tests.sim.host import Host
from tests.sim.kinds import Kind
from tests.sim.network import UNIX_OFFSET
from tests.world import packets
from tests.world.world import World

PORT = 51820
IDENTIFIER = 21


class SimPhone:
    """WireGuard as any phone has it, of which an administrator told the mesh.

    :param kind: of the network that it is in.
    """

    def __init__(self, world: World, kind: Kind, name: str = "phone") -> None:
        network = self.network = world.network
        self.name = name
        self.private_key = PrivateKey.generate(network.random.randbytes)
        self.key = format_key(self.private_key.public_bytes)
        self.packets: list[bytes] = []
        """What its system got from the tunnel, but echo requests."""
        result = world.coordinator.perform(AddPeer(name, self.key))
        assert isinstance(result, Accepted), result
        assert result.node is not None
        config = config_of(result.node, world.coordinator.registry)
        assert isinstance(config, PeerConfig), config
        self.address = config.addresses[0]
        self.device = self._configured(config)
        self.host: Host = kind.add_to(network, name, 40)
        self.host.run(self, PORT)

    def _configured(self, config: PeerConfig) -> Device:
        """Return the interface that the configuration is for."""
        device = Device(
            random=self.network.random.randbytes,
            unix_time=lambda at: at + UNIX_OFFSET,
        )
        device.set_private_key(self.private_key)
        hub = device.add_peer(parse_key(config.hub_key))
        for network in config.allowed_ips:
            device.allowed_ips.insert(ip_network(network), hub.lane)
        host, _, port = config.endpoint.rpartition(":")
        device.set_endpoint(hub, Endpoint(host, int(port)))
        device.up(self.network.now)
        device.set_persistent_keepalive(hub, 25, self.network.now)
        return device

    # Traffic.

    def write(self, *packets: bytes) -> None:
        """Send packets into the tunnel."""
        self.device.receive_packets(packets, self.network.now)
        self.host.drain()

    def reaches(self, address: str, limit: float = 10.0) -> bool:
        """Ping an address every half second until an answer comes."""
        end = self.network.now + limit
        answers = [parse_echo_reply(each) for each in self.packets]
        sequence = 1 + len(answers)
        while self.network.now < end:
            ends = self.address, address
            self.write(echo_request(*ends, IDENTIFIER, sequence, b"hello"))
            self.network.run(lambda: self._has_answer(address, sequence), 0.5)
            if self._has_answer(address, sequence):
                return True
        return False

    def _has_answer(self, address: str, sequence: int) -> bool:
        wanted = address, IDENTIFIER, sequence
        return any(parse_echo_reply(each) == wanted for each in self.packets)

    # The machine that the host runs.

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take a datagram."""
        self.device.receive_datagrams([data], source, now)

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what to send; echo requests are answered."""
        for packet in self.device.packets_to_write():
            if packets.is_echo_request(packet):
                reply = packets.echo_reply(packet)
                self.device.receive_packets([reply], self.network.now)
            else:
                self.packets.append(packet)
        return self.device.datagrams_to_send()

    def get_timer(self) -> float | None:
        return self.device.get_timer()

    def handle_timer(self, now: float) -> None:
        self.device.handle_timer(now)
