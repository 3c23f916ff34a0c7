"""What nodes are told about where the coordinator is."""

from pathlib import Path

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


def addresses(host: str, *, tls: bool = False, **options: object) -> PublicAddresses:
    if tls:
        options |= {"tls_cert": Path("c"), "tls_key": Path("k")}
    return PublicAddresses(load(None, options), host, 8443, MACHINE)
