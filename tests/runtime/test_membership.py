"""Which mesh a node is in: that of its token, or that of its state directory."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwg.config import NodeConfig
from meshwg.control.netmap import PeerTable
from meshwg.errors import ConfigError, CoordinatorError, MeshError, NotJoined, Removed
from meshwg.node import Expelled
from meshwg.node.trust import Pins, Trust
from meshwg.runtime.membership import MembershipRecord, choose_membership
from meshwg.runtime.state import StateDirectory, StoredMembership
from meshwg.wire.control import ErrorCode, Registered
from meshwg.wire.token import AuthKeyText, JoinToken

RANDOM = random.Random(6).randbytes
KEY, OTHER_KEY = RANDOM(32), RANDOM(32)
URL, OTHER_URL = "http://192.0.2.99:8443", "https://mesh.example"

# Which mesh


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(tmp_path)
    yield made
    made.close()


def test_a_token_is_remembered_until_the_node_has_joined(
    state: StateDirectory,
) -> None:
    token = make_token(URL, KEY)

    membership = choose(state, token)

    assert membership == StoredMembership(URL, KEY, str(token.auth_key))
    assert choose(state) == membership


def test_without_token_or_membership_there_is_no_mesh(state: StateDirectory) -> None:
    with pytest.raises(NotJoined, match="meshwg node --join TOKEN"):
        choose(state)


def test_a_member_keeps_its_mesh(state: StateDirectory) -> None:
    accepted = StoredMembership(URL, KEY)
    state.save_membership(accepted)

    with pytest.raises(ConfigError, match="already belongs to another mesh"):
        choose(state, make_token(OTHER_URL, OTHER_KEY))

    assert choose(state) == accepted


def test_a_member_follows_its_coordinator_to_another_address(
    state: StateDirectory,
) -> None:
    state.save_membership(StoredMembership(URL, KEY))

    assert choose(state, make_token(OTHER_URL, KEY)).url == OTHER_URL


def test_a_mesh_that_never_took_the_node_does_not_hold_it(
    state: StateDirectory,
) -> None:
    choose(state, make_token(URL, KEY))

    assert choose(state, make_token(OTHER_URL, OTHER_KEY)).coordinator_key == OTHER_KEY


def test_a_member_that_joins_again_is_still_a_member(state: StateDirectory) -> None:
    choose(state, make_token(URL, KEY))
    state.save_netmap(b"{}")

    with pytest.raises(ConfigError, match="already belongs to another mesh"):
        choose(state, make_token(OTHER_URL, OTHER_KEY))


def test_a_member_believes_in_another_key_only_if_the_user_says_so(
    state: StateDirectory,
) -> None:
    state.save_membership(StoredMembership(URL, KEY))
    token = make_token(OTHER_URL, OTHER_KEY)
    with pytest.raises(ConfigError, match="add --new-key"):
        choose(state, token)

    config = NodeConfig(join=str(token))
    membership = choose_membership(config, state, new_key=True)

    assert (membership.url, membership.coordinator_key) == (OTHER_URL, OTHER_KEY)
    assert state.membership() == membership


def test_a_token_from_before_a_new_key_is_still_of_this_mesh(
    state: StateDirectory,
) -> None:
    state.save_membership(StoredMembership(URL, KEY, former_key=OTHER_KEY))

    membership = choose(state, make_token(URL, OTHER_KEY))

    assert (membership.coordinator_key, membership.former_key) == (KEY, OTHER_KEY)


async def test_a_key_that_the_coordinator_named_is_remembered(
    state: StateDirectory,
) -> None:
    record = record_of_a_member(state)
    old = record.stored.coordinator_key
    new = bytes(reversed(old))
    for former in (old, None):
        record.coordinator_key_changed(new, former)
        assert state.membership() == record.stored
        assert (record.stored.coordinator_key, record.stored.former_key) == (
            new,
            former,
        )
    await record.close()


async def test_where_the_coordinators_are_is_remembered(state: StateDirectory) -> None:
    record = record_of_a_member(state)
    record.coordinators_changed((OTHER_URL, URL))
    stored = state.membership()
    assert stored == record.stored
    assert stored is not None
    assert stored.urls == (OTHER_URL, URL)
    assert (stored.url, stored.coordinator_key) == (OTHER_URL, KEY)
    await record.close()


def test_a_token_may_name_several_coordinators(state: StateDirectory) -> None:
    token = JoinToken.of_mesh([URL, OTHER_URL], KEY, AuthKeyText.generate(RANDOM))
    membership = choose(state, token)
    assert membership.urls == (URL, OTHER_URL)
    assert state.membership() == membership
    again = choose(state, JoinToken(OTHER_URL, KEY, token.auth_key))
    assert again.urls == (OTHER_URL,)


async def test_a_running_node_renews_its_membership_by_its_own_mesh_only(
    state: StateDirectory,
) -> None:
    record = record_of_a_member(state)
    token = make_token(OTHER_URL, OTHER_KEY)
    with pytest.raises(ConfigError, match="another mesh"):
        record.renew(token)
    record.renew(token, new_key=True)
    assert record.stored.coordinator_key == token.coordinator_key
    await record.close()


# What is remembered


async def test_once_accepted_the_auth_key_is_forgotten(state: StateDirectory) -> None:
    choose(state, make_token(URL, KEY))
    record = MembershipRecord(NodeConfig(), state)

    record.accepted()

    assert record.stored == StoredMembership(URL, KEY)
    assert state.membership() == StoredMembership(URL, KEY)


async def test_a_full_disk_does_not_end_a_membership(
    state: StateDirectory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(membership: StoredMembership) -> None:
        raise MeshError("The disk is full")

    choose(state, make_token(URL, KEY))
    record = MembershipRecord(NodeConfig(), state)
    monkeypatch.setattr(state, "save_membership", refuse)

    record.accepted()
    record.accepted()

    assert record.stored.auth_key is None
    assert caplog.messages == ["The disk is full"]


async def test_the_netmap_is_saved_when_it_has_changed(state: StateDirectory) -> None:
    record = record_of_a_member(state)
    record.save_from(lambda: b"netmap", lambda: b"pins")

    record.netmap_changed()
    await record.close()

    assert state.netmap() == b"netmap"


async def test_pinned_keys_are_saved_and_outlast_an_expulsion(
    state: StateDirectory,
) -> None:
    record = record_of_a_member(state)
    record.save_from(lambda: b"netmap", Trust(Pins(networks=("10.0.0.0/8",))).to_json)

    record.trust_changed()
    record.expelled()
    await record.close()

    assert state.pins().networks == ("10.0.0.0/8",)


async def test_an_expelled_node_forgets_the_netmap(state: StateDirectory) -> None:
    record = record_of_a_member(state)
    record.save_from(lambda: b"netmap", lambda: b"pins")

    record.netmap_changed()
    record.expelled()
    await record.close()

    assert state.netmap() is None


async def test_an_unreadable_netmap_counts_as_none(
    state: StateDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    record = record_of_a_member(state)
    assert record.cached_netmap() is None
    assert caplog.messages == []
    assert not record.has_lost_netmap

    state.save_netmap(b"{")

    assert record.cached_netmap() is None
    assert len(caplog.messages) == 1
    assert record.has_lost_netmap


async def test_a_netmap_that_was_saved_is_read(state: StateDirectory) -> None:
    registered = Registered(epoch="e", name="n", addresses=(), networks=())
    parts = PeerTable("own key").cache(registered)
    state.save_netmap(b"".join(parts))

    cached = record_of_a_member(state).cached_netmap()

    assert cached is not None
    assert cached.registered == registered


def record_of_a_member(state: StateDirectory) -> MembershipRecord:
    state.save_membership(StoredMembership(URL, KEY))
    return MembershipRecord(NodeConfig(), state)


def choose(state: StateDirectory, token: JoinToken | None = None) -> StoredMembership:
    """Return which mesh a daemon would be in."""
    config = NodeConfig(join=None if token is None else str(token))
    return choose_membership(config, state)


def make_token(url: str, key: bytes) -> JoinToken:
    return JoinToken(url, key, AuthKeyText.generate(RANDOM))


# Why it is not a member

STRANGER = Expelled("Who?", forget=False, code=ErrorCode.NOT_A_MEMBER)


@pytest.mark.parametrize(
    ("token", "expelled", "kind", "status"),
    [
        (False, Expelled("Removed.", forget=True), Removed, 6),
        (False, STRANGER, Removed, 6),
        (True, Expelled("Used", forget=False, code="token-used"), NotJoined, 4),
        (True, Expelled("No", forget=False, code="wrong-key"), NotJoined, 4),
        (False, Expelled("No", forget=False, code="protocol"), CoordinatorError, 1),
    ],
)
def test_a_node_that_is_no_member_ends_with_the_status_of_the_cause(
    state: StateDirectory,
    token: bool,
    expelled: Expelled,
    kind: type[MeshError],
    status: int,
) -> None:
    state.save_membership(StoredMembership(URL, KEY))
    join = str(make_token(URL, KEY)) if token else None
    why = MembershipRecord(NodeConfig(join=join), state).explain(expelled)

    assert type(why) is kind
    assert why.exit_status == status
    assert expelled.reason.rstrip(".") in str(why)
