"""URLs of relays."""

import pytest

from meshwg.relay.server import RelayServer, RelayUrl, Transport, parse_url

UDP, TCP, TLS = Transport.UDP, Transport.TCP, Transport.TLS
WS, WSS = Transport.WS, Transport.WSS


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("turn:relay.test", RelayUrl("relay.test", 3478, UDP)),
        ("turn:relay.test:99", RelayUrl("relay.test", 99, UDP)),
        ("turn:relay.test?transport=udp", RelayUrl("relay.test", 3478, UDP)),
        ("turn:192.0.2.1:8443?transport=tcp", RelayUrl("192.0.2.1", 8443, TCP)),
        ("turn:[2001:db8::1]:99", RelayUrl("2001:db8::1", 99, UDP)),
        ("turns:relay.test", RelayUrl("relay.test", 5349, TLS)),
        ("turns:relay.test:443?transport=tcp", RelayUrl("relay.test", 443, TLS)),
        ("wss://relay.test/a/b", RelayUrl("relay.test", 443, WSS, "/a/b")),
        ("wss://relay.test:444", RelayUrl("relay.test", 444, WSS)),
        ("ws://[2001:db8::1]/a", RelayUrl("2001:db8::1", 80, WS, "/a")),
    ],
)
def test_urls_of_rfc_7065_and_of_websockets_are_understood(
    text: str, url: RelayUrl
) -> None:
    assert parse_url(text) == url
    assert parse_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "relay.test",
        "stun:relay.test",
        "http://relay.test",
        "turn:",
        "turn:relay.test?transport=sctp",
        "turns:relay.test?transport=udp",
        "turn:relay.test:port",
        "turn:relay.test:70000",
        "turn:[2001:db8::1",
        "turn:a..b",
        "turn:" + "a" * 64,
        "turn:a%00b",
        "wss:relay.test",
        "wss://",
        "wss://user@relay.test/",
        "wss://relay.test/?a=b",
        "wss://relay.test:70000/",
        "wss://a..b/",
    ],
)
def test_other_urls_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort|label|host"):
        parse_url(text)


def test_a_name_in_place_of_an_address_is_left_to_a_proxy() -> None:
    url = RelayUrl("relay.test", 443, WSS, "/")

    assert RelayServer(url, "relay.test", "", "").is_proxied
    assert not RelayServer(url, "192.0.2.1", "", "").is_proxied
    assert not RelayServer(url, "2001:db8::1", "", "").is_proxied


def test_a_password_is_never_shown() -> None:
    server = RelayServer(RelayUrl("relay.test", 1, UDP), "192.0.2.1", "user", "secret")

    assert "secret" not in repr(server)
