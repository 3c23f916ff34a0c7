"""Using an exit: what is remembered, and in which order the system is told."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from meshwg.errors import ConfigError, MeshError
from meshwg.node.exits import KILL_SWITCH_OFF
from meshwg.routing import MARKS
from meshwg.runtime import exits as module
from meshwg.runtime.exits import ExitClient, hold, let_out, recall
from meshwg.runtime.interface import MeshInterface
from meshwg.runtime.state import StateDirectory
from tests.node.stage import BOB, Stage


class StandInSwitch:
    """A kill switch that notes what it is told."""

    def __init__(self, said: list[str]) -> None:
        self._said = said
        self.refusal: MeshError | None = None
        self.others = ["meshwg1"]

    async def switch_on(
        self, bit: int, *, lan: bool, others: Sequence[str] = ()
    ) -> None:
        if self.refusal is not None:
            raise self.refusal
        assert (bit, list(others)) == (MARKS[0], self.others)
        self._said.append("closed, with lan" if lan else "closed")

    async def switch_off(self) -> None:
        self._said.append("open")

    def close(self) -> None:
        self._said.append("left")


class StandInInterface:
    """What is asked of an interface."""

    name = "meshwg0"
    table = 7
    bit = MARKS[0]
    is_apart = True
    refusal = "not supported"


class Using:
    """A node with an exit in its mesh, and what was done, in order."""

    def __init__(
        self, state: StateDirectory, switch: StandInSwitch, said: list[str]
    ) -> None:
        self.said = said
        self.stage = Stage()
        self.bob = self.stage.add_peer("bob", BOB, exit=True)
        self.interface = StandInInterface()
        self.switch = switch
        self.state = state
        self.client = ExitClient(
            self.stage.node, cast(MeshInterface, self.interface), state, self._settle
        )

    async def _settle(self) -> None:
        used = self.stage.node.exits.chosen
        self.said.append("no exit" if used is None else f"by {used.name}")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    with closing(StateDirectory(tmp_path / "state")) as made:
        yield made


@pytest.fixture
def using(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> Using:
    said: list[str] = []
    switch = StandInSwitch(said)
    monkeypatch.setattr(module, "KillSwitch", lambda *_: switch)
    monkeypatch.setattr(module, "_other_meshes", lambda own: ["meshwg1"])
    return Using(state, switch, said)


async def test_all_else_is_closed_before_the_exit_is_used(using: Using) -> None:
    used = await using.client.use("bob", lan=True)

    assert using.said == ["closed, with lan", "by bob"]
    assert (used["name"], used["lan"], used["state"]) == ("bob", True, "up")


async def test_it_is_opened_after_the_exit_is_used_no_more(using: Using) -> None:
    await using.client.use("bob", lan=False)
    del using.said[:]

    assert await using.client.off() == {"was": "bob"}

    assert using.said == ["no exit", "open"]
    assert recall(using.state) is None
    assert await using.client.off() == {"was": None}


async def test_it_is_remembered_and_closed_at_the_next_start(using: Using) -> None:
    await using.client.use("bob", lan=True)
    again = Using(using.state, using.switch, using.said)
    del using.said[:]

    await again.client.start()

    assert again.said == ["closed, with lan"]
    chosen = again.stage.node.exits.chosen
    assert chosen is not None
    assert (chosen.key, chosen.lan) == (using.bob.key, True)


async def test_without_one_nothing_is_done_at_the_start_or_the_end(
    using: Using,
) -> None:
    await using.client.start()
    using.client.look()
    await using.client.close()

    assert using.said == []


async def test_a_node_that_ends_leaves_all_closed(using: Using) -> None:
    await using.client.use("bob", lan=False)
    await using.client.close()

    assert using.said[-1] == "left"


async def test_a_node_that_is_taken_down_lets_all_out(using: Using) -> None:
    await using.client.use("bob", lan=False)
    using.client.frees = True
    await using.client.close()

    assert using.said[-1] == "open"
    assert recall(using.state) is not None


async def test_a_peer_that_is_no_exit_changes_nothing(using: Using) -> None:
    await using.client.use("bob", lan=False)
    del using.said[:]

    with pytest.raises(MeshError, match="no exit 'rob'"):
        await using.client.use("rob", lan=True)

    assert using.said == []
    chosen = recall(using.state)
    assert chosen is not None
    assert not chosen.lan


async def test_a_system_that_refuses_leaves_all_as_it_was(using: Using) -> None:
    using.switch.refusal = ConfigError("nft is missing")

    with pytest.raises(ConfigError, match="nft is missing"):
        await using.client.use("bob", lan=False)

    assert using.said == []
    assert recall(using.state) is None
    assert using.stage.node.exits.chosen is None


async def test_a_system_without_rules_cannot_use_one(using: Using) -> None:
    using.interface.is_apart = False

    with pytest.raises(ConfigError, match=r"no rules for routing.*not supported"):
        await using.client.use("bob", lan=False)


async def test_a_start_without_the_kill_switch_is_complained_of(using: Using) -> None:
    await using.client.use("bob", lan=False)
    using.switch.refusal = ConfigError("nft is missing")
    again = Using(using.state, using.switch, using.said)

    await again.client.start()

    assert [each.code for each in again.stage.node.health] == [KILL_SWITCH_OFF]
    using.switch.refusal = None
    await again.client.use("bob", lan=False)
    assert list(again.stage.node.health) == []


async def test_before_a_node_runs_nothing_leaves_if_an_exit_was_used(
    using: Using,
) -> None:
    assert await hold("meshwg0", using.state) is None
    assert using.said == []
    await using.client.use("bob", lan=True)
    del using.said[:]
    using.switch.others = []

    chosen = await hold("meshwg0", using.state)

    assert chosen is not None
    assert chosen.name == "bob"
    assert using.said == ["closed, with lan", "left"]
    using.state.set_down(True)
    assert await hold("meshwg0", using.state) is None


async def test_while_no_node_runs_all_can_be_let_out(using: Using) -> None:
    await using.client.use("bob", lan=False)

    assert await let_out("meshwg0", using.state) == {"was": "bob"}

    assert using.said[-1] == "open"
    assert recall(using.state) is None
