"""URLs of relays."""

import pytest

from meshwg.relay.server import RelayServer, RelayUrl, Transport, parse_url

UDP, TCP, TLS = Transport.UDP, Transport.TCP, Transport.TLS


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
    ],
)
def test_urls_of_rfc_7065_are_understood(text: str, url: RelayUrl) -> None:
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
    ],
)
def test_other_urls_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort|label|host"):
        parse_url(text)


def test_a_password_is_never_shown() -> None:
    server = RelayServer(RelayUrl("relay.test", 1, UDP), "192.0.2.1", "user", "secret")

    assert "secret" not in repr(server)
