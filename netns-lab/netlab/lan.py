"""Local networks: a bridge, and the addresses of its subnets."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from netlab import links
from netlab.errors import LabError
from netlab.links import Port
from netlab.machine import Attachment, Machine, Request

Network = IPv4Network | IPv6Network


class Lan:
    """A bridge in a machine's namespace, with the machines that are plugged into it."""

    def __init__(self, owner: Machine, bridge: str, subnets: list[str], routed: bool):
        self.owner = owner
        self.bridge = bridge
        self.subnets = [ip_network(subnet) for subnet in subnets]
        self.routed = routed
        """Whether its owner is the default gateway of the machines on it."""
        self._used = {gateway(subnet) for subnet in self.subnets}
        self._ports = 0
        addresses = [f"{gateway(each)}/{each.prefixlen}" for each in self.subnets]
        links.make_bridge(Port(owner.namespace, bridge), addresses)

    def attach(self, machine: Machine, interface: str, request: Request) -> Attachment:
        """Plug a machine in and give it an address from each subnet."""
        self._ports += 1
        near = Port(machine.namespace, interface)
        far = Port(self.owner.namespace, f"{self.bridge}-p{self._ports}")
        addresses = self._choose(request)
        links.connect(near, far)
        links.enslave(far, self.bridge)
        commands, routes = [], []
        for subnet, address in addresses.items():
            commands.append(
                links.add_address(f"{address}/{subnet.prefixlen}", interface)
            )
            if self.routed:
                routes.append(f"route replace default via {gateway(subnet)}")
        links.ip(machine.namespace, *commands, *routes)
        return Attachment(self, near, far, list(addresses.values()), routes)

    def release(self, attachment: Attachment) -> None:
        """Free the addresses of a machine that leaves."""
        self._used -= set(attachment.addresses)

    def _choose(self, request: Request) -> dict[Network, str]:
        chosen: dict[Network, str] = {}
        for address in request.addresses:
            subnet = self._subnet_of(address)
            if address in self._used:
                raise LabError(f"{address} is taken in {self.owner.name}'s network.")
            chosen[subnet] = address
        for subnet in self.subnets:
            if subnet.version == 4 or request.ipv6:
                chosen.setdefault(subnet, next(self._free(subnet)))
        self._used |= set(chosen.values())
        return chosen

    def _subnet_of(self, address: str) -> Network:
        for subnet in self.subnets:
            if ip_address(address) in subnet:
                return subnet
        raise LabError(f"{address} is not in a subnet of {self.owner.name}.")

    def _free(self, subnet: Network) -> Iterator[str]:
        return (str(host) for host in subnet.hosts() if str(host) not in self._used)


class Switch(Machine):
    """A layer-2 segment such as a container bridge; it has the first address itself."""

    BRIDGE = "br0"

    def plug_together(self, subnets: list[str]) -> None:
        self.lan = Lan(self, self.BRIDGE, subnets, routed=False)

    @property
    def first_interface(self) -> str:
        """The bridge itself, where all traffic across it can be captured."""
        return self.BRIDGE

    def attach(self, machine: Machine, interface: str, request: Request) -> Attachment:
        return self.lan.attach(machine, interface, request)

    def release(self, attachment: Attachment) -> None:
        self.lan.release(attachment)


def gateway(subnet: Network) -> str:
    """Return the first usable address, which belongs to the bridge itself."""
    return str(subnet.network_address + 1)
