"""Offers: typed inside, the same JSON as ever outside, and read with suspicion."""

import ipaddress
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.errors import InvalidMessage
from meshwg.nattypes import Filtering, Mapping, PortAllocation
from meshwg.path.candidate import (
    OFFERED_KINDS,
    Candidate,
    CandidateKind,
    Rejection,
    offerable,
)
from meshwg.path.offer import SESSION_LIMIT, Offer, from_message, to_message
from meshwg.path.overlay import Overlay
from meshwg.path.tcp import TcpOffer, TcpTraits
from meshwg.path.traits import NatTraits
from meshwg.path.tunnels import LIMIT as TUNNEL_LIMIT
from meshwg.wire import control
from tests.path.test_candidate import json_values
from tests.path.test_traits import nat_traits

KEY = "A" * 43 + "="
MESH = Overlay([ipaddress.ip_network("100.99.0.0/16")])

OFFER = Offer(
    5,
    (
        Candidate(CandidateKind.HOST, "192.168.1.2", 51820),
        Candidate(CandidateKind.RELAYED, "198.51.100.1", 50000),
    ),
    NatTraits(
        Mapping.ADDRESS_AND_PORT_DEPENDENT,
        Filtering.ADDRESS_DEPENDENT,
        PortAllocation.SEQUENTIAL,
        -2,
    ),
    "00c0ffee00c0ffee",
    answer=True,
    trouble=True,
    punch={"id": 1, "step": "ask", "method": "prediction", "role": "probe"},
)
OFFER_JSON = """
{"type": "offer", "to": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
 "sequence": 5,
 "candidates": [{"kind": "host", "host": "192.168.1.2", "port": 51820},
                {"kind": "relay", "host": "198.51.100.1", "port": 50000}],
 "nat": {"ipv4": {"reachable": false, "mapping": "address-and-port-dependent",
                  "filtering": "address-dependent", "type": "unknown",
                  "port_allocation": "sequential", "port_delta": -2}},
 "extension": {"session": "00c0ffee00c0ffee", "answer": true, "trouble": true,
               "punch": {"id": 1, "step": "ask", "method": "prediction",
                         "role": "probe"}}}
"""
STREAMING = Offer(
    1,
    session="00c0ffee00c0ffee",
    tcp=TcpOffer(
        TcpTraits(
            (Candidate(CandidateKind.REFLEXIVE, "203.0.113.1", 5000),),
            Mapping.ENDPOINT_INDEPENDENT,
        ),
        {"step": "go", "id": 3},
    ),
)
STREAMING_JSON = """
{"type": "offer", "to": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
 "sequence": 1, "candidates": [],
 "nat": {"ipv4": {"reachable": false, "mapping": "unknown", "filtering": "unknown",
                  "type": "unknown", "port_allocation": "unknown"}},
 "extension": {"session": "00c0ffee00c0ffee",
               "tcp": {"candidates": [{"kind": "reflexive", "host": "203.0.113.1",
                                       "port": 5000}],
                       "mapping": "endpoint-independent",
                       "step": {"step": "go", "id": 3}}}}
"""
BLOCKED = Offer(1, nat=NatTraits(blocked=True), session="00c0ffee00c0ffee")
BLOCKED_JSON = """
{"type": "offer", "to": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
 "sequence": 1, "candidates": [],
 "nat": {"ipv4": {"reachable": false, "mapping": "unknown", "filtering": "unknown",
                  "type": "udp-blocked", "port_allocation": "unknown"}},
 "extension": {"session": "00c0ffee00c0ffee"}}
"""


@pytest.mark.parametrize(
    ("offer", "text"),
    [(OFFER, OFFER_JSON), (BLOCKED, BLOCKED_JSON), (STREAMING, STREAMING_JSON)],
)
def test_the_json_is_what_older_nodes_send_and_read(offer: Offer, text: str) -> None:
    sent = control.to_json(to_message(offer, KEY)).decode()
    assert json.loads(sent) == json.loads(text)
    assert from_message(received(text)) == (offer, {})


def test_the_large_number_of_an_older_node_is_accepted() -> None:
    numbered = {**json.loads(OFFER_JSON), "sequence": 1_790_000_000_001}
    assert from_message(received(json.dumps(numbered)))[0].sequence == 1_790_000_000_001


def test_impossible_candidates_are_left_out_and_counted() -> None:
    message = control.OfferMessage(
        to=KEY,
        sequence=1,
        candidates=(
            control.ReportedCandidate(kind="host", host="100.99.0.5", port=1),
            control.ReportedCandidate(kind="carrier-pigeon", host="192.0.2.1", port=1),
            control.ReportedCandidate(kind="host", host="127.0.0.1", port=1),
        ),
    )
    offer, rejections = from_message(message, MESH)
    assert offer.candidates == ()
    assert rejections == {
        Rejection.MESH: 1,
        Rejection.MALFORMED: 1,
        Rejection.LOOPBACK: 1,
    }


@pytest.mark.parametrize("sequence", [None, "one", 1.5, -1, 1 << 63, [], {}])
def test_an_offer_without_a_number_is_invalid(sequence: object) -> None:
    with pytest.raises(InvalidMessage):
        received(json.dumps({**json.loads(OFFER_JSON), "sequence": sequence}))


@pytest.mark.parametrize(
    "extension",
    [
        {},
        {"session": None, "answer": None, "trouble": None, "punch": None},
        {"session": 7, "answer": "yes", "trouble": 1, "punch": ["ask"]},
        {"session": ["x"], "answer": 1, "trouble": "true", "punch": "ask"},
    ],
)
def test_an_extension_that_makes_no_sense_reads_as_empty(
    extension: dict[str, Any],
) -> None:
    message = control.OfferMessage(to=KEY, sequence=1, extension=extension)
    assert from_message(message) == (Offer(1), {})


def test_the_name_of_a_session_is_cut() -> None:
    message = control.OfferMessage(
        to=KEY, sequence=1, extension={"session": "x" * 1000}
    )
    assert from_message(message)[0].session == "x" * SESSION_LIMIT


def test_of_tunnels_only_a_few_addresses_are_read() -> None:
    listed = [None, 7, *(f"10.0.0.{n}" for n in range(100))]
    message = control.OfferMessage(to=KEY, sequence=1, extension={"tunnels": listed})
    assert len(from_message(message)[0].tunnels) == TUNNEL_LIMIT - 2


def offers() -> st.SearchStrategy[Offer]:
    """Return any offer that a node makes."""
    hosts, ports = st.ip_addresses().map(str), st.integers(1, 65535)
    candidates = st.builds(Candidate, st.sampled_from(OFFERED_KINDS), hosts, ports)
    steps = st.dictionaries(st.text(max_size=8), st.integers() | st.text())
    return st.builds(
        Offer,
        st.integers(0, (1 << 63) - 1),
        st.lists(candidates, max_size=20).map(offerable),
        nat_traits(),
        st.text(max_size=SESSION_LIMIT),
        answer=st.booleans(),
        trouble=st.booleans(),
        punch=st.none() | steps,
        tunnels=st.lists(hosts, max_size=TUNNEL_LIMIT).map(tuple),
    )


@given(offers())
def test_an_offer_arrives_as_it_was_sent(offer: Offer) -> None:
    text = control.to_json(to_message(offer, KEY)).decode()
    assert from_message(received(text)) == (offer, {})


def strange_messages() -> st.SearchStrategy[control.OfferMessage]:
    """Return offers that pass for control messages, and may contain anything else."""
    words = st.from_regex(r"\A[a-z0-9-]{1,32}\Z") | st.sampled_from(OFFERED_KINDS)
    candidates = st.builds(
        control.ReportedCandidate,
        kind=words,
        host=st.ip_addresses().map(str),
        port=st.integers(1, 65535),
    )
    nats = st.builds(
        control.ReportedNat,
        mapping=words,
        filtering=words,
        type=words,
        port_allocation=words,
        port_delta=st.none() | st.integers(),
    )
    keys = (
        st.sampled_from(["session", "answer", "trouble", "punch", "tunnels"])
        | st.text()
    )
    return st.builds(
        control.OfferMessage,
        to=st.just(KEY),
        sequence=st.integers(0, (1 << 63) - 1),
        candidates=st.lists(candidates, max_size=8).map(tuple),
        nat=st.none() | st.builds(control.NatReport, ipv4=st.none() | nats),
        extension=st.dictionaries(keys, json_values, max_size=5),
    )


@given(strange_messages())
def test_an_offer_may_contain_anything(message: control.OfferMessage) -> None:
    offer, rejections = from_message(message, MESH)
    distinct = len(offer.candidates) + rejections.total()
    assert distinct <= len(message.candidates)
    assert from_message(to_message(offer, KEY), MESH) == (offer, {})


@given(json_values, json_values, json_values, json_values)
def test_any_json_is_an_offer_or_refused(
    sequence: Any, candidates: Any, nat: Any, extension: Any
) -> None:
    raw = {"sequence": sequence, "candidates": candidates, "nat": nat}
    text = json.dumps({"type": "offer", "to": KEY, **raw, "extension": extension})
    try:
        message = received(text)
    except InvalidMessage:
        return
    from_message(message, MESH)


def received(text: str) -> control.OfferMessage:
    """Return the message that a node makes of a JSON text."""
    message = control.decode_from_coordinator(control.pack(text.encode()))
    assert isinstance(message, control.OfferMessage)
    return message
