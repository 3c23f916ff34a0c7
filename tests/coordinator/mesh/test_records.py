"""The objects of ``--json`` and of the HTTP administration."""

import json
import random
from dataclasses import replace

from coordinator.kubernetes.identity import ClusterIdentity
from coordinator.mesh.approvals import Decision, ItemState
from coordinator.mesh.authkeys import new_auth_key
from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.policies import User, make_version
from coordinator.mesh.records import (
    auth_key_record,
    difference_record,
    dns_record,
    node_record,
    policy_record,
    route_records,
    user_record,
)
from coordinator.policy.diff import Difference
from meshwg.policy.ports import ICMP, TCP, Ports
from meshwg.wire.dnsrecords import DnsRecord
from meshwg.wire.routes import RouteTraits

NETWORKS = Networks.parse("100.64.0.0/16", "fd00::/48")


def test_a_node_is_shown_with_its_addresses_and_times() -> None:
    node = Node(
        key="key",
        name="web",
        requested_name="web",
        number=7,
        routes=("10.0.0.0/8",),
        announced=("10.0.0.0/8", "11.0.0.0/8"),
        online=True,
        joined=1.0,
        seen=2.0,
    )
    assert node_record(node, NETWORKS) == {
        "name": "web",
        "public_key": "key",
        "addresses": ["100.64.0.7", "fd00::7"],
        "online": True,
        "role": "node",
        "routes": ["10.0.0.0/8"],
        "announced": ["10.0.0.0/8", "11.0.0.0/8"],
        "exit": False,
        "waiting": [],
        "ephemeral": False,
        "expired": False,
        "joined": 1.0,
        "seen": 2.0,
        "token": None,
        "cluster_node": None,
        "owner": None,
        "tags": [],
    }
    clustered = replace(node, cluster=ClusterIdentity("n1", "u1"))
    assert node_record(clustered, NETWORKS)["cluster_node"] == "n1"


def test_each_offer_of_a_node_is_shown_but_its_wish_to_be_a_hub() -> None:
    node = Node(
        "key",
        "router",
        "router",
        7,
        routes=("10.1.0.0/16",),
        announced=("10.1.0.0/16", "10.2.0.0/16"),
        traits=(
            RouteTraits(prefix="10.1.0.0/16", priority=5, mapped="192.168.0.0/16"),
        ),
        wants_hub=True,
        decisions=(Decision("10.3.0.0/16", True, "alice", 5.0),),
        withheld=(
            ItemState("10.2.0.0/16", "advertised", "why"),
            ItemState("hub", "advertised", "why"),
        ),
    )
    expired = Node("other", "gone", "gone", 8, announced=("10.1.0.0/16",), expired=True)

    approved, waiting, withdrawn = route_records([expired, node])

    assert (approved["state"], approved["priority"]) == ("approved", 5)
    assert approved["real"] == "192.168.0.0/16"
    assert (waiting["prefix"], waiting["state"]) == ("10.2.0.0/16", "advertised")
    assert (waiting["reason"], waiting["priority"]) == ("why", 100)
    assert (withdrawn["state"], withdrawn["by"], withdrawn["at"]) == (
        "withdrawn",
        "alice",
        5.0,
    )
    assert [each["item"] for each in list_of(node, "waiting")] == ["10.2.0.0/16", "hub"]


def list_of(node: Node, name: str) -> list[dict[str, object]]:
    found = node_record(node, NETWORKS)[name]
    assert isinstance(found, list)
    return found


def test_what_is_only_for_coordinators_is_not_shown() -> None:
    node = Node("key", "web", "web", 7, home="process", session="connection")
    text = json.dumps(node_record(node, NETWORKS))
    assert "process" not in text
    assert "connection" not in text


def test_an_auth_key_is_shown_without_secret_and_hash() -> None:
    text, key = new_auth_key(
        random.Random(1).randbytes,
        reusable=False,
        ephemeral=True,
        created=100.0,
        lifetime=60.0,
    )
    record = auth_key_record(key, 100.0)
    assert record == {
        "id": text.number,
        "state": "valid",
        "reusable": False,
        "ephemeral": True,
        "created": 100.0,
        "expires": 160.0,
        "uses": 0,
        "max_uses": 1,
        "used": None,
        "owner": None,
        "tags": [],
        "hub": False,
    }
    shown = json.dumps(record)
    assert text.secret.hex() not in shown
    assert key.digest not in shown


def test_the_state_of_an_auth_key_is_that_of_the_time_given() -> None:
    _, key = new_auth_key(
        random.Random(1).randbytes,
        reusable=False,
        ephemeral=False,
        created=100.0,
        lifetime=60.0,
    )
    assert auth_key_record(key, 159.0)["state"] == "valid"
    assert auth_key_record(key, 160.0)["state"] == "expired"
    spent = auth_key_record(key.spend(120.0), 130.0)
    assert (spent["state"], spent["uses"], spent["used"]) == ("used", 1, 120.0)


def test_a_policy_is_shown_without_its_text() -> None:
    version = make_version(3, "text", "me", 100.0, "why")

    assert policy_record(version) == {
        "version": 3,
        "sha256": version.sha256,
        "author": "me",
        "at": 100.0,
        "comment": "why",
    }


def test_users_and_differences_are_shown_in_words() -> None:
    difference = Difference(("a",), ("b",), (Ports(TCP, 22, 22),), (Ports(ICMP),))

    assert user_record(User("alice", 1.0)) == {
        "name": "alice",
        "added": 1.0,
        "disabled": False,
    }
    assert difference_record(difference) == {
        "from": ["a"],
        "to": ["b"],
        "gained": ["tcp/22"],
        "lost": ["icmp"],
    }


def test_a_record_of_the_zone_is_shown_with_its_whole_name() -> None:
    record = DnsRecord(name="api", kind="A", value="10.0.0.5")

    assert dns_record(record, "mesh.internal") == {
        "name": "api",
        "full_name": "api.mesh.internal",
        "type": "A",
        "value": "10.0.0.5",
    }
