"""Keeps the node's interface as it is to be, and tells what stands in the way."""

import asyncio
import logging
import socket
from collections.abc import Callable
from ipaddress import ip_interface, ip_network

from meshwg.contention import CODE as CONTENTION
from meshwg.contention import Contention
from meshwg.health import Complaint, Health, Severity
from meshwg.node import ExitInterface, InterfaceChanged
from meshwg.routing import Configuration, ExitRoutes
from meshwg.runtime import clock
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.interface import MeshInterface, Settlement
from meshwg.runtime.tasks import TaskSet
from meshwg.runtime.tun import TunDevice

SHOWN = 5
"""Networks that a sentence names."""

logger = logging.getLogger(__name__)


class Addressing:
    """The configuration of one interface.

    :param health: where the user is told; what is new there is logged, too.
    :param on_ipv6: called with whether the interface can have IPv6 addresses, after
        each time that it was looked at.
    :param is_news: tells whether a notice of this code was never logged before.
    """

    def __init__(
        self,
        tun: TunDevice,
        interface: MeshInterface,
        health: Health,
        on_ipv6: Callable[[bool], None],
        is_news: Callable[[str], bool] = lambda code: True,
    ) -> None:
        self._tun = tun
        self._interface = interface
        self._health = health
        self._on_ipv6 = on_ipv6
        self._is_news = is_news
        self._wanted = InterfaceChanged((), (), ())
        self._contention = Contention(interface.name)
        self._alarm = Alarm(self._on_alarm)
        self._lock = asyncio.Lock()
        self._tasks = TaskSet()

    def change(self, wanted: InterfaceChanged) -> None:
        """Begin to configure the interface anew."""
        self._wanted = wanted
        self._tun.local_addresses = {_packed(each) for each in wanted.addresses}
        self._interface.want(
            Configuration(
                tuple(ip_interface(each) for each in wanted.addresses),
                tuple(
                    ip_network(each)
                    for each in (*wanted.networks, *wanted.hosts, *wanted.routes)
                ),
                tuple(ip_network(each) for each in wanted.announced),
                tuple(ip_network(each) for each in wanted.unreachable),
                _exit_routes(wanted.exit),
            )
        )
        self._tasks.run(self.settle())

    def look(self) -> None:
        """Put back what another program has changed, unless it does so all the time."""
        now = clock.now()
        if now < self._contention.resumes_at():
            self._alarm.set(self._contention.resumes_at(), now)
        else:
            self._tasks.run(self.settle())

    def close(self) -> None:
        """Stop configuring."""
        self._alarm.clear()
        self._tasks.cancel()

    def _on_alarm(self) -> None:
        self._tell_of_contention(clock.now())
        self._tasks.run(self.settle())

    async def settle(self) -> None:
        """Have the interface as it is to be, and say what stands in the way."""
        async with self._lock:
            outcome = await asyncio.to_thread(self._interface.settle)
        now = clock.now()
        if outcome.restored:
            self._contention.restored(outcome.restored, now)
        self._on_ipv6(self._interface.has_ipv6())
        self._tell(outcome)
        self._tell_of_contention(now)

    # What the user should know.

    def _tell_of_contention(self, now: float) -> None:
        self._put(CONTENTION, self._contention.complaint(now))
        self._alarm.set(self._contention.get_timer(), now)

    def _tell(self, outcome: Settlement) -> None:
        interface, wanted = self._interface, self._wanted
        unused = [*wanted.hidden, *map(str, outcome.shadowed)]
        unused = [each for each in unused if each not in wanted.networks]
        self._put("route-not-used", _unused(unused))
        self._put("network-collision", _collision(wanted.collisions))
        self._put("interface-incomplete", _incomplete(interface.name, outcome))
        self._put_ipv6(_without_ipv6(interface, wanted))
        self._put("underlay-not-apart", _not_apart(interface))

    def _put_ipv6(self, complaint: Complaint | None) -> None:
        """Say it once: who has switched IPv6 off knows, and has not erred."""
        if complaint is not None and self._is_news("ipv6-disabled"):
            logger.info("%s", f"{complaint.text} {complaint.mend}")
        self._health.put("ipv6-disabled", complaint)

    def _put(self, code: str, complaint: Complaint | None) -> None:
        if complaint is not None and complaint not in self._health:
            logger.warning("%s", f"{complaint.text} {complaint.mend}".rstrip())
        self._health.put(code, complaint)


def _exit_routes(wanted: ExitInterface | None) -> ExitRoutes | None:
    return None if wanted is None else ExitRoutes(wanted.is_there, wanted.lan)


def _unused(networks: list[str]) -> Complaint | None:
    if not networks:
        return None
    return Complaint(
        "route-not-used",
        Severity.WARNING,
        f"Not reached through the mesh: {_listed(networks)}. This machine is in that "
        "network itself, or has a route of its own to it.",
        "Announce a part of it, which is more specific, or give one of the two another "
        "network.",
    )


def _collision(networks: tuple[str, ...]) -> Complaint | None:
    if not networks:
        return None
    return Complaint(
        "network-collision",
        Severity.WARNING,
        f"The mesh's network {_listed(networks)} is also that of another interface of "
        "this machine: of equal addresses, those of peers are reached.",
        "Give the coordinator another network with --network4 or --network6.",
    )


def _incomplete(name: str, outcome: Settlement) -> Complaint | None:
    if not outcome.problems:
        return None
    first = outcome.problems[0]
    more = len(outcome.problems) - 1
    others = f", and {more} more" if more else ""
    return Complaint(
        "interface-incomplete",
        Severity.FAILURE,
        f"The system refuses {first.what} on {name} ({first.reason}){others}.",
        "See whether another program or a security policy forbids it.",
    )


def _without_ipv6(
    interface: MeshInterface, wanted: InterfaceChanged
) -> Complaint | None:
    lost = [each.partition("/")[0] for each in wanted.addresses if ":" in each]
    if not lost or interface.has_ipv6():
        return None
    return Complaint(
        "ipv6-disabled",
        Severity.WARNING,
        f"IPv6 is switched off here, so this node has no address {_listed(lost)}, and "
        "reaches no IPv6 addresses of peers.",
        f"Set net.ipv6.conf.all.disable_ipv6=0 and net.ipv6.conf.{interface.name}"
        ".disable_ipv6=0, or use IPv4 only.",
    )


def _not_apart(interface: MeshInterface) -> Complaint | None:
    if interface.is_apart:
        return None
    return Complaint(
        "underlay-not-apart",
        Severity.WARNING,
        "This system has no rules for routing, or does not permit them "
        f"({interface.refusal}): a network behind a peer that holds the coordinator or "
        "the relay cuts this node off from them.",
        "Run the node as root or with CAP_NET_ADMIN, on a kernel with "
        "CONFIG_IP_MULTIPLE_TABLES and CONFIG_IPV6_MULTIPLE_TABLES.",
    )


def _listed(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _packed(address: str) -> bytes:
    """Return an address with prefix length in network order, without the latter."""
    host = address.partition("/")[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host)
