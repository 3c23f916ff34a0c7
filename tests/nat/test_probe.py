"""A probe is repeated until its answer comes, and takes no other for it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.nat.discovery import NatDiscovery
from meshwg.nat.probe import DENSE_REPEATS, REPEATS, Probe, ProbeDrop, Probes
from meshwg.transmit import UDP, Endpoint, Source
from meshwg.wire import stun
from meshwg.wire.stun import Attribute, Class, Message, Method, StunErrorCode

SERVER = Endpoint("198.51.100.1", 3478)
OTHER = Endpoint("198.51.100.2", 3479)
MAPPED = Endpoint("203.0.113.1", 5000)


@pytest.mark.parametrize("repeats", [REPEATS, DENSE_REPEATS, (0.0,)])
def test_a_request_is_repeated_until_the_deadline(repeats: tuple[float, ...]) -> None:
    probes = Probes(random.Random(1).randbytes)
    probe = probes.start(SERVER, 10.0, 13.0, repeats=repeats)

    times = [10.0] * len(probes.datagrams_to_send())
    while (due := probes.get_timer(times[-1])) is not None and due < 13.0:
        probes.handle_timer(due)
        times += [due] * len(probes.datagrams_to_send())

    assert times == [10.0 + repeat for repeat in repeats]
    assert probes.get_timer(times[-1]) == 13.0
    assert probe.is_open(12.9)
    assert not probe.is_open(13.0)
    assert probes.get_timer(13.0) is None


def test_an_answer_ends_it_and_reports_the_mapped_address() -> None:
    probes, probe = started()

    pinned = SERVER._replace(source=Source("192.168.1.2", 3))
    assert probes.receive(answer(probe, {Attribute.OTHER_ADDRESS: OTHER}), pinned, 10.1)

    assert (probe.mapped, probe.other, probe.local) == (MAPPED, OTHER, "192.168.1.2")
    assert probe.rtt == pytest.approx(0.1)
    assert probes.get_timer(10.1) is None


def test_a_second_answer_changes_nothing() -> None:
    probes, probe = started()
    probes.receive(answer(probe), SERVER, 10.1)
    probes.receive(stun.binding_response(transaction(probe), OTHER), SERVER, 10.2)

    assert probe.mapped == MAPPED
    assert probe.answered == 10.1


def test_an_answer_after_the_deadline_does_not_count() -> None:
    probes, probe = started()

    assert probes.receive(answer(probe), SERVER, 99.0)

    assert probe.answered is None


def test_a_refusal_ends_it_with_the_reason() -> None:
    probes, probe = started()
    error = StunErrorCode(420, "Unknown Attribute")

    probes.receive(
        answer(probe, {Attribute.ERROR_CODE: error}, Class.ERROR), SERVER, 11
    )

    assert probe.refusal == error
    assert probe.is_unsupported
    assert not probe.is_open(11)


def test_a_server_that_does_not_change_its_address_is_detected() -> None:
    probes = Probes(random.Random(1).randbytes)
    probe = probes.start(SERVER, 10.0, 13.0, answers_from=OTHER)

    probes.receive(answer(probe), SERVER, 10.1)

    assert probe.is_unsupported
    assert probe.mapped is None


@pytest.mark.parametrize(
    ("what", "source", "drop"),
    [
        ("another host", Endpoint("198.51.100.9", 3478), ProbeDrop.WRONG_SOURCE),
        ("another port", Endpoint("198.51.100.1", 3479), ProbeDrop.WRONG_SOURCE),
        ("another socket", SERVER._replace(link=7), ProbeDrop.WRONG_SOURCE),
    ],
)
def test_an_answer_from_elsewhere_is_counted_and_remembered(
    what: str, source: Endpoint, drop: ProbeDrop
) -> None:
    probes, probe = started()

    assert probes.receive(answer(probe), source, 10.1)

    assert probes.drops == {drop: 1}
    assert probe.has_strayed
    assert probe.is_open(10.1)


def test_an_invalid_answer_is_counted_and_the_wait_goes_on() -> None:
    probes, probe = started()
    id_ = transaction(probe)
    bad = {
        ProbeDrop.MALFORMED: b"\x01\x01\x00\x04"
        + stun.COOKIE
        + id_
        + b"\x00\x01\x00\x09",
        ProbeDrop.NOT_AN_ANSWER: stun.binding_request(id_),
        ProbeDrop.NO_ADDRESS: stun.encode(Message(Method.BINDING, Class.SUCCESS, id_)),
    }

    for data in bad.values():
        assert probes.receive(data, SERVER, 10.1)

    assert probes.drops == dict.fromkeys(bad, 1)
    assert probe.is_open(10.1)


def test_an_address_of_another_family_does_not_count() -> None:
    probes, probe = started()
    data = stun.binding_response(transaction(probe), Endpoint("2001:db8::1", 1))

    probes.receive(data, SERVER, 10.1)

    assert probes.drops == {ProbeDrop.NO_ADDRESS: 1}


def test_answers_to_no_probe_are_left_alone() -> None:
    probes, _ = started()

    assert not probes.receive(stun.binding_request(bytes(12)), SERVER, 10.1)
    assert not probes.receive(b"", SERVER, 10.1)


@given(st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=80)), max_size=30))
def test_no_answers_whatever_make_a_discovery_raise_or_overrun(
    answers: list[tuple[int, bytes]],
) -> None:
    discovery = NatDiscovery(
        [SERVER],
        {link: 5000 + link for link in range(5)},
        random=random.Random(1).randbytes,
        now=0.0,
    )
    now = 0.0
    requests: list[bytes] = []
    for step, body in answers:
        for transmit in discovery.datagrams_to_send():
            requests += transmit.datagrams
        request = requests[step % len(requests)]
        head = b"\x01\x01" + len(body).to_bytes(2, "big")
        for data in (body, head + request[4:20] + body, request):
            discovery.receive_stun(data, SERVER._replace(link=step % 5), now)
        now = max(now, min(discovery.get_timer() or now, now + 0.1))
        discovery.handle_timer(now)

    while (due := discovery.get_timer()) is not None:
        now = max(now, due)
        discovery.handle_timer(now)
    assert now <= 4.8
    assert discovery.next_event() is not None


def started() -> tuple[Probes, Probe]:
    probes = Probes(random.Random(1).randbytes)
    return probes, probes.start(SERVER._replace(link=UDP), 10.0, 13.0)


def transaction(probe: Probe) -> bytes:
    return probe.request[8:20]


def answer(
    probe: Probe,
    attributes: dict[Attribute, object] | None = None,
    cls: Class = Class.SUCCESS,
) -> bytes:
    """Return an answer to a probe."""
    mapped = {Attribute.XOR_MAPPED_ADDRESS: MAPPED} if cls is Class.SUCCESS else {}
    everything = {**mapped, **(attributes or {})}
    return stun.encode(Message(Method.BINDING, cls, transaction(probe), everything))
