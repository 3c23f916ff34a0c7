"""What nodes are told about where the coordinator is."""

from pathlib import Path
from typing import Any

from coordinator.addresses import PublicAddresses
from coordinator.config import load

MACHINE = "10.0.0.77"


def test_a_coordinator_on_a_public_address_advertises_it() -> None:
    public = addresses("192.0.2.1", listen="192.0.2.1:8443")
    assert public.url == "http://192.0.2.1:8443"
    assert public.stun == ("192.0.2.1:3478",)
    assert public.relays == (
        "turn:192.0.2.1:3478?transport=udp",
        "turn:192.0.2.1:8443?transport=tcp",
    )
    assert public.relayed_hosts == {4: "192.0.2.1"}
    assert public.renamed == {}


def test_a_coordinator_behind_a_nat_advertises_the_address_of_the_nat() -> None:
    public = addresses(
        "192.0.2.1",
        listen="0.0.0.0:8443",
        stun=("10.0.0.5:3478",),
        advertise="192.0.2.1",
    )
    assert public.stun == ("192.0.2.1:3478",)
    assert public.renamed == {"10.0.0.5": "192.0.2.1"}
    assert public.relayed_hosts == {4: "192.0.2.1"}


def test_two_stun_addresses_are_advertised_unchanged() -> None:
    public = addresses(
        "mesh.example", stun=("192.0.2.1", "192.0.2.2"), advertise="mesh.example"
    )
    assert public.url == "http://mesh.example:8443"
    assert public.stun == ("192.0.2.1:3478", "192.0.2.2:3478")
    assert public.relayed_hosts == {4: "192.0.2.1"}


def test_a_wildcard_is_advertised_as_the_address_of_the_machine() -> None:
    public = addresses("192.0.2.9", listen="0.0.0.0:8443")
    assert public.stun == ("192.0.2.9:3478",)
    assert public.relayed_hosts == {4: "192.0.2.9"}


def test_ipv6_addresses_have_brackets() -> None:
    public = addresses("2001:db8::1", listen="[2001:db8::1]:443", tls=True)
    assert public.url == "https://[2001:db8::1]:8443"
    assert public.relays[1] == "turns:[2001:db8::1]:8443?transport=tcp"
    assert public.relayed_hosts == {6: "2001:db8::1"}


def test_without_its_own_relay_it_announces_only_others() -> None:
    other = "turn:relay.example:3478?transport=udp"
    assert addresses("h", relay=False, relays=(other,)).relays == (other,)


def test_where_a_name_is_advertised_the_relay_uses_the_local_address() -> None:
    public = addresses("mesh.example", stun=("10.0.0.5",), advertise="mesh.example")
    assert public.relayed_hosts == {4: "10.0.0.5"}
    assert public.renamed == {}
    public = addresses("mesh.example", advertise="mesh.example")
    assert public.relayed_hosts == {4: MACHINE}


def test_a_url_is_told_as_it_was_given() -> None:
    for url in ("https://mesh.example", "https://mesh.example:444/mesh"):
        assert addresses("mesh.example", url=url).url == url
    assert addresses("mesh.example", url="https://mesh.example/").url == (
        "https://mesh.example"
    )


def test_behind_a_proxy_on_the_machine_nothing_else_can_be_reached() -> None:
    public = addresses(
        "mesh.example", listen="127.0.0.1:8443", url="https://mesh.example"
    )
    assert public.relays == ("wss://mesh.example/v1/relay",)
    assert public.stun == ()
    assert [each.partition(",")[0] for each in public.lacks] == [
        "Nodes cannot find out about their NATs here",
        "No relay over UDP is advertised",
    ]


def test_what_is_served_beside_a_proxy_is_advertised() -> None:
    behind: dict[str, Any] = {
        "listen": "127.0.0.1:8443",
        "url": "https://mesh.example/mesh",
    }
    public = addresses("mesh.example", stun=("0.0.0.0:3478",), **behind)
    assert public.stun == ("mesh.example:3478",)
    assert public.relays == (
        "turn:mesh.example:3478?transport=udp",
        "wss://mesh.example/mesh/v1/relay",
    )
    assert public.lacks == ()

    other = "turns:relay.example:443?transport=tcp"
    public = addresses("mesh.example", stun=("0.0.0.0",), relays=(other,), **behind)
    assert public.lacks == ()

    behind["listen"] = "0.0.0.0:8443"
    public = addresses("mesh.example", **behind)
    assert public.relays == (
        "turn:mesh.example:3478?transport=udp",
        "turn:mesh.example:8443?transport=tcp",
        "wss://mesh.example/mesh/v1/relay",
    )
    assert public.lacks == ()


def test_a_url_without_room_for_the_relays_path_is_told_without_it() -> None:
    long = f"https://mesh.example/{'x' * 230}"
    public = addresses("mesh.example", url=long, stun=("0.0.0.0",))
    assert public.url == long
    assert [url.partition(":")[0] for url in public.relays] == ["turn", "turn"]


def test_a_mesh_on_one_machine_has_its_relay() -> None:
    public = addresses("localhost", listen="127.0.0.1:8443", url="http://localhost")
    assert public.relays[2] == "ws://localhost/v1/relay"
    assert public.lacks == ()


def test_without_a_proxy_nothing_lacks() -> None:
    assert addresses("127.0.0.1", listen="127.0.0.1:8443").lacks == ()
    assert addresses("h", relay=False).lacks == ()


def addresses(host: str, *, tls: bool = False, **options: Any) -> PublicAddresses:
    if tls:
        options |= {"tls_cert": Path("c"), "tls_key": Path("k")}
    return PublicAddresses(load(None, options), host, 8443, MACHINE)
