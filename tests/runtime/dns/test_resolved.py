"""systemd-resolved, played on a bus of its own; the real one is in
tests/interop/test_resolved.py."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from meshwg.errors import MeshError
from meshwg.runtime.dns import resolved as module
from meshwg.runtime.dns.integration import Registration
from meshwg.runtime.dns.resolved import MANAGER, NAME, Resolved, leave

WANTED = Registration(
    *("meshwg0", 7, "127.0.0.1", 5300, "mesh.internal"), ("77.100.in-addr.arpa",)
)
OPTIONAL = ("SetLinkLLMNR", "SetLinkMulticastDNS", "SetLinkDNSSEC", "SetLinkDNSOverTLS")


class PlayedResolved:
    """Something that answers as the service would."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self.calls: list[tuple[str, list[Any]]] = []
        self.refuses: tuple[str, ...] = ()
        bus.add_message_handler(self._on_message)

    @classmethod
    async def start(cls) -> "PlayedResolved":
        made = cls(await MessageBus(bus_type=BusType.SYSTEM).connect())
        await made.bus.request_name(NAME)
        return made

    def _on_message(self, message: Message) -> Message | bool:
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        member = message.member or ""
        self.calls.append((member, message.body))
        if member in self.refuses:
            return Message.new_error(message, f"{NAME}.No", "It cannot be")
        if member == "GetLink":
            return Message.new_method_return(message, "o", ["/link/_37"])
        if member == "Get":
            known = [body[1] for name, body in self.calls if name == "SetLinkDNSEx"]
            servers = known[-1] if known else []
            value = Variant("a(iayqs)", servers)
            return Message.new_method_return(message, "v", [value])
        return Message.new_method_return(message)


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bus, which the tested code takes for the system's."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("needs dbus-daemon: install Debian's package 'dbus'")
    address = f"unix:path={tmp_path}/bus"
    daemon = subprocess.Popen(
        [
            "dbus-daemon",
            "--session",
            f"--address={address}",
            "--nofork",
            "--print-address",
        ],
        stdout=subprocess.PIPE,
    )
    assert daemon.stdout is not None
    daemon.stdout.readline()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    monkeypatch.setattr(module, "_is_asked", lambda: True)
    yield address
    daemon.terminate()
    daemon.wait()
    daemon.stdout.close()


@pytest_asyncio.fixture
async def service(address: str) -> AsyncIterator[PlayedResolved]:
    made = await PlayedResolved.start()
    yield made
    await leave(made.bus)


async def find() -> Resolved:
    found = await Resolved.find(lambda: None)
    assert found is not None
    return found


async def test_it_is_told_what_the_mesh_s_server_knows(service: PlayedResolved) -> None:
    there = await find()

    assert await there.apply(WANTED) == ()

    calls = dict(service.calls)
    assert calls["SetLinkDNSEx"] == [7, [(2, bytes([127, 0, 0, 1]), 5300, "")]]
    assert calls["SetLinkDomains"] == [
        7,
        [("mesh.internal", False), ("77.100.in-addr.arpa", True)],
    ]
    assert calls["SetLinkDefaultRoute"] == [7, False]
    assert [calls[each] for each in OPTIONAL] == [[7, "no"]] * 4
    assert "FlushCaches" in calls
    assert not await there.has_changed()
    assert (there.mode, there.forwards) == ("systemd-resolved", False)
    await there.undo()
    assert service.calls[-1] == ("RevertLink", [7])


async def test_a_server_for_everything_is_asked_for_everything(
    service: PlayedResolved,
) -> None:
    there = await find()

    await there.apply(Registration("m", 7, "::1", 53, "mesh.internal", (), True))

    calls = dict(service.calls)
    assert calls["SetLinkDNSEx"][1][0][0] == 10
    assert (".", True) in calls["SetLinkDomains"][1]
    assert calls["SetLinkDefaultRoute"] == [7, True]
    await there.undo()


async def test_other_servers_of_the_interface_are_noticed(
    service: PlayedResolved,
) -> None:
    there = await find()
    await there.apply(WANTED)

    service.calls.append(("SetLinkDNSEx", [7, []]))

    assert await there.has_changed()
    await there.undo()


async def test_what_it_was_built_without_it_may_refuse(service: PlayedResolved) -> None:
    service.refuses = (*OPTIONAL, "FlushCaches", "RevertLink")
    there = await find()

    await there.apply(WANTED)

    await there.undo()


async def test_what_it_must_know_it_must_not_refuse(service: PlayedResolved) -> None:
    service.refuses = ("SetLinkDNSEx",)
    there = await find()

    with pytest.raises(MeshError, match=r"refuses SetLinkDNSEx \(It cannot be\)"):
        await there.apply(WANTED)
    await there.undo()


async def test_it_is_told_again_when_it_was_started_anew(
    service: PlayedResolved,
) -> None:
    returned = asyncio.Event()
    there = await Resolved.find(returned.set)
    assert there is not None
    await there.apply(WANTED)

    await service.bus.release_name(NAME)
    assert not returned.is_set()
    await service.bus.request_name(NAME)

    await asyncio.wait_for(returned.wait(), 10)
    await there.undo()


async def test_one_that_does_not_answer_is_an_error(
    service: PlayedResolved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT", 0.2)
    there = await find()
    service.bus.add_message_handler(lambda message: True)
    service.bus.remove_message_handler(service._on_message)

    with pytest.raises(MeshError, match="does not answer"):
        await there.apply(WANTED)
    await there.undo()


async def test_a_bus_that_is_gone_is_noticed(service: PlayedResolved) -> None:
    there = await find()
    await there.apply(WANTED)
    before = there.is_lost

    await leave(there._bus)

    assert (before, there.is_lost) == (False, True)
    assert await there.has_changed()
    with pytest.raises(MeshError):
        await there.apply(WANTED)
    await there.undo()


async def test_without_the_service_there_is_none(address: str) -> None:
    assert await Resolved.find(lambda: None) is None


async def test_without_a_bus_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_is_asked", lambda: True)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/nothing")

    assert await Resolved.find(lambda: None) is None


@pytest.mark.parametrize(
    ("resolv_conf", "nsswitch", "is_asked"),
    [
        ("nameserver 127.0.0.53\n", "", True),
        ("nameserver 192.0.2.1\n", "hosts: files dns\n", False),
        ("nameserver 192.0.2.1\n", "passwd: x\nhosts: files resolve dns\n", True),
        ("", "", False),
    ],
)
def test_it_counts_if_programs_ask_it(
    resolv_conf: str,
    nsswitch: str,
    is_asked: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in (("RESOLV_CONF", resolv_conf), ("NSSWITCH", nsswitch)):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(module, name, tmp_path / name)

    assert module._is_asked() is is_asked


def test_its_names_are_those_of_the_manual() -> None:
    assert MANAGER == "org.freedesktop.resolve1.Manager"
