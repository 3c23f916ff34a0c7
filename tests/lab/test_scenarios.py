"""The scenarios of ``make lab`` hold, and fail when what they promise is broken."""

import pytest

import scenarios
from netlab import wireguard
from netlab.errors import LabError, ScenarioFailed
from netlab.lab import Lab
from netlab.scenario import Narrator, Step
from netlab.wireguard import message_type
from scenarios import ciphertext, container, public

pytestmark = [pytest.mark.netns, pytest.mark.lab]


@pytest.mark.parametrize("name", scenarios.ALL)
def test_a_scenario_passes(name: str, lab: Lab) -> None:
    steps: list[Step] = []

    scenarios.ALL[name].run(lab, steps.append)

    assert len(steps) > 4
    assert not [step for step in steps if step.error]


def test_another_engine_passes_the_same_scenario(lab: Lab) -> None:
    lab.engine = wireguard.WIREGUARD_GO

    steps: list[Step] = []
    container.CONTAINER.run(lab, steps.append)
    assert not [step for step in steps if step.error]


def test_plaintext_on_the_bridge_is_noticed(lab: Lab) -> None:
    world = container.build(lab)
    ends = {world.one.host.address(), world.two.host.address()}
    world.one.host.ping(world.two.ip)
    ciphertext.check_wire(world.wire, ends)

    leak = world.one.host.udp_socket(world.one.host.address())
    leak.sendto(b"psst: " + ciphertext.SECRET, (world.two.host.address(), 9))

    with pytest.raises(ScenarioFailed, match="in the clear"):
        ciphertext.check_wire(world.wire, ends)


def test_a_stranger_on_the_bridge_is_noticed(lab: Lab) -> None:
    world = container.build(lab)
    stranger = lab.add_host("stranger", world.bridge)
    world.one.host.ping(world.two.ip)

    leak = stranger.udp_socket(stranger.address())
    leak.sendto(b"hello", (world.two.host.address(), container.PORT))

    with pytest.raises(ScenarioFailed, match="no WireGuard message of this tunnel"):
        ciphertext.check_wire(
            world.wire, {world.one.host.address(), world.two.host.address()}
        )


def test_a_mapping_that_dies_is_noticed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public, "IDLE", 0.1)
    world = public.build(lab)
    world.laptop.host.ping(world.server.ip)
    world.laptop.stop()

    with pytest.raises(LabError, match="answers pings"):
        public.expect_open_mapping(world)


def test_a_failing_step_is_shown_with_its_error() -> None:
    steps: list[Step] = []

    def fail() -> None:
        with Narrator(steps.append).step("pigs fly"):
            raise ScenarioFailed("They walk.")

    with pytest.raises(ScenarioFailed):
        fail()
    assert [step.sentence for step in steps] == ["pigs fly", "pigs fly"]
    assert str(steps[1].error) == "They walk."


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (b"\1\0\0\0" + bytes(144), 1),
        (b"\2\0\0\0" + bytes(88), 2),
        (b"\3\0\0\0" + bytes(60), 3),
        (b"\4\0\0\0" + bytes(28), 4),
        (b"\4\0\0\0" + bytes(28 + 1408), 4),
        (b"\4\0\0\0" + bytes(28 + 1420), 4),
        (b"\4\0\0\0" + bytes(29), None),
        (b"\1\0\0\0" + bytes(143), None),
        (b"\1\1\0\0" + bytes(144), None),
        (b"\5\0\0\0" + bytes(144), None),
        (b"", None),
    ],
)
def test_wireguard_messages_are_recognised_by_type_and_length(
    message: bytes, kind: int | None
) -> None:
    assert message_type(message) == kind
