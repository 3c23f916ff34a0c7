"""Being an exit: what passes between a mesh, here another cable, and the internet."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from meshwg.health import Health
from meshwg.runtime.exitside import CODE, ExitSide
from netlab.lab import Lab
from netlab.machine import FORWARDING, Host

pytestmark = pytest.mark.netns

MESH = "eth1"
PORT = 80


@pytest.fixture
def machines(lab: Lab) -> tuple[Host, Host, Host]:
    """Return an exit, a member of the mesh, and a machine of the internet."""
    cable = lab.add_switch("cable", "203.0.113.0/24", "2001:db8::/64")
    mesh = lab.add_switch("mesh", "100.64.0.0/24", "fd00::/64")
    leaving, outside = lab.add_host("exit", cable), lab.add_host("outside", cable)
    member = lab.add_host("member", mesh)
    leaving.attach(mesh, MESH)
    leaving.namespace.set_sysctl(FORWARDING)
    for host, far in ((member, MESH), (outside, "eth0")):
        for version in (4, 6):
            near = leaving.attachments[far].addresses
            gateway = next(each for each in near if (":" in each) == (version == 6))
            host.run(["ip", f"-{version}", "route", "add", "default", "via", gateway])
    return leaving, member, outside


@pytest.mark.parametrize("version", [4, 6])
def test_members_reach_the_internet_as_this_machine(
    machines: tuple[Host, Host, Host], version: int
) -> None:
    leaving, member, outside = machines
    be(leaving, is_exit=True)

    with listening(outside, version) as server:
        assert reaches(member, outside.address(version))
        accepted, peer = server.accept()
        accepted.close()

    assert peer[0] == leaving.address(version)


@pytest.mark.parametrize("version", [4, 6])
def test_nobody_begins_a_connection_into_the_mesh(
    machines: tuple[Host, Host, Host], version: int
) -> None:
    leaving, member, outside = machines
    with listening(member, version):
        assert reaches(outside, member.address(version))

        be(leaving, is_exit=True)

        assert not reaches(outside, member.address(version))


def test_segments_fit_the_mesh(machines: tuple[Host, Host, Host]) -> None:
    leaving, member, outside = machines
    leaving.run(["ip", "link", "set", MESH, "mtu", "1300"])
    be(leaving, is_exit=True)

    with listening(outside, 4) as server, member.call(socket.socket) as client:
        client.connect((outside.address(), PORT))
        accepted, _ = server.accept()
        with accepted:
            size = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)

    assert size <= 1260


def test_what_was_there_is_gone_when_it_is_no_exit_any_more(
    machines: tuple[Host, Host, Host],
) -> None:
    leaving, _, _ = machines
    be(leaving, is_exit=True)
    assert "meshwg-exit-eth1" in leaving.run(["nft", "list", "tables"]).stdout
    be(leaving, is_exit=False)
    assert leaving.run(["nft", "list", "tables"]).stdout == ""


def test_a_system_that_refuses_it_is_complained_of(
    machines: tuple[Host, Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving, _, _ = machines
    health = Health()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        be(leaving, is_exit=True, health=health)

    (complaint,) = health
    assert complaint.code == CODE
    assert "nft" in complaint.text


def be(host: Host, *, is_exit: bool, health: Health | None = None) -> None:
    """Be an exit, and if not, stop being one."""

    async def follow() -> None:
        side = ExitSide(MESH, health or Health())
        side.follow(True)
        await side.settle()
        if not is_exit:
            await side.close()

    run(host, follow)


def run(host: Host, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return host.call(lambda: asyncio.run(work()))


def reaches(host: Host, address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host.call(lambda: socket.socket(family, socket.SOCK_STREAM)) as sock:
        sock.settimeout(2)
        return sock.connect_ex((address, PORT)) == 0


@contextmanager
def listening(host: Host, version: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    place = ("::" if version == 6 else "0.0.0.0", PORT)
    with host.call(lambda: socket.create_server(place, family=family)) as server:
        server.settimeout(5)
        yield server
