"""Which of several routers of a network is used, in virtual time."""

from itertools import permutations

import pytest

from meshwg.node.routers import (
    AWAY_AFTER,
    IN_USE,
    REORDERED,
    RETRY_INTERVAL,
    RETURN_AFTER,
    WARM_INTERVAL,
    Contender,
    Move,
    MoveReason,
    RouterHealth,
    Routers,
)
from meshwg.path.routereport import RouteReport

SITE, OTHER = "10.1.0.0/16", "10.2.0.0/16"
NOW = 1000.0
STEP = 0.05


class Story:
    """Routers with traffic to whichever is chosen, and those of them that answer."""

    def __init__(self, *contenders: tuple[str, int]) -> None:
        self.now = NOW
        self.trips: dict[str, float] = {}
        self.alive = {key for key, _ in contenders}
        self.online = {key for key, _ in contenders}
        self.routers = Routers(self.trips.get)
        self.contenders = [Contender(*each) for each in contenders]
        self.moves: list[Move] = []
        self.lost = 0.0
        """Seconds in which what was sent got no answer."""
        self.say()
        self.run(1.0)

    def say(self) -> None:
        """Tell what the coordinator says."""
        routes = {SITE: self.contenders} if self.contenders else {}
        self.routers.set_routes(routes, self.online, self.now)
        self.moves += self.routers.take_moves()

    @property
    def holder(self) -> str | None:
        return self.routers.holder(SITE)

    def run(self, seconds: float, *, traffic: bool = True) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.now < end:
            self.now += STEP
            due = self.routers.get_timer()
            if due is not None and due <= self.now:
                self.routers.handle_timer(self.now)
                for key in [key for wish in self.routers.take_wishes() for key in wish]:
                    self.routers.sent(key, self.now)
                    if key in self.alive:
                        self.routers.heard(key, self.now, is_data=False)
            holder = self.holder
            if traffic and holder is not None:
                self.routers.sent(holder, self.now)
                if holder in self.alive:
                    self.routers.heard(holder, self.now, is_data=True)
                else:
                    self.lost += STEP
            self.moves += self.routers.take_moves()

    def report(self, key: str, *dead: str, leaves: bool = False) -> None:
        said = RouteReport.of(self.now, dead, leaves=leaves)
        self.routers.reported(key, said, self.now)
        self.moves += self.routers.take_moves()

    def health(self, key: str) -> RouterHealth:
        standings = self.routers.standings(SITE, self.now)
        return next(each.health for each in standings if each.key == key)

    def reasons(self) -> list[MoveReason]:
        return [each.reason for each in self.moves]


@pytest.mark.parametrize(
    "order", list(permutations([("a", 50), ("b", 100), ("c", 200)]))
)
def test_the_lowest_priority_number_is_preferred_in_whatever_order_they_come(
    order: tuple[tuple[str, int], ...],
) -> None:
    assert Story(*order).holder == "a"


def test_of_equals_the_first_is_used_and_stays() -> None:
    story = Story(("b", 100), ("a", 100))
    assert story.holder == "b"
    story.run(60)
    assert story.reasons() == [MoveReason.FIRST]


def test_one_that_does_not_answer_is_left_within_two_seconds() -> None:
    story = Story(("a", 50), ("b", 100))
    story.run(20)
    story.alive.remove("a")
    story.run(5)
    assert story.holder == "b"
    assert story.lost < 2
    assert story.health("a") is RouterHealth.SILENT
    assert story.reasons() == [MoveReason.FIRST, MoveReason.SILENT]


def test_the_preferred_one_takes_over_again_when_it_has_worked_for_a_while() -> None:
    story = Story(("a", 50), ("b", 100))
    story.alive.remove("a")
    story.run(5)
    story.alive.add("a")
    story.run(RETURN_AFTER - 1)
    assert story.holder == "b"
    story.run(RETRY_INTERVAL + 2)
    assert story.holder == "a"
    assert story.reasons()[-1] is MoveReason.PREFERRED


def test_an_equal_one_does_not_take_over_again() -> None:
    story = Story(("a", 100), ("b", 100))
    story.alive.remove("a")
    story.run(5)
    story.alive.add("a")
    story.run(60)
    assert story.holder == "b"


def test_one_that_comes_and_goes_does_not_take_over() -> None:
    story = Story(("a", 50), ("b", 100))
    for _ in range(5):
        story.alive.discard("a")
        story.run(8)
        story.alive.add("a")
        story.run(RETURN_AFTER - 1)
    assert story.reasons().count(MoveReason.PREFERRED) == 0


@pytest.mark.parametrize("leaves", [False, True], ids=["dead", "leaves"])
def test_one_that_says_it_does_not_reach_the_network_is_left_at_once(
    leaves: bool,
) -> None:
    story = Story(("a", 50), ("b", 100))
    story.report("a", *(() if leaves else (SITE,)), leaves=leaves)
    assert story.holder == "b"
    assert story.lost == 0
    assert story.moves[-1].reason is (MoveReason.LEAVES if leaves else MoveReason.DEAD)


def test_what_is_said_of_another_network_is_of_no_account() -> None:
    story = Story(("a", 50), ("b", 100))
    story.report("a", OTHER)
    assert story.holder == "a"


def test_a_report_that_was_overtaken_is_not_believed() -> None:
    story = Story(("a", 50), ("b", 100))
    old = RouteReport.of(story.now - 1, [], leaves=False)
    story.report("a", SITE)
    story.routers.reported("a", old, story.now)
    assert story.health("a") is RouterHealth.DEAD
    # Later it is another clock.
    story.routers.reported("a", old, story.now + REORDERED)
    assert story.health("a") is RouterHealth.GOOD


def test_a_dead_network_that_lives_again_is_used_after_a_while() -> None:
    story = Story(("a", 50), ("b", 100))
    story.report("a", SITE)
    story.run(1)
    story.report("a")
    story.run(1)
    assert story.holder == "b"
    story.run(RETURN_AFTER)
    assert story.holder == "a"


def test_if_all_are_dead_none_is_worse_than_the_silent_one() -> None:
    story = Story(("a", 50), ("b", 100))
    story.report("a", SITE)
    story.alive.remove("b")
    story.run(10)
    assert story.holder == "b"
    story.report("b", SITE)
    assert story.holder == "b"


def test_a_clearly_nearer_one_takes_over_and_a_slightly_nearer_one_does_not() -> None:
    story = Story(("a", 100), ("b", 100))
    story.trips |= {"a": 0.100, "b": 0.085}
    story.run(20)
    assert story.holder == "a"
    story.trips["b"] = 0.075
    story.run(20)
    assert story.holder == "b"
    assert story.reasons()[-1] is MoveReason.NEARER
    story.trips["a"] = 0.07
    story.run(20)
    assert story.holder == "b"


def test_a_nearer_one_does_not_beat_a_preferred_one() -> None:
    story = Story(("a", 50), ("b", 100))
    story.trips |= {"a": 0.3, "b": 0.01}
    story.run(20)
    assert story.holder == "a"


def test_one_that_the_coordinator_lost_stays_while_it_answers() -> None:
    story = Story(("a", 50), ("b", 100))
    story.online.remove("a")
    story.say()
    story.run(30)
    assert story.holder == "a"
    story.run(AWAY_AFTER + 1, traffic=False)
    story.say()
    assert story.holder == "b"
    assert story.reasons()[-1] is MoveReason.AWAY


def test_one_that_starts_again_is_thought_well_of() -> None:
    story = Story(("a", 50), ("b", 100))
    story.report("a", leaves=True)
    story.online.remove("a")
    story.say()
    story.run(AWAY_AFTER)
    story.online.add("a")
    story.say()
    assert story.health("a") is RouterHealth.GOOD
    story.run(RETURN_AFTER + STEP)
    assert story.holder == "a"


def test_the_next_one_has_the_network_of_one_that_is_gone() -> None:
    story = Story(("a", 50), ("b", 100))
    del story.contenders[0]
    story.say()
    assert story.holder == "b"
    story.contenders.clear()
    story.say()
    assert story.routers.holder(SITE) is None
    assert story.reasons() == [MoveReason.FIRST, MoveReason.GONE, MoveReason.GONE]


def test_a_new_one_waits_for_its_turn() -> None:
    story = Story(("b", 100))
    story.contenders.append(Contender("a", 50))
    story.online.add("a")
    story.alive.add("a")
    story.say()
    assert story.holder == "b"
    story.run(RETURN_AFTER + 1)
    assert story.holder == "a"


def test_a_router_without_rivals_is_not_watched() -> None:
    story = Story(("a", 100))
    story.alive.clear()
    story.run(10)
    assert story.holder == "a"
    assert story.routers.get_timer() is None


def test_those_in_reserve_are_kept_warm_only_while_the_network_is_in_use() -> None:
    story = Story(("a", 50), ("b", 100))
    warmed = 0
    for _ in range(100):
        story.now += WARM_INTERVAL / 5
        story.routers.sent("a", story.now)
        story.routers.heard("a", story.now, is_data=True)
        story.routers.handle_timer(story.now)
        checks, warm = story.routers.take_wishes()
        assert checks == []
        warmed += warm == ["b"]
        story.routers.heard("b", story.now, is_data=False)
    assert warmed == 20
    story.now += IN_USE
    story.routers.handle_timer(story.now)
    assert story.routers.take_wishes() == ([], [])


def test_standings_tell_all_routers_the_one_in_use_first() -> None:
    story = Story(("a", 50), ("b", 100), ("c", 70))
    story.report("a", SITE)
    story.trips["c"] = 0.02
    found = story.routers.standings(SITE, story.now)
    assert [(each.key, each.health) for each in found] == [
        ("c", RouterHealth.GOOD),
        ("b", RouterHealth.GOOD),
        ("a", RouterHealth.DEAD),
    ]
    assert found[0].is_chosen
    assert found[0].round_trip == 0.02
    assert story.routers.standings("10.9.0.0/16", story.now) == ()


def test_strangers_are_nobody() -> None:
    story = Story(("a", 50))
    story.routers.heard("x", NOW, is_data=True)
    story.routers.sent("x", NOW)
    story.routers.reported("x", RouteReport(1), NOW)
    assert "x" not in story.routers
    assert "a" in story.routers
