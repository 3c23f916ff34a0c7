"""Control messages: what both sides understand, ignore and refuse."""

import contextlib
import json
import zlib
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.errors import InvalidMessage
from meshwg.keys import format_key
from meshwg.wire import control
from meshwg.wire.control import (
    MAX_NODE_PAYLOAD,
    Cache,
    Error,
    NatReport,
    NetMap,
    OfferMessage,
    PeerEntry,
    Ping,
    Register,
    Registered,
    Relay,
    ReportedCandidate,
    ReportedNat,
    decode_from_coordinator,
    encode,
    load_cache,
    pack,
    unpack,
)
from meshwg.wire.dnsrecords import DnsRecord
from meshwg.wire.models import decode_from_node
from meshwg.wire.routes import RouteState, RouteTraits, WishState

KEY = format_key(bytes(range(32)))
CANDIDATE = ReportedCandidate(kind="host", host="2001:db8::1", port=51820)
NAT = NatReport(ipv4=ReportedNat(reachable=True, public="192.0.2.1:7", mapping="none"))
TRAITS = RouteTraits(prefix="10.1.0.0/16", priority=10, mapped="192.168.0.0/16")
FROM_NODE = [
    Register(name="a", auth_key="k", candidates=(CANDIDATE,), nat=NAT, version=7),
    Register(name="a", routes=("10.1.0.0/16",), traits=(TRAITS,), exit=True),
    control.Report(candidates=(CANDIDATE,)),
    control.Report(routes=("10.1.0.0/16",), traits=(TRAITS,), exit=True, role="hub"),
    OfferMessage(
        to=KEY, sequence=3, candidates=(CANDIDATE,), extension={"plan": [1, "x"]}
    ),
    Ping(id=1),
    control.Pong(id=2),
    control.Resync(),
    control.Leave(),
]
PEER = PeerEntry(
    public_key=KEY,
    name="a",
    addresses=("100.64.0.1", "fd00::1"),
    version=4,
    online=True,
    routes=("10.1.0.0/16",),
    traits=(TRAITS,),
    exit=True,
    candidates=(CANDIDATE,),
    nat=NAT,
    via=KEY,
)
REGISTERED = Registered(
    epoch="e",
    name="a",
    addresses=("100.64.0.1", "fd00::1"),
    networks=("100.64.0.0/16", "fd00::/48"),
    relays=(Relay(url="turn:h", username="1:a", password="secret", expires=1.0),),
)
FROM_COORDINATOR = [
    REGISTERED,
    NetMap(version=4, digest="0" * 16, peers=(PEER,)),
    control.Delta(base=3, version=4, digest="0" * 16, changed=(PEER,), removed=(KEY,)),
    OfferMessage(to=KEY, sender=KEY, sequence=3),
    Ping(id=1),
    control.Credentials(relays=REGISTERED.relays),
    control.Records(
        version=4,
        base=3,
        added=(DnsRecord(name="api", kind="A", value="10.0.0.5"),),
        removed=(DnsRecord(name="www", kind="CNAME", value="db"),),
    ),
    control.Approvals(
        routes=(RouteState(prefix="10.1.0.0/16", state="refused", reason="no"),),
        exit=WishState(state="advertised"),
        hub=WishState(state="approved"),
    ),
    control.Revoked(reason="gone"),
    Error(code="too-many", message="Too many", to=KEY),
]


@pytest.mark.parametrize("message", FROM_NODE, ids=lambda m: m.type)
def test_messages_from_nodes_are_understood(message: control.FromNode) -> None:
    assert decode_from_node(encode(message)) == message


@pytest.mark.parametrize("message", FROM_COORDINATOR, ids=lambda m: m.type)
def test_messages_from_coordinators_are_understood(
    message: control.FromCoordinator,
) -> None:
    assert decode_from_coordinator(encode(message)) == message


def test_unknown_fields_are_ignored() -> None:
    text = b'{"type":"ping","id":5,"new":{"a":[1]}}'
    assert decode_from_node(pack(text)) == Ping(id=5)


def test_unknown_types_are_ignored() -> None:
    assert decode_from_node(pack(b'{"type":"telepathy"}')) is None
    assert decode_from_coordinator(pack(b'{"type":"register","name":"a"}')) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"type":"ping"}',
        b'{"type":"ping","id":-1}',
        b'{"type":"ping","id":9223372036854775808}',
        b'{"type":"ping","id":1',
        b'{"type":"offer","to":"short","sequence":1}',
        b'{"type":"register","name":"a","routes":["10.0.0.1/8"]}',
        b'{"type":"register","name":"a","role":"Boss!"}',
        b'{"type":"register","name":"a","protocol":-1}',
        b'{"type":"report","nat":{"ipv4":{"lifetime_s":1e999}}}',
        b'{"type":"report","nat":{"ipv4":{"lifetime_s":Infinity}}}',
        b'{"type":"report","nat":{"ipv4":{"lifetime_s":-1}}}',
        b'{"type":"report","nat":{"ipv4":{"port_delta":65536}}}',
        b'{"type":"report","routes":["10.0.0.1/8"]}',
        b'{"type":"report","routes":[],"role":"Boss!"}',
        b'{"type":"report","traits":[{"prefix":"10.0.0.0/8","priority":1001}]}',
        b'{"type":"report","traits":[{"prefix":"fd00::%lo/64"}]}',
        b'{"type":"report","candidates":[{"kind":"host","host":"h","port":1}]}',
        b'{"type":"report","candidates":[{"kind":"host","host":"::1%lo","port":1}]}',
        b'{"type":"report","candidates":[{"kind":"host","host":"::1","port":0}]}',
        b"[" * 30_000,
        b'{"type":"offer","extension":' + b'{"a":' * 5_000,
    ],
)
def test_malformed_messages_are_refused(text: bytes) -> None:
    with pytest.raises(InvalidMessage):
        decode_from_node(b"\x00" + text)


def test_more_candidates_than_allowed_are_refused() -> None:
    report = {"type": "report", "candidates": [asdict(CANDIDATE)] * 65}
    with pytest.raises(InvalidMessage):
        decode_from_node(pack(json.dumps(report).encode()))


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    secret = "mwg-secret"
    text = json.dumps({"type": "register", "name": "a", "auth_key": secret * 20})
    with pytest.raises(InvalidMessage) as caught:
        decode_from_node(pack(text.encode()))
    assert secret not in str(caught.value)


def test_a_payload_over_the_limit_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="too large"):
        decode_from_node(bytes(MAX_NODE_PAYLOAD + 1))


def test_a_payload_that_unpacks_to_too_much_is_refused() -> None:
    bomb = b"\x01" + zlib.compress(bytes(100_000_000), 9)
    with pytest.raises(InvalidMessage):
        unpack(bomb, 1_000_000)


@pytest.mark.parametrize("payload", [b"", b"\x02{}", b"\x01", b"\x01abc"])
def test_a_payload_packed_in_an_unknown_way_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidMessage):
        unpack(payload, 1000)


def test_a_truncated_compressed_payload_is_refused() -> None:
    payload = pack(b"x" * 1000)
    with pytest.raises(InvalidMessage):
        unpack(payload[:-3], 1000)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    for decode in (decode_from_node, decode_from_coordinator):
        with contextlib.suppress(InvalidMessage):
            decode(payload)


@given(st.binary(max_size=4000))
def test_a_packed_payload_is_unpacked(text: bytes) -> None:
    assert unpack(pack(text), 4000) == text


def test_secrets_are_not_in_the_repr_of_messages() -> None:
    register = Register(name="a", auth_key="top-secret")
    assert "top-secret" not in repr(register)
    assert "secret" not in repr(REGISTERED)


def test_a_sentence_cannot_move_the_cursor_of_a_terminal() -> None:
    error = heard(Error(code="x", message="\x1b[2Jgone\r\n"))
    assert error == Error(code="x", message=" [2Jgone  ")


def test_addresses_and_keys_have_one_form() -> None:
    candidate = ReportedCandidate(kind="host", host="2001:DB8:0::0001", port=1)
    offer = OfferMessage(to=KEY[:-2] + "9=", sequence=1, candidates=(candidate,))
    for received in (heard(offer), decode_from_node(encode(offer))):
        assert isinstance(received, OfferMessage)
        assert received.candidates[0].host == "2001:db8::1"
        assert received.to == KEY


def test_a_cache_survives_the_disk() -> None:
    cache = Cache(registered=REGISTERED, version=4, peers=(PEER,))
    assert load_cache(control.to_json(cache)) == cache


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff\xfe", b'{"schema":2}', b"[1]"])
def test_a_damaged_cache_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidMessage, match="cached netmap"):
        load_cache(text)


def heard(message: control.FromCoordinator) -> control.FromCoordinator | None:
    """Return what a node understands of a coordinator's message."""
    return decode_from_coordinator(encode(message))


def test_a_route_that_nobody_can_read_does_not_stop_the_others() -> None:
    routes = ["2001:db8:77::%1/64", "10.1.0.0/16"]
    text = json.dumps({**asdict(PEER), "routes": [*routes, "", "10.0.0.1/8"]})

    netmap = decode_from_coordinator(
        b'\0{"type":"netmap","version":4,"digest":"","peers":[%s]}' % text.encode()
    )
    older = decode_from_node(
        b'\0{"type":"register","name":"a","routes":%s}' % json.dumps(routes).encode()
    )

    assert isinstance(netmap, NetMap)
    assert netmap.peers == (PEER,)
    assert isinstance(older, Register)
    assert older.routes == ("10.1.0.0/16",)
