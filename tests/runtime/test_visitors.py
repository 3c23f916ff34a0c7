"""Who may be connected to the control socket, and who makes room."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from meshwg.runtime.visitors import (
    ORDINARY_SHARE,
    OWNER_SHARE,
    USER_SHARE,
    Visit,
    Visitors,
    is_owner,
)

ALICE, BOB, ROOT = 1001, 1002, 0


class Crowd:
    """Connections that end only if they are told to."""

    def __init__(self) -> None:
        self.visitors = Visitors()
        self.visits: list[Visit] = []

    def come(self, user: int, number: int = 1, *, asks: bool = False) -> list[Visit]:
        """Have a user connect as often as there is room; return the connections."""
        came = []
        for _ in range(number):
            if not self.visitors.make_room(user):
                continue
            visit = asyncio.create_task(asyncio.sleep(3600))
            self.visitors.arrive(visit, user)
            if asks:
                self.visitors.serve(visit)
            came.append(visit)
        self.visits += came
        return came

    async def living(self) -> list[Visit]:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [each for each in self.visits if not each.done()]


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    made = Crowd()
    yield made
    await made.visitors.leave(0.0)


async def test_a_user_has_a_share_and_the_longest_silent_makes_room(
    crowd: Crowd,
) -> None:
    came = crowd.come(ALICE, USER_SHARE + 5)

    assert await crowd.living() == came[5:]


async def test_commands_in_service_are_left_alone(crowd: Crowd) -> None:
    serving = crowd.come(ALICE, USER_SHARE, asks=True)

    assert crowd.come(ALICE) == []
    assert await crowd.living() == serving


async def test_a_user_who_takes_all_takes_nothing_from_others(crowd: Crowd) -> None:
    crowd.come(ALICE, 1000)
    (bob,) = crowd.come(BOB)
    (root,) = crowd.come(ROOT)
    crowd.come(ALICE, 1000)

    assert {bob, root} < set(await crowd.living())


async def test_many_users_leave_room_for_the_administrator(crowd: Crowd) -> None:
    for user in range(2000, 2100):
        crowd.come(user, USER_SHARE, asks=True)

    assert len(await crowd.living()) == ORDINARY_SHARE
    assert len(crowd.come(ROOT, OWNER_SHARE, asks=True)) == OWNER_SHARE


async def test_of_many_users_the_greediest_makes_room(crowd: Crowd) -> None:
    for user in (1, 2):
        crowd.come(user, USER_SHARE, asks=True)
    greedy = crowd.come(3, USER_SHARE)

    (newcomer,) = crowd.come(4)

    assert await crowd.living() == [*crowd.visits[:32], *greedy[1:], newcomer]


async def test_the_administrator_is_bounded_too(crowd: Crowd) -> None:
    came = crowd.come(ROOT, OWNER_SHARE + 1)

    assert await crowd.living() == came[1:]


async def test_who_has_gone_takes_no_room(crowd: Crowd) -> None:
    for visit in crowd.come(ALICE, USER_SHARE, asks=True):
        visit.cancel()
    await crowd.living()

    assert len(crowd.come(ALICE, USER_SHARE, asks=True)) == USER_SHARE


def test_root_and_the_daemon_s_own_user_are_owners() -> None:
    assert is_owner(0)
    assert is_owner(os.geteuid())
    assert not is_owner(4242)
    assert not is_owner(-1)
