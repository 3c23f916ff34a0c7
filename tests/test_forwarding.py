"""The rules of a node's own nftables table."""

from meshwg.forwarding import Forwarded, ForwardedRoute, forwarding_rules

SITE = ForwardedRoute("10.1.0.0/16", "10.1.0.0/16")
OPEN = ForwardedRoute("fd12::/48", "fd12::/48", masquerade=False)
MAPPED = ForwardedRoute("10.201.1.0/24", "192.168.1.0/24")


def test_a_hub_forwards_between_members_and_a_router_does_not() -> None:
    between = 'iifname "m0" oifname "m0" accept'
    assert between in rules(members=True)
    assert between not in rules(SITE)


def test_only_the_networks_behind_a_router_are_reached_through_it() -> None:
    text = rules(SITE, OPEN)
    assert "elements = { 10.1.0.0/16 }" in text
    assert 'iifname "m0" ip daddr @routes4 accept' in text
    assert 'oifname "m0" ip6 saddr @routes6 accept' in text
    assert text.index('iifname "m0" counter drop') > text.index("@routes6 accept")
    assert "counter drop" not in rules(members=True)


def test_only_what_is_to_be_masqueraded_is() -> None:
    text = rules(SITE, OPEN)
    assert "set masked4 { type ipv4_addr; flags interval; auto-merge; elements" in text
    assert "set masked6 { type ipv6_addr; flags interval; auto-merge; }" in text
    assert 'iifname "m0" oifname != "m0" ip daddr @masked4 masquerade' in text
    assert "postrouting" not in rules(OPEN)


def test_a_mapped_network_is_changed_one_for_one_both_ways() -> None:
    text = rules(MAPPED)
    there = "dnat ip prefix to ip daddr map { 10.201.1.0/24 : 192.168.1.0/24 }"
    back = "snat ip prefix to ip saddr map { 192.168.1.0/24 : 10.201.1.0/24 }"
    assert there in text
    assert back in text
    assert "set routes4 { type ipv4_addr; flags interval; auto-merge; elements" in text
    assert "elements = { 192.168.1.0/24 }" in text
    assert "prefix to" not in rules(SITE)


def test_segments_are_short_enough_for_the_tunnel_both_ways() -> None:
    text = rules(SITE)
    assert 'oifname "m0" tcp flags syn tcp option maxseg size set rt mtu' in text
    assert 'iifname "m0" meta nfproto ipv4 tcp flags syn tcp option maxseg' in text
    assert "size set 1260" in text
    assert "size set 1240" in text


def test_what_was_apart_stays_apart_and_the_table_is_replaced_whole() -> None:
    text = rules(SITE, kept_apart=('iifname "a" oifname "b" drop',))
    assert 'iifname "a" oifname "b" drop' in text
    assert text.startswith("table inet meshwg-m0\ndelete table inet meshwg-m0\n")


def test_into_the_mesh_goes_what_it_has_itself_and_what_is_behind_the_node() -> None:
    text = rules(MAPPED, mesh=("100.64.0.0/16", "fd00::/48"))
    assert "100.64.0.0/16, 10.201.1.0/24 }" in text
    assert "fd00::/48, fe80::/10 }" in text
    assert text.index("established,related accept\n    ip saddr != @inside4 counter")
    assert "inside" not in rules(MAPPED)


def test_notes_are_where_no_packet_comes() -> None:
    text = forwarding_rules(
        "t", "m0", Forwarded(members=True), mtu=1300, kept_apart=(), notes=("a=0>1",)
    )
    assert 'chain notes {\n    return comment "a=0>1"\n  }' in text
    assert "notes" not in rules(SITE)


def test_nothing_is_forwarded_where_there_is_nothing_but_a_mesh() -> None:
    assert not Forwarded(mesh=("100.64.0.0/16",))
    assert Forwarded((SITE,))
    assert Forwarded(members=True)
    assert Forwarded(is_exit=True)


def rules(
    *routes: ForwardedRoute,
    members: bool = False,
    mesh: tuple[str, ...] = (),
    kept_apart: tuple[str, ...] = (),
) -> str:
    return forwarding_rules(
        "meshwg-m0",
        "m0",
        Forwarded(routes, members, mesh=mesh),
        mtu=1300,
        kept_apart=kept_apart,
    )
