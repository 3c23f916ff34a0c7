"""Behaviours that no router can have are refused, and each has its own rules."""

import shutil
import subprocess
from dataclasses import replace

import pytest

from netlab import nat, presets
from netlab.nat import Behaviour, Sides

SIDES = Sides(("203.0.113.2", "198.51.100.2"), "192.168.1.0/24")
BEHAVIOURS = [
    behaviour
    for preset in presets.ALL.values()
    for behaviour in (preset.behaviour, preset.carrier)
    if behaviour is not None
] + [Behaviour(flows=100)]


def test_a_symmetric_nat_cannot_preserve_ports() -> None:
    symmetric = presets.OFFICE.behaviour
    assert symmetric is not None

    with pytest.raises(ValueError, match="preserve"):
        replace(symmetric, ports=Behaviour().ports)


def test_a_nat_without_maps_filters_as_the_kernel_does() -> None:
    open_nat, firewall = presets.FULL_CONE.behaviour, presets.FIREWALL.behaviour
    assert open_nat is not None
    assert firewall is not None

    for changes in ({"kernel": True}, {"mapping": firewall.mapping}):
        with pytest.raises(ValueError, match="without maps"):
            replace(open_nat, **changes)


def test_the_kernel_forgets_when_the_router_does() -> None:
    settings = nat.sysctls(Behaviour(lifetime=77))

    assert settings
    assert set(settings.values()) == {77}


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=str)
def test_all_braces_of_a_ruleset_are_closed(behaviour: Behaviour) -> None:
    depth = 0
    for character in nat.ruleset(behaviour, SIDES):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0


def test_no_two_ways_to_map_and_to_filter_have_the_same_rules() -> None:
    seen: dict[str, object] = {}
    for each in BEHAVIOURS:
        key = each.mapping, each.filtering, each.ports, each.kernel
        assert seen.setdefault(nat.ruleset(each, SIDES), key) == key


def test_the_rules_of_a_router_mention_loss_only_if_there_is_any() -> None:
    assert "< 50 drop" in nat.ruleset(Behaviour(loss=0.05), SIDES)
    assert "mod 1000" not in nat.ruleset(Behaviour(), SIDES)


@pytest.mark.netns
@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=str)
def test_nft_accepts_the_rules_of_each_kind(behaviour: Behaviour) -> None:
    if shutil.which("nft") is None:
        pytest.skip("nft is not installed")
    rules = nat.ruleset(behaviour, SIDES)

    # In a namespace of its own, since a ruleset begins by flushing everything.
    checked = subprocess.run(
        ["unshare", "--net", "nft", "--check", "-f", "-"],
        input=rules,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr
