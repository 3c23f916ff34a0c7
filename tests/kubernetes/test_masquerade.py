"""The rules for pods' packets that leave the cluster; nft judges the text as root."""

from meshwg.kubernetes.masquerade import TABLE, masquerading, removal
from tests.kubernetes.cluster import PODS, PODS6


def test_what_stays_among_pods_or_in_the_mesh_keeps_its_address() -> None:
    rules = masquerading([PODS], "meshwg-pods", "meshwg0").splitlines()
    stays = '    oifname { "meshwg-pods", "meshwg0" } return'
    masquerade = "    ip saddr @pods4 ip daddr != 224.0.0.0/4 masquerade"
    assert rules.index(stays) < rules.index(masquerade)


def test_each_family_has_the_node_s_own_pods() -> None:
    rules = masquerading([PODS, PODS6], "b", "m")
    assert (
        f"set pods4 {{ type ipv4_addr; flags interval; elements = {{ {PODS} }}" in rules
    )
    assert (
        f"set pods6 {{ type ipv6_addr; flags interval; elements = {{ {PODS6} }}"
        in rules
    )
    assert "elements" not in masquerading([], "b", "m")


def test_the_table_is_replaced_whole_whether_it_was_there_or_not() -> None:
    assert masquerading([PODS], "b", "m").startswith(removal())
    assert removal() == f"table inet {TABLE}\ndelete table inet {TABLE}\n"
