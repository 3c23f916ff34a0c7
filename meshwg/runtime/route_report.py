"""What ``meshwg route list --json`` says of networks behind this node, and peers."""

from collections.abc import Iterable
from typing import Any

from meshwg.node.approvals import NOT_SAID
from meshwg.node.members import Members
from meshwg.routeoptions import RouteOptions
from meshwg.wire.routes import ApprovalState, RouteState, RouteTraits


def own_routes(
    routes: Iterable[RouteOptions], states: Iterable[RouteState]
) -> list[dict[str, Any]]:
    """Return the networks that this node offers.

    :param states: what became of them.
    """
    known = {each.prefix: each for each in states}
    return [_own_route(each, known.get(each.announced)) for each in routes]


def peer_routes(members: Members) -> list[dict[str, Any]]:
    """Return the networks behind peers, one for each peer that has it.

    The first of one network is where packets to it go.
    """
    listed: list[dict[str, Any]] = []
    for network, peer in members.routers():
        traits = next(
            (each for each in peer.entry.traits if each.prefix == network),
            RouteTraits(prefix=network),
        )
        listed.append(
            {
                "prefix": network,
                "peer": peer.entry.name,
                "public_key": peer.key,
                "online": peer.entry.online,
                "priority": traits.priority,
                "real": traits.mapped,
                "used": not listed or listed[-1]["prefix"] != network,
            }
        )
    return listed


def _own_route(route: RouteOptions, state: RouteState | None) -> dict[str, Any]:
    if state is None:
        waits = ApprovalState.ADVERTISED
        state = RouteState(prefix=route.announced, state=waits, reason=NOT_SAID)
    return {
        "prefix": route.announced,
        "real": None if route.mapped is None else route.prefix,
        "probe": route.probe,
        "priority": route.priority,
        "snat": route.snat,
        "state": state.state,
        "reason": state.reason,
    }
