"""Questions passed on to other name servers."""

from collections import Counter
from collections.abc import Callable
from itertools import count

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from meshwg.dns.forwarder import (
    HEAD_START,
    MAX_ASKERS,
    MAX_PENDING,
    PATIENCE,
    Asker,
    DnsDrop,
    Forwarder,
    ServerQuery,
)
from meshwg.dns.message import Query, read_query

FAST, SLOW = "192.0.2.53", "198.51.100.53"


def counting() -> Callable[[int], bytes]:
    numbers = count(1000)
    return lambda length: next(numbers).to_bytes(length)


@pytest.fixture
def drops() -> Counter[DnsDrop]:
    return Counter()


@pytest.fixture
def forwarder(drops: Counter[DnsDrop]) -> Forwarder:
    made = Forwarder(counting(), drops)
    made.use([FAST, SLOW])
    return made


def query(name: str = "example.org.", *, edns: bool = False) -> Query:
    made = read_query(dns.message.make_query(name, "A", use_edns=edns).to_wire())
    assert made is not None
    return made


def asker(is_stream: bool = False, way: object = None) -> Asker:
    return Asker("127.0.0.1", is_stream, way)


def answer_to(asked: ServerQuery, address: str = "203.0.113.9", code: int = 0) -> bytes:
    question = dns.message.from_wire(asked.message)
    answer = dns.message.make_response(question)
    answer.set_rcode(dns.rcode.Rcode(code))
    if not code:
        name = question.question[0].name
        answer.answer.append(dns.rrset.from_text(name, 30, "IN", "A", address))
    return answer.to_wire()


def only_answer(forwarder: Forwarder) -> dns.message.Message:
    ((_, data),) = forwarder.answers_to_send()
    return dns.message.from_wire(data)


def test_a_question_goes_to_a_server_and_its_answer_back(forwarder: Forwarder) -> None:
    mine = query()
    assert forwarder.forward(mine, asker(), 0.0)
    (asked,) = forwarder.asked()
    assert (asked.host, asked.is_stream) == (FAST, False)
    sent = dns.message.from_wire(asked.message)
    assert sent.question[0].name.to_text() == "example.org."
    assert sent.id == 1000

    forwarder.receive_answer(asked.number, answer_to(asked), 0.1)

    answer = only_answer(forwarder)
    assert answer.id == mine.id
    assert str(answer.answer[0][0]) == "203.0.113.9"
    assert forwarder.closed() == [asked.number]
    assert forwarder.get_timer() is None


def test_without_a_server_nothing_is_passed_on(drops: Counter[DnsDrop]) -> None:
    assert not Forwarder(counting(), drops).forward(query(), asker(), 0.0)


def test_what_the_asker_wants_is_asked_for(forwarder: Forwarder) -> None:
    message = dns.message.make_query("example.org.", "A", want_dnssec=True)
    message.flags |= dns.flags.CD
    wanted = read_query(message.to_wire())
    assert wanted is not None

    forwarder.forward(wanted, asker(is_stream=True), 0.0)

    (asked,) = forwarder.asked()
    assert asked.is_stream
    sent = dns.message.from_wire(asked.message)
    assert sent.flags & dns.flags.CD
    assert sent.ednsflags & dns.flags.DO


def test_a_silent_server_is_overtaken_by_the_next_one(forwarder: Forwarder) -> None:
    forwarder.forward(query(), asker(), 0.0)
    (first,) = forwarder.asked()
    assert forwarder.get_timer() == HEAD_START

    forwarder.handle_timer(HEAD_START)
    (second,) = forwarder.asked()
    assert second.host == SLOW
    forwarder.receive_answer(second.number, answer_to(second), 0.4)

    assert only_answer(forwarder).rcode() == dns.rcode.NOERROR
    assert sorted(forwarder.closed()) == [first.number, second.number]
    # What comes too late is nobody's.
    forwarder.receive_answer(first.number, answer_to(first), 0.5)
    assert forwarder.answers_to_send() == []


def test_the_fastest_server_is_asked_first(forwarder: Forwarder) -> None:
    for now in range(3):
        forwarder.forward(query(f"{now}.example.org."), asker(), now)
        for asked in forwarder.asked():
            took = 0.2 if asked.host == FAST else 0.01
            forwarder.receive_answer(asked.number, answer_to(asked), now + took)

    assert forwarder.servers == [SLOW, FAST]


def test_if_nobody_answers_the_asker_is_told(forwarder: Forwarder) -> None:
    forwarder.forward(query(), asker(), 0.0)
    now = 0.0
    hosts: list[str] = []
    while (due := forwarder.get_timer()) is not None:
        assert due > now or not hosts
        now = due
        hosts += [each.host for each in forwarder.asked()]
        forwarder.handle_timer(now)
    hosts += [each.host for each in forwarder.asked()]

    assert now == PATIENCE
    assert only_answer(forwarder).rcode() == dns.rcode.SERVFAIL
    assert sorted(hosts) == sorted([FAST, SLOW] * 2)
    assert len(forwarder.closed()) == 4


def test_a_server_that_cannot_help_is_passed_over(forwarder: Forwarder) -> None:
    forwarder.forward(query(), asker(), 0.0)
    (first,) = forwarder.asked()

    refused = answer_to(first, code=dns.rcode.REFUSED)
    forwarder.receive_answer(first.number, refused, 0.01)

    (second,) = forwarder.asked()
    assert second.host == SLOW
    forwarder.failed(second.number, 0.02)
    assert only_answer(forwarder).rcode() == dns.rcode.REFUSED
    assert forwarder.get_timer() is None


def test_a_server_that_is_not_there_is_passed_over(forwarder: Forwarder) -> None:
    forwarder.forward(query(), asker(), 0.0)
    (first,) = forwarder.asked()
    forwarder.failed(first.number, 0.01)
    (second,) = forwarder.asked()
    forwarder.failed(second.number, 0.02)

    assert only_answer(forwarder).rcode() == dns.rcode.SERVFAIL
    assert sorted(forwarder.closed()) == [first.number, second.number]
    forwarder.failed(second.number, 0.03)


def test_no_name_is_an_answer_and_no_reason_to_go_on(forwarder: Forwarder) -> None:
    forwarder.forward(query(), asker(), 0.0)
    (asked,) = forwarder.asked()

    nothing = answer_to(asked, code=dns.rcode.NXDOMAIN)
    forwarder.receive_answer(asked.number, nothing, 0.01)

    assert only_answer(forwarder).rcode() == dns.rcode.NXDOMAIN
    assert forwarder.asked() == []


def test_only_the_answer_to_the_question_is_believed(
    forwarder: Forwarder, drops: Counter[DnsDrop]
) -> None:
    forwarder.forward(query(), asker(), 0.0)
    (asked,) = forwarder.asked()
    other = dns.message.make_query("example.com.", "A", id=1000)
    wrong_id = bytearray(answer_to(asked))
    wrong_id[0] ^= 1

    for data in (
        answer_to(ServerQuery(1, FAST, False, other.to_wire())),
        bytes(wrong_id),
        asked.message,
        b"",
        b"\xff" * 70000,
    ):
        forwarder.receive_answer(asked.number, data, 0.01)

    assert forwarder.answers_to_send() == []
    assert drops == {DnsDrop.NOT_THE_ANSWER: 5}
    forwarder.receive_answer(asked.number, answer_to(asked), 0.02)
    assert len(forwarder.answers_to_send()) == 1


def test_the_same_question_is_asked_once(forwarder: Forwarder) -> None:
    mine, others = query("Example.org."), query("eXample.org.")
    forwarder.forward(mine, asker(way="me"), 0.0)
    forwarder.forward(others, asker(way="you"), 0.1)
    (asked,) = forwarder.asked()

    forwarder.receive_answer(asked.number, answer_to(asked), 0.2)

    answers = {
        to.way: dns.message.from_wire(d) for to, d in forwarder.answers_to_send()
    }
    assert answers["me"].question[0].name.to_text() == "Example.org."
    assert answers["you"].question[0].name.to_text() == "eXample.org."
    assert answers["you"].id == others.id


def test_a_circle_of_forwarders_costs_one_question(forwarder: Forwarder) -> None:
    forwarder.forward(query(), asker(), 0.0)
    (asked,) = forwarder.asked()

    # The server asks us what we have asked it.
    for _ in range(1000):
        back = read_query(asked.message)
        assert back is not None
        assert forwarder.forward(back, asker(), 0.1)

    assert forwarder.asked() == []
    forwarder.handle_timer(PATIENCE)
    assert len(forwarder.answers_to_send()) == MAX_ASKERS


def test_questions_at_once_are_bounded(forwarder: Forwarder) -> None:
    accepted = [
        forwarder.forward(query(f"{each}.example.org."), asker(), 0.0)
        for each in range(MAX_PENDING + 10)
    ]

    assert accepted.count(False) == 10
    assert len(forwarder.asked()) == MAX_PENDING
    forwarder.handle_timer(PATIENCE)
    assert len(forwarder.answers_to_send()) == MAX_PENDING
    assert forwarder.forward(query(), asker(), PATIENCE)


def test_an_answer_that_was_cut_is_passed_on_as_such(forwarder: Forwarder) -> None:
    forwarder.forward(query(), asker(), 0.0)
    (asked,) = forwarder.asked()
    cut = bytearray(answer_to(asked))
    cut[2] |= 2

    forwarder.receive_answer(asked.number, bytes(cut), 0.1)

    assert only_answer(forwarder).flags & dns.flags.TC


def test_who_is_asked_may_change_at_any_time(forwarder: Forwarder) -> None:
    forwarder.forward(query(), asker(), 0.0)
    (asked,) = forwarder.asked()

    forwarder.use(["203.0.113.53", "203.0.113.53"])

    assert forwarder.servers == ["203.0.113.53"]
    forwarder.receive_answer(asked.number, answer_to(asked), 0.1)
    assert only_answer(forwarder).rcode() == dns.rcode.NOERROR
