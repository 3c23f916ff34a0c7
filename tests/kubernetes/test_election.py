"""Who holds a lease, among machines whose clocks differ, and while things break."""

import random
from dataclasses import replace

import pytest

from meshwg.errors import ConfigError
from meshwg.kubernetes.election import (
    Election,
    HolderSeen,
    LeaseGained,
    LeaseLost,
    LeaseRead,
    LeaseRecord,
    LeaseRenewed,
    LeaseWrite,
    LossReason,
    Timing,
)
from tests.kubernetes.electorate import Electorate

TIMING = Timing()
YEARS = 3e8
"""Seconds by which clocks differ."""


def test_the_first_of_two_holds_it_and_the_other_waits() -> None:
    world = Electorate()
    first, second = world.add("a"), world.add("b", offset=YEARS)

    world.run(60)

    assert world.holder() == "a"
    assert (first.losses, second.losses) == ([], [])
    assert second.noted == ["", "a"]
    assert len(world.tenures) == 1


def test_of_many_that_begin_together_one_holds_it() -> None:
    world = Electorate()
    for number in range(9):
        world.add(f"m{number}", offset=number * YEARS)

    world.run(30)

    assert world.holder() is not None
    assert len(world.tenures) == 1


def test_who_stops_hands_it_over_in_less_than_a_second() -> None:
    world = Electorate()
    first, _, _ = world.add("a"), world.add("b", offset=-YEARS), world.add("c")
    world.run(10)

    first.stop()
    world.run(1)

    assert world.holder() in ("b", "c")
    assert first.losses == [LossReason.STOPPED]
    assert first.address.election.has_ended
    assert world.overlap() == 0


@pytest.mark.parametrize("moment", [each / 20 for each in range(20)])
def test_who_is_killed_is_followed_in_less_than_five_seconds(moment: float) -> None:
    world = Electorate()
    first = world.add("a")
    world.add("b", offset=YEARS)
    world.run(10 + moment)
    assert world.holder() == "a"

    first.kill()
    world.run(4.9)

    assert world.holder() == "b"
    assert world.overlap() == 0


def test_the_kernel_of_who_was_killed_forgets_the_address_before_it_is_elsewhere() -> (
    None
):
    world = Electorate()
    first = world.add("a")
    world.run(10.3)
    first.kill()
    world.run(3.6)
    assert world.holder() is None


def test_who_is_cut_off_stops_before_another_begins() -> None:
    world = Electorate()
    first = world.add("a", offset=-YEARS)
    world.run(1)
    world.add("b")
    world.run(10)

    first.is_cut = True
    world.run(20)

    assert world.holder() == "b"
    assert first.losses == [LossReason.DEADLINE]
    assert world.overlap() == 0
    gone, came = world.tenures[0].until, world.tenures[1].since
    assert gone is not None
    assert came - gone >= TIMING.duration - TIMING.deadline - 0.1


def test_who_comes_back_does_not_take_it_from_its_holder() -> None:
    world = Electorate()
    first = world.add("a")
    world.add("b")
    world.run(10)
    first.is_cut = True
    world.run(20)
    first.is_cut = False

    world.run(60)

    assert world.holder() == "b"
    assert len(world.tenures) == 2


def test_while_the_arbiter_is_away_nobody_holds_it_and_afterwards_one_does() -> None:
    world = Electorate()
    for name in "abc":
        world.add(name)
    world.run(10)
    world.arbiter.is_up = False
    world.run(600)
    assert world.holder() is None

    world.arbiter.is_up = True
    world.run(2)

    assert world.holder() is not None
    assert world.overlap() == 0


def test_a_short_absence_of_the_arbiter_moves_nothing() -> None:
    world = Electorate()
    world.add("a")
    world.add("b")
    world.run(10)
    world.arbiter.is_up = False
    world.run(0.8)
    world.arbiter.is_up = True
    world.run(10)
    assert len(world.tenures) == 1


def test_answers_that_get_lost_leave_nobody_with_a_lease_it_does_not_know_of() -> None:
    world = Electorate()
    first = world.add("a")
    first.loses_answers = True
    world.run(3)
    assert world.holder() is None
    assert world.arbiter.record is None or world.arbiter.record.holder in ("", "a")

    first.loses_answers = False
    world.run(2)

    assert world.holder() == "a"


def test_a_lease_that_is_stolen_is_given_up_with_the_next_renewal() -> None:
    world = Electorate()
    first = world.add("a")
    world.run(10)

    world.arbiter.put(LeaseRecord("thief", 15.0))
    world.run(TIMING.retry + 0.1)

    assert world.holder() is None
    assert first.losses == [LossReason.STOLEN]
    world.run(14)
    assert world.holder() is None
    world.run(2)
    assert world.holder() == "a"


def test_an_edit_that_leaves_the_holder_costs_nothing() -> None:
    world = Electorate()
    first = world.add("a")
    world.run(10)
    assert world.arbiter.record is not None

    world.arbiter.put(world.arbiter.record)
    world.run(5)

    assert (world.holder(), first.losses) == ("a", [])
    assert len(world.tenures) == 1


def test_a_lease_that_is_deleted_is_made_again_by_its_holder() -> None:
    world = Electorate()
    first = world.add("a")
    world.add("b")
    world.run(10)
    world.arbiter.record = None
    world.run(10)
    assert world.holder() == "a"
    assert first.losses == []


def test_a_record_that_says_nothing_of_its_duration_lasts_as_ones_own_would() -> None:
    world = Electorate()
    world.arbiter.put(LeaseRecord("gone", 0.0))
    world.add("a")
    world.run(TIMING.duration - 0.1)
    assert world.holder() is None
    world.run(0.5)
    assert world.holder() == "a"


def test_a_record_that_lasts_for_ever_lasts_an_hour() -> None:
    world = Electorate()
    world.arbiter.put(LeaseRecord("gone", 1e9))
    world.add("a")
    world.run(3599)
    assert world.holder() is None
    world.run(2)
    assert world.holder() == "a"


def test_clocks_that_run_at_other_rates_do_no_harm() -> None:
    world = Electorate()
    first = world.add("a", offset=YEARS, rate=0.9)
    world.add("b", rate=1.1)
    world.run(10)
    for _ in range(5):
        first.is_cut = not first.is_cut
        world.run(20)
    assert world.overlap() == 0


def test_those_with_other_timings_wait_for_as_long_as_the_holder_says() -> None:
    world = Electorate()
    slow = world.add("slow", timing=Timing(15.0, 10.0, 2.0))
    world.run(10)
    world.add("quick")
    slow.is_cut = True
    world.run(7)
    assert world.holder() == "slow"
    world.run(12)
    assert world.holder() == "quick"
    assert world.overlap() == 0


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_no_two_hold_it_at_once(seed: int) -> None:
    world, chance = Electorate(), random.Random(seed)
    for name in "abc":
        offset = chance.uniform(-YEARS, YEARS)
        rate = chance.uniform(0.95, 1.05)
        world.add(name, offset=offset, rate=rate, is_checked=chance.random() < 0.5)
    for _ in range(60):
        world.run(chance.uniform(0.0, 6.0))
        machine = chance.choice(world.machines)
        match chance.randrange(7):
            case 0:
                machine.is_cut = not machine.is_cut
            case 1:
                world.arbiter.is_up = not world.arbiter.is_up
            case 2:
                machine.loses_answers = not machine.loses_answers
            case 3 if len(world.machines) < 6:
                machine.kill()
                world.add(f"n{len(world.machines)}", offset=chance.uniform(0, YEARS))
            case 4:
                machine.problem = None if machine.problem else "it does not answer"
            case 5 if world.arbiter.record is not None:
                world.arbiter.put(world.arbiter.record)
            case _:
                pass

    assert world.overlap() == 0


def test_when_all_is_well_again_somebody_holds_it() -> None:
    world = Electorate()
    first, second = world.add("a", is_checked=True), world.add("b", is_checked=True)
    first.is_cut = second.loses_answers = True
    first.problem = "it does not answer"
    world.run(30)
    first.is_cut = second.loses_answers = False
    world.run(10)
    assert world.holder() == "b"


# One of them by itself.


def test_it_asks_for_one_thing_at_a_time() -> None:
    election = candidate()
    assert election.next_request(0.0) == LeaseRead()
    assert election.next_request(100.0) is None


def test_it_writes_in_place_of_the_version_that_it_has_seen() -> None:
    election = candidate()
    election.next_request(0.0)
    election.answered(LeaseRecord("", 1.0, 4, "77"), 0.0)
    assert election.next_request(0.0) == LeaseWrite(LeaseRecord("me", 4.0, 5, "77"))


def test_a_renewal_is_no_transition() -> None:
    election = holder_at(0.0)
    request = election.next_request(0.5)
    assert request == LeaseWrite(LeaseRecord("me", 4.0, 0, "1"))


def test_a_lease_held_in_its_name_is_taken_up_at_once() -> None:
    election = candidate()
    election.next_request(0.0)
    election.answered(LeaseRecord("me", 4.0, 4, "77"), 0.0)
    assert election.next_request(0.0) == LeaseWrite(LeaseRecord("me", 4.0, 4, "77"))


def test_an_answer_that_comes_too_late_is_worth_nothing() -> None:
    election = candidate()
    election.next_request(0.0)
    election.answered(None, 0.0)
    election.next_request(0.0)
    election.answered(LeaseRecord("me", 4.0, 0, "1"), TIMING.deadline)
    assert events(election) == [HolderSeen("")]
    assert election.until is None
    # Others need not wait for what it does not use.
    freed = LeaseWrite(LeaseRecord("", 1.0, 0, "1"))
    assert election.next_request(TIMING.deadline) == freed


def test_one_that_slept_through_its_deadline_holds_nothing_when_it_wakes() -> None:
    election = holder_at(0.0)
    election.next_request(0.5)
    election.answered(LeaseRecord("me", 4.0, 0, "2"), 500.0)
    assert events(election) == [LeaseLost(LossReason.DEADLINE)]


def test_the_lease_is_free_only_after_what_it_guards_has_stopped() -> None:
    election = holder_at(0.0)
    election.stop(0.1)
    assert events(election) == [LeaseLost(LossReason.STOPPED)]
    assert election.next_request(0.2) is None
    assert [election.has_ended] == [False]

    election.withdrawn(0.3)

    assert election.next_request(0.3) == LeaseWrite(LeaseRecord("", 1.0, 0, "1"))
    election.answered(LeaseRecord("", 1.0, 0, "2"), 0.4)
    assert election.has_ended
    assert election.get_timer() is None


def test_a_renewal_that_is_under_way_does_not_keep_it_from_being_freed() -> None:
    election = holder_at(0.0)
    election.next_request(0.5)
    election.stop(0.6)
    election.withdrawn(0.7)
    election.answered(LeaseRecord("me", 4.0, 0, "2"), 0.8)
    assert election.next_request(0.8) == LeaseWrite(LeaseRecord("", 1.0, 0, "2"))


def test_a_release_that_fails_is_not_tried_for_ever() -> None:
    election = holder_at(0.0)
    election.stop(0.1)
    election.withdrawn(0.1)
    election.next_request(0.1)
    election.failed(0.2)
    assert election.has_ended


def test_one_that_is_unfit_frees_it_and_stands_again_when_it_is_fit() -> None:
    election = holder_at(0.0)
    election.set_fit(False, 0.1)
    election.withdrawn(0.1)
    election.next_request(0.1)
    election.answered(LeaseRecord("", 1.0, 0, "2"), 0.2)
    assert events(election) == [LeaseLost(LossReason.UNFIT), HolderSeen("")]
    assert isinstance(election.next_request(1.0), LeaseRead)
    election.answered(LeaseRecord("", 1.0, 0, "2"), 1.0)

    election.set_fit(True, 1.1)

    assert election.next_request(1.1) == LeaseWrite(LeaseRecord("me", 4.0, 1, "2"))


def test_it_asks_the_more_rarely_an_arbiter_that_fails() -> None:
    election = candidate()
    for _ in range(3):
        at = election.get_timer()
        assert at is not None
        assert election.next_request(at) is not None
        election.failed(at)
        assert election.get_timer() == at + TIMING.retry


@pytest.mark.parametrize(
    ("timing", "what"),
    [
        (Timing(4.5), "whole seconds"),
        (Timing(0.0), "whole seconds"),
        (Timing(1e6, 3.0), "whole seconds"),
        (Timing(5.0, 4.5), "less a second"),
        (Timing(5.0, 3.0, 2.0), "at least two"),
        (Timing(5.0, 3.0, 0.0), "at least two"),
    ],
)
def test_a_timing_that_cannot_work_is_refused(timing: Timing, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        timing.check()


def test_the_usual_timing_and_that_of_kube_vip_are_possible() -> None:
    Timing().check()
    Timing(5.0, 3.0, 1.0).check()


def candidate() -> Election:
    election = Election("me", TIMING, 0.0)
    election.set_fit(True, 0.0)
    return election


def holder_at(now: float) -> Election:
    """Return one that has just got the lease."""
    election = candidate()
    election.next_request(now)
    election.answered(None, now)
    request = election.next_request(now)
    assert isinstance(request, LeaseWrite)
    election.answered(replace(request.record, version="1"), now)
    assert events(election) == [HolderSeen(""), LeaseGained()]
    return election


def events(election: Election) -> list[object]:
    found: list[object] = []
    while (event := election.next_event()) is not None:
        found.append(event)
    return [each for each in found if each != LeaseRenewed()]
