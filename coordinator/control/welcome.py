"""What a node is told when it has become, or is again, a member."""

import ipaddress

from coordinator import credentials
from coordinator.control.settings import Settings
from coordinator.mesh.nodes import Node
from coordinator.mesh.registry import Registry
from meshwg.wire.control import Registered, Relay
from meshwg.wire.fields import MAX_SENTENCE

RECONNECTIONS_PER_SECOND = 200
"""How fast nodes may reconnect all together; it sets how far they spread."""
MAX_SPREAD = 30.0


class Welcomes:
    """Makes the ``registered`` message, and relay credentials."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self.coordinators: tuple[str, ...] = ()
        """Where the other coordinators are."""

    def registered(
        self, node: Node, *, notice: str, observed: str, members: int, unix_time: float
    ) -> Registered:
        """Return the message for one node.

        :param observed: the address its connection comes from, as the system says it.
        :param members: how many nodes are connected to this process.
        """
        networks, settings = self._registry.networks, self._settings
        policy = self._registry.policy
        return Registered(
            epoch=self._registry.epoch,
            name=node.name,
            addresses=networks.addresses(node.number),
            networks=networks.prefixes,
            notice=notice[:MAX_SENTENCE],
            heartbeat=settings.heartbeat,
            spread=spread(members),
            observed=_numeric(observed),
            time=unix_time,
            domain=self._registry.domain,
            stun=settings.stun,
            relays=self.relays(node.key, unix_time),
            policy=0 if policy is None else policy.record.version,
            coordinators=self.coordinators,
        )

    def relays(self, key: str, unix_time: float) -> tuple[Relay, ...]:
        """Return all relays with new credentials for one node."""
        settings = self._settings
        return tuple(
            credentials.mint(
                url,
                settings.relay_secrets.get(url, settings.relay_secret),
                key,
                unix_time,
            )
            for url in settings.relays
        )


def spread(members: int) -> float:
    """Return the seconds over which so many nodes are to connect anew."""
    return min(MAX_SPREAD, 1.0 + members / RECONNECTIONS_PER_SECOND)


def _numeric(address: str) -> str | None:
    """Return an address in the protocol's form, ``None`` if it is not one.

    A socket for both families shows IPv4 addresses as mapped ones, and link-local ones
    come with a zone.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
