"""What the commands answer, and how they refuse."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meshwg.errors import ConfigError, MeshError, NotJoined
from meshwg.nat.behaviour import NatBehavior
from meshwg.node.trust import Held, Trust
from meshwg.runtime import commands as module
from meshwg.runtime.commands import MAX_PINGERS, NodeCommands
from meshwg.runtime.held_routes import HeldRoutes
from meshwg.runtime.host import NodeHost
from meshwg.runtime.netcheck import NetcheckReport
from meshwg.runtime.offered_routes import OfferedRoutes, announced
from meshwg.runtime.state import StateDirectory
from meshwg.transmit import Endpoint
from meshwg.wire.control import PeerEntry

Json = dict[str, Any]
STUN = Endpoint("192.0.2.1", 3478)
MARK = 0x1234


class StandInHost:
    """A host, as far as commands see it."""

    def __init__(self) -> None:
        self.echo_listeners: dict[int, Callable[[int], None]] = {}
        self.reported: list[tuple[float, bool]] = []
        self.behaviour = NatBehavior(reachable=True)
        self.is_stopped = False
        self.fwmark = MARK
        self.routes: OfferedRoutes
        self.held_routes: HeldRoutes
        self.offered: list[tuple[str, ...]] = []
        self.names: SimpleNamespace | None = None
        self.exits = SimpleNamespace()
        self.node: SimpleNamespace = SimpleNamespace(
            whereabouts=SimpleNamespace(stun_server=lambda: STUN),
            control=SimpleNamespace(registered="something"),
            peers={name: a_peer(name) for name in ("bob", "alice")},
            members=SimpleNamespace(
                find=self._find,
                held={},
                accept=self._accept,
                offers=SimpleNamespace(routes=lambda: ()),
                routers=lambda: iter(()),
            ),
            trust=Trust(),
        )
        self.commands = NodeCommands(cast(NodeHost, self), self._stop)

    def turn(self) -> None:
        pass

    def offers(self, settings: list[str], state: StateDirectory) -> None:
        self.routes = OfferedRoutes(settings, state)
        self.held_routes = HeldRoutes(self.routes, self.offer_routes)

    def offer_routes(self) -> None:
        self.offered.append(announced(self.routes.current))

    def _find(self, name: str) -> SimpleNamespace | None:
        peer: SimpleNamespace | None = self.node.peers.get(name)
        return peer

    def _accept(self, name: str, key: str | None, now: float) -> Held:
        if name not in self.node.members.held:
            raise MeshError(f"{name} is not held")
        held: Held = self.node.members.held[name]
        return held

    def _stop(self) -> None:
        self.is_stopped = True


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> StandInHost:
    async def measure(server: Endpoint, fwmark: int) -> float:
        assert (server, fwmark) == (STUN, MARK)
        return 60.0

    monkeypatch.setattr(module, "KnownNetwork", StandInNetwork)
    monkeypatch.setattr(module, "measure_lifetime", measure)
    monkeypatch.setattr(module, "Pinger", StandInPinger)
    return StandInHost()


@pytest.mark.parametrize(
    ("asked", "limit"), [(None, 5.0), (0, 5.0), (2.0, 2.0), (60.0, 5.0)]
)
async def test_a_look_at_the_network_has_a_time_limit(
    host: StandInHost, asked: float | None, limit: float
) -> None:
    report = await host.commands.netcheck({"timeout": asked})

    assert host.reported == [(limit, False)]
    assert report["udp"] is True
    assert report["ipv4"]["lifetime_s"] is None


async def test_a_look_anew_is_asked_for(host: StandInHost) -> None:
    await host.commands.netcheck({"fresh": True})

    assert host.reported == [(5.0, True)]


async def test_the_lifetime_is_measured_if_asked_for(host: StandInHost) -> None:
    report = await host.commands.netcheck({"lifetime": True})

    assert report["ipv4"]["lifetime_s"] == 60.0


async def test_the_lifetime_is_not_measured_where_nothing_answers(
    host: StandInHost,
) -> None:
    host.behaviour = NatBehavior()

    report = await host.commands.netcheck({"lifetime": True})

    assert report["ipv4"]["lifetime_s"] is None


async def test_an_exit_is_chosen_by_its_short_name_or_that_of_the_mesh(
    host: StandInHost,
) -> None:
    asked: list[tuple[str, bool]] = []

    async def use(name: str, *, lan: bool) -> Json:
        asked.append((name, lan))
        return {"name": name}

    async def off() -> Json:
        return {"was": "ams"}

    host.exits = SimpleNamespace(use=use, off=off)
    host.names = SimpleNamespace(domain="mesh.internal")

    assert await host.commands.use_exit({"name": "ams"}) == {"name": "ams"}
    await host.commands.use_exit({"name": "ams.mesh.internal", "lan": True})
    assert await host.commands.exit_off() == {"was": "ams"}
    assert asked == [("ams", False), ("ams", True)]


def test_exits_are_shown(host: StandInHost) -> None:
    report: Json = {"using": None, "exits": []}
    host.node.exits = SimpleNamespace(report=lambda now, unix_time: report)

    assert host.commands.exits() == {"schema": 1, **report}


async def test_a_ping_listens_for_echoes_until_it_ends(host: StandInHost) -> None:
    answers = host.commands.ping({"peer": "bob", "count": 2})

    assert await anext(answers) == {"peer": "bob", "count": 2}
    assert len(host.echo_listeners) == 1
    await answers.aclose()
    assert host.echo_listeners == {}


async def test_why_wants_a_port_that_can_be_read(host: StandInHost) -> None:
    with pytest.raises(ConfigError, match="That is no port"):
        host.commands.why({"target": "bob", "port": "tcp/0"})


async def test_a_peer_that_is_held_is_not_pinged_and_may_be_accepted(
    host: StandInHost,
) -> None:
    entry = PeerEntry(public_key="K", name="eve", addresses=("100.64.0.3",), version=1)
    host.node.members.held["eve"] = Held(entry, "eve", "OLD", "Its key is another.")
    with pytest.raises(MeshError, match="eve is held: Its key is another"):
        await anext(host.commands.ping({"peer": "100.64.0.3"}))
    assert host.commands.accept({"name": "eve"}) == {
        "name": "eve",
        "public_key": "K",
        "known_key": "OLD",
    }
    with pytest.raises(MeshError, match="not held"):
        host.commands.accept({"name": "bob"})
    assert host.commands.trust()["pins"] == []


async def test_pings_are_kept_apart(
    host: StandInHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = [b"\0\5", b"\0\5", b"\0\6"]
    monkeypatch.setattr("os.urandom", lambda size: drawn.pop(0))
    first, second = (host.commands.ping({"peer": "bob"}) for _ in range(2))

    await anext(first)
    await anext(second)

    assert list(host.echo_listeners) == [5, 6]
    await first.aclose()
    await second.aclose()


async def test_the_number_of_concurrent_pings_is_limited(host: StandInHost) -> None:
    host.echo_listeners = {n: lambda sequence: None for n in range(MAX_PINGERS)}

    with pytest.raises(MeshError, match="Too many pings at once"):
        await anext(host.commands.ping({"peer": "bob"}))


async def test_before_it_has_joined_a_node_pings_nobody(host: StandInHost) -> None:
    host.node.control.registered = None

    with pytest.raises(NotJoined, match="has not joined a mesh yet"):
        await anext(host.commands.ping({"peer": "bob"}))


@pytest.mark.parametrize("request_", [{}, {"peer": None}, {"peer": "eve"}])
async def test_for_an_unknown_peer_the_known_ones_are_named(
    host: StandInHost, request_: Json
) -> None:
    with pytest.raises(MeshError, match=r"use one of alice, bob$"):
        await anext(host.commands.ping(request_))


async def test_without_peers_none_is_named(host: StandInHost) -> None:
    host.node.peers = {}

    with pytest.raises(MeshError, match="There is no peer 'bob': use one of none"):
        await anext(host.commands.ping({"peer": "bob"}))


def test_names_in_errors_are_few() -> None:
    assert module._shortened(["a", "b"]) == "a, b"
    many = module._shortened([f"node-{n}" for n in range(1000)])
    assert len(many) < 300
    assert many.endswith(", ...")


async def test_a_peer_may_be_named_in_full(host: StandInHost) -> None:
    host.names = SimpleNamespace(domain="mesh.internal")

    assert host.commands._find_peer({"peer": "bob.mesh.internal."}) is not None
    with pytest.raises(MeshError, match="no peer 'eve'"):
        host.commands._find_peer({"peer": "eve.mesh.internal"})


async def test_a_node_that_leaves_names_alone_says_so(host: StandInHost) -> None:
    assert host.commands.dns() == {
        "schema": 1,
        "mode": "off",
        "domain": None,
        "error": None,
    }
    with pytest.raises(MeshError, match="--no-dns"):
        await host.commands.dns_query({"name": "db"})


async def test_what_is_offered_is_changed_and_told_at_once(
    host: StandInHost, tmp_path: Path
) -> None:
    state = StateDirectory(tmp_path)
    host.offers([], state)

    added = host.commands.add_route({"route": "10.1.0.0/16"})

    assert added["prefix"] == "10.1.0.0/16"
    assert host.offered == [("10.1.0.0/16",)]
    assert host.commands.routes() == {"schema": 1, "own": [added], "peers": []}
    host.commands.remove_route({"route": "10.1.0.0/16"})
    assert host.offered[-1] == ()
    with pytest.raises(MeshError, match="does not offer"):
        host.commands.remove_route({"route": "10.1.0.0/16"})
    state.close()


async def test_what_is_held_is_offered_until_it_is_removed(
    host: StandInHost, tmp_path: Path
) -> None:
    state = StateDirectory(tmp_path)
    host.offers(["10.1.0.0/16"], state)
    wish = {"route": "10.60.0.10/32,snat=no", "seconds": 60.0}

    held = host.commands.hold_route(wish)
    assert host.commands.hold_route(wish) == held

    assert (held["prefix"], held["state"]) == ("10.60.0.10/32", "advertised")
    assert host.offered == [("10.1.0.0/16", "10.60.0.10/32")]
    host.commands.remove_route({"route": "10.60.0.10/32"})
    assert host.offered[-1] == ("10.1.0.0/16",)
    with pytest.raises(MeshError, match="does not offer"):
        host.commands.remove_route({"route": "10.60.0.10/32"})
    state.close()


async def test_nothing_is_held_without_a_time(
    host: StandInHost, tmp_path: Path
) -> None:
    state = StateDirectory(tmp_path)
    host.offers([], state)
    with pytest.raises(ConfigError, match="is held for up to"):
        host.commands.hold_route({"route": "10.60.0.10/32"})
    assert host.offered == []
    state.close()


async def test_down_stops_the_node(host: StandInHost) -> None:
    host.commands.shut_down()

    assert host.is_stopped


class StandInNetwork:
    """Knows what its host says."""

    def __init__(self, host: StandInHost) -> None:
        self._host = host

    async def report(self, limit: float, *, fresh: bool) -> NetcheckReport:
        self._host.reported.append((limit, fresh))
        return NetcheckReport(self._host.behaviour, None)


class StandInPinger:
    """Answers with what it was asked."""

    def __init__(self, node: object, peer: Any, identifier: int, turn: object) -> None:
        self._peer = peer

    def receive(self, sequence: int) -> None:
        pass

    async def run(
        self, count: int | None, until_direct: bool, limit: float | None
    ) -> AsyncGenerator[Json]:
        while True:
            yield {"peer": self._peer.entry.name, "count": count}


def a_peer(name: str) -> SimpleNamespace:
    return SimpleNamespace(entry=SimpleNamespace(name=name))
