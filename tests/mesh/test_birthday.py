"""The birthday method hits as often as arithmetic says, and not less.

Each row is one pair of networks and the chance that none of the probes meets a mapping.
Many attempts are made in virtual time, with fixed seeds, and the number of misses is
held against the binomial distribution: further out on either side than one run in two
thousand, and something other than chance is at work.
"""

import math
from functools import cache
from statistics import median

import pytest

from meshwg.path.punch import (
    BIRTHDAY_FIRST_SOCKETS,
    BIRTHDAY_PROBES,
    BIRTHDAY_SOCKETS,
    FIRST_PORT,
    LAST_PORT,
)
from meshwg.path.room import CANARIES
from meshwg.path.volley import BIRTHDAY_VOLLEYS
from tests.mesh.birthdays import Meeting, meet
from tests.sim import kinds
from tests.world.world import World

MANY, SOME = 100, 50
"""How many pairs meet."""

PROBES = BIRTHDAY_PROBES * len(BIRTHDAY_VOLLEYS)
PORTS = LAST_PORT - FIRST_PORT + 1
TAIL = 0.0005
"""The probability of what counts as too far out, on each side."""

HITS = 0.97
"""The part of first attempts that has to open a path."""
MEDIAN, NEARLY_ALL = 2.5, 5.0
"""Seconds from the first packet to a direct path, in half and in 95 % of meetings."""


FIRST = BIRTHDAY_FIRST_SOCKETS
LATER = BIRTHDAY_SOCKETS - CANARIES - FIRST


def chance_to_miss(first: float, later: float) -> float:
    """Return the probability that no mapping is at a port that is probed.

    :param first: probes that can meet the sockets which a fan begins with.
    :param later: the same for those that it adds.
    """
    return float((1 - first / PORTS) ** FIRST * (1 - later / PORTS) ** LATER)


ONE_ADDRESS = chance_to_miss(PROBES, PROBES)
TWO_ADDRESSES = chance_to_miss(PROBES / 2, PROBES / 2)
"""Wherever a mapping is, only half of the probes go to that address."""

CASES = (
    (kinds.SYMMETRIC_RANDOM, kinds.PORT_RESTRICTED, 0.0, ONE_ADDRESS, MANY),
    # A probe that is lost before it comes to its own NAT opens nothing there.
    (
        kinds.SYMMETRIC_RANDOM,
        kinds.FIREWALLED_PUBLIC,
        0.05,
        chance_to_miss(0.95 * PROBES, 0.95 * PROBES),
        SOME,
    ),
    (kinds.DOUBLE_NAT_SYMMETRIC, kinds.LINUX, 0.0, ONE_ADDRESS, SOME),
    # A prober with a mapping for each probe leaves no holes for later sockets.
    (
        kinds.SYMMETRIC_ADF,
        kinds.SYMMETRIC_ADF,
        0.0,
        chance_to_miss(PROBES, BIRTHDAY_PROBES),
        SOME,
    ),
    # The fan's second wave spoils the ports that only the second volley tries.
    (
        kinds.SYMMETRIC_RANDOM,
        kinds.SLOPPY_LINUX,
        0.0,
        chance_to_miss(BIRTHDAY_PROBES, PROBES),
        SOME,
    ),
    # Close to the median that is asked for: of fewer, every seventh sample is beyond.
    (kinds.SYMMETRIC_TWO_ADDRESSES, kinds.PORT_RESTRICTED, 0.0, TWO_ADDRESSES, MANY),
    # The side with two addresses probes, and the other opens for both of them: from
    # half as many sockets in the beginning.
    (
        kinds.SYMMETRIC_TWO_ADDRESSES,
        kinds.SYMMETRIC_ADF,
        0.0,
        chance_to_miss(0.75 * PROBES, BIRTHDAY_PROBES),
        SOME,
    ),
)


def test_the_chance_of_a_miss_is_what_the_design_assumes() -> None:
    exact = math.comb(PORTS - BIRTHDAY_SOCKETS, BIRTHDAY_PROBES) / math.comb(
        PORTS, BIRTHDAY_PROBES
    )
    assert exact == pytest.approx(0.017, abs=0.0005)
    assert pytest.approx(0.019, abs=0.0005) == TWO_ADDRESSES
    assert pytest.approx(0.0003, abs=0.00006) == ONE_ADDRESS


@pytest.mark.parametrize(("a", "b", "loss", "chance", "count"), CASES)
def test_attempts_miss_as_often_as_chance_has_it(
    a: kinds.Kind, b: kinds.Kind, loss: float, chance: float, count: int
) -> None:
    missed = sum(not meeting.is_hit for meeting in meetings(a, b, loss, count))
    likely = f"{missed} of {count} missed, {chance * count:.1f} are to be expected"
    assert at_most(missed, count, chance) > TAIL, likely
    assert 1 - at_most(missed - 1, count, chance) > TAIL, likely


@pytest.mark.parametrize(("a", "b", "loss", "chance", "count"), CASES)
def test_the_first_attempt_nearly_always_opens_a_path_and_soon(
    a: kinds.Kind, b: kinds.Kind, loss: float, chance: float, count: int
) -> None:
    met = meetings(a, b, loss, count)
    assert all(meeting.attempts == 1 for meeting in met)
    assert sum(meeting.is_hit for meeting in met) >= HITS * len(met)
    seconds = sorted(meeting.seconds for meeting in met)
    assert median(seconds) < MEDIAN
    assert seconds[round(0.95 * len(seconds)) - 1] < NEARLY_ALL


@pytest.mark.parametrize("seed", range(5))
def test_a_pair_that_talks_before_its_nats_are_known_need_not_wait(seed: int) -> None:
    world = World(seed)
    one = world.add("one", kinds.SYMMETRIC_RANDOM)
    other = world.add("other", kinds.PORT_RESTRICTED)
    assert world.run(lambda: bool(one.node.members.find(other.key)), 5.0)
    one.talk_to(other, 0.5)
    contacts = one.contact(other), other.contact(one)
    assert world.run(lambda: all(each.is_direct for each in contacts), 12.0)


@cache
def meetings(a: kinds.Kind, b: kinds.Kind, loss: float, count: int) -> list[Meeting]:
    return [meet(a, b, loss, 1000 + seed) for seed in range(count)]


@cache
def at_most(missed: int, count: int, chance: float) -> float:
    """Return the probability of so many misses or fewer (binomial distribution)."""
    return sum(
        math.comb(count, n) * chance**n * (1 - chance) ** (count - n)
        for n in range(missed + 1)
    )
