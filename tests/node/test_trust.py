"""Whose key a name is: what is pinned, what is held, and what the user accepts."""

import pytest

from meshwg.errors import InvalidMessage, MeshError
from meshwg.health import Health
from meshwg.keys import format_key
from meshwg.node import trust as module
from meshwg.node.trust import (
    FRESH,
    FULL,
    HELD,
    KEPT,
    MAX_NAMES,
    PART,
    Trust,
    load_pins,
)
from meshwg.wire.control import PeerEntry

NOW = 1.8e9
BOB, EVE, DAN = (format_key(bytes([n]) * 32) for n in (2, 3, 4))
OWN = ("home", "100.64.0.1")


def test_a_key_is_trusted_when_it_is_first_seen_and_ever_after() -> None:
    trust, changed = Trust(), []
    for _ in range(2):
        trust.has_changed = False
        assert is_trusted(trust, BOB, "bob")
        changed.append(trust.has_changed)
    assert changed == [True, False]


@pytest.mark.parametrize("name", ["bob", "Bob", " bob"])
def test_another_key_under_a_known_name_is_held(name: str) -> None:
    trust = known()
    assert not is_trusted(trust, EVE, name, "100.64.0.3")
    held = trust.held[EVE]
    assert (held.claim, held.owner) == ("bob", BOB)
    assert BOB in held.reason
    assert EVE in held.reason


def test_another_key_under_a_known_address_is_held() -> None:
    trust = known()
    assert not is_trusted(trust, EVE, "eve", "100.64.0.2")
    assert "which was that of bob" in trust.held[EVE].reason


def test_a_peer_that_calls_itself_as_anothers_address_is_held() -> None:
    trust = known()
    assert not is_trusted(trust, EVE, "100.64.0.2", "100.64.0.3")


@pytest.mark.parametrize("claim", [("home", "100.64.0.9"), ("eve", "100.64.0.1")])
def test_nobody_else_is_this_node(claim: tuple[str, str]) -> None:
    trust = Trust()
    assert not is_trusted(trust, EVE, *claim)
    with pytest.raises(MeshError, match="cannot be accepted"):
        trust.accept(claim[0], None, NOW)


def test_a_name_stays_its_owners_when_that_has_gone() -> None:
    trust = known()
    trust.forget(BOB)
    assert not is_trusted(trust, EVE, "bob", "100.64.0.3")
    trust.forget(EVE)
    assert is_trusted(trust, BOB, "bob")
    assert trust.held == {}


def test_a_key_may_change_its_name_and_keeps_the_old_one() -> None:
    trust = known()
    assert is_trusted(trust, BOB, "bobby")
    assert not is_trusted(trust, EVE, "bob", "100.64.0.3")
    assert not is_trusted(trust, DAN, "bobby", "100.64.0.4")
    assert is_trusted(trust, BOB, "bob")
    (pin,) = trust.pins
    assert pin.names == ("bobby", "bob")


def test_a_key_may_get_another_address_and_keeps_the_old_one() -> None:
    trust = known()
    assert is_trusted(trust, BOB, "bob", "100.64.7.7")
    assert not is_trusted(trust, EVE, "eve", "100.64.0.2")


def test_no_key_has_any_number_of_names() -> None:
    trust = known()
    for number in range(MAX_NAMES - 1):
        assert is_trusted(trust, BOB, f"bob-{number}")
    assert not is_trusted(trust, BOB, "one-more")
    assert not is_trusted(trust, EVE, "bob", "100.64.0.3")
    trust.accept("one-more", None, NOW)
    assert is_trusted(trust, BOB, "one-more")


def test_what_is_accepted_is_the_others_no_more() -> None:
    trust = known()
    is_trusted(trust, EVE, "bob", "100.64.0.3")
    held = trust.accept("bob", None, NOW)
    assert (held.entry.public_key, held.owner) == (EVE, BOB)
    assert is_trusted(trust, EVE, "bob", "100.64.0.3")
    assert not is_trusted(trust, BOB, "bob")


def test_accepting_an_address_leaves_its_former_owner_the_name() -> None:
    trust = known()
    is_trusted(trust, EVE, "eve", "100.64.0.2")
    trust.accept("eve", None, NOW)
    assert is_trusted(trust, EVE, "eve", "100.64.0.2")
    assert is_trusted(trust, BOB, "bob", "100.64.0.9")
    assert not is_trusted(trust, DAN, "bob", "100.64.0.4")


def test_only_the_key_that_was_compared_is_accepted() -> None:
    trust = known()
    is_trusted(trust, EVE, "bob", "100.64.0.3")
    with pytest.raises(MeshError, match="does not have the key"):
        trust.accept("bob", DAN, NOW)
    is_trusted(trust, DAN, "bob", "100.64.0.4")
    with pytest.raises(MeshError, match="say which by --key"):
        trust.accept("bob", None, NOW)
    assert trust.accept("bob", DAN, NOW).entry.public_key == DAN


def test_who_is_not_held_cannot_be_accepted() -> None:
    trust = known()
    with pytest.raises(MeshError, match="is not held"):
        trust.accept("bob", None, NOW)
    with pytest.raises(MeshError, match="There is no peer 'rob'"):
        trust.accept("rob", None, NOW)


def test_ephemeral_nodes_may_come_with_a_new_key_each_time() -> None:
    trust = known()
    assert is_trusted(trust, EVE, "runner", "100.64.0.3", ephemeral=True)
    trust.forget(EVE)
    assert is_trusted(trust, DAN, "runner", "100.64.0.4", ephemeral=True)
    assert [pin.public_key for pin in trust.pins] == [BOB]


def test_what_an_ephemeral_node_has_is_its_own_as_long_as_it_is_there() -> None:
    trust = Trust()
    assert is_trusted(trust, EVE, "runner", "100.64.0.3", ephemeral=True)
    assert not is_trusted(trust, DAN, "dan", "100.64.0.3")
    assert "that of runner" in trust.held[DAN].reason
    assert not is_trusted(trust, DAN, "runner", "100.64.0.4")
    trust.accept("runner", None, NOW)
    assert is_trusted(trust, DAN, "runner", "100.64.0.4")
    trust.forget(EVE)
    assert not is_trusted(trust, EVE, "runner", "100.64.0.3", ephemeral=True)
    assert is_trusted(trust, EVE, "runner-2", "100.64.0.3", ephemeral=True)
    assert is_trusted(trust, EVE, "runner-3", "100.64.0.3", ephemeral=True)
    assert is_trusted(trust, BOB, "runner-2")


def test_to_be_called_ephemeral_frees_nobodys_name() -> None:
    trust = known()
    assert not is_trusted(trust, EVE, "bob", "100.64.0.3", ephemeral=True)
    assert not is_trusted(trust, EVE, "eve", "100.64.0.2", ephemeral=True)


def test_pins_outlast_a_restart() -> None:
    trust = known()
    trust.judge_networks(("100.64.0.0/16",))
    again = Trust(load_pins(trust.to_json()))
    assert again.pins == trust.pins
    assert not is_trusted(again, EVE, "bob", "100.64.0.3")
    assert again.judge_networks(("10.0.0.0/8",)) == ("100.64.0.0/16",)


def test_pins_that_are_saved_are_of_the_moment_in_which_that_began() -> None:
    trust = known()
    before, parts = trust.pins, trust.parts()
    for number in range(PART + 1):
        key = format_key(number.to_bytes(32))
        assert is_trusted(trust, key, f"n{number}", f"100.64.7.{number}")
    assert load_pins(b"".join(parts)).pins == before
    assert load_pins(trust.to_json()).pins == trust.pins


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"schema":2}', b'{"pins":[{}]}'])
def test_damaged_pins_are_no_pins(text: bytes) -> None:
    with pytest.raises(InvalidMessage):
        load_pins(text)


def test_the_mesh_stays_where_it_was() -> None:
    trust, health = Trust(), Health()
    assert trust.judge_networks(("100.64.0.0/16",)) == ("100.64.0.0/16",)
    lie = ("100.64.0.0/16", "8.0.0.0/8")
    assert trust.judge_networks(lie) == ("100.64.0.0/16",)
    trust.complain(health)
    (complaint,) = health
    assert complaint.code == "mesh-refused"
    assert "8.0.0.0/8" in complaint.text
    trust.judge_networks(("100.64.0.0/16",))
    trust.complain(health)
    assert list(health) == []


@pytest.mark.parametrize("network", ["0.0.0.0/0", "0.0.0.0/1", "::/0", "127.0.0.0/8"])
def test_not_everything_is_the_mesh_even_at_first(network: str) -> None:
    assert Trust().judge_networks((network,)) == ()


def test_the_user_is_told_who_is_held_and_what_to_do() -> None:
    trust, health = known(), Health()
    is_trusted(trust, EVE, "bob", "100.64.0.3")
    trust.complain(health)
    (complaint,) = health
    assert complaint.code == HELD
    assert "bob" in complaint.text
    assert "'meshwg trust accept bob'" in complaint.mend
    trust.forget(EVE)
    trust.complain(health)
    assert list(health) == []


def test_without_room_those_go_that_were_not_seen_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_PINS", 2)
    trust, health = known(), Health()
    is_trusted(trust, EVE, "eve", "100.64.0.3")
    trust.forget(BOB)
    assert trust.judge(entry(DAN, "dan", "100.64.0.4"), OWN, NOW + KEPT) is None
    trust.complain(health)
    assert [each.code for each in health] == [FULL]
    assert not is_trusted(trust, DAN, "bob", "100.64.0.4")

    assert trust.judge(entry(DAN, "dan", "100.64.0.4"), OWN, NOW + KEPT + 1) is None
    trust.complain(health)
    assert list(health) == []
    assert [pin.public_key for pin in trust.pins] == [EVE, DAN]


def test_who_is_there_is_not_written_anew_each_time() -> None:
    trust, bob = known(), entry(BOB, "bob", "100.64.0.2")
    changed = []
    for age in (FRESH - 1, FRESH):
        trust.has_changed = False
        trust.judge(bob, OWN, NOW + age)
        changed.append(trust.has_changed)
    assert changed == [False, True]
    # Many peers do not make many files a day.
    trust.has_changed = False
    is_trusted(trust, EVE, "eve", "100.64.0.3")
    trust.has_changed = False
    trust.judge(entry(EVE, "eve", "100.64.0.3"), OWN, NOW + 1.5 * FRESH)
    assert not trust.has_changed
    assert trust.pins[0].last_seen == NOW + FRESH
    assert trust.pins[0].first_seen == NOW


def known() -> Trust:
    """Return what knows bob."""
    trust = Trust()
    assert is_trusted(trust, BOB, "bob")
    return trust


def is_trusted(
    trust: Trust,
    key: str,
    name: str,
    *addresses: str,
    ephemeral: bool = False,
) -> bool:
    peer = entry(key, name, *(addresses or ("100.64.0.2",)), ephemeral=ephemeral)
    return trust.judge(peer, OWN, NOW) is None


def entry(key: str, name: str, *addresses: str, ephemeral: bool = False) -> PeerEntry:
    return PeerEntry(
        public_key=key,
        name=name,
        addresses=addresses,
        version=1,
        ephemeral=ephemeral,
    )
