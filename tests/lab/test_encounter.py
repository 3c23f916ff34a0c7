"""An encounter is judged by its path, its losses and what the node says of it."""

from dataclasses import replace

import pytest

from netlab.encounter import Outcome, Pings, judge
from netlab.truth import Method

IMPOSSIBLE = "UDP is blocked on this side, so no direct path can be opened."


def outcome(method: Method | None, *, lost: int = 0, reason: str = "") -> Outcome:
    return Outcome(method, "", 0.1, None, 9, lost, reason)


@pytest.mark.parametrize("method", list(Method)[:-1])
def test_the_best_possible_path_passes(method: Method) -> None:
    assert judge(outcome(method), method) is None


def test_a_relayed_pair_is_right_if_it_says_that_nothing_better_is_possible() -> None:
    assert judge(outcome(Method.RELAY, reason=IMPOSSIBLE), Method.RELAY) is None
    problem = judge(outcome(Method.RELAY, reason="Who knows."), Method.RELAY)
    assert problem == "It is relayed, and does not say that nothing better is possible."


def test_a_worse_path_is_a_failure_and_so_is_an_impossible_one() -> None:
    worse = judge(outcome(Method.RELAY, reason=IMPOSSIBLE), Method.DIRECT)
    better = judge(outcome(Method.DIRECT), Method.RELAY)

    assert worse == "The path is relay, and direct was expected."
    assert better == "The path is direct, and relay was expected."


def test_bad_luck_is_forgiven_but_another_method_is_not() -> None:
    relayed = outcome(Method.RELAY, reason="The last punch attempt failed.")

    assert judge(relayed, Method.DIRECT, luck=True) is None
    assert judge(outcome(Method.TCP), Method.DIRECT, luck=True) is None
    assert judge(outcome(Method.TCP), Method.DIRECT) is not None
    assert judge(outcome(Method.BIRTHDAY), Method.DIRECT, luck=True) is not None


def test_a_birthday_may_miss_or_find_the_port_that_the_peer_was_told_of() -> None:
    assert judge(outcome(Method.TCP), Method.BIRTHDAY) is None
    found = replace(outcome(Method.DIRECT), attempts=("birthday ok: it answered",))
    assert judge(found, Method.BIRTHDAY) is None
    assert judge(found, Method.PREDICTION) is not None
    assert judge(outcome(Method.DIRECT), Method.BIRTHDAY) is not None


def test_silence_and_losses_are_failures() -> None:
    assert judge(outcome(None), Method.DIRECT) == "Not one of 9 pings was answered."
    lossy = judge(outcome(Method.DIRECT, lost=2), Method.DIRECT)
    assert lossy == "2 of 9 pings were lost."


@pytest.mark.parametrize("will_do", [True, False])
def test_a_stream_is_final_only_where_no_datagram_gets_through(will_do: bool) -> None:
    pings = Pings(streams_will_do=will_do)
    path = {"kind": "direct", "method": "tcp", "remote": "192.0.2.1:1"}
    pings.take({"rtt_ms": 2.0, "path": path}, 0.5)
    assert pings.after == int(will_do)

    pings.take({"rtt_ms": 1.0, "path": {**path, "method": "reflexive"}}, 4.0)
    assert pings.direct == (0.5 if will_do else 4.0)
