"""Of what nodes offer, what others are told: networks behind them, exits and hubs.

Each item needs an approval of this node's own: by an administrator, by the policy or,
for networks, by the settings. All nodes with an approved network are told of, so
several may have the same one. Three things need a closer look, since packets go where
the longest network leads:

* A cluster approves of the PodCIDRs of its nodes, each for the node that proves to be
  it (:mod:`coordinator.kubernetes`).
* The settings approve of a network, not of a node, so by them only the first node has
  it that offers it. Others stand by, until it is removed, expires, or offers it no
  more; not while it is away.
* A part of another node's network is only for those to whom just that was given.

What a node has it keeps when others come. What nobody can have behind a node
(:mod:`meshwg.prefixes`) no approval gives.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_network

from coordinator.mesh.approvals import (
    EXIT,
    HUB,
    MAX_DECISIONS,
    Announcement,
    Decision,
    ItemState,
    advertised,
    refused,
)
from coordinator.mesh.drafted import DraftedMembers
from coordinator.mesh.nodes import Node
from meshwg import prefixes
from meshwg.prefixes import IPNetwork
from meshwg.wire.routes import ApprovalState

ADVERTISED = ApprovalState.ADVERTISED
UNDECIDED = "the coordinator's administrator has not approved it"


class Routes:
    """Decides on what nodes offer, in one draft.

    :param approved: networks inside which the settings approve of routes. ``None``: it
        is not known here, so nodes keep what they have by these.
    """

    def __init__(self, members: DraftedMembers, approved: Iterable[str] | None) -> None:
        self._members = members
        self._knows_settings = approved is not None
        self._approved = [ip_network(text) for text in approved or ()]
        self._mesh = (members.networks.v4, members.networks.v6)

    def announce(self, node: Node, announcement: Announcement) -> Node:
        """Return a node with what it offers now, and what others are told of that."""
        node = node.announcing(announcement)
        if not node.offered and not node.routes:
            return replace(node, role="node", exit=False, withheld=())
        return self._judged(node, self._holders())

    def decide(self, node: Node, decision: Decision) -> Node:
        """Return a node after a decision on one of its items."""
        others = [each for each in node.decisions if each.item != decision.item]
        # Those that are of use stay: the last ones.
        decisions = (*others, decision)[-MAX_DECISIONS:]
        return self._judged(replace(node, decisions=decisions), self._holders())

    def refusal(self, item: str) -> str | None:
        """Return why no node can have an item, ``None`` if one can."""
        if item in (EXIT, HUB):
            return None
        return prefixes.refusal(ip_network(item), self._mesh)

    def may_have(self, node: Node, item: str) -> bool:
        """Tell whether others could be told of a network behind a node.

        Whether it is there just now, or at another node, does not matter.
        """
        if self.refusal(item) is not None or node.expired:
            return False
        decision = node.decision_on(item)
        if decision is not None:
            return decision.approved
        route, policy = ip_network(item), self._members.policy
        if policy is not None and policy.approves(node.subject, route):
            return True
        return any(prefixes.is_within(route, each) for each in self._approved)

    def settle(self) -> None:
        """Judge anew all that nodes offer: somebody has less, or may have more."""
        concerned = sorted(
            (node for node in self._members.all() if node.offered or node.routes),
            key=lambda each: (each.joined, each.key),
        )
        holders = self._holders()
        # First take away, then give.
        for may_gain in (False, True):
            for node in concerned:
                if node.expired:
                    continue
                known = self._members.get(node.key) or node
                judged = self._judged(known, holders, may_gain=may_gain)
                if judged != known:
                    holders.remove(known)
                    holders.add(self._members.put(judged))

    def explain(self, node: Node) -> str:
        """Return in a sentence why a node has not all that it announces."""
        missing = [each for each in node.withheld if each.item not in (EXIT, HUB)]
        if not missing:
            return ""
        more = f", nor of {len(missing) - 1} more" if missing[1:] else ""
        item, why = missing[0].item, missing[0].reason
        return f"Others are not told of the network {item}{more}: {why}"

    def _holders(self) -> "Holders":
        holders = Holders()
        for node in self._members.all():
            if node.routes and not node.expired:
                holders.add(node)
        return holders

    def _judged(self, node: Node, holders: "Holders", *, may_gain: bool = True) -> Node:
        """Return a node with what others are told of what it offers.

        :param may_gain: whether it may have more than before.
        """
        states = {each: self._state_of(node, each, holders) for each in node.offered}
        had = {*node.routes}
        if node.exit:
            had.add(EXIT)
        if node.role == HUB:
            had.add(HUB)
        told = [
            item
            for item in node.offered
            if states[item] is None and (may_gain or item in had)
        ]
        return replace(
            node,
            routes=tuple(item for item in node.announced if item in told),
            exit=EXIT in told,
            role=HUB if HUB in told else "node",
            withheld=tuple(
                states[item] or advertised(item, UNDECIDED)
                for item in node.offered
                if item not in told
            ),
        )

    def _state_of(self, node: Node, item: str, holders: "Holders") -> ItemState | None:
        """Return why others are not told of an item, ``None`` if they are."""
        why = self.refusal(item)
        if why is not None:
            return refused(item, why)
        decision = node.decision_on(item)
        if decision is not None and not decision.approved:
            return refused(item, f"{decision.by} has refused it")
        if decision is not None:
            return None
        if item in (EXIT, HUB):
            return self._state_of_wish(node, item)
        return self._state_of_route(node, item, holders)

    def _state_of_wish(self, node: Node, item: str) -> ItemState | None:
        policy = self._members.policy
        if item == EXIT and policy is not None and policy.approves_exit(node.subject):
            return None
        return advertised(item, UNDECIDED)

    def _state_of_route(
        self, node: Node, item: str, holders: "Holders"
    ) -> ItemState | None:
        """Return why others are not told of a network that nobody has decided on."""
        if node.cluster is not None and item in node.cluster.networks:
            return None
        route, policy, subject = ip_network(item), self._members.policy, node.subject
        by_policy = policy is not None and policy.approves(subject, route)
        if not by_policy and not self._is_approved_by_settings(node, route):
            why = _not_of_cluster(node, item)
            return self._known_to_wait(node, item) or advertised(item, why)
        if item in node.routes:
            return None
        holder = holders.of(route, node.key)
        if holder is not None and not by_policy:
            return advertised(item, f"{holder} has it already")
        exactly = route in self._approved or (
            policy is not None and policy.approves(subject, route, exactly=True)
        )
        whole = None if exactly else holders.whole(route, node.key)
        if whole is not None:
            return advertised(
                item, f"it is a part of {whole[0]}, which {whole[1]} has already"
            )
        return None

    def _known_to_wait(self, node: Node, item: str) -> ItemState | None:
        """Return why a network waits, as somebody said who knows the settings."""
        waiting = (each for each in node.withheld if each.state == ADVERTISED)
        known = next((each for each in waiting if each.item == item), None)
        return None if self._knows_settings else known

    def _is_approved_by_settings(self, node: Node, route: IPNetwork) -> bool:
        if not self._knows_settings:
            return str(route) in node.routes
        return any(prefixes.is_within(route, each) for each in self._approved)


def _not_of_cluster(node: Node, item: str) -> str:
    """Return why nothing approves of a network, with a closer look at a cluster's."""
    if node.cluster is None:
        return UNDECIDED
    rival = node.cluster.rival(item)
    if rival is not None:
        return f"the cluster gave it to the node {rival} as well"
    return (
        f"it is no PodCIDR of the cluster's node {node.cluster.node}, as far as the "
        "coordinator can see"
    )


class Holders:
    """Which nodes others are told of for each network."""

    def __init__(self) -> None:
        self._names: dict[IPNetwork, dict[str, str]] = {}

    def add(self, node: Node) -> None:
        """Take note of what a node has."""
        for text in node.routes:
            self._names.setdefault(ip_network(text), {})[node.key] = node.name

    def remove(self, node: Node) -> None:
        """Forget what a node had."""
        for text in node.routes:
            self._names.get(ip_network(text), {}).pop(node.key, None)

    def of(self, route: IPNetwork, but: str) -> str | None:
        """Return the name of a node that has a network, the one of a key aside."""
        names = self._names.get(route, {})
        return next((name for key, name in names.items() if key != but), None)

    def whole(self, route: IPNetwork, but: str) -> Sequence[str] | None:
        """Return a greater network, and the name of a node that has it, of others."""
        for length in range(prefixes.SHORTEST[route.version], route.prefixlen):
            whole: IPNetwork = route.supernet(new_prefix=length)
            holder = self.of(whole, but)
            if holder is not None:
                return str(whole), holder
        return None
