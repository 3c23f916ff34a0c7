"""What a node is told of what became of its offers."""

from coordinator.mesh.approvals import EXIT, HUB
from coordinator.mesh.nodes import Node
from meshwg.wire.control import Approvals
from meshwg.wire.fields import MAX_SENTENCE
from meshwg.wire.routes import RouteState, WishState

NOTHING = Approvals()
"""Of a node that offers nothing."""


def approvals_of(node: Node) -> Approvals:
    """Return the message for a node, as it is now."""
    states = {each.item: each for each in node.states() if each.item in node.offered}
    routes = tuple(
        RouteState(
            prefix=each.item, state=each.state, reason=each.reason[:MAX_SENTENCE]
        )
        for each in states.values()
        if each.item not in (EXIT, HUB)
    )
    wishes = {
        item: WishState(
            state=states[item].state, reason=states[item].reason[:MAX_SENTENCE]
        )
        for item in (EXIT, HUB)
        if item in states
    }
    return Approvals(routes=routes, exit=wishes.get(EXIT), hub=wishes.get(HUB))
