"""Offers from one coordinator to the other, over a WebSocket between the two."""

import asyncio
import os
from pathlib import Path

import pytest

from coordinator.control.rendezvous import Delivery
from coordinator.mesh.homes import Home
from coordinator.runtime import siblings as siblings_module
from coordinator.runtime.server import CONTROL_PATH, CoordinatorProcess
from coordinator.runtime.siblings import Siblings
from meshwg.control.events import OfferReceived
from meshwg.keys import PrivateKey
from meshwg.wire.control import OfferMessage, to_json
from tests.coordinator.live import LiveNode, eventually
from tests.coordinator.programs import make_certificate, make_token, running


@pytest.mark.parametrize("tls", [False, True])
async def test_an_offer_arrives_once_the_connection_is_there(
    tmp_path: Path, tls: bool
) -> None:
    options = {}
    if tls:
        certificate, key_file = make_certificate(tmp_path)
        options = {"tls_cert": certificate, "tls_key": key_file}
    async with running(tmp_path / "data", **options) as (process, foundation):
        node = await LiveNode(await make_token(process, foundation)).joined()
        sender = "A" * 43 + "="
        offer = OfferMessage(to=node.key, sender=sender, sequence=5)
        delivery = Delivery(node.key, "", to_json(offer))
        siblings = Siblings(lambda: foundation.private_key, CONTROL_PATH)
        home = home_of(process)
        # The first one goes through the database.
        assert not siblings.forward(delivery, home)
        await eventually(lambda: siblings.forward(delivery, home))
        assert (await node.event(OfferReceived)).offer.sequence == 5
        assert siblings.forwarded == 1
        assert process._server.counters["siblings"] == 1
        await siblings.close()
        await node.vanish()


@pytest.mark.parametrize("wrong", ["key", "home", "address", "url"])
async def test_what_leads_to_no_other_coordinator_carries_nothing(
    tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siblings_module, "RETRY_INTERVAL", 0.05)
    async with running(tmp_path) as (process, foundation):
        key, home = foundation.private_key, home_of(process)
        if wrong == "key":
            key = PrivateKey.generate(os.urandom)
        elif wrong == "home":
            home = Home("another", direct=home.direct)
        else:
            direct = "http://127.0.0.1:1" if wrong == "address" else "http://["
            home = Home(home.name, direct=direct)
        siblings = Siblings(lambda: key, CONTROL_PATH)
        delivery = Delivery("to", home.name, b"{}")
        for _ in range(20):
            assert not siblings.forward(delivery, home)
            await asyncio.sleep(0.02)
        assert process._server.counters["siblings"] == 0
        await siblings.close()


async def test_a_connection_that_is_lost_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siblings_module, "RETRY_INTERVAL", 0.05)
    async with running(tmp_path) as (process, foundation):
        home = home_of(process)
        siblings = Siblings(lambda: foundation.private_key, CONTROL_PATH)
        delivery = Delivery("to", home.name, b"{}")
        await eventually(lambda: siblings.forward(delivery, home))
        for outbox in process._endpoint._outboxes.values():
            outbox.close(1012)
        await eventually(lambda: not siblings.forward(delivery, home))
        await eventually(lambda: siblings.forward(delivery, home))
        assert process._server.counters["siblings"] == 2
        await siblings.close()


async def test_a_process_that_says_no_address_is_not_looked_for(
    tmp_path: Path,
) -> None:
    siblings = Siblings(lambda: PrivateKey.generate(os.urandom), CONTROL_PATH)
    assert not siblings.forward(Delivery("to", "home", b"{}"), Home("home"))
    await siblings.close()


def home_of(process: CoordinatorProcess) -> Home:
    return process._home
