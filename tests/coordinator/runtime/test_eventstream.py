"""Server-sent events of a running coordinator."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from coordinator.administration import events
from coordinator.mesh.operations import AddRecord, Administered, RevokeApiToken
from coordinator.runtime import eventstream
from coordinator.runtime.server import CoordinatorProcess
from meshwg.wire.dnsrecords import DnsRecord
from tests.coordinator.programs import running

PATIENCE = 20.0
"""Seconds for what happens at once on a machine that has time."""


class Followable:
    """A coordinator whose events are followed."""

    def __init__(self, process: CoordinatorProcess, bearer: str) -> None:
        self.process = process
        self.bearer = bearer

    async def add_record(self, number: int) -> None:
        record = DnsRecord(name="api", kind="A", value=f"10.0.0.{number}")
        await self.process._worker.request(Administered(AddRecord(record), "me"))

    @asynccontextmanager
    async def follow(
        self, bearer: str = "", last: str = ""
    ) -> AsyncIterator["Following"]:
        """Follow the events, with a token or with the one that may do everything."""
        headers = {"Authorization": f"Bearer {bearer or self.bearer}"}
        headers["Last-Event-ID"] = last
        url = self.process.public.url + "/v1/events"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers=headers) as response,
        ):
            yield Following(response)

    async def make_token(self, *scopes: str) -> tuple[str, str]:
        """Return a new API token, and its number."""
        headers = {"Authorization": f"Bearer {self.bearer}"}
        url = self.process.public.url + "/v1/api-tokens"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, headers=headers, json={"scopes": scopes}) as response,
        ):
            made = await response.json()
            return made["token"], made["id"]


class Following:
    """The answer to one who follows."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def event(self) -> tuple[str, str, dict[str, Any]]:
        """Return kind, id and data of the next event."""
        async with asyncio.timeout(PATIENCE):
            fields: dict[str, str] = {}
            while line := (await self.response.content.readline()).decode():
                name, _, value = line.rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "data" in fields:
                    return fields["event"], fields["id"], json.loads(fields["data"])
        raise AssertionError("the stream has ended")

    async def end(self) -> None:
        """Wait for the end of the stream."""
        async with asyncio.timeout(PATIENCE):
            while await self.response.content.readany():
                pass


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Followable]:
    async with running(tmp_path) as (process, foundation):
        yield Followable(process, foundation.admin_token)


async def test_what_happens_is_told_as_it_happens(served: Followable) -> None:
    async with served.follow() as following:
        assert following.response.content_type == "text/event-stream"
        kind, _, data = await following.event()
        assert (kind, data["schema"]) == ("begin", 1)

        await served.add_record(1)

        kind, _, data = await following.event()
        assert (kind, data["records"][0]["value"]) == ("records", "10.0.0.1")


async def test_whoever_loses_the_connection_misses_nothing(served: Followable) -> None:
    async with served.follow() as stays:
        await stays.event()
        async with served.follow() as goes:
            _, id_, _ = await goes.event()
        await served.add_record(1)
        async with served.follow(last=id_) as back:
            assert (await back.event())[0] == "records"
        async with served.follow(last="home-1") as late:
            assert (await late.event())[0] == "begin"


async def test_nobody_follows_without_the_right(served: Followable) -> None:
    token, _ = await served.make_token("nodes:read")
    async with served.follow(token) as following:
        assert following.response.status == 403


async def test_a_token_that_is_revoked_ends_the_stream(
    served: Followable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventstream, "HEARTBEAT", 0.05)
    token, number = await served.make_token("events:read")
    async with served.follow(token) as following:
        assert (await following.event())[0] == "begin"
        await served.process._worker.request(Administered(RevokeApiToken(number), "me"))
        await following.end()


async def test_one_who_takes_nothing_is_cut(
    served: Followable, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write(_: web.StreamResponse, data: bytes) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(eventstream, "SEND_LIMIT", 0.05)
    async with served.follow() as following:
        await following.event()
        monkeypatch.setattr(web.StreamResponse, "write", write)
        await served.add_record(1)
        await following.end()


async def test_there_is_a_limit_to_those_who_follow(
    served: Followable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_FOLLOWERS", 1)
    async with served.follow() as first:
        await first.event()
        async with served.follow() as second:
            assert second.response.status == 503


async def test_the_end_of_the_coordinator_ends_the_stream(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, foundation):
        served = Followable(process, foundation.admin_token)
        follow = served.follow()
        following = await follow.__aenter__()
        await following.event()
    await following.end()
    await follow.__aexit__(None, None, None)
