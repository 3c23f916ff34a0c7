"""The network list, as the plugins and the runtime read it."""

import json

from meshwg.kubernetes.networklist import BRIDGE, FILE, foreign_lists, network_list
from tests.kubernetes.cluster import PODS, PODS6


def test_pods_are_on_a_bridge_with_the_length_of_packets_of_the_mesh() -> None:
    raw = json.loads(network_list([PODS], 1400))
    bridge, portmap = raw["plugins"]
    assert (raw["cniVersion"], raw["name"]) == ("1.0.0", "meshwg")
    assert (bridge["type"], bridge["bridge"], bridge["mtu"]) == ("bridge", BRIDGE, 1400)
    assert bridge["isGateway"]
    assert not bridge["ipMasq"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": PODS}]]
    assert bridge["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}]
    assert portmap == {
        "type": "portmap",
        "capabilities": {"portMappings": True},
        "snat": True,
    }


def test_pods_have_an_address_of_each_family_that_the_node_has() -> None:
    ipam = json.loads(network_list([PODS, PODS6], 1400))["plugins"][0]["ipam"]
    assert ipam["ranges"] == [[{"subnet": PODS}], [{"subnet": PODS6}]]
    assert ipam["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


def test_another_program_s_pods_can_stay_where_they_are() -> None:
    raw = json.loads(network_list([PODS], 1400, bridge="cni0", name="cbr0"))
    assert (raw["name"], raw["plugins"][0]["bridge"]) == ("cbr0", "cni0")


def test_lists_of_others_are_found_by_what_runtimes_look_at() -> None:
    names = [FILE, "README", "99-loop.conf", "10-x.json", "05-calico.conflist", ".new"]
    assert foreign_lists(names) == ["05-calico.conflist", "10-x.json", "99-loop.conf"]
    assert foreign_lists([FILE, "10-x.json"], ["10-x.json"]) == []
