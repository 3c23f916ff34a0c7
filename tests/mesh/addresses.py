"""NATs with two addresses, both of which have to be known."""

from meshwg.control.client import ControlState
from meshwg.path.candidate import CandidateKind
from tests.world.internet import routers_of
from tests.world.node import SimNode
from tests.world.world import World

PATIENCE = 30


def let_both_addresses_be_seen(world: World, node: SimNode) -> None:
    """Let the coordinator see a node at the address that its discovery did not find.

    Discovery finds one address of a NAT; each connection may come from another.
    """
    own = node.node.whereabouts.candidates
    known = {one.host for one in own if one.kind is CandidateKind.REFLEXIVE}
    if len(public_addresses(node)) < 2:
        return
    for _ in range(PATIENCE):
        if node.carrier.observed not in known:
            return
        node.carrier.cut()
        world.run(lambda: node.client.state is ControlState.CONNECTED)
        world.advance(0.5)
    raise AssertionError("The NAT uses only one of its addresses")


def public_addresses(node: SimNode) -> list[str]:
    """Return the addresses of the NAT next to the internet, if there is any."""
    routers = routers_of(node.host)
    return routers[-1].addresses if routers else []
