"""What other programs' rules do to packets of the mesh."""

import json
from ipaddress import ip_network
from typing import Any

import pytest

from meshwg.firewall import Ruleset

MESH = ip_network("100.67.0.0/16")
DROP: dict[str, Any] = {"drop": None}
ACCEPT: dict[str, Any] = {"accept": None}
COUNTER = {"counter": {"packets": 0, "bytes": 0}}


def test_a_chain_whose_policy_is_to_drop_drops_what_is_forwarded() -> None:
    docker = ruleset(chain("FORWARD", "forward", "drop"))
    (found,) = docker.chains_that_drop_forwarded()
    assert found.place == "ip filter FORWARD"


def test_so_does_one_that_leads_to_a_rule_that_rejects() -> None:
    firewalld = ruleset(
        chain("filter_FORWARD", "forward", "accept"),
        rule("filter_FORWARD", jump("policies")),
        chain("policies"),
        rule("policies", jump("rest")),
        chain("rest"),
        rule("rest", {"reject": {"type": "icmpx"}}),
    )
    assert len(firewalld.chains_that_drop_forwarded()) == 1


def test_a_chain_that_drops_nothing_is_left_alone() -> None:
    found = ruleset(
        chain("FORWARD", "forward", "accept"),
        rule("FORWARD", COUNTER, ACCEPT),
        chain("INPUT", "input", "drop"),
    )
    assert found.chains_that_drop_forwarded() == []


def test_docker_is_met_in_the_chain_that_it_leaves_to_others() -> None:
    docker = ruleset(
        chain("FORWARD", "forward", "drop"),
        rule("FORWARD", jump("DOCKER-USER")),
        rule("FORWARD", jump("DOCKER-FORWARD")),
        chain("DOCKER-USER"),
        chain("DOCKER-FORWARD"),
        rule("DOCKER-FORWARD", DROP),
    )
    (found,) = docker.chains_that_drop_forwarded()
    assert docker.place_in(found).name == "DOCKER-USER"


def test_but_not_where_something_drops_before_it_is_asked() -> None:
    other = ruleset(
        chain("FORWARD", "forward", "accept"),
        rule("FORWARD", DROP),
        rule("FORWARD", jump("DOCKER-USER")),
        chain("DOCKER-USER"),
    )
    (found,) = other.chains_that_drop_forwarded()
    assert other.place_in(found) is found


def test_chains_that_lead_in_circles_end() -> None:
    found = ruleset(
        chain("FORWARD", "forward", "accept"),
        rule("FORWARD", jump("FORWARD")),
    )
    assert found.chains_that_drop_forwarded() == []
    assert found.chain_that_drops_source(MESH, "meshwg0") is None


def test_tailscales_rule_drops_the_mesh() -> None:
    found = tailscale().chain_that_drops_source(MESH, "meshwg0")

    assert found is not None
    assert found.place == "ip filter ts-input"


@pytest.mark.parametrize(
    ("network", "interface"),
    [("10.7.0.0/16", "meshwg0"), ("100.67.0.0/16", "tailscale0"), ("fd00::/8", "x")],
)
def test_it_does_not_drop_other_networks_nor_its_own_interface(
    network: str, interface: str
) -> None:
    found = tailscale().chain_that_drops_source(ip_network(network), interface)
    assert found is None


def test_who_accepts_the_mesh_before_it_is_safe() -> None:
    found = ruleset(
        chain("INPUT", "input", "accept"),
        rule("INPUT", came_by("==", "meshwg*"), COUNTER, ACCEPT),
        rule("INPUT", source("100.64.0.0", 10), DROP),
    )
    assert found.chain_that_drops_source(MESH, "meshwg0") is None
    assert found.chain_that_drops_source(MESH, "other0") is not None


def test_a_firewall_that_drops_by_port_or_by_default_is_not_meant() -> None:
    port = {"match": {"op": "==", "left": {"payload": {"field": "dport"}}, "right": 22}}
    found = ruleset(
        chain("INPUT", "input", "drop"),
        rule("INPUT", port, DROP),
        rule("INPUT", source("100.64.0.0", 10), port, DROP),
    )
    assert found.chain_that_drops_source(MESH, "meshwg0") is None


def test_sets_of_networks_are_understood() -> None:
    networks = {"set": ["192.0.2.1", {"prefix": {"addr": "100.64.0.0", "len": 10}}]}
    match = {"op": "==", "left": {"payload": {"field": "saddr"}}, "right": networks}
    found = ruleset(
        chain("RAW", "prerouting", "accept"), rule("RAW", {"match": match}, DROP)
    )
    assert found.chain_that_drops_source(MESH, "meshwg0") is not None


def test_a_firewall_that_was_not_told_of_the_mesh_is_closed_to_it() -> None:
    closed = ruleset(
        chain("INPUT", "input", "drop"),
        rule("INPUT", {"match": {"left": {"ct": {"key": "state"}}}}, ACCEPT),
        rule("INPUT", jump("user")),
        chain("user"),
        rule("user", came_by("==", "lo"), ACCEPT),
    )

    found = closed.chain_that_is_closed(MESH, "meshwg0")
    assert found is not None
    assert found.place == "ip filter INPUT"
    assert closed.chain_that_is_closed(MESH, "lo") is None
    assert closed.chain_that_is_closed(ip_network("fd00::/8"), "meshwg0") is None


def test_a_firewall_that_lets_the_mesh_in_or_everything_is_open() -> None:
    told = ruleset(
        chain("INPUT", "input", "drop"),
        rule("INPUT", jump("user")),
        chain("user"),
        rule("user", came_by("==", "meshwg0"), ACCEPT),
    )
    returning = ruleset(
        chain("INPUT", "input", "accept"),
        rule("INPUT", back()),
        rule("INPUT", DROP),
    )

    assert told.chain_that_is_closed(MESH, "meshwg0") is None
    assert returning.chain_that_is_closed(MESH, "meshwg0") is None
    assert (
        ruleset(chain("INPUT", "input", "accept")).chain_that_is_closed(MESH, "meshwg0")
        is None
    )


def test_a_last_rule_that_rejects_all_closes_it_too() -> None:
    closed = ruleset(
        chain("INPUT", "input", "accept"),
        rule("INPUT", jump("circle")),
        rule("INPUT", {"reject": {"type": "icmpx"}}),
        chain("circle"),
        rule("circle", jump("circle")),
    )

    assert closed.chain_that_is_closed(MESH, "meshwg0") is not None


def test_own_rules_are_found_by_their_comment() -> None:
    found = ruleset(
        chain("FORWARD", "forward", "drop"),
        rule("FORWARD", ACCEPT, comment="meshwg-meshwg0 to 10.0.0.0/8", handle=7),
        rule("FORWARD", ACCEPT, comment="somebody else's"),
    )
    ((where, what),) = found.rules_of("meshwg-meshwg0")
    assert (where.place, what.handle) == ("ip filter FORWARD", 7)
    assert found.owners() == {"meshwg-meshwg0"}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"nftables": [{"chain": {}}]}'])
def test_what_is_no_ruleset_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nft printed no rules|Expecting value"):
        Ruleset(text)


def tailscale() -> Ruleset:
    """Return what Tailscale adds, as far as it matters here."""
    return ruleset(
        chain("INPUT", "input", "accept"),
        rule("INPUT", COUNTER, jump("ts-input")),
        chain("ts-input"),
        rule("ts-input", source("100.115.92.0", 23), back()),
        rule("ts-input", source("100.64.0.0", 10), came_by("!=", "tailscale0"), DROP),
    )


def ruleset(*entries: Any) -> Ruleset:
    return Ruleset(json.dumps({"nftables": [{"metainfo": {}}, *entries]}))


def chain(name: str, hook: str = "", policy: str = "") -> dict[str, Any]:
    entry = {"family": "ip", "table": "filter", "name": name, "handle": 1}
    if hook:
        entry |= {"type": "filter", "hook": hook, "prio": 0, "policy": policy}
    return {"chain": entry}


def rule(
    of: str, *expressions: dict[str, Any], comment: str = "", handle: int = 2
) -> dict[str, Any]:
    entry = {"family": "ip", "table": "filter", "chain": of, "handle": handle}
    return {"rule": {**entry, "comment": comment, "expr": list(expressions)}}


def jump(target: str) -> dict[str, Any]:
    return {"jump": {"target": target}}


def back() -> dict[str, Any]:
    return {"return": None}


def source(address: str, length: int) -> dict[str, Any]:
    right = {"prefix": {"addr": address, "len": length}}
    left = {"payload": {"protocol": "ip", "field": "saddr"}}
    return {"match": {"op": "==", "left": left, "right": right}}


def came_by(op: str, interface: str) -> dict[str, Any]:
    left = {"meta": {"key": "iifname"}}
    return {"match": {"op": op, "left": left, "right": interface}}
