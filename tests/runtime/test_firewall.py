"""The host's firewall: what is forwarded passes, and what drops the mesh is said."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from meshwg.errors import ConfigError
from meshwg.health import Health
from meshwg.runtime import firewall as module
from meshwg.runtime.firewall import (
    DROPS_FORWARDED,
    DROPS_MESH,
    Firewall,
    remove_leftover_rules,
)
from meshwg.runtime.nft import nft
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns

DOCKER = """
table ip filter {
  chain DOCKER-USER { return; }
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
    jump DOCKER-USER
    oifname "docker0" ct state related,established counter accept
  }
}
"""
FIREWALLD = """
table inet firewalld {
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    reject with icmpx admin-prohibited
  }
}
"""
TAILSCALE = """
table ip filter {
  chain ts-input {
    iifname "lo" ip saddr 100.101.102.103 counter accept
    iifname != "tailscale0" ip saddr 100.115.92.0/23 counter return
    iifname != "tailscale0" ip saddr 100.64.0.0/10 counter drop
    iifname "tailscale0" counter accept
  }
  chain INPUT { type filter hook input priority filter; policy accept; jump ts-input; }
}
"""
MESH = ("100.67.0.0/16", "fd06:891e:4248::/48")


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host("host", lab.add_switch("cable", "192.0.2.0/24"))


@pytest.mark.parametrize("rules", [DOCKER, FIREWALLD, DOCKER + FIREWALLD])
def test_what_a_hub_forwards_is_accepted_first_and_no_more_at_the_end(
    rules: str, host: Host
) -> None:
    load(host, rules)
    before, health = ruleset(host), Health()

    async def work() -> None:
        firewall = Firewall("meshwg0", health)
        await firewall.start()
        firewall.want((), forwards=True)
        await look(firewall)
        assert len(await accepting_rules()) == rules.count("hook forward")
        firewall.want(())
        await look(firewall)
        assert await accepting_rules() == []
        firewall.want((), forwards=True)
        await look(firewall)
        accepting = await accepting_rules()
        await firewall.close()
        assert len(accepting) == rules.count("hook forward")

    run(host, work)

    assert ruleset(host) == before
    assert list(health) == []


def test_what_goes_to_networks_behind_a_node_passes_too(host: Host) -> None:
    load(host, DOCKER + FIREWALLD)
    before = ruleset(host)

    async def work() -> None:
        firewall = Firewall("meshwg0", Health())
        await firewall.start()
        firewall.want(MESH, ("10.1.0.0/16", "fd01::/48"))
        await look(firewall)
        rules = await own_rules()
        assert len([rule for rule in rules if "10.1.0.0/16" in rule]) == 4
        # The chain of Docker's is for IPv4 only.
        assert len([rule for rule in rules if "fd01::/48" in rule]) == 2
        firewall.want(MESH, ("fd01::/48",))
        await look(firewall)
        assert len(await own_rules()) == 2
        await firewall.close()

    run(host, work)

    assert ruleset(host) == before


def test_a_firewall_that_is_loaded_again_gets_the_rule_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE", 0.05)

    async def work() -> None:
        firewall = Firewall("meshwg0", Health())
        await firewall.start()
        firewall.want((), forwards=True)
        assert await accepting_rules() == []
        for rules in (DOCKER, "flush ruleset" + DOCKER):
            await nft(rules)
            await within(20, has_accepting_rule)
        await firewall.close()
        assert await accepting_rules() == []

    run(host, work)


def test_a_chain_that_cannot_be_changed_is_named(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(host, FIREWALLD)
    health, real = Health(), nft

    async def refuse(rules: str) -> str:
        if rules.startswith("insert"):
            raise ConfigError("Operation not permitted")
        return await real(rules)

    monkeypatch.setattr(module, "nft", refuse)

    async def work() -> None:
        firewall = Firewall("meshwg0", health)
        await firewall.start()
        firewall.want((), forwards=True)
        await look(firewall)
        await firewall.close()

    run(host, work)

    (complaint,) = health
    assert complaint.code == DROPS_FORWARDED
    assert "in inet firewalld filter_FORWARD, and does not let it" in complaint.text
    assert "--add-interface=meshwg0" in complaint.mend


def test_tailscales_rule_is_noticed_and_when_it_has_gone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE", 0.05)
    load(host, TAILSCALE)
    health = Health()

    async def is_well() -> bool:
        return list(health) == []

    async def work() -> None:
        firewall = Firewall("meshwg0", health)
        await firewall.start()
        firewall.want(MESH)
        await look(firewall)
        (complaint,) = health
        assert complaint.code == DROPS_MESH
        assert "ip filter ts-input drops whatever" in complaint.text
        assert "That is Tailscale's" in complaint.text
        await nft("delete table ip filter")
        await within(20, is_well)
        await nft(TAILSCALE)
        firewall.want(("10.89.0.0/16",))
        await look(firewall)
        assert list(health) == []
        await firewall.close()

    run(host, work)


def test_rules_of_nodes_that_are_gone_are_removed(host: Host) -> None:
    load(host, DOCKER)
    before = ruleset(host)
    for name in ("meshwg9", "lo"):
        comment = f'comment "meshwg-{name}"'
        rule = f'insert rule ip filter FORWARD iifname "{name}" accept {comment}'
        load(host, rule)

    run(host, remove_leftover_rules)

    assert "meshwg-meshwg9" not in ruleset(host)
    assert "meshwg-lo" in ruleset(host)
    assert before != ruleset(host)


def test_without_nft_nothing_is_known_and_nothing_is_wrong(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    health = Health()

    async def work() -> None:
        firewall = Firewall("meshwg0", health)
        await firewall.start()
        firewall.want(MESH)
        await look(firewall)
        await firewall.close()

    run(host, work)

    assert list(health) == []


async def look(firewall: Firewall) -> None:
    """Have it look once more."""
    firewall._look_again()
    await firewall._tasks.wait()


def run(host: Host, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Do something in the host's network."""
    host.call(lambda: asyncio.run(work()))


def load(host: Host, rules: str) -> None:
    host.run(["nft", "-f", "-"], stdin=rules)


def ruleset(host: Host) -> str:
    return host.run(["nft", "list", "ruleset"]).stdout


async def has_accepting_rule() -> bool:
    return len(await accepting_rules()) == 1


async def within(seconds: float, condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


async def own_rules() -> list[str]:
    lines = (await nft("list ruleset")).splitlines()
    return [line.strip() for line in lines if "meshwg-meshwg0" in line]


async def accepting_rules() -> list[str]:
    """Return the node's rules, which must be the first of their chains."""
    lines = [line.strip() for line in (await nft("list ruleset")).splitlines()]
    found = [at for at, line in enumerate(lines) if "meshwg-meshwg0" in line]
    first = ("type filter hook", "chain DOCKER-USER")
    assert all(lines[at - 1].startswith(first) for at in found)
    return [lines[at] for at in found]
