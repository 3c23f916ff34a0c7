"""The name server of one machine."""

import os
import random
from ipaddress import ip_network
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from meshwg.dns.forwarder import Asker, DnsDrop
from meshwg.dns.message import PLAIN_SIZE
from meshwg.dns.server import BURST, REFUSAL_RATE, STRANGER_BURST, NameServer
from tests.dns.zones import record, zone

OWN = ("100.77.0.1", "fd12::1")
ME = Asker("100.77.0.1", False)


@pytest.fixture
def server() -> NameServer:
    made = NameServer(random.Random(1).randbytes, 0.0)
    made.serve(OWN)
    made.zone = zone(*(record("many", "A", f"10.0.0.{each}") for each in range(99)))
    return made


def ask(
    server: NameServer,
    name: str,
    kind: str = "A",
    asker: Asker = ME,
    now: float = 0.0,
    rdclass: str = "IN",
) -> dns.message.Message | None:
    query = dns.message.make_query(name, kind, rdclass)
    server.receive_query(query.to_wire(), asker, now)
    answers = server.answers_to_send()
    assert all(to is asker for to, _ in answers)
    return dns.message.from_wire(answers[0][1]) if answers else None


def code(*arguments: Any, **named: Any) -> str:
    answer = ask(*arguments, **named)
    assert answer is not None
    return dns.rcode.to_text(answer.rcode())


def test_this_machine_learns_names_of_the_mesh(server: NameServer) -> None:
    for host in (*OWN, "127.0.0.1", "127.0.77.53", "::1"):
        answer = ask(server, "db.mesh.internal", asker=Asker(host, False))

        assert answer is not None
        assert str(answer.answer[0][0]) == "100.77.0.2"
        assert answer.flags & dns.flags.AA
        assert not answer.flags & (dns.flags.RA | dns.flags.AD)
    assert code(server, "web.mesh.internal") == "NXDOMAIN"


def test_names_of_others_are_refused_or_passed_on(server: NameServer) -> None:
    assert code(server, "example.org") == "REFUSED"
    server.forwards = True
    assert code(server, "example.org") == "SERVFAIL"
    server.use_servers(["192.0.2.53"])
    assert ask(server, "example.org") is None
    (asked,) = server.forwarder.asked()
    assert asked.host == "192.0.2.53"
    due = server.get_timer()
    assert due is not None
    server.handle_timer(due + 10)
    ((to, data),) = server.answers_to_send()
    assert to is ME
    assert dns.message.from_wire(data).rcode() == dns.rcode.SERVFAIL


def test_it_never_asks_itself(server: NameServer) -> None:
    server.use_servers([*OWN, "192.0.2.53"])

    assert server.forwarder.servers == ["192.0.2.53"]


def test_before_there_is_a_mesh_others_are_asked(server: NameServer) -> None:
    server.zone, server.forwards = None, True
    server.use_servers(["192.0.2.53"])

    assert ask(server, "db.mesh.internal") is None
    assert len(server.forwarder.asked()) == 1


def test_a_long_answer_goes_over_a_stream(server: NameServer) -> None:
    by_datagram = ask(server, "many.mesh.internal")
    assert by_datagram is not None
    assert by_datagram.flags & dns.flags.TC

    by_stream = ask(server, "many.mesh.internal", asker=Asker(ME.host, True))

    assert by_stream is not None
    assert not by_stream.flags & dns.flags.TC
    assert len(by_stream.answer[0]) == 99
    assert len(by_datagram.to_wire()) <= PLAIN_SIZE


def test_whole_zones_are_not_handed_out(server: NameServer) -> None:
    for kind in ("AXFR", "IXFR"):
        assert code(server, "mesh.internal", kind) == "REFUSED"
    answer = ask(server, "db.mesh.internal", "ANY")
    assert answer is not None
    assert [each.rdtype for each in answer.answer] == [dns.rdatatype.HINFO]
    assert code(server, "db.mesh.internal", rdclass="CH") == "REFUSED"


@pytest.mark.parametrize("host", ["100.77.0.9", "fd12::9"])
def test_members_may_ask_an_exit_for_names_of_the_internet_alone(
    server: NameServer, host: str
) -> None:
    member = Asker(host, False)
    server.use_servers(["192.0.2.53"])
    server.serve_members([ip_network("100.77.0.0/16"), ip_network("fd12::/48")])

    assert ask(server, "example.org", asker=member) is None
    (asked,) = server.forwarder.asked()
    assert asked.host == "192.0.2.53"
    assert code(server, "db.mesh.internal", asker=member) == "REFUSED"
    assert code(server, "example.org", asker=Asker("100.78.0.9", False)) == "REFUSED"
    # This machine itself asks whom it always asks.
    assert code(server, "example.org") == "REFUSED"

    server.serve_members(())
    assert code(server, "example.org", asker=member) == "REFUSED"


def test_plain_peers_are_told_what_they_may_see_and_nothing_of_the_internet(
    server: NameServer,
) -> None:
    phone = Asker("100.77.0.9", False)
    theirs = zone(record("only", "A", "10.0.0.7"))
    server.serve_plain(lambda host: theirs if host == phone.host else None)
    server.use_servers(["192.0.2.53"])
    server.forwards = True

    answer = ask(server, "only.mesh.internal", asker=phone)
    assert answer is not None
    assert str(answer.answer[0][0]) == "10.0.0.7"
    assert code(server, "many.mesh.internal", asker=phone) == "NXDOMAIN"
    assert code(server, "many.mesh.internal", asker=Asker("100.77.0.8", False)) == (
        "REFUSED"
    )
    assert code(server, "example.org", asker=phone) == "REFUSED"
    assert server.forwarder.asked() == []

    server.serve_members([ip_network("100.77.0.0/16")])
    assert ask(server, "example.org", asker=phone) is None
    assert len(server.forwarder.asked()) == 1


def test_another_machine_is_refused(server: NameServer) -> None:
    server.forwards = True
    server.use_servers(["192.0.2.53"])
    stranger = Asker("100.77.0.2", False)

    for name in ("db.mesh.internal", "example.org"):
        assert code(server, name, asker=stranger) == "REFUSED"
    assert server.forwarder.asked() == []


def test_another_machine_is_not_heard_for_long(server: NameServer) -> None:
    stranger = Asker("100.77.0.2", False)

    answers = [ask(server, "db.mesh.internal", asker=stranger) for _ in range(5000)]

    assert sum(each is not None for each in answers) == STRANGER_BURST
    assert server.drops[DnsDrop.STRANGER] == 5000
    assert code(server, "db.mesh.internal") == "NOERROR"


def test_many_other_machines_are_not_heard_for_long_either(server: NameServer) -> None:
    answers = [
        ask(server, "db.mesh.internal", asker=Asker(f"100.77.{a}.{b}", False))
        for a in range(1, 20)
        for b in range(100)
    ]

    assert sum(each is not None for each in answers) == REFUSAL_RATE


def test_a_program_of_this_machine_that_asks_too_much_waits(server: NameServer) -> None:
    answers = [ask(server, "db.mesh.internal") for _ in range(int(BURST) + 100)]

    assert answers.count(None) == 100
    assert server.drops[DnsDrop.TOO_MANY] == 100
    assert ask(server, "db.mesh.internal", asker=Asker("127.0.0.1", False)) is not None
    assert ask(server, "db.mesh.internal", now=1.0) is not None


def test_malformed_questions_are_answered_or_passed_over(server: NameServer) -> None:
    whole = dns.message.make_query("db.mesh.internal", "A").to_wire()
    for data in (whole[:-1], whole[:12], bytes(12), whole + bytes(64000)):
        server.receive_query(data, ME, 0.0)
        ((_, answer),) = server.answers_to_send()
        assert dns.message.from_wire(answer).rcode() == dns.rcode.FORMERR
    for data in (b"", whole[:11], whole[:2] + b"\x80" + whole[3:]):
        server.receive_query(data, ME, 0.0)
        assert server.answers_to_send() == []
    assert server.drops[DnsDrop.NOT_A_QUERY] == 3


def test_names_with_control_characters_are_names_that_nobody_has(
    server: NameServer,
) -> None:
    query = bytearray(dns.message.make_query("db.mesh.internal", "A").to_wire())
    for letters in (b"\x1b[", b"\x00\x00", b"\n\r", b"\xff\xfe"):
        query[13:15] = letters
        server.receive_query(bytes(query), ME, 0.0)
        ((_, answer),) = server.answers_to_send()
        assert answer[3] & 0xF == dns.rcode.NXDOMAIN


def test_no_bytes_of_anybody_raise(server: NameServer) -> None:
    server.forwards = True
    server.use_servers(["192.0.2.53"])
    whole = dns.message.make_query("db.mesh.internal", "A", use_edns=0).to_wire()
    chance = random.Random(5)
    for number in range(3000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        size = chance.randrange(len(data) + 1)
        host = chance.choice([*OWN, "::1", "100.77.9.9", "nonsense"])
        server.receive_query(bytes(data[:size]), Asker(host, False), number * 1.0)
        for asked in server.forwarder.asked():
            server.forwarder.receive_answer(asked.number, os.urandom(40), number * 1.0)
        server.answers_to_send()
        server.handle_timer(number * 1.0)
