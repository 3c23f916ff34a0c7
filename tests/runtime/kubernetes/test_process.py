"""An agent as a process: with API server, coordinator, a machine, and a mesh."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVarTuple, Unpack

import pytest

from coordinator.runtime.server import CoordinatorProcess, Foundation
from meshwg.config import NodeConfig
from meshwg.errors import MeshError
from meshwg.kubernetes.networklist import FILE
from meshwg.runtime.kubernetes.api import ApiAccess
from meshwg.runtime.kubernetes.process import AgentProcess
from meshwg.runtime.kubernetes.settings import AgentSettings, Membership
from meshwg.runtime.nft import nft
from meshwg.runtime.packetloop import PacketLoop
from meshwg.runtime.state import StateDirectory
from netlab.lab import Lab
from netlab.machine import Host
from tests.coordinator.kubernetes.issuer import ISSUER, Issuer, claims_of
from tests.coordinator.programs import running
from tests.kubernetes.apiserver import FakeApiServer, until
from tests.kubernetes.cluster import PODS, node, node_object

pytestmark = pytest.mark.netns

Ts = TypeVarTuple("Ts")

OTHERS = "10.244.2.0/24"
READY = [{"type": "NetworkUnavailable", "status": "False"}]
STRANGER = {"kubernetes.io": claims_of(account="default")["kubernetes.io"]}


def test_a_node_joins_by_its_account_and_its_pods_get_their_network(
    lab: Lab, tmp_path: Path
) -> None:
    async def story(bench: "Bench") -> None:
        bench.api.put(node_object(PODS))
        async with bench.agent():
            await bench.until(lambda: bench.network_list() is not None)
            await bench.until(lambda: bench.condition() == ("False", "MeshReady"))
            await bench.until(lambda: bench.reasons() == ["MeshReady"])
            (member,) = bench.members()
            assert (member.name, member.routes) == ("n1", (PODS,))
            assert member.tags == ("kubernetes",)
            written = bench.network_list()
            assert written is not None
            bridge = written["plugins"][0]
            assert bridge["ipam"]["ranges"] == [[{"subnet": PODS}]]
        # Pods go on while there is no agent.
        assert bench.network_list() is not None

    play(lab, tmp_path, story)


def test_another_pod_network_is_routed_after_another_look_at_the_node(
    lab: Lab, tmp_path: Path
) -> None:
    async def story(bench: "Bench") -> None:
        bench.api.put(node_object(PODS))
        async with bench.agent():
            await bench.until(lambda: bench.network_list() is not None)
            bench.api.put(node_object(OTHERS))
            await bench.until(lambda: bench.members()[0].routes == (OTHERS,))
            await bench.until(lambda: OTHERS in json.dumps(bench.network_list()))

    play(lab, tmp_path, story)


def test_an_agent_goes_on_without_api_server_and_coordinator_also_when_it_is_restarted(
    lab: Lab, tmp_path: Path
) -> None:
    async def story(bench: "Bench") -> None:
        bench.api.put(node_object(PODS))
        async with bench.agent():
            await bench.until(lambda: bench.condition() == ("False", "MeshReady"))
        bench.api.is_away = True
        (bench.directory / "net.d" / FILE).unlink()
        await bench.cut_coordinator_off()
        async with bench.agent():
            await bench.until(lambda: bench.network_list() is not None)
        assert bench.reasons() == ["MeshReady"]

    play(lab, tmp_path, story)


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iss": "https://elsewhere"}, "of another cluster"),
        ({"exp": 5.0}, "has expired"),
        (STRANGER, "Only the service account"),
    ],
)
def test_a_token_that_lets_nobody_in_is_told_of_and_nothing_is_configured(
    lab: Lab, tmp_path: Path, claims: dict[str, Any], said: str
) -> None:
    async def story(bench: "Bench") -> None:
        bench.api.put(node_object(PODS))
        bench.write_token(**claims)
        with pytest.raises(MeshError, match=said):
            await bench.process().run()
        assert bench.network_list() is None
        assert bench.condition() == ("True", "NotInMesh")
        assert said in bench.api.events[-1]["message"]
        assert bench.members() == []

    play(lab, tmp_path, story)


def test_a_node_that_claims_another_s_pods_gets_none(lab: Lab, tmp_path: Path) -> None:
    async def story(bench: "Bench") -> None:
        # What the agent is told and what the coordinator reads differ.
        bench.api.put(node_object(PODS))
        async with bench.agent() as process:
            await bench.until(lambda: _has_heard_ready(process))
            claimed = node(OTHERS, conditions=READY)
            process._agent.receive_node(claimed, time.monotonic())
            process._turn()
            await bench.until(lambda: len(bench.members()[0].withheld) == 1)
            (member,) = bench.members()
            assert member.routes == ()
            assert "no PodCIDR of the cluster's node n1" in member.withheld[0].reason

    play(lab, tmp_path, story)


def test_a_network_list_that_cannot_be_written_is_told_of(
    lab: Lab, tmp_path: Path
) -> None:
    async def story(bench: "Bench") -> None:
        (bench.directory / "net.d").write_text("a file, and no directory")
        bench.api.put(node_object(PODS))
        async with bench.agent():
            await bench.until(lambda: bench.condition() == ("True", "Failed"))
            await bench.until(lambda: "Failed" in bench.reasons())

    play(lab, tmp_path, story)


def test_a_missing_token_file_is_named_before_anything_happens(
    lab: Lab, tmp_path: Path
) -> None:
    async def story(bench: "Bench") -> None:
        (bench.directory / "token").unlink()
        with pytest.raises(MeshError, match="audience meshwg"):
            await bench.process().run()
        assert bench.members() == []

    play(lab, tmp_path, story)


class Bench:
    """A cluster of one node, on one machine with its API server and coordinator."""

    def __init__(
        self,
        directory: Path,
        api: FakeApiServer,
        coordinator: CoordinatorProcess,
        foundation: Foundation,
        issuer: Issuer,
    ) -> None:
        self.directory = directory
        self.api = api
        self.coordinator = coordinator
        self._foundation = foundation
        self._issuer = issuer
        self._states: list[StateDirectory] = []
        self.change: Callable[[AgentSettings], AgentSettings] = lambda each: each
        """What an agent is told beyond the usual."""
        self.write_token()

    def write_token(self, **changes: Any) -> None:
        """Be kubelet, which gives the pod a token."""
        now = time.time()
        claims = {**claims_of(), "exp": now + 600, "nbf": now - 1, **changes}
        (self.directory / "token").write_text(self._issuer.sign(claims))

    async def cut_coordinator_off(self) -> None:
        """Have the coordinator be away from now on."""
        port = self.coordinator.public.port
        rules = (
            "table inet away { chain input { type filter hook input priority 0;"
            f" tcp dport {port} reject with tcp reset\n}}\n}}\n"
        )
        await nft(rules)

    def process(self) -> AgentProcess:
        """Return an agent that is to run."""
        directory = self.directory
        for state in self._states:
            state.close()
        state = StateDirectory(directory / "state")
        self._states = [state]
        membership = Membership(
            self.coordinator.public.url,
            self._foundation.private_key.public_bytes,
            directory / "token",
        )
        config = NodeConfig(
            state_dir=directory / "state",
            control_socket=directory / "control",
            name="n1",
            dns=False,
            port_mapping=False,
        )
        access = ApiAccess(self.api.kubeconfig(directory))
        settings = AgentSettings(
            "n1", config, access, membership, network_lists=directory / "net.d"
        )
        return AgentProcess(self.change(settings), state)

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[AgentProcess]:
        """Run an agent for as long as the block lasts."""
        process = self.process()
        task = asyncio.create_task(process.run())
        try:
            yield process
        finally:
            process.stop()
            await task

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition, 60)

    def network_list(self) -> dict[str, Any] | None:
        """Return the network list, if it is written."""
        try:
            text = (self.directory / "net.d" / FILE).read_text()
        except FileNotFoundError:
            return None
        found: dict[str, Any] = json.loads(text)
        return found

    def condition(self) -> tuple[str, str] | None:
        """Return status and reason of the network's condition."""
        for each in self.api.nodes["n1"]["status"].get("conditions", []):
            if each["type"] == "NetworkUnavailable":
                return each["status"], each["reason"]
        return None

    def reasons(self) -> list[str]:
        return [each["reason"] for each in self.api.events]

    def members(self) -> list[Any]:
        return list(self._foundation.registry.nodes.values())


def _has_heard_ready(process: AgentProcess) -> bool:
    """Tell whether nothing more is to come of the API server."""
    known = process._reports.node
    return known is not None and known.is_unavailable is False


class DeafLoop(PacketLoop):
    """A loop in a thread of its own, which gets no signals."""

    def add_signal_handler(
        self, sig: int, callback: Callable[[Unpack[Ts]], Any], *args: *Ts
    ) -> None:
        """Leave signals to the main thread."""


def play(
    lab: Lab,
    directory: Path,
    story: Callable[[Bench], Awaitable[None]],
    host: Host | None = None,
) -> None:
    """Play a story on a machine of its own, unless it is to be on another one."""
    host = host or lab.add_host("n1", lab.add_switch("cable", "192.0.2.0/24"))

    async def run() -> None:
        issuer = Issuer()
        async with FakeApiServer(directory) as api:
            api.jwks = issuer.jwks
            async with running(
                directory / "coordinator",
                listen=f"{host.address()}:0",
                kubernetes_issuer=ISSUER,
                kubernetes_api=api.url,
                kubernetes_ca=api.certificate,
                kubernetes_token_file=api.token_file,
                relay=False,
            ) as (coordinator, foundation):
                await story(Bench(directory, api, coordinator, foundation, issuer))

    def enter() -> None:
        with asyncio.Runner(loop_factory=DeafLoop) as runner:
            runner.run(run())

    host.call(enter)
