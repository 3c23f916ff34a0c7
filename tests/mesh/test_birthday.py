"""The birthday method hits as often as arithmetic says, and not less.

Each row is one pair of networks and the chance that none of the probes meets a mapping.
Many attempts are made in virtual time, with fixed seeds, and the number of misses is
held against the binomial distribution: further out on either side than one run in two
thousand, and something other than chance is at work.
"""

import math
from functools import cache

import pytest

from meshwg.path.punch import (
    BIRTHDAY_PROBES,
    BIRTHDAY_SOCKETS,
    FIRST_PORT,
    LAST_PORT,
    PunchMethod,
)
from tests.mesh.addresses import let_both_addresses_be_seen, public_addresses
from tests.sim import kinds
from tests.world.world import World

ATTEMPTS = 150
PORTS = LAST_PORT - FIRST_PORT + 1
TAIL = 0.0005
"""The probability of what counts as too far out, on each side."""

PATIENCE = 15.0
"""Seconds for plain punching to fail and one attempt to end."""


def chance_to_miss(probes: float) -> float:
    """Return the probability that no mapping is at a port that is probed."""
    return (1 - probes / PORTS) ** BIRTHDAY_SOCKETS


ONE_ADDRESS = chance_to_miss(BIRTHDAY_PROBES)
TWO_ADDRESSES = chance_to_miss(BIRTHDAY_PROBES / 2)
"""Wherever a mapping is, only half of the probes go to that address."""

CASES = (
    (kinds.SYMMETRIC_RANDOM, kinds.PORT_RESTRICTED, 0.0, ONE_ADDRESS),
    # A probe that is lost before it comes to its own NAT opens nothing there.
    (
        kinds.SYMMETRIC_RANDOM,
        kinds.FIREWALLED_PUBLIC,
        0.05,
        chance_to_miss(0.95 * BIRTHDAY_PROBES),
    ),
    (kinds.DOUBLE_NAT_SYMMETRIC, kinds.LINUX, 0.0, ONE_ADDRESS),
    (kinds.SYMMETRIC_ADF, kinds.SYMMETRIC_ADF, 0.0, ONE_ADDRESS),
    (kinds.SYMMETRIC_TWO_ADDRESSES, kinds.PORT_RESTRICTED, 0.0, TWO_ADDRESSES),
    # The side with two addresses probes, and the other opens for both of them.
    (kinds.SYMMETRIC_TWO_ADDRESSES, kinds.SYMMETRIC_ADF, 0.0, ONE_ADDRESS),
)


def test_the_chance_of_a_miss_is_what_the_design_assumes() -> None:
    exact = math.comb(PORTS - BIRTHDAY_SOCKETS, BIRTHDAY_PROBES) / math.comb(
        PORTS, BIRTHDAY_PROBES
    )
    assert exact == pytest.approx(0.017, abs=0.0005)
    assert pytest.approx(exact, rel=0.02) == ONE_ADDRESS
    assert pytest.approx(0.13, abs=0.0005) == TWO_ADDRESSES


@pytest.mark.parametrize(("a", "b", "loss", "chance"), CASES)
def test_attempts_miss_as_often_as_chance_has_it(
    a: kinds.Kind, b: kinds.Kind, loss: float, chance: float
) -> None:
    missed = sum(not is_hit(a, b, loss, seed) for seed in range(ATTEMPTS))
    likely = (
        f"{missed} of {ATTEMPTS} missed, {chance * ATTEMPTS:.1f} are to be expected"
    )
    assert at_most(missed, chance) > TAIL, likely
    assert 1 - at_most(missed - 1, chance) > TAIL, likely


def is_hit(a: kinds.Kind, b: kinds.Kind, loss: float, seed: int) -> bool:
    """Let two nodes meet; tell whether the first birthday attempt opens a path."""
    world = World(seed=1000 + seed, loss=loss)
    one, other = world.add("one", a), world.add("other", b)
    world.settle()
    for node in (one, other):
        let_both_addresses_be_seen(world, node)
    contacts = one.contact(other), other.contact(one)
    one.talk_to(other, 0.5)
    other.talk_to(one, 0.5)
    # The coordinator vouches only for the address of the connection that there is.
    other.agent(one).confirm_hosts(public_addresses(one))
    hit = world.run(lambda: all(contact.is_direct for contact in contacts), PATIENCE)
    methods = [attempt.method for attempt in one.status(other).attempts]
    assert methods.count(PunchMethod.BIRTHDAY.value) == 1, methods
    return hit


@cache
def at_most(missed: int, chance: float) -> float:
    """Return the probability of so many misses or fewer (binomial distribution)."""
    return sum(
        math.comb(ATTEMPTS, n) * chance**n * (1 - chance) ** (ATTEMPTS - n)
        for n in range(missed + 1)
    )
