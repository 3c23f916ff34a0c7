"""Probes of a network by ICMP, in a namespace."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshwg.errors import NotPermitted
from meshwg.runtime.lanprobe import LanProbe
from netlab.lab import Lab
from netlab.machine import Host

PATIENCE = 30.0


@pytest.mark.netns
@pytest.mark.parametrize("group", ["1 0", "0 2147483647"], ids=["raw", "permitted"])
def test_an_address_that_answers_no_more_is_dead_until_it_does(
    lab: Lab, group: str
) -> None:
    cable = lab.add_switch("cable", "192.0.2.0/24")
    host, printer = (lab.add_host(name, cable) for name in ("host", "printer"))
    host.run(["sysctl", "-qw", f"net.ipv4.ping_group_range={group}"])

    async def work() -> None:
        changed = asyncio.Event()
        probe = LanProbe(printer.address(4), 0, changed.set)
        assert not probe.is_dead
        for action in ("down", "up"):
            link = ["ip", "link", "set", "eth0", action]
            await asyncio.create_subprocess_exec(*link)
            async with asyncio.timeout(PATIENCE):
                await changed.wait()
            assert probe.is_dead is (action == "down")
            changed.clear()
        probe.close()

    run(host, work)


def test_without_permission_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(NotPermitted, match="ping_group_range"):
        LanProbe("192.0.2.1", 0, lambda: None)


def run(host: Host, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine in the network of a host."""
    host.call(lambda: asyncio.run(work()))
