"""What nobody expected is counted, and fills no log."""

import asyncio
import logging

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from coordinator.runtime.unexpected import INTERVAL, MAX_KINDS, Unexpected


def test_one_kind_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    unexpected = Unexpected()
    for tick in range(600):
        unexpected.note("thinking", ValueError("x"), tick / 10)
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is not None
    unexpected.note("thinking", ValueError("x"), INTERVAL + 1)
    assert len(caplog.records) == 2
    assert "599 more" in caplog.messages[1]
    assert unexpected.count == 601


def test_each_kind_has_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    unexpected = Unexpected()
    unexpected.note("thinking", ValueError("x"), 0.0)
    unexpected.note("thinking", KeyError("x"), 0.0)
    unexpected.note("listening", ValueError("x"), 0.0)
    unexpected.note("listening", None, 0.0)
    assert len(caplog.records) == 4


def test_many_kinds_cost_bounded_memory() -> None:
    unexpected = Unexpected()
    for number in range(2 * MAX_KINDS):
        for _ in range(2):
            unexpected.note(f"thinking {number}", ValueError("x"), 0.0)
    assert len(unexpected._unlogged) <= MAX_KINDS
    assert len(unexpected._lines) <= MAX_KINDS


async def test_an_event_loop_reports_what_its_callbacks_raise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unexpected = Unexpected()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(unexpected.note_in_loop)
    for _ in range(50):
        loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
    assert unexpected.count == 50
    assert len(caplog.records) == 1


async def test_a_request_that_a_handler_did_not_expect_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unexpected = Unexpected()

    async def fail(_: web.Request) -> web.StreamResponse:
        raise ZeroDivisionError

    async def refuse(_: web.Request) -> web.StreamResponse:
        raise web.HTTPNotFound

    request = make_mocked_request("GET", "/healthz")
    response = await unexpected.middleware(request, fail)
    assert response.status == 500
    with pytest.raises(web.HTTPNotFound):
        await unexpected.middleware(request, refuse)
    assert unexpected.count == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
