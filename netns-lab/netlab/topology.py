"""The topology of a lab: what is attached to what, for a drawing."""

from dataclasses import dataclass

from meshwg.nattypes import Mapping
from netlab import presets
from netlab.internet import Internet
from netlab.lab import Lab
from netlab.lan import Lan, Switch
from netlab.machine import Machine, Uplink
from netlab.nat import Behaviour, Block
from netlab.router import Router


@dataclass(frozen=True, slots=True)
class Site:
    """One machine."""

    name: str
    kind: str
    """``internet``, ``switch``, ``router`` or ``host``."""
    note: str
    """Its address, or what its router does."""
    uplink: str | None
    """The name of the machine that it is attached to."""
    others: tuple[str, ...] = ()
    """Those that it is attached to as well."""


@dataclass(frozen=True, slots=True)
class Way:
    """A path between hosts, for the drawing."""

    stops: tuple[str, ...]
    """The hosts on it; those between the ends forward."""
    style: str
    """``direct``, ``prediction``, ``birthday``, ``tcp`` or ``relay``."""


@dataclass(frozen=True, slots=True)
class Topology:
    """A lab at one moment."""

    sites: tuple[Site, ...]
    ways: tuple[Way, ...] = ()

    def below(self, name: str | None) -> list[Site]:
        """Return the sites attached to a machine; for ``None``, the roots."""
        return [site for site in self.sites if site.uplink == name]


def survey(lab: Lab, ways: tuple[Way, ...] = ()) -> Topology:
    """Return the present topology of a lab."""
    machines = list(lab.machines.values())
    carried: dict[str, str] = {}
    for machine in machines:
        for name in _uplinks(machine)[1:]:
            # A cable hangs below the first machine that has it beside another one.
            carried.setdefault(name, machine.name)
    return Topology(tuple(_site(machine, carried) for machine in machines), ways)


def _site(machine: Machine, carried: dict[str, str]) -> Site:
    """Return a machine.

    :param carried: below which machine a cable hangs that leads nowhere else.
    """
    uplinks = _uplinks(machine)
    uplink = uplinks[0] if uplinks else carried.get(machine.name)
    others = tuple(each for each in uplinks[1:] if carried[each] != machine.name)
    return Site(machine.name, _kind(machine), _note(machine), uplink, others)


def _uplinks(machine: Machine) -> list[str]:
    return [_owner(each.uplink).name for each in machine.attachments.values()]


def _owner(uplink: Uplink) -> Machine:
    if isinstance(uplink, Lan):
        return uplink.owner
    assert isinstance(uplink, Machine)
    return uplink


def _kind(machine: Machine) -> str:
    if isinstance(machine, Internet):
        return "internet"
    if isinstance(machine, Switch):
        return "switch"
    return "router" if isinstance(machine, Router) else "host"


def _note(machine: Machine) -> str:
    if isinstance(machine, Internet):
        return "with IPv4 and IPv6"
    if isinstance(machine, Switch):
        return ", ".join(str(subnet) for subnet in machine.lan.subnets)
    if isinstance(machine, Router):
        return describe(machine.behaviour)
    return next(iter(machine.addresses(4)), "")


def describe(behaviour: Behaviour) -> str:
    """Return a router's behaviour in two or three words."""
    for preset in presets.ALL.values():
        if preset.behaviour == behaviour:
            return preset.name
    if behaviour.block is not Block.NOTHING:
        return f"{behaviour.block.value} blocked"
    symmetric = behaviour.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT
    return "symmetric" if symmetric else behaviour.mapping.value
