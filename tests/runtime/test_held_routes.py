"""Networks that are offered for a while, and no longer than that."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwg.errors import ConfigError
from meshwg.runtime.held_routes import HeldRoutes
from meshwg.runtime.offered_routes import OfferedRoutes, announced
from meshwg.runtime.state import StateDirectory
from meshwg.wire.routes import MAX_ROUTES

OFFICE, VIP = "10.1.0.0/16", "10.60.0.10/32"
HELD = f"{VIP},snat=no"


class Offering:
    """Held routes, with what is offered after each change."""

    def __init__(self, state: StateDirectory) -> None:
        self.routes = OfferedRoutes([OFFICE], state)
        self.told: list[tuple[str, ...]] = []
        self.changed = asyncio.Event()
        self.held = HeldRoutes(self.routes, self._changed)

    def _changed(self) -> None:
        self.told.append(announced(self.routes.current))
        self.changed.set()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(tmp_path)
    yield made
    made.close()


async def test_one_that_is_held_is_offered_beside_the_others(
    state: StateDirectory,
) -> None:
    offering = Offering(state)
    assert offering.held.hold(HELD, 60).announced == VIP
    assert offering.told == [(OFFICE, VIP)]
    # It is this machine's own: there is nothing to forward.
    assert announced(offering.routes.lasting) == (OFFICE,)


async def test_to_hold_it_again_is_no_news(state: StateDirectory) -> None:
    offering = Offering(state)
    for _ in range(5):
        offering.held.hold(HELD, 60)
    assert len(offering.told) == 1


async def test_it_ends_by_itself(state: StateDirectory) -> None:
    offering = Offering(state)
    offering.held.hold(HELD, 0.01)
    offering.changed.clear()
    async with asyncio.timeout(30):
        await offering.changed.wait()
    assert offering.told == [(OFFICE, VIP), (OFFICE,)]


async def test_it_is_kept_for_as_long_as_was_said_last(state: StateDirectory) -> None:
    offering = Offering(state)
    offering.held.hold(HELD, 0.01)
    offering.held.hold(HELD, 60)
    await asyncio.sleep(0.1)
    assert announced(offering.routes.current) == (OFFICE, VIP)
    offering.held.close()


async def test_it_may_be_ended_before(state: StateDirectory) -> None:
    offering = Offering(state)
    offering.held.hold(HELD, 60)
    released = offering.held.release(VIP)
    assert released is not None
    assert released.announced == VIP
    assert offering.told[-1] == (OFFICE,)
    assert offering.held.release(VIP) is None
    assert offering.held.release(OFFICE) is None


async def test_a_restarted_node_knows_nothing_of_it(state: StateDirectory) -> None:
    Offering(state).held.hold(HELD, 60)
    assert announced(OfferedRoutes([OFFICE], state).current) == (OFFICE,)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 3601.0, float("nan")])
async def test_a_time_that_is_none_is_refused(
    state: StateDirectory, seconds: float
) -> None:
    offering = Offering(state)
    with pytest.raises(ConfigError, match="is held for up to"):
        offering.held.hold(HELD, seconds)
    assert offering.told == []


@pytest.mark.parametrize("text", ["", "0.0.0.0/0", "10.60.0.10/33", "169.254.0.1/32"])
async def test_what_nobody_can_offer_is_not_held(
    state: StateDirectory, text: str
) -> None:
    offering = Offering(state)
    with pytest.raises(ConfigError):
        offering.held.hold(text, 60)
    assert offering.told == []


async def test_a_node_holds_no_more_than_it_may_offer(state: StateDirectory) -> None:
    offering = Offering(state)
    for number in range(MAX_ROUTES - 1):
        offering.held.hold(f"10.60.0.{number}/32", 60)
    offering.held.hold("10.60.0.1/32", 60)
    with pytest.raises(ConfigError, match="at most"):
        offering.held.hold("10.60.1.1/32", 60)
