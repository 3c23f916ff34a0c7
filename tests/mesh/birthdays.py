"""First meetings of two nodes that only the birthday method brings together.

``python -m tests.mesh.birthdays FIRST LAST`` prints, for each seed from the first to
the one before the last, the seconds until data went directly: ``inf`` if it did not.
"""

import sys
from dataclasses import dataclass
from math import inf

from meshwg.path.punch import PunchMethod
from tests.mesh.addresses import let_both_addresses_be_seen, public_addresses
from tests.sim.kinds import PORT_RESTRICTED, SYMMETRIC_RANDOM, Kind
from tests.world.world import World

PATIENCE = 10.0
"""Seconds for plain punching to fail and one attempt to end."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """What came of the first birthday attempt."""

    seconds: float
    """From the first packet until data goes directly both ways; infinity if never."""
    attempts: int
    """Birthday attempts that were noted; one of them missed if there is no path."""

    @property
    def is_hit(self) -> bool:
        return self.seconds < inf


def meet(a: Kind, b: Kind, loss: float, seed: int) -> Meeting:
    """Let two nodes meet in a world of their own."""
    world = World(seed=seed, loss=loss)
    one, other = world.add("one", a), world.add("other", b)
    world.settle()
    for node in (one, other):
        let_both_addresses_be_seen(world, node)
    contacts = one.contact(other), other.contact(one)
    start = world.now
    one.talk_to(other, 0.5)
    other.talk_to(one, 0.5)
    # The coordinator vouches only for the address of the connection that there is.
    other.agent(one).confirm_hosts(public_addresses(one))
    hit = world.run(lambda: all(contact.is_direct for contact in contacts), PATIENCE)
    methods = [attempt.method for attempt in one.status(other).attempts]
    return Meeting(
        world.now - start if hit else inf, methods.count(PunchMethod.BIRTHDAY.value)
    )


if __name__ == "__main__":
    for number in range(*map(int, sys.argv[1:3])):
        sys.stdout.write(
            f"{meet(SYMMETRIC_RANDOM, PORT_RESTRICTED, 0.0, number).seconds}\n"
        )
