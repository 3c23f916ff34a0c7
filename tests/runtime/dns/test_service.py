"""Names in one machine: when the system is told of them, and what goes wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
import pytest_asyncio

from meshwg.config import NodeConfig
from meshwg.dns.message import RECURSION_DESIRED, Question, RecordType, write_query
from meshwg.dns.name import to_wire
from meshwg.errors import MeshError
from meshwg.node.exits import ChosenExit
from meshwg.node.members import Members
from meshwg.runtime.dns import service as module
from meshwg.runtime.dns.integration import Integration, Registration
from meshwg.runtime.dns.service import CODE, DOMAIN_CODE, LOOPBACKS, MeshNames
from meshwg.runtime.dns.system import NotAlone
from meshwg.runtime.state import StateDirectory
from meshwg.wire.control import Records
from meshwg.wire.dnsrecords import DnsRecord
from tests.node.stage import BOB, HOME, Stage

Found = Callable[[], Integration]


class PlayedIntegration:
    """What decides about name servers, as a test wants it."""

    def __init__(self, mode: str = "systemd-resolved") -> None:
        self.mode = mode
        self.forwards = mode == "file"
        self.applied: list[Registration] = []
        self.servers: tuple[str, ...] = ()
        self.is_changed = self.is_lost = False
        self.undone = 0
        self.error: MeshError | None = None

    async def apply(self, wanted: Registration) -> tuple[str, ...]:
        if self.error is not None:
            raise self.error
        self.applied.append(wanted)
        self.is_changed = False
        return self.servers

    async def has_changed(self) -> bool:
        return self.is_changed

    async def undo(self) -> None:
        self.undone += 1


class Scene:
    """A node, its names, and the system that is told of them."""

    def __init__(self, state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage = Stage(addresses=(HOME,))
        self.system = PlayedIntegration()
        self.found: list[PlayedIntegration] = []
        self.on_return: Callable[[], None] | None = None
        self.refusal: MeshError | None = None
        self._state = state
        monkeypatch.setattr(module, "find_integration", self._find)
        monkeypatch.setattr(module, "DNS_PORT", 0)
        self.names = self.make()

    def make(
        self,
        url: str = "https://mesh.example.org",
        nameservers: tuple[str, ...] = (),
    ) -> MeshNames:
        config = NodeConfig(nameservers=nameservers)
        return MeshNames(self.stage.node, config, self._state, ("meshwg0", 7), url)

    async def settle(self) -> None:
        await self.names._tasks.wait()

    async def start(self) -> None:
        await self.names.start()
        await self.settle()

    async def ask(self, name: str, kind: RecordType = RecordType.A) -> str:
        message = write_query(
            7, Question(to_wire(name), kind), flags=RECURSION_DESIRED, edns=False
        )
        answer = dns.message.from_wire(await self.names.query(message))
        if answer.answer:
            return str(answer.answer[0][0])
        return dns.rcode.to_text(answer.rcode())

    def health(self) -> list[str]:
        return [each.code for each in self.stage.node.health]

    async def _find(
        self, state: StateDirectory, interface: str, on_return: Callable[[], None]
    ) -> PlayedIntegration:
        if self.refusal is not None:
            raise self.refusal
        self.on_return = on_return
        self.found.append(self.system)
        return self.system


@pytest_asyncio.fixture
async def scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    state = StateDirectory(tmp_path / "state")
    made = Scene(state, monkeypatch)
    yield made
    await made.names.close()
    state.close()


async def test_the_system_is_told_once_of_names_and_addresses(scene: Scene) -> None:
    await scene.start()

    (told,) = scene.system.applied
    assert (told.interface, told.index, told.domain) == (
        *("meshwg0", 7),
        "mesh.internal",
    )
    assert told.host == "127.0.0.1"
    assert told.port
    assert "64.100.in-addr.arpa" in told.reverse_zones
    assert scene.names.status() == {
        "mode": "systemd-resolved",
        "domain": "mesh.internal",
        "error": None,
    }
    for _ in range(3):
        scene.names.changed()
        await scene.settle()
    assert len(scene.system.applied) == 1
    assert scene.health() == []


async def test_programs_learn_of_peers_as_they_come(scene: Scene) -> None:
    await scene.start()
    assert await scene.ask("bob.mesh.internal") == "NXDOMAIN"

    peer = scene.stage.add_peer("bob", BOB)
    scene.names.changed()

    assert await scene.ask("bob.mesh.internal") == BOB
    assert await scene.ask("2.0.64.100.in-addr.arpa", RecordType.PTR) == (
        "bob.mesh.internal."
    )
    record = DnsRecord(name="api", kind="A", value="10.0.0.5")
    scene.stage.node.control.records.update(Records(version=9, added=(record,)))
    scene.stage.node.members.change([], [peer.key], 0.0)
    scene.names.changed()
    assert await scene.ask("bob.mesh.internal") == "NXDOMAIN"
    assert await scene.ask("api.mesh.internal") == "10.0.0.5"


async def test_the_place_that_the_system_is_told_of_answers(scene: Scene) -> None:
    await scene.start()
    query = dns.message.make_query("home.mesh.internal", "A")
    told = scene.system.applied[0]

    for ask in (dns.query.udp, dns.query.tcp):
        answer = await asyncio.to_thread(ask, query, told.host, 5, told.port)
        assert str(answer.answer[0][0]) == HOME


async def test_names_of_others_go_where_they_went_before(scene: Scene) -> None:
    scene.system = PlayedIntegration("file")
    scene.system.servers = ("192.0.2.1", HOME)

    await scene.start()

    (told,) = scene.system.applied
    assert told.host in LOOPBACKS
    report = scene.names.report()
    assert report["forwards_to"] == ["192.0.2.1"]
    assert any(each.startswith(HOME) for each in report["servers"])


async def test_where_only_the_mesh_s_names_come_others_are_refused(
    scene: Scene,
) -> None:
    await scene.start()

    assert await scene.ask("example.org") == "REFUSED"
    assert scene.names.report()["forwards_to"] == []


async def test_a_name_server_of_the_user_s_is_asked_for_all_others(
    scene: Scene,
) -> None:
    scene.names = scene.make(nameservers=("192.0.2.53",))

    await scene.start()

    assert scene.system.applied[0].takes_all
    assert scene.names.report()["forwards_to"] == ["192.0.2.53"]


async def test_while_an_exit_is_used_it_is_asked_for_all_others(scene: Scene) -> None:
    scene.system.servers = ("192.0.2.1",)
    bob = scene.stage.add_peer("bob", BOB, exit=True)
    await scene.start()
    assert not scene.system.applied[0].takes_all

    scene.stage.node.use_exit(ChosenExit(bob.key, "bob"), 0.0)
    scene.names.changed()
    await scene.settle()
    assert scene.system.applied[-1].takes_all
    assert scene.names.report()["forwards_to"] == [BOB]

    # While it is away nobody else hears what is asked for.
    scene.stage.add_peer("bob", BOB)
    scene.names.changed()
    await scene.settle()
    assert scene.names.report()["forwards_to"] == []
    assert await scene.ask("example.org") == "SERVFAIL"

    scene.stage.node.use_exit(None, 0.0)
    scene.names.changed()
    await scene.settle()
    assert not scene.system.applied[-1].takes_all


async def test_an_exit_asks_as_its_machine_does(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "read", lambda path: "nameserver 127.0.0.53\n")
    monkeypatch.setattr(Members, "is_exit", True)
    scene.stage.add_peer("bob", BOB)

    await scene.start()

    assert scene.names.server.forwarder.servers == ["127.0.0.53"]


async def test_another_mesh_of_the_machine_asks_the_others_itself(
    scene: Scene,
) -> None:
    scene.system = PlayedIntegration("file")
    scene.system.servers = ("127.0.77.60", "192.0.2.1")

    await scene.start()

    assert scene.names.report()["forwards_to"] == ["127.0.77.60"]


async def test_a_new_address_is_told(scene: Scene) -> None:
    await scene.start()
    scene.stage.node.members.has_ipv6 = False
    itself = scene.stage.node.control.briefing
    assert itself.registered is not None

    itself.registered = replace(itself.registered, addresses=("100.64.0.9",))
    scene.names.changed()
    await scene.settle()

    assert len(scene.system.applied) == 2
    assert await scene.ask("home.mesh.internal") == "100.64.0.9"


async def test_what_others_have_changed_is_told_again(scene: Scene) -> None:
    await scene.start()

    scene.names.look()
    await scene.settle()
    assert len(scene.system.applied) == 1
    scene.system.is_changed = True
    scene.names.look()
    await scene.settle()

    assert len(scene.system.applied) == 2


async def test_something_else_may_decide_from_now_on(scene: Scene) -> None:
    before = scene.system = PlayedIntegration("file")
    await scene.start()
    before.is_changed = True
    scene.system = PlayedIntegration()

    scene.names.look()
    await scene.settle()

    assert before.undone == 1
    assert len(scene.system.applied) == 1
    assert scene.names.status()["mode"] == "systemd-resolved"


async def test_one_to_which_the_way_is_lost_is_found_anew(scene: Scene) -> None:
    before = scene.system
    await scene.start()
    before.is_changed = before.is_lost = True
    scene.system = PlayedIntegration()

    scene.names.look()
    await scene.settle()

    assert len(scene.system.applied) == 1
    assert before.undone == 1


async def test_one_that_was_started_anew_is_told_again(scene: Scene) -> None:
    await scene.start()
    assert scene.on_return is not None

    scene.on_return()
    await scene.settle()

    assert len(scene.system.applied) == 2


async def test_trouble_is_a_line_and_is_tried_again(scene: Scene) -> None:
    scene.system.error = MeshError("/etc/resolv.conf cannot be written")

    await scene.start()

    status = scene.names.status()
    assert (status["mode"], status["error"]) == ("none", str(scene.system.error))
    assert scene.health() == [CODE]
    assert await scene.ask("home.mesh.internal") == HOME
    scene.system.error = None
    scene.names.look()
    await scene.settle()
    assert scene.names.status()["error"] is None
    assert scene.health() == []


async def test_what_is_for_others_is_no_complaint(scene: Scene) -> None:
    scene.refusal = NotAlone("It is that of the whole machine")

    await scene.start()

    assert scene.names.status()["error"] == "It is that of the whole machine"
    assert scene.health() == []


async def test_a_domain_of_the_coordinator_s_is_not_taken(scene: Scene) -> None:
    scene.names = scene.make("https://vpn.mesh.internal:8443/x")

    await scene.start()

    assert scene.system.applied == []
    assert "vpn.mesh.internal" in str(scene.names.status()["error"])
    assert scene.health() == [CODE]


async def test_what_names_end_with_stays_what_it_was(scene: Scene) -> None:
    control = scene.stage.node.control
    assert control.registered is not None
    control.briefing.registered = replace(control.registered, domain="mesh.example")
    await scene.start()
    assert scene.names.status()["domain"] == "mesh.example"

    control.briefing.registered = replace(control.registered, domain="bank.example")
    scene.names.changed()
    await scene.settle()

    assert scene.names.status()["domain"] == "mesh.example"
    assert scene.health() == [DOMAIN_CODE]
    again = scene.make()
    assert again.domain == "mesh.example"
    assert await scene.ask("home.mesh.example") == HOME
    control.briefing.registered = replace(control.registered, domain="mesh.example")
    scene.names.changed()
    await scene.settle()
    assert scene.health() == []


async def test_before_it_has_joined_a_node_says_nothing(scene: Scene) -> None:
    scene.stage.node.control.briefing.registered = None

    await scene.start()

    assert scene.found == []
    assert await scene.ask("home.mesh.internal") == "REFUSED"


async def test_at_the_end_everything_is_as_before(scene: Scene) -> None:
    await scene.start()

    await scene.names.close()

    assert scene.system.undone == 1
    scene.names.look()
    scene.names.changed()
    await scene.settle()
    assert len(scene.system.applied) == 1


async def test_trouble_with_the_end_ends_it_all_the_same(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def undo() -> None:
        raise MeshError("It cannot be undone")

    await scene.start()
    monkeypatch.setattr(scene.system, "undo", undo)

    await scene.names.close()


async def test_a_question_that_nobody_answers_is_an_error(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUERY_LIMIT", 0.1)
    scene.names = scene.make(nameservers=("192.0.2.53",))
    await scene.start()

    with pytest.raises(MeshError, match="Nobody answers"):
        await scene.ask("example.org")
