"""The STUN server answers as RFC 5780 says, and mirrors no more than it must."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.stun import StunDrop, StunServer
from meshwg.errors import ConfigError
from meshwg.transmit import Endpoint, Source, Transmit
from meshwg.wire import stun
from meshwg.wire.stun import Attribute, Change, Class, Message, Method, StunErrorCode

FIRST = Endpoint("198.51.100.1", 3478)
SECOND = Endpoint("198.51.100.2", 3478)
FIRST6 = Endpoint("2001:db8::1", 3478)
CLIENT = Endpoint("203.0.113.7", 41000)
CLIENT6 = Endpoint("2001:db8:7::7", 41000)
TRANSACTION = bytes(range(12))
BOTH = Change.ADDRESS | Change.PORT


def test_four_sockets_serve_two_addresses() -> None:
    assert StunServer([FIRST, SECOND]).sockets == (
        FIRST,
        Endpoint(FIRST.host, 3479),
        SECOND,
        Endpoint(SECOND.host, 3479),
    )


@pytest.mark.parametrize("link", range(4))
def test_a_plain_request_is_answered_from_where_it_came(link: int) -> None:
    server = StunServer([FIRST, SECOND])
    client = CLIENT._replace(link=link)

    answer = server.receive_datagram(stun.binding_request(TRANSACTION), client, 0)

    assert answer is not None
    assert answer.destination == client
    message = stun.parse(answer.datagrams[0])
    assert message.transaction_id == TRANSACTION
    assert (message.method, message.cls) == (Method.BINDING, Class.SUCCESS)
    assert list(message.attributes.items()) == [
        (Attribute.XOR_MAPPED_ADDRESS, Endpoint(*CLIENT[:2])),
        (Attribute.MAPPED_ADDRESS, Endpoint(*CLIENT[:2])),
        (Attribute.RESPONSE_ORIGIN, server.sockets[link]),
        (Attribute.OTHER_ADDRESS, server.sockets[link ^ 3]),
    ]


@pytest.mark.parametrize("link", range(4))
@pytest.mark.parametrize(
    ("change", "flip"),
    [(Change(0), 0), (Change.PORT, 1), (Change.ADDRESS, 2), (BOTH, 3)],
)
def test_a_changed_answer_leaves_from_the_socket_asked_for(
    link: int, change: Change, flip: int
) -> None:
    server = StunServer([FIRST, SECOND])

    answer = ask(server, {Attribute.CHANGE_REQUEST: change}, CLIENT._replace(link=link))

    message = parsed(answer)
    assert answer.destination.link == link ^ flip
    assert message.address(Attribute.RESPONSE_ORIGIN) == server.sockets[link ^ flip]
    assert message.mapped == Endpoint(*CLIENT[:2])


def test_the_other_address_is_the_opposite_of_the_socket_asked() -> None:
    server = StunServer([FIRST, SECOND])

    message = parsed(ask(server, {Attribute.CHANGE_REQUEST: Change(0)}, CLIENT))

    assert message.address(Attribute.OTHER_ADDRESS) == Endpoint(SECOND.host, 3479)


def test_both_families_are_served_separately() -> None:
    server = StunServer([FIRST6, FIRST])

    answer = ask(
        server, {Attribute.CHANGE_REQUEST: Change.PORT}, CLIENT6._replace(link=2)
    )

    assert server.sockets[2:] == (FIRST6, Endpoint(FIRST6.host, 3479))
    assert answer.destination.link == 3
    assert parsed(answer).mapped == Endpoint(*CLIENT6[:2])


def test_with_one_address_the_port_can_be_changed_but_nothing_else() -> None:
    server = StunServer([FIRST])

    granted = ask(server, {Attribute.CHANGE_REQUEST: Change.PORT})
    refused = parsed(ask(server, {Attribute.CHANGE_REQUEST: BOTH}))

    assert granted.destination.link == 1
    assert Attribute.OTHER_ADDRESS not in parsed(granted).attributes
    assert refused.error == StunErrorCode(420, "Unknown Attribute")
    assert refused.attributes[Attribute.UNKNOWN_ATTRIBUTES] == (0x0003,)


def test_the_answer_goes_to_another_port_if_asked_but_never_to_another_host() -> None:
    answer = ask(StunServer([FIRST]), {Attribute.RESPONSE_PORT: 5})

    assert answer.destination == CLIENT._replace(port=5)
    assert parsed(answer).mapped == Endpoint(*CLIENT[:2])


def test_nothing_is_sent_to_port_zero() -> None:
    server = StunServer([FIRST])
    request = encoded({Attribute.RESPONSE_PORT: 0})

    assert server.receive_datagram(request, CLIENT, 0) is None
    assert server.drops == {StunDrop.PORT: 1}


@pytest.mark.parametrize("length", [0, 4, 1280])
def test_padding_is_answered_in_kind_and_never_with_more(length: int) -> None:
    answer = ask(StunServer([FIRST, SECOND]), {Attribute.PADDING: bytes(length)})

    assert parsed(answer).attributes[Attribute.PADDING] == bytes(length)


def test_padding_has_a_limit() -> None:
    answer = ask(StunServer([FIRST]), {Attribute.PADDING: bytes(9000)})

    assert len(parsed(answer).attributes[Attribute.PADDING]) == 1500


def test_padding_with_a_response_port_is_a_bad_request() -> None:
    answer = ask(
        StunServer([FIRST]), {Attribute.PADDING: bytes(4), Attribute.RESPONSE_PORT: 5}
    )

    assert parsed(answer).error == StunErrorCode(400, "Bad Request")
    assert answer.destination == CLIENT


def test_attributes_that_are_not_understood_are_named() -> None:
    request = encoded({}) + struct.pack("!HHI", 0x7F01, 4, 0)
    request = request[:2] + b"\0\x08" + request[4:]

    answer = StunServer([FIRST]).receive_datagram(request, CLIENT, 0)

    message = parsed(answer)
    assert message.cls is Class.ERROR
    assert message.error == StunErrorCode(420, "Unknown Attribute")
    assert message.attributes[Attribute.UNKNOWN_ATTRIBUTES] == (0x7F01,)


def test_a_fingerprint_is_answered_with_one() -> None:
    message = Message(Method.BINDING, Class.REQUEST, TRANSACTION)
    request = stun.encode(message, fingerprint=True)

    answer = StunServer([FIRST]).receive_datagram(request, CLIENT, 0)

    assert Attribute.FINGERPRINT in parsed(answer).attributes


def test_a_client_of_rfc_3489_is_answered_in_its_own_words() -> None:
    server = StunServer([FIRST, SECOND])

    answer = server.receive_datagram(classic((0x0003, b"\0\0\0\6")), CLIENT, 0)

    assert answer is not None
    assert answer.destination.link == 3
    assert stun.parse_classic(answer.datagrams[0]).attributes == {
        Attribute.MAPPED_ADDRESS: Endpoint(*CLIENT[:2]),
        Attribute.SOURCE_ADDRESS: Endpoint(SECOND.host, 3479),
        Attribute.CHANGED_ADDRESS: FIRST,
    }


def test_an_old_client_cannot_redirect_its_answer_and_learns_why() -> None:
    request = classic((0x0002, b"\0\1\x10\0\xcb\0\x71\1"))

    answer = StunServer([FIRST]).receive_datagram(request, CLIENT, 0)

    assert answer is not None
    message = stun.parse_classic(answer.datagrams[0])
    assert answer.destination == CLIENT
    assert message.error is not None
    assert message.error.code == 420
    assert len(message.error.reason) % 4 == 0
    assert message.attributes[Attribute.UNKNOWN_ATTRIBUTES] == (0x0002, 0x0002)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", StunDrop.NOT_STUN),
        (b"hello", StunDrop.NOT_STUN),
        (bytes(20), StunDrop.NOT_STUN),
        (b"\4\0\0\0" + bytes(60), StunDrop.NOT_STUN),
        (b"\0\x11\0\0" + stun.COOKIE + TRANSACTION, StunDrop.NOT_A_REQUEST),
        (b"\1\1\0\0" + stun.COOKIE + TRANSACTION, StunDrop.NOT_A_REQUEST),
        (b"\0\3\0\0" + stun.COOKIE + TRANSACTION, StunDrop.NOT_A_REQUEST),
    ],
)
def test_anything_but_a_binding_request_gets_no_answer(
    data: bytes, reason: StunDrop
) -> None:
    server = StunServer([FIRST])

    assert server.receive_datagram(data, CLIENT, 0) is None
    assert server.drops == {reason: 1}
    assert server.answers == 0


@given(st.binary(max_size=120))
def test_garbage_is_never_fatal_and_never_amplified(body: bytes) -> None:
    server = StunServer([FIRST, SECOND])
    header = b"\0\1" + struct.pack("!H", len(body))
    for data in (
        body,
        header + stun.COOKIE + TRANSACTION + body,
        header + bytes(16) + body,
    ):
        answer = server.receive_datagram(memoryview(data), CLIENT, 0)
        if answer is not None:
            assert answer.destination.host == CLIENT.host
            assert len(answer.datagrams[0]) <= len(data) + 56


def test_each_source_has_its_own_rate_of_answers() -> None:
    server = StunServer([FIRST], rate=10)
    request = stun.binding_request(TRANSACTION)
    stranger = CLIENT._replace(host="203.0.113.8")

    answers = [server.receive_datagram(request, CLIENT, 5.0) for _ in range(50)]

    assert sum(answer is not None for answer in answers) == 10
    assert server.drops == {StunDrop.RATE: 40}
    assert server.receive_datagram(request, stranger, 5.5) is not None
    assert server.receive_datagram(request, CLIENT, 5.9) is None
    assert server.receive_datagram(request, CLIENT, 6.0) is not None


def test_another_port_or_another_ipv6_address_of_a_subscriber_is_the_same_source() -> (
    None
):
    server = StunServer([FIRST6], rate=1)

    assert asks(server, Endpoint("2001:db8:7::7", 5000))
    assert not asks(server, Endpoint("2001:db8:7:0:ffff::1", 5001))
    assert asks(server, Endpoint("2001:db8:7:1::7", 5000))


def test_forged_sources_take_bounded_memory_and_shut_no_client_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coordinator.stun.SOURCES_LIMIT", 100)
    server = StunServer([FIRST], rate=1)

    hosts = [f"10.0.{n >> 8}.{n & 255}" for n in range(1000)]

    assert all([asks(server, Endpoint(host, 5000)) for host in hosts])
    assert len(server._limiter) <= 100


def test_behind_its_own_nat_the_server_advertises_its_public_addresses() -> None:
    public = {"10.0.0.1": FIRST.host, "10.0.0.2": SECOND.host}
    server = StunServer(
        [Endpoint("10.0.0.1", 3478), Endpoint("10.0.0.2", 3478)], advertise=public
    )

    message = parsed(server.receive_datagram(encoded({}), CLIENT, 0))

    assert message.address(Attribute.RESPONSE_ORIGIN) == FIRST
    assert message.address(Attribute.OTHER_ADDRESS) == Endpoint(SECOND.host, 3479)


@pytest.mark.parametrize("plain", [True, False])
def test_a_wildcard_socket_tells_the_address_that_was_asked(plain: bool) -> None:
    server = StunServer([Endpoint("0.0.0.0", 3478)])
    request = encoded({} if plain else {Attribute.CHANGE_REQUEST: Change.PORT})

    for host in (FIRST.host, SECOND.host):
        client = CLIENT._replace(source=Source(host, 0))
        answer = server.receive_datagram(request, client, 0)
        expected = Endpoint(host, 3478 if plain else 3479)
        assert parsed(answer).address(Attribute.RESPONSE_ORIGIN) == expected


def test_a_wildcard_socket_that_does_not_know_its_address_says_nothing() -> None:
    server = StunServer([Endpoint("::", 3478)])

    message = parsed(server.receive_datagram(encoded({}), CLIENT6, 0))

    assert Attribute.RESPONSE_ORIGIN not in message.attributes
    assert message.mapped == Endpoint(*CLIENT6[:2])


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        [FIRST, SECOND, Endpoint("198.51.100.3", 3478)],
        [FIRST, FIRST],
        [FIRST, Endpoint(SECOND.host, 5000)],
        [FIRST, Endpoint("0.0.0.0", 3478)],
        [Endpoint(FIRST.host, 0)],
        [Endpoint(FIRST.host, 65535)],
    ],
)
def test_addresses_that_make_no_server_are_refused_in_one_sentence(
    addresses: list[Endpoint],
) -> None:
    with pytest.raises(ConfigError, match=r"STUN|--stun"):
        StunServer(addresses)


def ask(
    server: StunServer, attributes: dict[Attribute, object], client: Endpoint = CLIENT
) -> Transmit:
    answer = server.receive_datagram(encoded(attributes), client, 0)
    assert answer is not None
    return answer


def asks(server: StunServer, client: Endpoint) -> bool:
    """Send a plain request; return whether it is answered."""
    request = stun.binding_request(TRANSACTION)
    return server.receive_datagram(request, client, 0) is not None


def encoded(attributes: dict[Attribute, object]) -> bytes:
    return stun.encode(Message(Method.BINDING, Class.REQUEST, TRANSACTION, attributes))


def parsed(answer: Transmit | None) -> Message:
    assert answer is not None
    return stun.parse(answer.datagrams[0])


def classic(*attributes: tuple[int, bytes]) -> bytes:
    """Return a request of RFC 3489."""
    body = b"".join(
        struct.pack("!HH", kind, len(value)) + value for kind, value in attributes
    )
    return struct.pack("!HH", 1, len(body)) + bytes(range(16)) + body
