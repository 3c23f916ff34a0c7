"""What an agent tells of its way: on the whole agent, which has all that it sees."""

from meshwg.path.candidate import CandidateKind
from meshwg.path.events import SelectionChanged
from meshwg.path.path import SILENT_AFTER, TRUST
from tests.path.stage import FAR, RELAY, Stage


def test_without_a_path_there_is_nothing_to_show() -> None:
    status = Stage(relay=None).agent.status(1000.0)

    assert (status.kind, status.method, status.remote) == ("none", None, None)
    assert (status.rtt, status.loss, status.since) == (None, 0.0, 1000.0)


def test_the_relay_is_shown_before_it_is_proven() -> None:
    status = Stage().agent.status(1000.0)

    assert (status.kind, status.method, status.remote) == ("relay", "relay", RELAY)


def test_another_way_is_told_once() -> None:
    stage = Stage()

    stage.become_direct()

    assert changes(stage) == [
        SelectionChanged(None, None, doubted=False),
        SelectionChanged(CandidateKind.RELAYED, RELAY, doubted=False),
        SelectionChanged(CandidateKind.REFLEXIVE, FAR, doubted=False),
    ]
    status = stage.agent.status(stage.now)
    assert (status.kind, status.method, status.remote) == ("direct", "reflexive", FAR)
    assert status.since == stage.proven_at


def test_doubt_is_told_but_the_way_is_as_old_as_before() -> None:
    stage = Stage()
    stage.become_direct()

    stage.agent.sent(stage.now)
    stage.agent.suspect(stage.now)
    stage.drain()

    assert changes(stage)[-1] == SelectionChanged(
        CandidateKind.REFLEXIVE, FAR, doubted=True
    )
    assert stage.agent.status(stage.now).since == stage.proven_at


def test_while_the_path_in_use_is_silent_the_relay_is_shown() -> None:
    stage = Stage()
    stage.become_direct()

    stage.until(stage.now + TRUST + SILENT_AFTER, traffic=True)

    assert FAR in stage.endpoints()
    status = stage.agent.status(stage.now)
    assert (status.kind, status.remote) == ("relay", RELAY)
    assert status.since is not None
    assert status.since > stage.proven_at


def test_what_is_planned_is_shown_as_seconds_from_now() -> None:
    stage = Stage()
    stage.agent.sent(stage.now)
    stage.until(stage.now + 10.0, traffic=True)

    first = stage.agent.status(stage.now).next_attempt_in
    later = stage.agent.status(stage.now + 5.0).next_attempt_in

    assert first is not None
    assert later == first - 5.0
    assert stage.agent.status(stage.now + 1000.0).next_attempt_in == 0.0


def changes(stage: Stage) -> list[SelectionChanged]:
    """Return what was told of the way."""
    return [each for each in stage.events if isinstance(each, SelectionChanged)]
