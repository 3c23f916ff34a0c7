"""A scenario reports each step twice, and which step failed and why."""

import pytest

from netlab.errors import LabError, ScenarioFailed
from netlab.lab import Lab
from netlab.scenario import Narrator, Scenario, Step
from netlab.topology import Topology, Way

WAYS = (Way(("a", "b"), "direct"),)


def test_a_step_is_reported_as_it_begins_and_as_it_ends() -> None:
    told: list[Step] = []
    with Narrator(told.append).step("water is wet"):
        assert told == [Step("water is wet")]

    begun, ended = told
    assert begun.seconds is None
    assert ended.seconds is not None
    assert (ended.sentence, ended.error) == ("water is wet", None)


def test_a_step_that_fails_is_reported_with_its_error() -> None:
    told: list[Step] = []
    error = ScenarioFailed("It is dry.")

    with pytest.raises(ScenarioFailed), Narrator(told.append).step("water is wet"):
        raise error

    assert told[-1].error is error
    assert told[-1].seconds is not None


def test_a_scenario_is_built_then_shown_then_verified() -> None:
    seen: list[object] = []

    def verify(world: str, narrator: Narrator) -> None:
        with narrator.step("it holds"):
            seen.append(world)

    scenario = Scenario("a", "A", lambda lab: "world", verify, WAYS)
    scenario.run(Lab(), seen.append, seen.append)

    assert [type(each) for each in seen] == [Step, Step, Topology, Step, str, Step]
    assert seen[2] == Topology((), WAYS)


def test_what_cannot_be_built_is_not_verified() -> None:
    told: list[Step] = []

    def build(lab: Lab) -> None:
        raise LabError("There is no room.")

    def verify(world: None, narrator: Narrator) -> None:
        pytest.fail("there is nothing to verify")

    with pytest.raises(LabError, match="no room"):
        Scenario("a", "A", build, verify).run(Lab(), told.append)

    assert [str(step.error) for step in told] == ["None", "There is no room."]


def test_the_story_of_a_scenario_is_what_its_module_says() -> None:
    def build(lab: Lab) -> None: ...

    def verify(world: None, narrator: Narrator) -> None: ...

    story = Scenario("a", "A", build, verify).story

    assert story == (__doc__ or "").strip()
