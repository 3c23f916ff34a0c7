"""Which networks are whose: of several nodes that offer one, the first has it.

A node *announces* networks. It *has* those that lie inside an approved network, in the
settings or for this node in the policy, that can be behind a node at all
(:mod:`meshwg.prefixes`), and that no other node had before; only these are told to
others. Whatever a node had goes to the next one that announces
it when the node is removed, expires, or announces it no more, but not while it is
away: a network moves by an administrator's doing, or by its owner's.
"""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network

from coordinator.mesh.drafted import DraftedMembers
from coordinator.mesh.nodes import Node
from meshwg import prefixes
from meshwg.prefixes import IPNetwork


class Routes:
    """Decides on routes in one draft.

    :param approved: networks inside which nodes may announce routes.
    """

    def __init__(self, members: DraftedMembers, approved: Iterable[str]) -> None:
        self._members = members
        self._approved = [ip_network(text) for text in approved]
        self._mesh = (members.networks.v4, members.networks.v6)

    def announce(self, node: Node, announced: Iterable[str]) -> Node:
        """Return a node with what it announces now, and what it has of that."""
        listed = tuple(sorted(dict.fromkeys(announced)))
        if not listed and not node.announced and not node.routes:
            return node
        held = self._held(but=node)
        routes = tuple(
            text for text in listed if self._refusal(text, held, node) is None
        )
        return replace(node, announced=listed, routes=routes)

    def settle(self) -> None:
        """Give what nobody has any more to the next one that announces it."""
        held = self._held()
        waiting = [
            node
            for node in self._members.all()
            if len(node.announced) > len(node.routes) and not node.expired
        ]
        for node in sorted(waiting, key=lambda each: (each.joined, each.key)):
            known = node.routes
            more = [
                text
                for text in node.announced
                if text not in known and self._refusal(text, held, node) is None
            ]
            if more:
                held |= {ip_network(text): node.name for text in more}
                routes = tuple(sorted((*known, *more)))
                self._members.put(replace(node, routes=routes))

    def explain(self, node: Node) -> str:
        """Return in a sentence why a node has not all that it announces."""
        refused = [text for text in node.announced if text not in node.routes]
        if not refused:
            return ""
        why = self._refusal(refused[0], self._held(but=node), node)
        more = f", nor of {len(refused) - 1} more" if refused[1:] else ""
        return f"Others are not told of the network {refused[0]}{more}: {why}"

    def _held(self, but: Node | None = None) -> dict[IPNetwork, str]:
        """Return what nodes have, and their names."""
        return {
            ip_network(route): other.name
            for other in self._members.all()
            if other.routes and not other.expired
            for route in other.routes
            if but is None or other.key != but.key
        }

    def _refusal(self, text: str, held: dict[IPNetwork, str], node: Node) -> str | None:
        """Return why a node does not get a network, if others have these."""
        route = ip_network(text)
        why = prefixes.refusal(route, self._mesh)
        if why is not None:
            return why
        policy = self._members.policy
        if not any(prefixes.is_within(route, each) for each in self._approved) and not (
            policy is not None and policy.approves(node.subject, route)
        ):
            return "the coordinator's administrator has not approved it"
        if route in held:
            return f"{held[route]} has it already"
        if route in self._approved:
            return None
        # Packets would take the longer one, so a part of another's network is only for
        # those to whom an administrator gave just that.
        for length in range(prefixes.SHORTEST[route.version], route.prefixlen):
            whole: IPNetwork = route.supernet(new_prefix=length)
            if whole in held:
                return f"it is a part of {whole}, which {held[whole]} has already"
        return None
