"""The name server of a machine: programs, strangers, and name servers that lie."""

from random import Random

import dns.flags
import dns.message
import dns.rdatatype

from meshwg.dns.forwarder import Asker
from meshwg.dns.framing import MessageReader, framed
from meshwg.dns.message import read_query
from meshwg.dns.reading import read_answers
from meshwg.dns.server import NameServer
from meshwg.errors import InvalidMessage
from tests.dns.zones import record, zone
from tests.fuzz import mutation
from tests.fuzz.inputs import Input
from tests.fuzz.target import Target

OWN = "100.77.0.1"
ASKERS = (OWN, "127.0.0.1", "::1", "100.77.0.2", "fd12::9", "")
NAMES = (
    *("db.mesh.internal", "www.mesh.internal", "mesh.internal", "x.y.mesh.internal"),
    *("2.0.77.100.in-addr.arpa", "77.100.in-addr.arpa", "example.org", "."),
)
TYPES = ("A", "AAAA", "PTR", "SOA", "TXT", "ANY", "SRV", "NS", "AXFR", "TYPE65")


class NameServerTarget(Target):
    """A name server that also passes questions on."""

    name = "names"
    inputs = 2000
    ways = (
        *("query", "query", "query", "stranger", "stream", "answer", "answer"),
        *("forged", "failed", "noise", "time"),
    )

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._now = 1000.0
        self.server = NameServer(Random(seed).randbytes, self._now)
        self.server.serve((OWN, "fd12::1"))
        self.server.forwards = True
        self.server.use_servers(["192.0.2.53", "2001:db8::53"])
        self.server.zone = zone(
            *(record(f"n{each}", "A", "10.0.0.5") for each in range(20)),
            record("www", "CNAME", "db"),
            record("text", "TXT", "x" * 200),
        )
        self._asked: dict[int, bytes] = {}
        self.reader = MessageReader()
        for name in NAMES:
            for kind in TYPES:
                query = dns.message.make_query(name, kind, use_edns=len(kind) % 2 - 1)
                self.overheard.append(query.to_wire())

    def draw(self, random: Random) -> Input:
        way, choice = random.choice(self.ways), random.randrange(1 << 30)
        match way:
            case "query" | "stranger" | "forged":
                data = self.pick(random)
                if random.random() < 0.7:
                    data = mutation.mutate(random, data)
            case "stream":
                parts = [framed(self.pick(random)) for _ in range(random.randrange(4))]
                data = mutation.mutate(random, b"".join(parts))
            case "noise":
                data = mutation.noise(random)
            case _:
                data = b""
        return Input(way, data, choice)

    def apply(self, step: Input) -> None:
        server, data = self.server, step.data
        match step.way:
            case "query" | "noise":
                host = ASKERS[step.choice % 3]
                server.receive_query(data, Asker(host, step.choice & 8 > 0), self._now)
            case "stranger":
                host = ASKERS[step.choice % len(ASKERS)]
                server.receive_query(data, Asker(host, False), self._now)
            case "stream":
                for message in self.reader.receive_data(data):
                    server.receive_query(message, Asker(OWN, True), self._now)
                if self.reader.is_broken:
                    self.reader = MessageReader()
            case "answer" | "forged" | "failed":
                self._answer(step)
            case _:
                self._now += step.choice % 3
        self._drain()

    def roots(self) -> list[object]:
        return [self.server, self.reader]

    def failure(self) -> str | None:
        self._now += 10.0
        self.server.handle_timer(self._now)
        self._drain()
        if self.server.get_timer() is not None:
            return "a question is never given up"
        query = dns.message.make_query("db.mesh.internal", "A").to_wire()
        self.server.receive_query(query, Asker(OWN, False), self._now)
        answers = self.server.answers_to_send()
        if len(answers) != 1 or b"\x64\x4d\x00\x02" not in answers[0][1]:
            return "names of the mesh are not answered any more"
        return None

    def _answer(self, step: Input) -> None:
        """Let a name server say something to a question that it was asked."""
        if not self._asked:
            return
        number = list(self._asked)[step.choice % len(self._asked)]
        if step.way == "failed":
            self.server.forwarder.failed(number, self._now)
            return
        question = self._asked[number]
        answer = bytearray(question)
        answer[2] |= dns.flags.QR >> 8
        answer[3] = step.choice % 7
        data = bytes(answer) if step.way == "answer" else step.data
        if step.choice % 5 == 0:
            data = mutation.mutate(Random(step.choice), data)
        self.server.forwarder.receive_answer(number, data, self._now)

    def _drain(self) -> None:
        forwarder = self.server.forwarder
        for asked in forwarder.asked():
            self._asked[asked.number] = asked.message
        for number in forwarder.closed():
            self._asked.pop(number, None)
        due = self.server.get_timer()
        if due is not None and due <= self._now:
            self.server.handle_timer(self._now)
        for _, answer in self.server.answers_to_send():
            assert read_query(answer) is None, "an answer is answered"
            try:
                read_answers(answer)
            except InvalidMessage:
                # A name server has said so.
                continue
