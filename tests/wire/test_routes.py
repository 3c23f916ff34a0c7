"""What messages say of routes, exits and hubs: where nothing is said, as before."""

from meshwg.routeoptions import DEFAULT_PRIORITY
from meshwg.wire.control import (
    MAX_NODE_PAYLOAD,
    Approvals,
    PeerEntry,
    Register,
    Report,
    decode_from_coordinator,
    encode,
    pack,
    unpack,
)
from meshwg.wire.models import decode_from_node
from meshwg.wire.routes import (
    MAX_ROUTES,
    ApprovalState,
    RouteState,
    RouteTraits,
)


def test_a_node_that_says_nothing_of_its_offers_leaves_them_as_they_are() -> None:
    report = decode_from_node(pack(b'{"type":"report"}'))

    assert report == Report()
    assert isinstance(report, Report)
    assert report.routes is None
    assert report.role is None


def test_a_node_that_offers_no_routes_any_more_says_so() -> None:
    report = decode_from_node(encode(Report(routes=())))

    assert isinstance(report, Report)
    assert report.routes == ()


def test_a_scoped_route_of_an_older_node_is_left_out_of_what_it_offers() -> None:
    text = b'{"type":"report","routes":["2001:db8::%1/64","10.0.0.0/8"]}'

    assert decode_from_node(pack(text)) == Report(routes=("10.0.0.0/8",))


def test_what_older_sides_do_not_say_has_its_default() -> None:
    older = b'{"type":"register","name":"a","routes":["10.0.0.0/8"]}'

    assert decode_from_node(pack(older)) == Register(name="a", routes=("10.0.0.0/8",))
    assert RouteTraits(prefix="10.0.0.0/8").priority == DEFAULT_PRIORITY
    entry = PeerEntry(public_key="", name="a", addresses=(), version=1)
    assert (entry.exit, entry.traits, entry.via) == (False, (), None)


def test_the_states_are_words_of_messages() -> None:
    for state in ApprovalState:
        message = Approvals(routes=(RouteState(prefix="10.0.0.0/8", state=state),))
        assert decode_from_coordinator(encode(message)) == message


def test_the_largest_offer_of_a_node_fits_into_its_message() -> None:
    routes = tuple(f"2001:db8:{number:x}::/48" for number in range(1, MAX_ROUTES + 1))
    mapped = "fd00:1234:5678::/48"
    traits = tuple(RouteTraits(prefix=each, mapped=mapped) for each in routes)
    report = Report(routes=routes, traits=traits, exit=True, role="hub")

    assert len(unpack(encode(report), 1 << 20)) < MAX_NODE_PAYLOAD
    assert decode_from_node(encode(report)) == report
