"""flannel's nodes as peers, by the annotations that flannel itself writes."""

import json
from dataclasses import replace

import pytest

from meshwg.errors import ConfigError
from meshwg.kubernetes.clusternode import ClusterNode, read_node
from meshwg.kubernetes.flannel import (
    MEMBER,
    FlannelNodes,
    FlannelPorts,
    HostSide,
    annotation_patch,
    gateways_of,
    host_rules,
    is_flannel,
    own_annotations,
    parse_flannel_addresses,
    public_address,
)
from meshwg.staticpeer import StaticPeer
from meshwg.transmit import Endpoint

KEYS = [f"{'ABCD'[n]}{'A' * 42}=" for n in range(4)]
PREFIX = "flannel.alpha.coreos.com/"


def test_a_flannel_node_is_a_peer_with_its_pods_behind_it() -> None:
    nodes = flannel_nodes(flannel_node("b", 2))
    assert nodes.peers() == (
        StaticPeer(
            "flannel-b", KEYS[2], Endpoint("198.51.100.2", 51820), ("10.244.2.0/24",)
        ),
    )
    assert nodes.complaint() is None


def test_what_flannel_writes_is_read_from_the_node_object() -> None:
    node = read_node(
        {
            "metadata": {
                "name": "b",
                "annotations": {
                    f"{PREFIX}backend-data": f'{{"PublicKey":"{KEYS[2]}"}}',
                    f"{PREFIX}backend-type": "wireguard",
                    f"{PREFIX}kube-subnet-manager": "true",
                    f"{PREFIX}public-ip": "198.51.100.2",
                },
            },
            "spec": {"podCIDR": "10.244.2.0/24", "podCIDRs": ["10.244.2.0/24"]},
        }
    )
    assert flannel_nodes(node).peers() == flannel_nodes(flannel_node("b", 2)).peers()


def test_both_ip_versions_go_to_one_peer_if_the_key_is_the_same() -> None:
    node = dual(flannel_node("b", 2), KEYS[2])
    (peer,) = flannel_nodes(node).peers()
    assert peer.networks == ("10.244.2.0/24", "fd10:244:2::/64")
    assert peer.endpoint == Endpoint("198.51.100.2", 51820)


def test_and_to_two_where_flannel_has_two_interfaces() -> None:
    node = dual(flannel_node("b", 2), KEYS[3])
    first, second = flannel_nodes(node).peers()
    assert (first.public_key, second.public_key) == (KEYS[2], KEYS[3])
    assert second.endpoint == Endpoint("2001:db8::2", 51821)
    assert second.networks == ("fd10:244:2::/64",)


def test_the_ports_may_be_others() -> None:
    nodes = FlannelNodes("a", FlannelPorts(4500, 4501))
    nodes.put(flannel_node("b", 2))
    (peer,) = nodes.peers()
    assert peer.endpoint.port == 4500


def test_this_node_itself_is_no_peer_of_its_own() -> None:
    assert flannel_nodes(flannel_node("a", 1)).peers() == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backend-type", "vxlan"),
        ("kube-subnet-manager", "false"),
    ],
)
def test_a_node_with_another_backend_is_none_either(name: str, value: str) -> None:
    node = annotated(flannel_node("b", 2), {PREFIX + name: value})
    assert not is_flannel(node)
    assert flannel_nodes(node).peers() == ()


def test_a_node_that_has_moved_to_the_mesh_is_reached_by_that() -> None:
    moved = annotated(flannel_node("b", 2), {MEMBER: KEYS[2]})
    assert flannel_nodes(moved).peers() == ()

    known = flannel_nodes(flannel_node("b", 2))
    known.set_mesh([KEYS[2]], [])
    assert known.peers() == ()


def test_a_node_that_has_moved_back_is_flannels_again() -> None:
    back = annotated(flannel_node("b", 2), {MEMBER: KEYS[3]})
    assert len(flannel_nodes(back).peers()) == 1


def test_a_node_that_is_gone_is_no_peer_any_more() -> None:
    nodes = flannel_nodes(flannel_node("b", 2), flannel_node("c", 3))
    nodes.remove("b")
    assert [each.name for each in nodes.peers()] == ["flannel-c"]
    nodes.replace([])
    assert nodes.peers() == ()


def test_a_new_key_after_a_restart_of_flannel_is_another_peer() -> None:
    nodes = flannel_nodes(flannel_node("b", 2))
    nodes.peers()
    data = json.dumps({"PublicKey": KEYS[3]})
    nodes.put(annotated(flannel_node("b", 2), {f"{PREFIX}backend-data": data}))
    (peer,) = nodes.peers()
    assert peer.public_key == KEYS[3]


# False annotations.


def test_a_key_counts_for_the_node_that_had_it_first() -> None:
    nodes = flannel_nodes(flannel_node("victim", 2))
    assert len(nodes.peers()) == 1
    thief = annotated(
        flannel_node("a-thief", 3),
        {f"{PREFIX}backend-data": json.dumps({"PublicKey": KEYS[2]})},
    )

    nodes.put(thief)

    (peer,) = nodes.peers()
    assert (peer.name, peer.endpoint.host) == ("flannel-victim", "198.51.100.2")
    complaint = nodes.complaint()
    assert complaint is not None
    assert "a-thief is not reached: its key is that of the node victim" in str(
        complaint.text
    )
    nodes.remove("victim")
    assert [each.name for each in nodes.peers()] == ["flannel-a-thief"]


def test_what_the_mesh_has_no_annotation_takes() -> None:
    nodes = flannel_nodes(flannel_node("b", 2))
    nodes.set_mesh([], ["10.244.0.0/16"])
    assert nodes.peers() == ()
    complaint = nodes.complaint()
    assert complaint is not None
    assert "overlaps 10.244.0.0/16" in complaint.text


def test_of_two_nodes_with_one_network_the_first_by_name_has_it() -> None:
    twin = replace(flannel_node("c", 3), pod_networks=("10.244.2.0/24",))
    nodes = flannel_nodes(flannel_node("b", 2), twin)
    assert [each.name for each in nodes.peers()] == ["flannel-b"]
    assert nodes.complaint() is not None


@pytest.mark.parametrize(
    "news",
    [
        {"backend-data": ""},
        {"backend-data": "null"},
        {"backend-data": "[1]"},
        {"backend-data": '{"PublicKey": 7}'},
        {"backend-data": '{"PublicKey": "short"}'},
        {"backend-data": "[" * 900},
        {"backend-data": json.dumps({"PublicKey": KEYS[2], "x": "y" * 2000})},
        {"public-ip": ""},
        {"public-ip": "0.0.0.0"},
        {"public-ip": "fe80::1%eth0"},
        {"public-ip": "2001:db8::1"},
        {"public-ip": "example.org"},
    ],
)
def test_annotations_that_make_no_sense_are_told_of(news: dict[str, str]) -> None:
    changes = {PREFIX + name: value for name, value in news.items()}
    nodes = flannel_nodes(annotated(flannel_node("b", 2), changes))
    assert nodes.peers() == ()
    complaint = nodes.complaint()
    assert complaint is not None
    assert "its annotations name no" in complaint.text


@pytest.mark.parametrize("network", ["127.0.0.0/24", "0.0.0.0/0", "169.254.0.0/24"])
def test_a_network_that_nobody_can_have_is_refused(network: str) -> None:
    node = replace(flannel_node("b", 2), pod_networks=(network,))
    assert flannel_nodes(node).peers() == ()


# This node, to flannel.


def test_flannel_finds_this_node_by_the_same_annotations() -> None:
    node = ClusterNode("a", pod_networks=("10.244.1.0/24",), addresses=("192.0.2.1",))
    wanted = own_annotations(KEYS[1], node, {})
    assert wanted == {
        f"{PREFIX}backend-data": f'{{"PublicKey":"{KEYS[1]}"}}',
        f"{PREFIX}backend-type": "wireguard",
        f"{PREFIX}kube-subnet-manager": "true",
        f"{PREFIX}public-ip": "192.0.2.1",
        MEMBER: KEYS[1],
    }


def test_what_flannel_knew_of_its_address_is_kept() -> None:
    before = flannel_node("a", 1)
    assert public_address(before, 4) == "198.51.100.1"
    told = annotated(before, {f"{PREFIX}public-ip-overwrite": "203.0.113.9"})
    assert public_address(told, 4) == "203.0.113.9"
    said = own_annotations(KEYS[1], told, {4: "203.0.113.10"})
    assert said[f"{PREFIX}public-ip"] == "203.0.113.10"


def test_without_an_address_it_is_said_what_to_do() -> None:
    node = ClusterNode("a", pod_networks=("10.244.1.0/24",))
    with pytest.raises(ConfigError, match="--flannel-address"):
        own_annotations(KEYS[1], node, {})


def test_only_what_differs_is_written() -> None:
    node = ClusterNode("a", pod_networks=("10.244.1.0/24",), addresses=("192.0.2.1",))
    wanted = own_annotations(KEYS[1], node, {})
    patch = annotation_patch(node, wanted)
    assert patch == {"metadata": {"annotations": wanted}}
    assert annotation_patch(replace(node, annotations=wanted), wanted) is None


def test_addresses_are_named_one_an_ip_version() -> None:
    found = parse_flannel_addresses(["203.0.113.7", "2001:DB8::7"])
    assert found == {4: "203.0.113.7", 6: "2001:db8::7"}
    for wrong in (["here"], ["0.0.0.0"], ["203.0.113.7", "203.0.113.8"]):
        with pytest.raises(ConfigError, match="--flannel-address"):
            parse_flannel_addresses(wrong)


def test_packets_of_the_machine_itself_look_like_those_of_its_pods() -> None:
    gateways = gateways_of(["10.244.1.0/24", "fd10:244:1::/64"])
    assert gateways == {4: "10.244.1.1", 6: "fd10:244:1::1"}
    rules = host_rules(HostSide(("10.244.2.0/24", "10.244.3.0/24"), gateways), "mesh0")
    assert 'oifname "mesh0"' in rules
    assert "ip daddr { 10.244.2.0/24, 10.244.3.0/24 } snat ip to 10.244.1.1" in rules
    assert "ip6" not in rules


def flannel_nodes(*nodes: ClusterNode) -> FlannelNodes:
    """Return them as the node ``a`` knows them."""
    found = FlannelNodes("a", FlannelPorts())
    for node in nodes:
        found.put(node)
    return found


def flannel_node(name: str, number: int) -> ClusterNode:
    return ClusterNode(
        name,
        pod_networks=(f"10.244.{number}.0/24",),
        addresses=(f"10.99.0.{number}",),
        annotations={
            f"{PREFIX}backend-data": json.dumps({"PublicKey": KEYS[number]}),
            f"{PREFIX}backend-type": "wireguard",
            f"{PREFIX}kube-subnet-manager": "true",
            f"{PREFIX}public-ip": f"198.51.100.{number}",
        },
    )


def annotated(node: ClusterNode, news: dict[str, str]) -> ClusterNode:
    return replace(node, annotations={**node.annotations, **news})


def dual(node: ClusterNode, key: str) -> ClusterNode:
    """Return a node with IPv6 pods, too."""
    number = node.pod_networks[0].split(".")[2]
    both = (*node.pod_networks, f"fd10:244:{number}::/64")
    news = {
        f"{PREFIX}backend-v6-data": json.dumps({"PublicKey": key}),
        f"{PREFIX}public-ipv6": f"2001:db8::{number}",
    }
    return annotated(replace(node, pod_networks=both), news)
