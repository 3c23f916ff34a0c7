"""One allocation over its lives: granted, refreshed, refused, lost, made again."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.turn.credentials import long_term_key
from meshwg.relay.allocation import (
    CLEARED_RETRY,
    DEFAULT_LIFETIME,
    FIRST_RETRY,
    LAST_RETRY,
    MIN_REFRESH,
    REFRESH_PART,
    REFUSED_RETRY,
    Allocated,
    Allocation,
    Lost,
    Redirected,
    RelayState,
    explain,
)
from meshwg.relay.transactions import Transactions, TurnCredentials
from meshwg.transmit import Endpoint
from meshwg.wire.stun import (
    Attribute,
    Class,
    Message,
    Method,
    StunErrorCode,
    encode,
    parse,
)

RELAYED = Endpoint("198.51.100.1", 50000)
MAPPED = Endpoint("203.0.113.1", 1111)
FORMER = TurnCredentials("former user", "former password")
ELSEWHERE = Endpoint("203.0.113.2", 2222)
OTHER_RELAYED = Endpoint("198.51.100.1", 50001)
BELIEVED_ELSEWHERE = "The relay sees this node at another address now"


def granted(mapped: Endpoint, relayed: Endpoint) -> dict[Attribute, Any]:
    """Return the attributes of a grant."""
    return {
        Attribute.XOR_RELAYED_ADDRESS: (relayed.host, relayed.port),
        Attribute.XOR_MAPPED_ADDRESS: (mapped.host, mapped.port),
        Attribute.LIFETIME: 600,
    }


GRANTED = granted(MAPPED, RELAYED)


def test_it_is_offline_until_it_is_started() -> None:
    relay = Relay()

    assert relay.state() is RelayState.OFFLINE
    assert relay.allocation.get_timer() is None
    assert relay.requests() == []


def test_a_grant_is_reported_with_its_expiry() -> None:
    relay = Relay()
    relay.start()
    assert relay.state() is RelayState.CONNECTING
    relay.answer(GRANTED, now=1.0)

    assert relay.state() is RelayState.ALLOCATED
    assert relay.events() == [Allocated(is_new=True)]
    assert relay.allocation.get_timer() == 1.0 + 600 * REFRESH_PART


def test_an_omitted_lifetime_is_the_default() -> None:
    relay = Relay()
    relay.start()
    relay.answer({k: v for k, v in GRANTED.items() if k is not Attribute.LIFETIME})

    assert relay.allocation.get_timer() == DEFAULT_LIFETIME * REFRESH_PART


@pytest.mark.parametrize("lifetime", [0, 1, 6])
def test_a_short_lifetime_does_not_make_it_refresh_all_the_time(lifetime: int) -> None:
    relay = Relay()
    relay.start()
    relay.answer(GRANTED | {Attribute.LIFETIME: lifetime})

    assert relay.allocation.get_timer() == MIN_REFRESH


@pytest.mark.parametrize(
    "missing", [Attribute.XOR_RELAYED_ADDRESS, Attribute.XOR_MAPPED_ADDRESS]
)
def test_a_grant_without_addresses_does_not_count(missing: Attribute) -> None:
    relay = Relay()
    relay.start()
    relay.answer({k: v for k, v in GRANTED.items() if k is not missing})

    assert relay.state() is RelayState.OFFLINE
    assert relay.events() == [Lost("The relay's answer makes no sense")]
    assert relay.allocation.get_timer() == REFUSED_RETRY


def test_a_refresh_extends_it_silently() -> None:
    relay = allocated()
    relay.allocation.handle_timer(450.0)
    relay.answer({Attribute.LIFETIME: 600}, now=450.0)

    assert relay.state() is RelayState.ALLOCATED
    assert relay.events() == []
    assert relay.allocation.get_timer() == 450.0 + 450.0


def test_only_one_refresh_is_requested_at_a_time() -> None:
    relay = allocated()
    relay.allocation.refresh(10.0)
    relay.allocation.refresh(11.0)

    assert relay.requests() == [(Method.REFRESH, None)]


@pytest.mark.parametrize("code", [437, 441])
def test_an_allocation_unknown_to_the_server_is_replaced(code: int) -> None:
    relay = allocated()
    relay.allocation.handle_timer(450.0)
    relay.refuse(code, now=450.0)

    assert relay.state() is RelayState.CONNECTING
    assert [type(event) for event in relay.events()] == [Lost]
    assert relay.requests() == [(Method.ALLOCATE, None)]
    relay.answer(GRANTED, now=450.1)
    assert relay.events() == [Allocated(is_new=True)]


def test_a_node_that_is_seen_elsewhere_needs_another_allocation() -> None:
    relay = allocated()
    relay.allocation.seen_at(ELSEWHERE, 10.0)

    assert relay.state() is RelayState.CONNECTING
    assert [type(event) for event in relay.events()] == [Lost]
    assert relay.requests() == [(Method.ALLOCATE, None)]
    relay.answer(granted(ELSEWHERE, OTHER_RELAYED), now=10.1)
    assert relay.allocation.relayed == OTHER_RELAYED


def test_a_node_that_is_seen_where_it_was_needs_none() -> None:
    relay = allocated()
    relay.allocation.seen_at(MAPPED, 10.0)
    assert relay.events() == []
    assert relay.requests() == []


def test_a_node_that_is_back_takes_up_the_allocation_that_it_left_there() -> None:
    relay = away()
    relay.allocation.seen_at(MAPPED, 20.0)

    assert relay.allocation.relayed == RELAYED
    assert relay.events() == [Lost(BELIEVED_ELSEWHERE), Allocated(is_new=True)]
    assert relay.requests() == [(Method.REFRESH, None)], "it may be gone"
    relay.refuse(437, now=20.1)
    assert relay.requests() == [(Method.ALLOCATE, None)]


def test_what_has_expired_meanwhile_is_not_taken_up() -> None:
    relay = away()
    relay.allocation.seen_at(MAPPED, 700.0)
    assert relay.allocation.relayed is None
    assert relay.requests() == [(Method.ALLOCATE, None)]


def test_only_the_last_places_are_remembered() -> None:
    relay = allocated()
    for number in range(20):
        place = Endpoint("203.0.113.9", 2000 + number)
        relay.allocation.seen_at(place, 10.0)
        relay.answer(granted(place, Endpoint(RELAYED.host, 50001 + number)), now=10.0)
    relay.requests()
    relay.allocation.seen_at(MAPPED, 11.0)
    assert relay.requests() == [(Method.ALLOCATE, None)]


def test_another_refusal_of_a_refresh_takes_it_offline() -> None:
    relay = allocated()
    relay.allocation.handle_timer(450.0)
    relay.refuse(500, now=450.0)

    assert relay.state() is RelayState.OFFLINE
    assert relay.allocation.get_timer() == 450.0 + FIRST_RETRY


def test_after_silence_it_asks_first_whether_the_old_one_survived() -> None:
    relay = allocated()
    relay.allocation.give_up(100.0)
    assert relay.allocation.error == "The relay does not answer over UDP"
    assert [type(event) for event in relay.events()] == [Lost]

    relay.allocation.handle_timer(100.0 + FIRST_RETRY)

    assert relay.requests() == [(Method.REFRESH, None)]
    relay.answer({Attribute.LIFETIME: 600}, now=101.1)
    assert relay.events() == [Allocated(is_new=False)]


def test_after_a_long_silence_it_does_not_ask_for_what_has_expired() -> None:
    relay = allocated()
    relay.allocation.give_up(100.0)

    relay.allocation.start(600.0)

    assert relay.requests() == [(Method.ALLOCATE, None)]


def test_leftovers_of_an_earlier_process_are_deleted_before_a_retry() -> None:
    relay = Relay()
    relay.start()
    relay.refuse(437)
    assert relay.requests() == [(Method.REFRESH, 0)]
    relay.answer({Attribute.LIFETIME: 0})

    assert relay.requests() == [(Method.ALLOCATE, None)]
    relay.answer(GRANTED)
    assert relay.state() is RelayState.ALLOCATED


def test_what_the_last_process_left_is_deleted_with_its_credentials() -> None:
    relay = Relay(former=FORMER)
    relay.start()
    relay.refuse(437)
    assert relay.requests() == [(Method.REFRESH, 0)]
    assert relay.username() == FORMER.username
    relay.answer({Attribute.LIFETIME: 0})
    assert relay.requests() == [(Method.ALLOCATE, None)]
    assert relay.username() == "user"
    relay.answer(GRANTED)
    assert relay.state() is RelayState.ALLOCATED


@pytest.mark.parametrize("code", [401, 437, 441])
def test_where_those_are_not_accepted_the_present_ones_are_tried(code: int) -> None:
    relay = Relay(former=FORMER)
    relay.start()
    relay.refuse(437)
    relay.refuse(code)
    relay.refuse(437)
    assert relay.requests() == [(Method.REFRESH, 0)]
    assert relay.username() == "user"


@pytest.mark.parametrize(
    ("is_cleared", "patience"), [(True, CLEARED_RETRY), (False, REFUSED_RETRY)]
)
def test_what_stays_in_the_way_is_not_deleted_twice(
    is_cleared: bool, patience: float
) -> None:
    relay = Relay()
    relay.start()
    relay.refuse(437)
    if is_cleared:
        relay.answer({Attribute.LIFETIME: 0})
    else:
        relay.refuse(437)
    relay.refuse(437)

    assert relay.state() is RelayState.OFFLINE
    assert relay.requests() == []
    assert relay.allocation.get_timer() == patience


def test_an_address_of_the_other_family_is_used_where_the_preferred_has_none() -> None:
    relay = Relay(ip_version=6)
    relay.start()
    assert relay.families() == [2]
    relay.refuse(440)
    assert relay.families() == [None]
    relay.refuse(440)

    assert relay.state() is RelayState.OFFLINE
    assert relay.families() == []


def test_a_redirection_is_reported_and_this_server_left_alone() -> None:
    relay = Relay()
    relay.start()
    relay.refuse(300, {Attribute.ALTERNATE_SERVER: ("198.51.100.2", 3478)})

    redirected, lost = relay.events()
    assert redirected == Redirected(Endpoint("198.51.100.2", 3478))
    assert isinstance(lost, Lost)
    assert relay.allocation.get_timer() == REFUSED_RETRY


def test_a_redirection_to_nowhere_is_a_refusal() -> None:
    relay = Relay()
    relay.start()
    relay.refuse(300)

    assert [type(event) for event in relay.events()] == [Lost]


def test_an_alternate_in_another_refusal_is_not_followed() -> None:
    relay = Relay()
    relay.start()
    relay.refuse(508, {Attribute.ALTERNATE_SERVER: ("198.51.100.2", 3478)})

    assert [type(event) for event in relay.events()] == [Lost]


def test_failures_make_it_wait_longer_up_to_a_limit() -> None:
    relay = Relay()
    waits = []
    now = 0.0
    for _ in range(12):
        relay.allocation.start(now)
        relay.allocation.give_up(now)
        due = relay.allocation.get_timer()
        assert due is not None
        waits.append(due - now)
        now = due

    assert waits[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LAST_RETRY]
    assert set(waits[6:]) == {LAST_RETRY}


def test_a_success_makes_it_impatient_again() -> None:
    relay = Relay()
    for _ in range(5):
        relay.start()
        relay.allocation.give_up(0.0)
    relay.start()
    relay.answer(GRANTED)
    relay.allocation.give_up(10.0)

    assert relay.allocation.get_timer() == 10.0 + FIRST_RETRY


def test_a_change_makes_the_next_attempt_due_and_nothing_else() -> None:
    relay = Relay()
    relay.allocation.hasten(5.0)
    assert relay.allocation.get_timer() is None
    relay.start()
    relay.refuse(486)
    assert relay.allocation.get_timer() == REFUSED_RETRY
    relay.allocation.hasten(5.0)

    assert relay.allocation.get_timer() == 5.0


def test_it_is_released_at_the_end() -> None:
    relay = allocated()
    relay.allocation.stop(10.0)

    assert relay.requests() == [(Method.REFRESH, 0)]
    assert relay.state() is RelayState.OFFLINE
    assert relay.allocation.get_timer() is None
    relay.answer({Attribute.LIFETIME: 0}, now=10.1)
    assert relay.state() is RelayState.OFFLINE
    assert relay.requests() == []


def test_one_that_may_just_be_being_granted_is_released_too() -> None:
    relay = allocated()
    relay.allocation.is_gone(StunErrorCode(437, ""), 5.0)
    assert relay.requests() == [(Method.ALLOCATE, None)]

    relay.allocation.stop(5.0)

    assert relay.requests() == [(Method.REFRESH, 0)]


def test_nothing_is_released_that_cannot_exist() -> None:
    relay = Relay()
    relay.allocation.start(0.0)
    assert [method for method, _ in relay.requests()] == [Method.ALLOCATE]

    relay.allocation.stop(0.0)

    assert relay.requests() == []


@pytest.mark.parametrize("code", [300, 401, 403, 437, 440, 441, 443, 486, 508, 999])
def test_a_refusal_is_explained_with_the_code_and_the_servers_words(code: int) -> None:
    text = explain(StunErrorCode(code, "Because"))

    assert text.startswith("The relay ")
    assert text.endswith(f"({code} Because)")


@given(
    st.lists(st.sampled_from((0, 300, 401, 437, 438, 440, 441, 486, 500)), max_size=20)
)
def test_whatever_a_server_answers_it_is_asked_again(
    codes: list[int],
) -> None:
    relay = Relay()
    relay.start()
    for number, code in enumerate(codes):
        if not relay.is_asked():
            break
        if code:
            relay.refuse(code, now=float(number))
        else:
            relay.answer(GRANTED, now=float(number))
    asking = relay.transactions.get_timer() is not None

    assert asking or relay.allocation.get_timer() is not None
    assert (relay.state() is RelayState.OFFLINE) == (
        relay.allocation.error is not None and not asking
    )


class Relay:
    """An allocation, and a server that answers what the test says."""

    def __init__(
        self, ip_version: int = 4, former: TurnCredentials | None = None
    ) -> None:
        self.transactions = Transactions(
            TurnCredentials("user", "password"),
            random=random.Random(1).randbytes,
            reliable=False,
        )
        self.allocation = Allocation(self.transactions, ip_version, "udp", former)
        self._asked: list[Message] = []
        """Requests that have not been looked at."""
        self._last: Message | None = None

    def start(self) -> None:
        """Begin, with realm and nonce of a server that wants a signature."""
        is_known = self.transactions.can_sign
        self.allocation.start(0.0)
        if not is_known:
            challenge = {Attribute.REALM: "mesh.test", Attribute.NONCE: b"nonce"}
            self.refuse(401, challenge)
        self._take()
        del self._asked[:-1]

    def state(self) -> RelayState:
        return self.allocation.state

    def answer(self, attributes: dict[Attribute, Any], now: float = 0.0) -> None:
        """Answer the last request with a success."""
        self._answer(Class.SUCCESS, attributes, now)

    def refuse(
        self,
        code: int,
        attributes: dict[Attribute, Any] | None = None,
        now: float = 0.0,
    ) -> None:
        """Answer the last request with an error."""
        error = {Attribute.ERROR_CODE: StunErrorCode(code, "")}
        self._answer(Class.ERROR, error | (attributes or {}), now)

    def requests(self) -> list[tuple[Method, int | None]]:
        """Return the method and the lifetime of each request since the last look."""
        self._take()
        asked, self._asked = self._asked, []
        return [
            (each.method, each.attributes.get(Attribute.LIFETIME)) for each in asked
        ]

    def username(self) -> str | None:
        """Return in whose name the last request was made."""
        self._take()
        assert self._last is not None
        username: str | None = self._last.attributes.get(Attribute.USERNAME)
        return username

    def families(self) -> list[int | None]:
        """Return the address family that each request since the last look wants."""
        self._take()
        asked, self._asked = self._asked, []
        family = Attribute.REQUESTED_ADDRESS_FAMILY
        return [each.attributes.get(family) for each in asked]

    def is_asked(self) -> bool:
        """Tell whether the server owes an answer."""
        self._take()
        last = self._last
        return last is not None and self.transactions.has(last.transaction_id)

    def events(self) -> list[object]:
        found: list[object] = []
        while event := self.allocation.next_event():
            found.append(event)
        return found

    def _answer(self, cls: Class, attributes: dict[Attribute, Any], now: float) -> None:
        self._take()
        assert self._last is not None
        asked = self._last
        message = Message(asked.method, cls, asked.transaction_id, attributes)
        key = None
        if cls is Class.SUCCESS and Attribute.USERNAME in asked.attributes:
            username = asked.attributes[Attribute.USERNAME]
            passwords = {"user": "password", FORMER.username: FORMER.password}
            key = long_term_key(username, "mesh.test", passwords[username])
        self._asked.clear()
        answer = self.transactions.receive(parse(encode(message, key)), now)
        if answer is not None:
            self.allocation.receive(answer, now)

    def _take(self) -> None:
        for data in self.transactions.datagrams_to_send():
            self._last = parse(data)
            self._asked.append(self._last)


def away() -> Relay:
    """Return one that left its first place at 10, with another allocation."""
    relay = allocated()
    relay.allocation.seen_at(ELSEWHERE, 10.0)
    relay.answer(granted(ELSEWHERE, OTHER_RELAYED), now=10.0)
    relay.events()
    relay.requests()
    return relay


def allocated() -> Relay:
    """Return one that was granted at 0, with nothing left to be looked at."""
    relay = Relay()
    relay.start()
    relay.answer(GRANTED)
    relay.events()
    relay.requests()
    return relay
