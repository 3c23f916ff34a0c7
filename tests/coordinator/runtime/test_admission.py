"""Connections in the middle of an exchange: how many, how long, how large."""

import asyncio
from typing import Any

import pytest

from coordinator.runtime import admission as module
from coordinator.runtime.admission import EXCHANGE_LIMIT, Admission, Visit
from coordinator.runtime.proxied import TrustedProxies


class Transport:
    """A connection that notes whether it was cut."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.cuts = 0
        self.reading: list[bool] = []

    @property
    def aborted(self) -> bool:
        return self.cuts > 0

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return self.host, 7

    def abort(self) -> None:
        self.cuts += 1

    def pause_reading(self) -> None:
        self.reading.append(False)

    def resume_reading(self) -> None:
        self.reading.append(True)


async def test_when_all_places_are_taken_a_newcomer_gets_that_of_a_silent_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_EXCHANGES", 4)
    admission = Admission()
    flood = [visit(admission, "192.0.2.1") for _ in range(4)]
    newcomer, transport = visit(admission, "192.0.2.2")
    assert [transport.aborted for _, transport in flood] == [True, *[False] * 3]
    assert not transport.aborted
    assert admission.cut["displaced"] == 1
    assert len(admission) == 4
    newcomer.end()


async def test_connections_of_a_proxy_are_its_clients_as_soon_as_these_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "EXCHANGES_PER_ADDRESS", 2)
    admission = Admission(TrustedProxies(["10.1.0.5/32"]))
    unknown = [visit(admission, "10.1.0.5") for _ in range(4)]
    assert admission.refused == 0

    one, other, excess, _ = (each for each, _ in unknown)
    assert one.belongs_to("203.0.113.7")
    assert other.belongs_to("203.0.113.7")
    assert not excess.belongs_to("203.0.113.7")
    assert (one.host, len(admission)) == ("203.0.113.7", 3)

    another: Any = Transport("203.0.113.7")
    assert not Visit(admission).begin(another)
    assert another.aborted


async def test_what_somebody_else_counts_stays_whosever_it_is() -> None:
    admission = Admission(TrustedProxies(["10.1.0.5/32"]))
    one, _ = visit(admission, "10.1.0.5")
    one.leave()
    assert one.belongs_to("203.0.113.7")
    assert len(admission) == 0


async def test_what_is_larger_than_any_request_is_cut() -> None:
    admission = Admission()
    one, transport = visit(admission, "192.0.2.1")
    assert one.heard(EXCHANGE_LIMIT)
    assert transport.cuts == 0
    assert not one.heard(1)
    assert transport.cuts == 1
    assert not one.heard(1)
    assert admission.cut == {"too-large": 1}
    assert len(admission) == 0


async def test_nothing_more_is_read_while_it_is_found_out_who_sends_it() -> None:
    admission = Admission()
    one, transport = visit(admission, "192.0.2.1")
    with one.held():
        assert transport.reading == [False]
    assert transport.reading == [False, True]
    with one.held():
        one.end()
    with one.held():
        assert len(admission) == 0
    assert transport.reading == [False, True, False]


async def test_who_has_shown_who_he_is_may_send_more_for_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "EXCHANGE_TIMEOUT", 0.01)
    monkeypatch.setattr(module, "UPLOAD_TIMEOUT", 60.0)
    admission = Admission()
    one, transport = visit(admission, "192.0.2.1")
    one.expect(1000)
    assert one.heard(EXCHANGE_LIMIT + 1000)
    await asyncio.sleep(0.05)
    assert transport.cuts == 0
    assert not one.heard(1)
    assert admission.cut == {"too-large": 1}


async def test_what_somebody_else_counts_is_neither_late_nor_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "EXCHANGE_TIMEOUT", 0.01)
    admission = Admission()
    one, transport = visit(admission, "192.0.2.1")
    one.leave()
    assert len(admission) == 0
    assert one.heard(2 * EXCHANGE_LIMIT)
    await asyncio.sleep(0.05)
    assert not transport.aborted


async def test_what_is_given_back_is_counted_and_ends_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.01)
    admission = Admission()
    one, transport = visit(admission, "192.0.2.1")
    one.leave()
    one.close()
    one.close()
    assert len(admission) == 1
    assert transport.cuts == 0
    await asyncio.sleep(0.05)
    assert transport.cuts == 1
    assert len(admission) == 0


async def test_what_is_given_back_where_all_places_are_taken_ends_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "EXCHANGES_PER_ADDRESS", 1)
    admission = Admission()
    one, transport = visit(admission, "192.0.2.1")
    one.leave()
    other, _ = visit(admission, "192.0.2.1")
    one.close()
    assert transport.aborted
    assert len(admission) == 1
    other.end()


def visit(admission: Admission, host: str) -> tuple[Visit, Transport]:
    made = Visit(admission)
    transport: Any = Transport(host)
    assert made.begin(transport)
    return made, transport
