"""Leases: records of which each is somebody's for a while, as the nodes agree.

A coordinator is no more than the keeper here: a write replaces only the version that it
names, and whoever reads gets what is there. When a lease ends its holders find out by
their own clocks (:mod:`meshwg.kubernetes.election`), so coordinators need no clock in
common, and may be restarted while leases are held.

A lease has the name of an address. Only a node that may have that address behind it can
read or write it, since only such nodes compete for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from coordinator.mesh.nodes import Node
from meshwg.wire.control import LeaseTerm

MAX_LEASES: Final = 256
"""In a mesh: each is a floating address, and a row of the database."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as it is kept."""

    prefix: str
    """The address that it is about."""
    version: int = 0
    """How often it was written; 0 for one that is not there."""
    holder: str = ""
    """Who has it, in the words of those who compete; empty for nobody."""
    duration: float = 0.0
    """Seconds for which the others leave it to its holder after each write."""
    transitions: int = 0
    """How often it went to another holder."""

    @property
    def term(self) -> LeaseTerm:
        """What is in it, as messages say it."""
        return LeaseTerm(
            holder=self.holder, duration=self.duration, transitions=self.transitions
        )

    def after(self, term: LeaseTerm) -> "Lease":
        """Return the lease with something else written into it."""
        version = self.version + 1
        return Lease(self.prefix, version, term.holder, term.duration, term.transitions)


class DraftedLeases:
    """The leases that one transaction is about.

    :param known: those that its operations mention, as far as they are there.
    :param count: how many there are in the database.
    :param may_have: tells whether others could be told of a network behind a node.
    """

    def __init__(
        self,
        known: Mapping[str, Lease],
        count: int,
        may_have: Callable[[Node, str], bool],
    ) -> None:
        self.changed: dict[str, Lease] = {}
        """By prefix."""
        self._known = known
        self._count = count
        self._may_have = may_have

    def get(self, prefix: str) -> Lease:
        """Return a lease as it is by now."""
        return self.changed.get(prefix) or self._known.get(prefix) or Lease(prefix)

    def refusal(self, node: Node, prefix: str, *, writes: bool) -> str | None:
        """Return why a node cannot use a lease, ``None`` if it can."""
        network = ip_network(prefix)
        if network.prefixlen != network.max_prefixlen:
            return f"{prefix} is not a single address: only these float"
        if not self._may_have(node, prefix):
            return (
                f"{node.name} may not have {prefix} behind it: approve it with "
                f"'meshwg-coordinator route approve {node.name} {prefix}', or by the "
                "policy"
            )
        is_new = not self.get(prefix).version
        if writes and is_new and self._count + self._added >= MAX_LEASES:
            return f"There are {MAX_LEASES} floating addresses already"
        return None

    def write(self, prefix: str, base: int, term: LeaseTerm) -> tuple[Lease, bool]:
        """Write into a lease if it is of this version.

        :return: what it is now, and whether that was written.
        """
        lease = self.get(prefix)
        if lease.version != base:
            return lease, False
        written = lease.after(term)
        self.changed[prefix] = written
        return written, True

    @property
    def _added(self) -> int:
        return sum(prefix not in self._known for prefix in self.changed)
