"""What a plain WireGuard peer is told."""

from dataclasses import replace

from coordinator.mesh.endpoints import Unreachable
from coordinator.mesh.operations import AddPeer, Remove
from coordinator.mesh.peerconfig import PeerConfig, config_of
from meshwg.keys import format_key
from tests.coordinator.mesh.drafting import Mesh
from tests.coordinator.mesh.hubs import BEHIND_NAT, add, hub

PHONE = format_key(bytes(range(32)))

FILE = """\
[Interface]
PrivateKey = PRIVATE
Address = 100.64.0.2/32, fd00::2/128
MTU = 1280

[Peer]
PublicKey = HUB
AllowedIPs = 100.64.0.0/16, fd00::/48
Endpoint = 203.0.113.9:41641
PersistentKeepalive = 25
"""


def test_the_file_is_what_wg_quick_reads() -> None:
    assert config().wg_quick("PRIVATE") == FILE


def test_whoever_has_a_key_already_puts_it_in_himself() -> None:
    text = config().wg_quick()

    assert "\nPrivateKey" not in text
    assert f"# PrivateKey = the one that belongs to {PHONE}\n" in text


def test_the_part_that_wg_reads_has_no_key_and_no_addresses() -> None:
    assert config().wg_peer() == FILE.partition("\n\n")[2]


def test_a_peer_is_told_of_the_mesh_and_of_networks_behind_nodes() -> None:
    mesh = Mesh()
    add(mesh, hub(routes=("10.9.0.0/16",), is_exit=True), hub("other", 4))
    phone = mesh.node(AddPeer("phone", PHONE))

    found = config_of(phone, mesh.registry)

    assert isinstance(found, PeerConfig)
    assert found.allowed_ips == ("100.64.0.0/16", "fd00::/48", "10.9.0.0/16")
    assert (found.hub, found.hub_key) == ("hub", hub().key)


def test_all_that_a_full_tunnel_sends_goes_to_the_hub() -> None:
    mesh = Mesh()
    add(mesh, hub(is_exit=True))
    phone = mesh.node(AddPeer("phone", PHONE, full_tunnel=True))

    found = config_of(phone, mesh.registry)

    assert isinstance(found, PeerConfig)
    assert found.allowed_ips == ("0.0.0.0/0", "::/0")
    text = found.wg_quick("PRIVATE")
    assert "MTU = 1280\nDNS = 100.64.0.9, fd00::9\n\n[Peer]" in text
    assert "DNS" not in found.wg_peer()


def test_who_sends_the_rest_elsewhere_asks_its_own_name_servers() -> None:
    assert "DNS" not in config().wg_quick("PRIVATE")


def test_the_endpoint_follows_the_hub() -> None:
    mesh = Mesh()
    add(mesh, hub())
    phone = mesh.node(AddPeer("phone", PHONE, endpoint="mesh.example.org"))
    moved = (("host", "203.0.113.9", 7000),)

    add(mesh, hub(candidates=moved))

    found = config_of(phone, mesh.registry)
    assert isinstance(found, PeerConfig)
    assert found.endpoint == "mesh.example.org:7000"


def test_where_the_hub_has_gone_or_is_not_reached_any_more_that_is_said() -> None:
    mesh = Mesh()
    add(mesh, hub())
    phone = mesh.node(AddPeer("phone", PHONE))

    add(mesh, replace(hub(nat=BEHIND_NAT)))
    assert "behind a NAT" in str(config_of(phone, mesh.registry))

    mesh.do(Remove("hub"))
    found = config_of(phone, mesh.registry)
    assert isinstance(found, Unreachable)
    assert "The hub of phone is no member any more" in str(found)


def config() -> PeerConfig:
    return PeerConfig(
        "phone",
        PHONE,
        ("100.64.0.2", "fd00::2"),
        "hub",
        "HUB",
        "203.0.113.9:41641",
        ("100.64.0.0/16", "fd00::/48"),
    )
