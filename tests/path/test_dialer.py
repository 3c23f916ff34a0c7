"""Two dialers agree on a moment, dial, and end."""

import random
from itertools import count

import pytest

from meshwg.nattypes import Mapping
from meshwg.path.candidate import Candidate, CandidateKind
from meshwg.path.dialer import (
    ANSWER_TIMEOUT,
    ATTEMPTS,
    BRITTLE,
    DURATION,
    HOPELESS,
    LEAD,
    MAX_REFUSALS,
    PATIENCE,
    RETRY,
    Dialer,
)
from meshwg.path.events import AttemptResult
from meshwg.path.ledger import HOST_LIMIT, Ledger
from meshwg.path.tcp import TcpState, TcpTraits
from meshwg.path.volley import OPENER_TTL
from meshwg.transmit import Endpoint

NOW = 1000.0
HOLE = 7
NAT = TcpTraits(
    (Candidate(CandidateKind.REFLEXIVE, "203.0.113.1", 5000),),
    Mapping.ENDPOINT_INDEPENDENT,
)
OTHER_NAT = TcpTraits(
    (Candidate(CandidateKind.REFLEXIVE, "203.0.113.2", 6000),),
    Mapping.ENDPOINT_INDEPENDENT,
)
SERVER = TcpTraits((Candidate(CandidateKind.HOST, "203.0.113.9", 41641),))


def test_both_sides_look_at_their_nats_and_then_dial() -> None:
    controlling, controlled = make(NAT, OTHER_NAT), make(OTHER_NAT, NAT, False)
    assert controlling.begin(NOW)
    assert controlling.looks
    controlled.receive(step_of(controlling), NOW)
    assert controlled.looks

    controlling.looked(HOLE, NOW)
    assert controlling.wanted == []
    controlled.looked(HOLE, NOW)
    controlling.receive(step_of(controlled), NOW)
    controlled.receive(step_of(controlling), NOW)

    assert ends(controlling) == [("203.0.113.2", 6000, OPENER_TTL)]
    assert ends(controlled) == [("203.0.113.1", 5000, OPENER_TTL)]
    assert controlling.hole == controlled.hole == HOLE


def test_the_side_that_says_go_replaces_its_opener() -> None:
    dialer = dialling(NAT, OTHER_NAT)
    (opener,) = links(dialer)

    dialer.handle_timer(NOW + LEAD)

    assert dialer.unwanted == [opener]
    assert ends(dialer) == [("203.0.113.2", 6000, None)]


def test_the_other_side_goes_on_with_its_opener() -> None:
    dialer = dialling(OTHER_NAT, NAT, controlling=False)
    dialer.wanted.clear()

    dialer.handle_timer(NOW + 1)

    assert dialer.wanted == []
    assert dialer.unwanted == []


def test_a_reachable_peer_is_connected_to_at_once_and_again() -> None:
    dialer = dialling(NAT, SERVER)
    assert ends(dialer) == [("203.0.113.9", 41641, None)]

    now = NOW
    for patience in PATIENCE:
        now += patience
        dialer.handle_timer(now)
        now += 0.5
        dialer.handle_timer(now)

    assert len(ends(dialer)) == len(PATIENCE) - 1
    assert len(dialer.unwanted) == len(PATIENCE)


def test_a_refused_dial_is_repeated_a_few_times() -> None:
    dialer = dialling(NAT, SERVER)
    now = NOW
    while now < NOW + DURATION - 0.1:
        for link in links(dialer):
            dialer.closed(link, now)
        now += 0.05
        dialer.handle_timer(now)

    assert next(dialer._links) >= -MAX_REFUSALS - 1


def test_an_attempt_ends_with_the_first_stream_that_works() -> None:
    dialer = dialling(NAT, OTHER_NAT)
    (link,) = links(dialer)
    dialer.opened(link)
    dialer.succeed(Endpoint("203.0.113.2", 6000, link), NOW)

    assert dialer.is_idle
    assert dialer.unwanted == []
    assert dialer.outcome is not None
    assert dialer.outcome.result is AttemptResult.OK


def test_an_attempt_that_opens_nothing_is_repeated_once() -> None:
    dialer = dialling(NAT, OTHER_NAT)
    dialer.handle_timer(NOW + DURATION)

    assert dialer.outcome is not None
    assert dialer.outcome.result is AttemptResult.FAILED
    assert dialer.failure == "none of the peer's 1 addresses could be connected to"
    assert dialer.next_at is not None
    assert dialer.next_at >= NOW + DURATION + RETRY
    for attempt in range(1, ATTEMPTS):
        assert dialer.begin(NOW + 60 * attempt, again=True)
        dialer.handle_timer(NOW + 60 * attempt + ANSWER_TIMEOUT)
    assert dialer.failure == "the peer did not answer through the coordinator"
    assert dialer.next_at is None


def test_streams_that_do_not_last_are_not_opened_one_after_the_other() -> None:
    dialer = make(NAT, SERVER)
    for link in (-1, -2):
        dialer.succeed(SERVER.candidates[0].endpoint._replace(link=link), NOW)
        dialer.lost(link, NOW + 4)

    assert not dialer.begin(NOW + 5)
    assert dialer.status(was_heard=True) == TcpState(hindrance=BRITTLE)
    assert dialer.next_at is not None
    assert dialer.begin(dialer.next_at, again=True)

    dialer.abandon()
    assert dialer.begin(NOW + 5), "in another network all begins anew"


def test_nothing_is_dialled_where_the_nats_are_known_to_prevent_it() -> None:
    hard = TcpTraits(NAT.candidates, Mapping.ADDRESS_DEPENDENT)
    dialer = make(hard, OTHER_NAT)

    assert not dialer.begin(NOW)
    assert dialer.status(was_heard=True) == TcpState(hindrance=HOPELESS)


def test_a_nat_that_turns_out_to_be_hard_ends_the_attempt() -> None:
    dialer = make(TcpTraits(NAT.candidates), OTHER_NAT)
    dialer.begin(NOW)
    dialer.own = TcpTraits(NAT.candidates, Mapping.ADDRESS_DEPENDENT)
    dialer.looked(HOLE, NOW)
    dialer.receive({"step": "ready", "id": 1}, NOW)

    assert dialer.failure == HOPELESS
    assert dialer.wanted == []


@pytest.mark.parametrize(
    "step",
    [
        {},
        {"step": "go"},
        {"step": "go", "id": True},
        {"step": "go", "id": 1},
        {"step": "ready", "id": 1},
        {"step": "ask", "id": "1"},
        {"step": 5, "id": 5},
    ],
)
def test_steps_that_make_no_sense_are_ignored(step: dict[str, object]) -> None:
    for controlling in (False, True):
        dialer = make(NAT, OTHER_NAT, controlling)
        dialer.receive(step, NOW)
        assert dialer.is_idle
        assert dialer.steps == []
        assert dialer.wanted == []


def test_the_controlled_side_never_begins_and_the_other_is_never_asked() -> None:
    assert not make(NAT, OTHER_NAT, controlling=False).begin(NOW)
    dialer = make(NAT, OTHER_NAT)
    dialer.receive({"step": "ask", "id": 9}, NOW)
    assert dialer.is_idle


def test_an_old_step_does_not_begin_an_attempt_again() -> None:
    dialer = dialling(OTHER_NAT, NAT, controlling=False)
    dialer.handle_timer(NOW + DURATION)
    dialer.receive({"step": "ask", "id": 1}, NOW + 10)
    assert dialer.is_idle
    dialer.restarted()
    dialer.receive({"step": "ask", "id": 1}, NOW + 10)
    assert not dialer.is_idle


def test_an_address_that_is_not_known_to_be_the_peers_gets_few_packets() -> None:
    ledger = Ledger()
    sent = 0
    for _ in range(40):
        dialer = dialling(NAT, OTHER_NAT, ledger=ledger)
        dialer.handle_timer(NOW + LEAD)
        sent += len(dialer.wanted)
    assert sent == HOST_LIMIT


def test_status_says_why_there_is_no_stream() -> None:
    assert make(None, NAT).status(was_heard=True).hindrance is not None
    assert make(NAT, None).status(was_heard=True).hindrance is not None
    assert make(NAT, None).status(was_heard=False).is_untried
    assert make(NAT, OTHER_NAT).status(was_heard=True).is_untried
    assert dialling(NAT, OTHER_NAT).status(was_heard=True).is_dialling


def make(
    own: TcpTraits | None,
    peer: TcpTraits | None,
    controlling: bool = True,
    ledger: Ledger | None = None,
) -> Dialer:
    dialer = Dialer(
        ledger or Ledger(),
        count(-1, -1),
        random.Random(1).randbytes,
        controlling=controlling,
    )
    dialer.own, dialer.peer = own, peer
    return dialer


def dialling(
    own: TcpTraits,
    peer: TcpTraits,
    controlling: bool = True,
    ledger: Ledger | None = None,
) -> Dialer:
    """Return a dialer that has just begun to dial."""
    dialer = make(own, peer, controlling, ledger)
    if controlling:
        dialer.begin(NOW)
        dialer.looked(HOLE, NOW)
        dialer.receive({"step": "ready", "id": 1}, NOW)
    else:
        dialer.receive({"step": "ask", "id": 1}, NOW)
        dialer.looked(HOLE, NOW)
        dialer.receive({"step": "go", "id": 1}, NOW)
    return dialer


def step_of(dialer: Dialer) -> dict[str, object]:
    (step,) = dialer.steps
    dialer.steps = []
    return step


def ends(dialer: Dialer) -> list[tuple[str, int, int | None]]:
    """Return where streams are wanted to, and with which TTL; forget them."""
    wanted, dialer.wanted = dialer.wanted, []
    return [(each.host, each.port, ttl) for each, ttl in wanted]


def links(dialer: Dialer) -> list[int]:
    """Return the links of the streams that are wanted; forget them."""
    wanted, dialer.wanted = dialer.wanted, []
    return [each.link for each, _ in wanted]
