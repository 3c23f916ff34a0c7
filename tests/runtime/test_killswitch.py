"""The kill switch, as the kernel has it: what leaves a machine beside its exit."""

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from ipaddress import ip_interface
from typing import Any

import pytest

from meshwg.errors import ConfigError
from meshwg.routing import MARKS, Configuration, ExitRoutes, mark_of
from meshwg.runtime import connections, killswitch
from meshwg.runtime.interface import MeshInterface
from meshwg.runtime.killswitch import OWNED_PREFIX, KillSwitch, is_on
from meshwg.runtime.nft import nft
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns

MESH = "meshwg0"
BIT = MARKS[0]
REFUSED = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM}
PORT, SERVICE = 8080, 80
FLUSHES = 8
Pair = tuple[Host, Host]


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sockets of these tests be those of other programs."""
    monkeypatch.setattr(connections, "_own_inodes", lambda: iter(()))


@pytest.fixture
def machines(lab: Lab) -> Pair:
    """Return a machine, and another one of the internet."""
    cable = lab.add_switch("cable", "203.0.113.0/24", "2001:db8::/64")
    host, outside = lab.add_host("host", cable), lab.add_host("outside", cable)
    host.run(["ip", "link", "add", MESH, "type", "bridge"])
    for version in (4, 6):
        host.ping(outside.address(version))
    return host, outside


@pytest.mark.parametrize("version", [4, 6])
def test_what_programs_send_is_refused_at_once(machines: Pair, version: int) -> None:
    host, outside = machines
    on(host)
    heard = outside.capture("eth0", "udp or tcp or icmp or icmp6 and ip6[40] = 128")

    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        assert knock(host, outside.address(version), kind) in REFUSED
        bound = knock(host, outside.address(version), kind, device="eth0")
        assert bound in REFUSED
    ping = ["ping", "-c", "1", "-W", "1", outside.address(version)]
    assert host.run(ping, check=False).returncode != 0
    assert heard.packets() == []


@pytest.mark.parametrize("version", [4, 6])
def test_what_carries_the_nodes_mark_leaves(machines: Pair, version: int) -> None:
    host, outside = machines
    on(host)
    with listening(outside, version):
        assert knock(host, outside.address(version), mark=mark_of(BIT)) == 0
        assert knock(host, outside.address(version), mark=1) in REFUSED


@pytest.mark.parametrize("version", [4, 6])
def test_who_comes_from_outside_is_answered(machines: Pair, version: int) -> None:
    host, outside = machines
    on(host)
    with listening(host, version):
        assert knock(outside, host.address(version)) == 0
    outside.ping(host.address(version))


@pytest.mark.parametrize("version", [4, 6])
def test_a_service_bound_to_no_address_answers_from_that_at_which_it_was_asked(
    machines: Pair, version: int
) -> None:
    host, outside = machines
    mesh = host.call(lambda: MeshInterface(MESH, 1400))
    addresses = (ip_interface("100.64.0.1/16"), ip_interface("fd00::1/48"))
    mesh.want(Configuration(addresses, exit=ExitRoutes(is_there=True)))
    host.call(mesh.settle)
    on(host)
    anywhere = "::" if version == 6 else "0.0.0.0"
    server = host.udp_socket(anywhere, PORT)
    asker = outside.udp_socket(outside.address(version))
    asker.settimeout(5)
    asker.connect((host.address(version), PORT))

    for question in (b"who?", b"who else?"):
        asker.send(question)
        asked, place = server.recvfrom(100)
        server.sendto(asked, place)
        assert asker.recv(100) == question
    # Nobody else hears anything, not even at the same address.
    other = outside.udp_socket(outside.address(version))
    other.settimeout(0.3)
    with contextlib.suppress(PermissionError):
        server.sendto(b"hello", other.getsockname()[:2])
    with pytest.raises(TimeoutError):
        other.recv(100)
    host.call(mesh.close)


def test_connections_from_outside_that_were_there_before_go_on(machines: Pair) -> None:
    host, outside = machines
    with listening(host, 4) as server, dialled(outside, host.address()) as far:
        near, _ = server.accept()
        with near:
            on(host)
            # The side of the server speaks first: nobody has seen who began.
            near.sendall(b"still here")
            assert far.recv(100) == b"still here"
            far.sendall(b"so am I")
            assert near.recv(100) == b"so am I"


def test_connections_to_outside_that_were_there_before_end(machines: Pair) -> None:
    host, outside = machines
    with listening(outside, 4) as server, dialled(host, outside.address()) as near:
        far, _ = server.accept()
        with far:
            on(host)
            # The far side speaks first, as if it had begun the connection.
            far.sendall(b"news")
            with pytest.raises(ConnectionResetError):
                say_and_listen(near)
            far.settimeout(0.5)
            with pytest.raises(TimeoutError):
                far.recv(100)


def test_datagrams_of_an_earlier_conversation_are_no_beginning(machines: Pair) -> None:
    host, outside = machines
    near, far = host.udp_socket(), outside.udp_socket()
    far_place = outside.address(), far.getsockname()[1]
    near.sendto(b"a question", far_place)
    _, asker = far.recvfrom(100)
    on(host)

    far.sendto(b"an answer", asker)
    with contextlib.suppress(PermissionError, ConnectionRefusedError):
        near.sendto(b"another question", far_place)

    far.settimeout(0.5)
    with pytest.raises(TimeoutError):
        far.recv(100)


def test_private_networks_are_reached_only_with_lan_and_never_asked_for_names(
    machines: Pair,
) -> None:
    host, outside = machines
    for machine, address in ((host, "192.168.7.1/24"), (outside, "192.168.7.2/24")):
        machine.run(["ip", "address", "add", address, "dev", "eth0"])
    switch = on(host)
    with listening(outside, 4, PORT), listening(outside, 4, 53):
        assert knock(host, "192.168.7.2", port=PORT) in REFUSED

        on(host, switch, lan=True)

        assert knock(host, "192.168.7.2", port=PORT) == 0
        assert knock(host, "192.168.7.2", port=53) in REFUSED
        assert knock(host, outside.address(), port=PORT) in REFUSED


def test_other_meshes_of_the_machine_are_let_pass(machines: Pair) -> None:
    host, outside = machines
    switch = on(host)
    with listening(outside, 4):
        on(host, switch, others=["eth0"])
        assert knock(host, outside.address()) == 0


def test_addresses_of_the_link_are_still_found(machines: Pair) -> None:
    host, outside = machines
    on(host)
    host.run(["ip", "neigh", "flush", "all"])
    with listening(outside, 6):
        assert knock(host, outside.address(6), mark=mark_of(BIT)) == 0


def test_it_stays_when_it_is_not_watched_and_goes_when_it_is_switched_off(
    machines: Pair,
) -> None:
    host, outside = machines
    switch = on(host)
    switch.close()
    assert run(host, lambda: is_on(MESH))

    run(host, KillSwitch(MESH).switch_off)

    assert not run(host, lambda: is_on(MESH))
    with listening(outside, 4):
        assert knock(host, outside.address()) == 0


def test_it_comes_back_when_another_program_removes_all_rules(machines: Pair) -> None:
    host, _ = machines

    async def flushed() -> bool:
        switch = KillSwitch(MESH)
        await switch.switch_on(BIT, lan=False)
        await nft("flush ruleset")
        await until_on()
        await end(switch)
        return await is_on(MESH)

    assert run(host, flushed)


@pytest.mark.parametrize("version", [4, 6])
def test_not_one_packet_leaves_while_another_program_removes_all_rules(
    machines: Pair, version: int
) -> None:
    host, outside = machines
    heard = outside.capture("eth0", f"udp and host {outside.address(version)}")
    stop, far = threading.Event(), outside.address(version)
    talker = host.udp_socket("::" if version == 6 else "0.0.0.0")
    talking = threading.Thread(target=talk, args=(talker, far, stop))

    async def flush() -> None:
        switch = KillSwitch(MESH)
        await switch.switch_on(BIT, lan=False)
        talking.start()
        for _ in range(FLUSHES):
            await nft("flush ruleset")
            await asyncio.sleep(0.02)
        await until_on()
        stop.set()
        talking.join()
        await end(switch)

    run(host, flush)

    assert heard.packets() == []
    assert knock_by_cable(host, outside, version) in REFUSED
    run(host, lambda: nft("flush ruleset"))
    assert knock_by_cable(host, outside, version) == 0


def test_what_belongs_to_the_node_goes_with_it(machines: Pair) -> None:
    host, _ = machines
    assert run(host, owned_before_and_after) == (True, False)


def test_without_tables_that_nobody_can_remove_the_other_one_holds(
    machines: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, outside = machines
    monkeypatch.setattr("meshwg.runtime.killswitch.OwnedTable.put", lambda *_: False)
    on(host)
    assert knock(host, outside.address()) in REFUSED


def test_what_the_system_says_against_it_is_told(
    machines: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, _ = machines
    told: list[ConfigError | None] = []

    async def flush() -> None:
        switch = KillSwitch(MESH, told.append)
        await switch.switch_on(BIT, lan=False)
        with monkeypatch.context() as patch:
            patch.setattr(killswitch, "nft", refuse_tables)
            await nft("flush ruleset")
            await until(lambda: bool(told))
        await nft("add table inet another")
        await until(lambda: told[-1] is None)
        await end(switch)

    run(host, flush)

    assert "no tables today" in str(told[0])
    assert told[-1] is None


def test_without_nftables_nothing_is_done(
    machines: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, _ = machines
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        with pytest.raises(ConfigError, match="install the package nftables"):
            on(host)


def on(
    host: Host,
    switch: KillSwitch | None = None,
    *,
    lan: bool = False,
    others: Sequence[str] = (),
) -> KillSwitch:
    switch = switch or KillSwitch(MESH)

    async def begin() -> None:
        await switch.switch_on(BIT, lan=lan, others=others)
        switch.close()

    run(host, begin)
    return switch


def talk(sock: socket.socket, address: str, stop: threading.Event) -> None:
    """Send datagrams by the cable, as fast as the system takes them, until told."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    while not stop.is_set():
        with contextlib.suppress(OSError):
            sock.sendto(b"a secret", (address, PORT))


def knock_by_cable(host: Host, outside: Host, version: int) -> int:
    """Return the number of the error that a datagram meets, 0 for none."""
    address = outside.address(version)
    with outside.udp_socket("::" if version == 6 else "0.0.0.0", SERVICE):
        return knock(host, address, socket.SOCK_DGRAM, device="eth0")


async def owned_before_and_after() -> tuple[bool, bool]:
    """Tell whether the table nobody can remove is there with a switch, and after it."""
    switch = KillSwitch(MESH)
    await switch.switch_on(BIT, lan=False)
    with contextlib.suppress(ConfigError):
        await nft(f"delete table inet {OWNED_PREFIX}{MESH}")
    before = await nft("list tables")
    await end(switch)
    return OWNED_PREFIX in before, OWNED_PREFIX in await nft("list tables")


async def refuse_tables(rules: str) -> str:
    """Play an nft that makes none."""
    if rules == "list tables":
        return await nft(rules)
    raise ConfigError("There are no tables today")


async def end(switch: KillSwitch) -> None:
    """Watch no longer, after the last look."""
    await switch._tasks.wait()
    switch.close()


async def until_on() -> None:
    """Wait until the table that stays is there."""
    for _ in range(500):
        if await is_on(MESH):
            break
        await asyncio.sleep(0.02)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    for _ in range(500):
        if condition():
            break
        await asyncio.sleep(0.02)


def say_and_listen(sock: socket.socket) -> None:
    """Say something that will be refused, and hear of it."""
    for _ in range(3):
        sock.sendall(b"anything")
        sock.recv(100)


def run(host: Host, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Carry something out in a namespace, with an event loop of its own."""
    return host.call(lambda: asyncio.run(work()))


def knock(
    host: Host,
    address: str,
    kind: socket.SocketKind = socket.SOCK_STREAM,
    *,
    port: int = SERVICE,
    mark: int = 0,
    device: str = "",
) -> int:
    """Return the number of the error that a connection meets, 0 for none."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host.call(lambda: socket.socket(family, kind)) as sock:
        sock.settimeout(5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        if device:
            name = device.encode()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
        try:
            sock.connect((address, port))
            if kind == socket.SOCK_DGRAM:
                sock.send(b"knock")
                sock.send(b"knock")
        except OSError as error:
            return error.errno or errno.ETIMEDOUT
    return 0


@contextlib.contextmanager
def listening(host: Host, version: int, port: int = SERVICE) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    place = ("::" if version == 6 else "0.0.0.0", port)
    with host.call(lambda: socket.create_server(place, family=family)) as server:
        server.settimeout(5)
        yield server


@contextlib.contextmanager
def dialled(host: Host, address: str) -> Iterator[socket.socket]:
    with host.call(lambda: socket.socket()) as sock:
        sock.settimeout(5)
        sock.connect((address, SERVICE))
        yield sock
