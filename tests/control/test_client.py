"""The control client: joining, staying, losing the coordinator, forged messages."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.control import events
from meshwg.control.backoff import CONTESTED_RETRY_MIN, RETRY_MAX, RETRY_MIN
from meshwg.control.client import ControlState
from meshwg.control.drop import ControlDrop
from meshwg.control.refusals import FORGOTTEN
from meshwg.control.reports import FIRST_REPORT
from meshwg.control.succession import CONNECT_TIMEOUT, PROBE_TIMEOUT
from meshwg.keys import format_key
from meshwg.wire import channel, control
from meshwg.wire.control import (
    CloseCode,
    Delta,
    Error,
    ErrorCode,
    NetMap,
    OfferMessage,
    PeerEntry,
    Relay,
    ReportedCandidate,
    pack,
    to_json,
)
from meshwg.wire.digest import format_digest, peer_digest
from meshwg.wire.dnsrecords import DnsRecord
from tests.control.link import CANDIDATE, OTHER_KEY, OWN_KEY, REGISTERED, Link

RECORD = DnsRecord(name="api", kind="A", value="10.0.0.5")

# Joining.


def test_a_client_wants_a_connection_at_once() -> None:
    link = Link()
    assert link.client.get_timer() == link.now
    link.tick()
    assert link.client.connections
    assert link.client.state is ControlState.CONNECTING


def test_the_first_message_registers_with_the_auth_key() -> None:
    link = Link(auth_key="key", name="alice")
    register = link.connect()
    assert (register.name, register.auth_key, register.version) == ("alice", "key", 0)


def test_being_registered_is_an_event_and_a_state() -> None:
    link = Link().joined()
    assert link.client.state is ControlState.CONNECTED
    assert link.found(events.Accepted) == [events.Accepted(REGISTERED)]


def test_an_auth_key_is_not_shown_again_after_joining() -> None:
    link = Link(auth_key="key").joined()
    link.lose()
    assert link.connect().auth_key is None


def test_an_auth_key_is_shown_again_until_joining_worked() -> None:
    link = Link(auth_key="key")
    link.connect()
    link.lose()
    assert link.connect().auth_key == "key"


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.TOKEN_UNKNOWN,
        ErrorCode.TOKEN_EXPIRED,
        ErrorCode.TOKEN_USED,
        ErrorCode.TOKEN_REVOKED,
        ErrorCode.NOT_A_MEMBER,
        ErrorCode.MESH_FULL,
        ErrorCode.PROTOCOL,
    ],
)
def test_a_refusal_that_will_not_pass_with_time_is_final(code: ErrorCode) -> None:
    link = Link()
    link.connect()
    link.hear(Error(code=code, message="No", fatal=True))
    (refused,) = link.found(events.Refused)
    assert refused.error.message == "No"
    assert link.client.state is ControlState.ENDED
    assert link.client.get_timer() is None


def test_a_busy_coordinator_is_tried_again() -> None:
    link = Link()
    link.connect()
    link.hear(Error(code=ErrorCode.TRY_AGAIN, message="Busy", fatal=True))
    assert link.client.error == "Busy"
    link.tick_until_connecting()


def test_a_foreign_coordinator_ends_the_first_join() -> None:
    link = Link()
    link.tick()
    link.client.control_opened(link.number, link.now)
    link.client.control_closed(link.number, "Wrong key", link.now, CloseCode.WRONG_KEY)
    assert link.found(events.Refused)[0].error.code == "wrong-key"


def test_a_member_keeps_trying_where_a_foreign_coordinator_answers() -> None:
    link = Link().joined()
    link.lose()
    link.tick_until_connecting()
    link.client.control_opened(link.number, link.now)
    link.client.control_closed(link.number, "Wrong key", link.now, CloseCode.WRONG_KEY)
    assert link.client.state is ControlState.OFFLINE


def test_an_answer_without_the_coordinators_key_is_not_believed() -> None:
    link = Link()
    link.tick()
    link.client.control_opened(link.number, link.now)
    link.client.receive_control(link.number, bytes(channel.RESPONSE_LENGTH), link.now)
    assert link.client.state is ControlState.OFFLINE
    assert link.client.drops == {ControlDrop.NOT_AUTHENTIC: 1}


def test_an_invalid_coordinator_key_is_refused() -> None:
    link = Link(coordinator_key=bytes(32))
    link.tick()
    link.client.control_opened(link.number, link.now)
    assert link.client.state is ControlState.ENDED


def test_a_coordinator_that_never_answers_is_given_up() -> None:
    link = Link()
    link.tick()
    link.pass_time(CONNECT_TIMEOUT)
    assert link.client.state is ControlState.OFFLINE
    assert link.client.error == "The coordinator does not answer"


# Staying connected.


def test_a_quiet_node_sends_heartbeats() -> None:
    link = Link().joined()
    for _ in range(3):
        link.pass_time(REGISTERED.heartbeat)
        assert link.said() == [channel.HEARTBEAT]
        link.hear_heartbeat()


def test_a_node_that_has_something_to_say_sends_no_heartbeat() -> None:
    link = Link().joined()
    link.pass_time(2.0)
    link.client.offer(OfferMessage(to=OTHER_KEY, sequence=1), link.now)
    link.said()
    link.pass_time(2.0)
    assert link.said() == []


def test_a_silent_coordinator_is_considered_dead_within_thirty_seconds() -> None:
    link = Link().joined()
    link.pass_time(REGISTERED.silence)
    assert link.client.state is ControlState.OFFLINE
    assert REGISTERED.silence + PROBE_TIMEOUT <= 30.0


def test_heartbeats_of_the_coordinator_keep_the_connection() -> None:
    link = Link().joined()
    for _ in range(10):
        link.pass_time(10.0)
        link.hear_heartbeat()
    assert link.client.state is ControlState.CONNECTED


def test_a_change_of_network_ends_the_wait_for_the_next_attempt() -> None:
    link = Link().joined()
    link.lose()
    link.client.network_changed(link.now)
    link.tick()
    assert link.client.connections


def test_flows_are_told_while_there_is_somebody_to_tell() -> None:
    flow = control.SeenFlow(source="100.64.0.1", destination="100.64.0.2", port="icmp")
    link = Link()
    told = control.SeenFlows(flows=(flow,))
    assert not link.client.say(told, link.now)
    link.joined()
    assert link.client.say(told, link.now)
    assert link.messages() == [control.SeenFlows(flows=(flow,))]


def test_a_ping_is_answered() -> None:
    link = Link().joined()
    link.hear(control.Ping(id=77))
    assert link.messages() == [control.Pong(id=77)]


# Reconnecting.


def test_attempts_come_after_random_and_growing_times_up_to_thirty_seconds() -> None:
    delays: list[list[float]] = []
    for seed in range(20):
        link = Link(seed=seed)
        delays.append([link.fail() for _ in range(12)])
    for number, column in enumerate(zip(*delays, strict=True)):
        assert all(RETRY_MIN <= delay <= RETRY_MAX for delay in column)
        assert len(set(column)) == len(column)
        assert max(column) <= RETRY_MIN * 2 ** (number + 1)
    assert max(delay for row in delays for delay in row) > 20.0


def test_a_coordinator_may_ask_a_large_mesh_to_spread_its_return() -> None:
    delays = set()
    for seed in range(30):
        link = Link(seed=seed)
        link.connect()
        link.hear(replace(REGISTERED, spread=20.0))
        link.lose()
        delays.add(link.wait())
    assert max(delays) > 10.0


def test_a_node_whose_key_is_used_elsewhere_is_patient() -> None:
    link = Link().joined()
    link.hear(Error(code=ErrorCode.REPLACED, message="Elsewhere", fatal=True))
    assert link.wait() >= CONTESTED_RETRY_MIN


def test_the_next_connection_goes_on_from_the_version_held() -> None:
    link = Link().joined()
    link.hear(netmap(5, peer(OTHER_KEY, 5)))
    link.lose()
    register = link.connect()
    assert (register.epoch, register.version) == ("e", 5)


def test_losing_the_coordinator_keeps_the_peers() -> None:
    link = Link().joined()
    link.hear(netmap(5, peer(OTHER_KEY, 5)))
    link.lose()
    assert [p.public_key for p in link.client.peers.peers] == [OTHER_KEY]
    assert [type(e) for e in link.events()][-1] is events.Disconnected


def test_another_mesh_at_the_same_place_empties_the_netmap() -> None:
    link = Link().joined()
    link.hear(netmap(5, peer(OTHER_KEY, 5)))
    link.lose()
    link.connect()
    link.hear(replace(REGISTERED, epoch="new"))
    assert link.client.peers.version == 0
    assert link.found(events.PeersChanged)[-1].removed == (OTHER_KEY,)


def test_a_tampered_frame_ends_the_connection() -> None:
    link = Link().joined()
    link.client.receive_control(link.number, bytes(40), link.now)
    assert link.client.state is ControlState.OFFLINE
    assert link.client.drops == {ControlDrop.NOT_AUTHENTIC: 1}


@given(st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_garbage_never_raises(frames: list[bytes], joined: bool) -> None:
    link = Link().joined() if joined else Link()
    link.tick()
    number = link.number
    link.client.control_opened(number, link.now)
    for frame in frames:
        link.client.receive_control(number, frame, link.now)
        link.client.handle_timer(link.now)


# Netmaps.


def test_a_netmap_and_its_deltas_are_reported_as_differences() -> None:
    link = Link().joined()
    one, other = peer(OTHER_KEY, 1), peer(OWN_KEY, 2)
    link.hear(netmap(2, one, other))
    assert link.found(events.PeersChanged) == [events.PeersChanged((one,), ())]
    renewed = peer(OTHER_KEY, 3, online=False)
    link.hear(delta(2, 3, [renewed], [], [renewed, other]))
    link.hear(delta(3, 4, [], [OTHER_KEY], [other]))
    assert link.found(events.PeersChanged)[1:] == [
        events.PeersChanged((renewed,), ()),
        events.PeersChanged((), (OTHER_KEY,)),
    ]


def test_the_same_netmap_again_causes_no_event() -> None:
    link = Link().joined()
    link.hear(netmap(2, peer(OTHER_KEY, 1)))
    link.hear(netmap(2, peer(OTHER_KEY, 1)))
    assert len(link.found(events.PeersChanged)) == 1


def test_a_delta_that_begins_too_late_asks_for_the_whole_netmap() -> None:
    link = Link().joined()
    link.hear(netmap(2, peer(OTHER_KEY, 1)))
    link.hear(delta(3, 4, [], [OTHER_KEY], []))
    assert link.messages() == [control.Resync()]
    assert link.client.peers.version == 2


def test_a_delta_that_does_not_add_up_asks_for_the_whole_netmap() -> None:
    link = Link().joined()
    link.hear(netmap(2, peer(OTHER_KEY, 1)))
    lost = peer(format_key(b"x" * 32), 3)
    link.hear(delta(2, 4, [], [], [peer(OTHER_KEY, 1), lost]))
    assert link.messages() == [control.Resync()]
    link.hear(netmap(4, peer(OTHER_KEY, 1), lost))
    assert link.messages() == []
    assert link.found(events.PeersChanged)[-1].changed == (lost,)


def test_a_new_name_of_this_node_is_an_event_of_its_own() -> None:
    link = Link().joined()
    itself = replace(peer(OWN_KEY, 2), name="renamed")
    link.hear(netmap(2, itself))
    assert link.found(events.SelfChanged) == [events.SelfChanged(itself)]
    assert link.client.registered is not None
    assert link.client.registered.name == "renamed"
    assert link.found(events.PeersChanged) == []


def test_new_relay_credentials_replace_the_old_ones() -> None:
    link = Link().joined()
    relay = Relay(url="turn:h", username="9:a", password="p", expires=9.0)
    link.hear(control.Credentials(relays=(relay,)))
    assert link.found(events.RelaysChanged) == [events.RelaysChanged((relay,))]
    assert link.client.registered is not None
    assert link.client.registered.relays == (relay,)


# Records of the zone.


def test_records_and_their_changes_are_news() -> None:
    link = Link().joined()
    link.hear(control.Records(version=3, added=(RECORD,)))
    link.hear(control.Records(version=3, added=(RECORD,)))
    assert link.found(events.RecordsChanged) == [events.RecordsChanged()]
    link.hear(control.Records(version=4, base=3, removed=(RECORD,)))
    assert len(link.found(events.RecordsChanged)) == 2
    assert link.client.records.records == ()
    link.lose()
    assert link.connect().records == 4


def test_a_change_of_records_that_are_not_known_asks_for_all() -> None:
    link = Link().joined()
    link.hear(control.Records(version=9, base=8, added=(RECORD,)))
    assert link.messages() == [control.Resync()]
    assert link.found(events.RecordsChanged) == []


def test_records_of_another_mesh_are_forgotten() -> None:
    link = Link().joined()
    link.hear(control.Records(version=3, added=(RECORD,)))
    link.lose()
    link.connect()
    link.hear(replace(REGISTERED, epoch="another"))
    assert link.client.records.records == ()
    link.hear(control.Records(version=1, added=(RECORD,)))
    link.hear(control.Revoked(reason="gone"))
    assert link.client.records.records == ()


# Offers and reports.


def test_offers_are_sent_as_made_and_not_kept_for_later() -> None:
    link = Link().joined()
    first = OfferMessage(
        to=OTHER_KEY, sequence=7, candidates=(CANDIDATE,), extension={"x": 1}
    )
    second = OfferMessage(to=OTHER_KEY, sequence=8)
    assert link.client.offer(first, link.now)
    assert link.client.offer(second, link.now)
    assert link.messages() == [first, second]
    link.lose()
    assert not link.client.offer(OfferMessage(to=OTHER_KEY, sequence=9), link.now)


def test_an_offer_from_a_peer_is_an_event() -> None:
    link = Link().joined()
    offer = OfferMessage(to=OWN_KEY, sender=OTHER_KEY, sequence=1)
    link.hear(offer)
    assert link.found(events.OfferReceived) == [events.OfferReceived(offer)]


@pytest.mark.parametrize(
    "offer",
    [
        OfferMessage(to=OTHER_KEY, sender=OTHER_KEY, sequence=1),
        OfferMessage(to=OWN_KEY, sequence=1),
        OfferMessage(to=OWN_KEY, sender=OWN_KEY, sequence=1),
    ],
)
def test_an_offer_that_is_not_for_this_node_is_dropped(offer: OfferMessage) -> None:
    link = Link().joined()
    link.hear(offer)
    assert link.client.drops == {ControlDrop.UNEXPECTED: 1}


def test_a_refused_offer_names_the_peer() -> None:
    link = Link().joined()
    error = Error(code=ErrorCode.PEER_OFFLINE, message="Offline", to=OTHER_KEY)
    link.hear(error)
    assert link.found(events.OfferRefused) == [events.OfferRefused(OTHER_KEY, error)]
    assert link.client.state is ControlState.CONNECTED


def test_reports_are_sent_once_a_second_at_most_and_only_if_they_differ() -> None:
    link = Link().joined()
    for port in (1, 2, 2, 3):
        candidate = ReportedCandidate(kind="host", host="192.0.2.1", port=port)
        link.client.report([candidate], None, link.now)
    link.pass_time(1.0)
    (report,) = link.messages()
    assert isinstance(report, control.Report)
    assert report.candidates[0].port == 3
    link.pass_time(1.5)
    assert link.messages() == []


def test_what_is_learnt_while_registering_is_reported_in_a_moment() -> None:
    link = Link().joined()
    link.client.report([CANDIDATE], None, link.now)
    assert link.messages() == []
    link.pass_time(FIRST_REPORT)
    (report,) = link.messages()
    assert isinstance(report, control.Report)
    assert report.candidates == (CANDIDATE,)


def test_what_was_reported_while_offline_is_in_the_registration() -> None:
    link = Link()
    link.client.report([CANDIDATE], None, link.now)
    assert link.connect().candidates == (CANDIDATE,)
    link.hear(REGISTERED)
    assert link.messages() == []


# Ends.


def test_a_revoked_node_loses_its_peers_and_does_not_come_back() -> None:
    link = Link().joined()
    link.hear(netmap(2, peer(OTHER_KEY, 1)))
    link.hear(control.Revoked(reason="Removed"))
    assert link.client.state is ControlState.ENDED
    assert link.found(events.PeersChanged)[-1].removed == (OTHER_KEY,)
    assert link.found(events.MembershipRevoked) == [events.MembershipRevoked("Removed")]
    assert link.client.cache() is None


def test_a_node_that_was_removed_while_away_loses_its_peers_too() -> None:
    link = Link().joined()
    link.hear(netmap(2, peer(OTHER_KEY, 1)))
    link.lose()
    link.connect()
    link.hear(Error(code=ErrorCode.NOT_A_MEMBER, message="Who?", fatal=True))
    assert link.found(events.MembershipRevoked) == [events.MembershipRevoked("Who?")]
    assert link.client.peers.peers == []


@pytest.mark.parametrize("code", [ErrorCode.NOT_A_MEMBER, ErrorCode.NODE_EXPIRED])
@pytest.mark.parametrize(
    ("epoch", "version"), [("another", 9), ("another", 1), ("e", 1), ("e", 2)]
)
def test_a_coordinator_whose_database_was_lost_or_set_back_revokes_nobody(
    code: ErrorCode, epoch: str, version: int
) -> None:
    link = Link().joined()
    link.hear(netmap(2, peer(OTHER_KEY, 1)))
    link.lose()
    link.connect()
    link.hear(
        Error(code=code, message="Who?", fatal=True, epoch=epoch, version=version)
    )
    assert link.found(events.MembershipRevoked) == []
    assert [each.public_key for each in link.client.peers.peers] == [OTHER_KEY]
    assert link.client.error == FORGOTTEN
    assert link.client.is_forgotten
    link.tick_until_connecting()


def test_a_removal_from_the_same_database_is_a_revocation() -> None:
    link = Link().joined()
    link.hear(netmap(2, peer(OTHER_KEY, 1)))
    link.lose()
    link.connect()
    code = ErrorCode.NOT_A_MEMBER
    link.hear(Error(code=code, message="Who?", fatal=True, epoch="e", version=3))
    assert link.found(events.MembershipRevoked) == [events.MembershipRevoked("Who?")]


def test_a_node_that_joins_the_new_mesh_is_no_longer_forgotten() -> None:
    link = Link().joined()
    link.lose()
    link.connect()
    code = ErrorCode.NOT_A_MEMBER
    link.hear(Error(code=code, message="Who?", fatal=True, epoch="f", version=3))
    link.joined()
    assert not link.client.is_forgotten


def test_a_forgotten_node_joins_again_by_a_token_at_once() -> None:
    link = Link().joined()
    link.lose()
    link.client.join("key", link.now)
    assert link.client.get_timer() == link.now
    assert link.connect().auth_key == "key"


def test_a_wrong_token_takes_no_peers_from_a_member() -> None:
    link = Link().joined()
    link.hear(netmap(2, peer(OTHER_KEY, 1)))
    link.lose()
    link.client.join("wrong", link.now)
    link.connect()
    link.hear(Error(code=ErrorCode.TOKEN_USED, message="Used", fatal=True))
    assert link.client.error == "Used"
    assert [each.public_key for each in link.client.peers.peers] == [OTHER_KEY]
    assert link.connect().auth_key is None


def test_stopping_says_goodbye() -> None:
    link = Link().joined()
    link.client.stop(link.now)
    assert link.messages() == [control.Leave()]
    assert link.client.connections == ()
    assert link.client.get_timer() is None


def test_stopping_while_offline_says_nothing() -> None:
    link = Link()
    link.client.stop(link.now)
    assert link.client.control_to_send() == []


# Surprises.


def test_netmaps_before_registration_are_not_believed() -> None:
    link = Link()
    link.connect()
    link.hear(netmap(2, peer(OTHER_KEY, 1)))
    assert link.client.peers.version == 0
    assert link.client.drops == {ControlDrop.UNEXPECTED: 1}


def test_messages_from_future_versions_are_counted_and_ignored() -> None:
    link = Link().joined()
    link.hear_payload(control.pack(b'{"type":"telepathy"}'))
    link.hear_payload(control.pack(b'{"type":"netmap"}'))
    link.hear_payload(b"\x09")
    assert link.client.drops == {
        ControlDrop.UNKNOWN_TYPE: 1,
        ControlDrop.MALFORMED: 2,
    }
    assert link.client.state is ControlState.CONNECTED


def test_a_cache_brings_peers_back_before_any_connection() -> None:
    link = Link().joined()
    link.hear(netmap(5, peer(OTHER_KEY, 5)))
    link.hear(control.Records(version=3, added=(RECORD,)))
    text = link.client.cache()
    assert text is not None
    again = Link(cache=control.load_cache(text))
    assert again.client.records.records == (RECORD,)
    assert [p.public_key for p in again.client.peers.peers] == [OTHER_KEY]
    assert again.client.registered == REGISTERED
    assert again.connect().version == 5


def peer(key: str, version: int, *, online: bool = True) -> PeerEntry:
    return PeerEntry(
        public_key=key,
        name="node" if key == OWN_KEY else "peer",
        addresses=("100.64.0.1", "fd00::1"),
        version=version,
        online=online,
    )


def digest_of(peers: list[PeerEntry]) -> str:
    digest = 0
    for each in peers:
        digest ^= peer_digest(each.public_key, each.version)
    return format_digest(digest)


def netmap(version: int, *peers: PeerEntry) -> NetMap:
    return NetMap(version=version, digest=digest_of(list(peers)), peers=peers)


def delta(
    base: int,
    version: int,
    changed: list[PeerEntry],
    removed: list[str],
    all_: list[PeerEntry],
) -> Delta:
    return Delta(
        base=base,
        version=version,
        digest=digest_of(all_),
        changed=tuple(changed),
        removed=tuple(removed),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        '"time":1e999',
        '"time":Infinity',
        '"time":-1',
        '"time":1e300',
        '"heartbeat":0',
        '"silence":1e999',
        '"spread":-1',
        '"relays":[{"url":"turn:h","username":"u","password":"p","expires":1e999}]',
        '"networks":["fd00::%1/64"]',
        '"networks":' + str(["10.0.0.0/8"] * 17).replace("'", '"'),
    ],
)
def test_an_absurd_welcome_ends_the_attempt_and_the_next_is_made(wrong: str) -> None:
    link = Link()
    link.connect()
    text = to_json(REGISTERED)[:-1].decode()

    link.hear_payload(pack(f"{text},{wrong}}}".encode()))

    assert link.client.state is ControlState.OFFLINE
    assert "cannot be understood" in (link.client.error or "")
    assert link.client.drops[ControlDrop.MALFORMED] == 1
    assert link.joined().client.state is ControlState.CONNECTED
