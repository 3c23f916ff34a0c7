"""Routers, each with a local network behind a NAT, a firewall, or both."""

from meshwg.nattypes import Mapping
from netlab import conntrack, nat, portmap, shape
from netlab.errors import LabError
from netlab.internet import Internet
from netlab.lan import Lan, gateway
from netlab.machine import FORWARDING, Attachment, Machine, Request, Uplink
from netlab.nat import Behaviour
from netlab.process import Process

WAN = "wan"
LAN = "lan"


class Router(Machine):
    """What connects a local network to an uplink, with one interface to each."""

    behaviour: Behaviour
    lan: Lan
    _port_mapping: Process | None = None

    def install(self, behaviour: Behaviour, uplink: Uplink, subnet4: str) -> None:
        """Attach it and start to route; called once, when the lab makes it.

        :param subnet4: of its local network; without NAT the uplink chooses another.
        """
        self.namespace.set_sysctl(FORWARDING)
        self.behaviour = behaviour
        request = Request(
            count4=behaviour.public_addresses,
            ipv6=behaviour.ipv6,
            routable=behaviour.port_mapping,
        )
        attachment = uplink.attach(self, WAN, request)
        self.attachments[WAN] = attachment
        subnets = [subnet4]
        if behaviour.mapping is Mapping.NONE:
            subnets = [str(_internet_of(uplink).delegate4(attachment))]
        if behaviour.ipv6:
            site = _internet_of(uplink).delegate6(attachment)
            subnets.append(str(next(site.subnets(new_prefix=64))))
        self.lan = Lan(self, LAN, subnets, routed=True)
        self.set_behaviour(behaviour)

    @property
    def lan_address(self) -> str:
        """Its IPv4 address in the local network, the gateway of the machines there."""
        return gateway(self.lan.subnets[0])

    def attach(self, machine: Machine, interface: str, request: Request) -> Attachment:
        """Plug a machine into the local network."""
        return self.lan.attach(machine, interface, request)

    def release(self, attachment: Attachment) -> None:
        self.lan.release(attachment)

    def set_behaviour(self, behaviour: Behaviour) -> None:
        """Become another kind of router; all mappings are lost."""
        self.behaviour = behaviour
        self.namespace.set_sysctl(nat.sysctls(behaviour))
        for interface in (WAN, LAN):
            shape.limit_rate(self, interface, behaviour.rate_mbit)
        self.reboot_nat()

    def reboot_nat(self) -> None:
        """Lose every mapping and every connection, as after a power cut."""
        if self._port_mapping is not None:
            self._port_mapping.stop()
        sides = nat.Sides(
            tuple(self.addresses(4)), str(self.lan.subnets[0]), wan=WAN, lan=LAN
        )
        self.run(["nft", "-f", "-"], stdin=nat.ruleset(self.behaviour, sides))
        self.namespace.call(conntrack.flush)
        if self.behaviour.port_mapping:
            self._port_mapping = portmap.start(self, WAN, LAN, sides.inside)

    def renumber(self) -> list[str]:
        """Get other public IPv4 addresses, as when dialling in again; return them."""
        attachment = self.attachments[WAN]
        internet = _internet_of(attachment.uplink)
        addresses = internet.renumber(attachment, self.behaviour.public_addresses)
        self.reboot_nat()
        return addresses


def _internet_of(uplink: Uplink) -> Internet:
    if not isinstance(uplink, Internet):
        raise LabError("Only a router directly at the internet can do that.")
    return uplink
