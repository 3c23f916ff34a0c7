"""Who may reach what, as this node enforces it.

The rules come from the coordinator, and from a guard of this machine; both are about
the members as the netmap has them. Without either there is no filter in the data path,
which then costs nothing. Where the coordinator has a policy and this node has lost it,
nothing passes until it is told again: the coordinator itself is not reached through the
mesh.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from meshwg.health import Complaint, Health, Severity
from meshwg.packet.icmp import ICMP
from meshwg.peer import HUB, MeshPeer
from meshwg.policy.filter import DenyReason, Filter
from meshwg.policy.guard import GuardRule, resolve_guard
from meshwg.policy.places import Places
from meshwg.policy.ports import EVERYTHING
from meshwg.policy.rules import AllowRule, RuleTable
from meshwg.prefixes import IPNetwork
from meshwg.wire import control
from meshwg.wireguard.datapath import Datapath

LOST = "policy-lost"
_ITSELF = "self"
"""Names this node in a guard, and in what is known of places: no key is like it."""


class AccessControl:
    """The filter of a node, and what it follows from."""

    def __init__(self, datapath: Datapath, health: Health, now: float) -> None:
        self._datapath = datapath
        self._health = health
        self._places = Places()
        self.filter = Filter(self._places, now)
        self.policy: control.PolicyMessage | None = None
        self.guard: tuple[GuardRule, ...] | None = None
        """Of this machine, ``None`` if there is none."""
        self.is_lost = False
        """The coordinator has a policy, and this node does not know it."""
        self._resolved: tuple[AllowRule, ...] | None = None
        self._names: dict[str, str] = {}
        """Of peers, by public key."""
        self._named: dict[str, MeshPeer] = {}
        self._has_moved = False
        """Whether addresses, or classes, are others' now than they were."""
        self._anything: RuleTable | None = None
        """The policy's rules, whatever their ports are."""
        self._is_installed = False

    @property
    def is_on(self) -> bool:
        """Whether anything may be refused."""
        return self.filter.is_needed

    # What it follows from.

    def set_policy(
        self,
        registered: control.Registered | None,
        policy: control.PolicyMessage | None,
        now: float,
    ) -> None:
        """Enforce what the coordinator says.

        :param registered: what it said of the mesh, also whether there is a policy.
        """
        is_lost = policy is None and registered is not None and registered.policy > 0
        self._has_moved |= self._places.settle()
        if policy == self.policy and is_lost == self.is_lost:
            return
        self.policy, self.is_lost, self._anything = policy, is_lost, None
        rules: Iterable[AllowRule] | None = None
        if policy is not None:
            rules = map(AllowRule.from_wire, policy.rules)
        elif is_lost:
            rules = ()
        self.filter.set_policy(rules, now)
        self._complain()
        self._install()

    def lose(self, now: float) -> None:
        """Let nothing pass: whether there was a policy is not known any more."""
        self.is_lost = True
        self.filter.set_policy((), now)
        self._complain()
        self._install()

    def set_guard(self, rules: tuple[GuardRule, ...] | None, now: float) -> None:
        """Let pass only what a guard of this machine lets pass as well.

        It names members, so nothing passes until :meth:`follow` says who they are.
        """
        if rules == self.guard:
            return
        self.guard, self._resolved = rules, None
        self.filter.set_guard(None if rules is None else (), now)
        self._install()

    def know(self, peer: MeshPeer, *, is_ahead: bool = False) -> None:
        """Take note of what a peer has, before :meth:`follow`.

        :param is_ahead: whether its class is of the policy that is set next.
        """
        entry, key = peer.entry, peer.key
        self._has_moved |= self._places.put(
            key,
            entry.policy_class,
            entry.addresses,
            entry.routes,
            is_hub=entry.role == HUB,
            is_ahead=is_ahead,
        )
        if self._names.get(key) != entry.name:
            self._forget_name(key)
            self._names[key] = entry.name
            self._named.setdefault(entry.name, peer)

    def forget(self, key: str) -> None:
        """Take note that a peer is gone, likewise."""
        self._places.remove(key)
        self._forget_name(key)

    def _forget_name(self, key: str) -> None:
        name = self._names.pop(key, "")
        peer = self._named.get(name)
        if peer is not None and peer.key == key:
            del self._named[name]

    def follow(
        self,
        addresses: Sequence[str],
        routes: Sequence[str],
        beyond: Sequence[IPNetwork] = (),
        *,
        judged: Sequence[str] = (),
        forwards: bool,
    ) -> None:
        """Take note of what this node has, and go by that and what peers have.

        :param addresses: its own in the mesh.
        :param routes: networks behind it.
        :param judged: addresses of plain peers whose hub it is. Nobody else judges what
            they receive.
        :param beyond: networks of the internet that are reached through it.
        :param forwards: whether it passes on what is for others, as a hub does.
        """
        if not self.is_on:
            return
        own = self.policy.own if self.policy is not None else 0
        self._has_moved |= self._places.put(_ITSELF, own, addresses, routes)
        self.filter.set_own((*addresses, *routes, *judged, *beyond), forwards=forwards)
        if self._has_moved:
            self._has_moved = False
            self.filter.places_changed()
        self._resolve(tuple(addresses))

    def serve_names(self, addresses: Iterable[str]) -> None:
        """Let whoever may ask name servers of the internet ask these, too."""
        self.filter.set_name_servers(ip_address(each).packed for each in addresses)

    # What is said of it.

    def labels(self, number: int) -> tuple[str, ...]:
        """Return what the policy says of the nodes of a class."""
        classes = () if self.policy is None else self.policy.classes
        return next((each.labels for each in classes if each.number == number), ())

    def rule_for(
        self, source: str, destination: str, protocol: int, port: int
    ) -> tuple[AllowRule | None, DenyReason | None]:
        """Return the rule that lets one address reach another, or why none does."""
        ends = ip_address(source).packed, ip_address(destination).packed
        return self.filter.rule_for(*ends, protocol, port)

    def allows_echo(self, request: bytes) -> bool:
        """Tell whether the rules let an echo request pass, of IPv4 without options."""
        source, destination = request[12:16], request[16:20]
        return self.filter.rule_for(source, destination, ICMP, 0)[1] is None

    def is_about(self, rule: AllowRule, source: str, destination: str) -> bool:
        """Tell whether a rule is about two addresses, whatever its ports are."""
        ends = ip_address(source).packed, ip_address(destination).packed
        anything = RuleTable([replace(rule, ports=(EVERYTHING,))])
        one, other = ((self._places.find(each), each) for each in ends)
        return anything.find(one, other, 0, 0) is not None

    def acquaints(self, one: str, other: str) -> bool:
        """Tell whether the policy lets one address reach the other, or be reached."""
        if self.policy is None:
            return not self.is_lost
        if self._anything is None:
            rules = map(AllowRule.from_wire, self.policy.rules)
            self._anything = RuleTable(
                [replace(rule, ports=(EVERYTHING,)) for rule in rules]
            )
        near, far = (
            (self._places.find(each), each)
            for each in (ip_address(one).packed, ip_address(other).packed)
        )
        find = self._anything.find
        return bool(find(near, far, 0, 0) or find(far, near, 0, 0))

    def status(self) -> dict[str, Any]:
        """Return ``self.policy`` of ``meshwg status --json``."""
        policy = self.policy
        return {
            "version": None if policy is None else policy.version,
            "sha256": None if policy is None else policy.sha256,
            "default": "deny" if policy is not None or self.is_lost else "allow",
            "guard": self.guard is not None,
            "flows": self.filter.flows,
            "denied": {
                reason.value: count
                for reason, count in self.filter.denied.items()
                if count
            },
        }

    def _complain(self) -> None:
        complaint = None
        if self.is_lost:
            complaint = Complaint(
                LOST,
                Severity.FAILURE,
                "The policy that this node had was lost, so it lets nothing pass in "
                "the mesh.",
                "The coordinator tells it again when it is reached.",
            )
        self._health.put(LOST, complaint)

    def _install(self) -> None:
        """Have a filter in the data path only while there is something to filter."""
        if self.is_on != self._is_installed:
            self._is_installed = self.is_on
            self._datapath.set_filter(self.filter if self.is_on else None)

    def _resolve(self, own: tuple[str, ...]) -> None:
        """Say in the guard what addresses the names in it have now."""
        if self.guard is None:
            return

        def addresses(name: str) -> tuple[str, ...]:
            peer = self._named.get(name)
            found = () if peer is None else peer.entry.addresses
            return own if name == _ITSELF else found

        rules = resolve_guard(self.guard, addresses)
        if rules != self._resolved:
            self._resolved = rules
            self.filter.change_guard(rules)
