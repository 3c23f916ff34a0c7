"""Port mapping at a real gateway: miniupnpd, by all three protocols, in namespaces."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from meshwg.nat.gateway import MappedProtocol, MappingMethod
from meshwg.runtime.default_gateway import Gateway, find_gateway
from meshwg.runtime.portmap import FindGateway, PortMapper, PortMappingReport, probe
from netlab.lab import Lab
from netlab.machine import Machine
from netlab.presets import LINUX, PORT_MAPPING
from netlab.router import Router

pytestmark = pytest.mark.netns

T = TypeVar("T")

PORT = 40_000
LEASE = 10
FIREWALL = ("nft", "list", "chain", "inet", "firewall", "portmap")


def test_each_protocol_maps_a_port_renews_it_and_releases_it(lab: Lab) -> None:
    router = lab.add_router("home", PORT_MAPPING)
    restart_daemon(router, min_lifetime="8")
    server = lab.add_host("server", lab.internet)
    with ExitStack() as stack:
        mappers = {}
        for port, method in enumerate(MappingMethod, PORT):
            host = lab.add_host(f"by-{method.value}", router)
            mapper = stack.enter_context(mapping(host, port, method, lifetime=LEASE))
            assert mapper.mapped is not None, mapper.reason
            assert mapper.mapped.method is method
            assert mapper.mapped.external[:2] == (router.address(), port)
            assert mapper.mapped.public
            assert is_reached(host, port, server, router.address())
            mappers[port] = mapper
        granted = expiries(router)
        assert granted.keys() == mappers.keys()

        # The daemon replaces a renewed mapping: it takes it away for a moment.
        wait_until(
            lambda: all(
                expiries(router).get(port, 0) > granted[port] for port in mappers
            )
        )

        assert all(mapper.drops == {} for mapper in mappers.values())
    assert expiries(router) == {}
    assert "dnat" not in rules(router)


def test_each_protocol_maps_a_tcp_port_beside_the_udp_port(lab: Lab) -> None:
    router = lab.add_router("home", PORT_MAPPING)
    server = lab.add_host("server", lab.internet)
    host = lab.add_host("host", router)
    with mapping(host, PORT) as of_udp:
        for method in MappingMethod:
            with mapping(host, PORT, method, protocol=MappedProtocol.TCP) as of_tcp:
                assert of_tcp.mapped is not None, of_tcp.reason
                assert of_tcp.mapped.external[:2] == (router.address(), PORT)
                assert is_connected(host, PORT, server, router.address())
            assert "tcp" not in rules(router)
        assert of_udp.mapped is not None
        assert is_reached(host, PORT, server, router.address())


def test_pcp_is_preferred_where_everything_is_spoken(lab: Lab) -> None:
    host = lab.add_host("host", lab.add_router("home", PORT_MAPPING))
    with mapping(host, PORT) as mapper:
        assert mapper.mapped is not None
        assert mapper.mapped.method is MappingMethod.PCP


def test_upnp_is_found_where_no_other_protocol_is_spoken(lab: Lab) -> None:
    router = lab.add_router("home", PORT_MAPPING)
    host = lab.add_host("host", router)
    restart_daemon(router, enable_natpmp="no")
    with mapping(host, PORT) as mapper:
        assert mapper.mapped is not None
        assert mapper.mapped.method is MappingMethod.UPNP
    assert "dnat" not in rules(router)


def test_a_router_that_maps_nothing_is_reported_with_reasons(lab: Lab) -> None:
    host = lab.add_host("host", lab.add_router("home", LINUX))
    with mapping(host, PORT) as mapper:
        assert mapper.mapped is None
        assert mapper.reason == (
            "The gateway maps no port: PCP is not supported, NAT-PMP is not supported, "
            "UPnP finds no gateway."
        )


def test_a_gateway_that_restarted_is_asked_again(lab: Lab) -> None:
    router = lab.add_router("home", PORT_MAPPING)
    with ExitStack() as stack:
        for port, method in enumerate([MappingMethod.PCP, MappingMethod.NAT_PMP], PORT):
            host = lab.add_host(f"by-{method.value}", router)
            stack.enter_context(mapping(host, port, method))
        assert expiries(router).keys() == {PORT, PORT + 1}
        # A clock that is 2 s off tells nothing yet (RFC 6887 section 8.5), and
        # whole seconds may be another one off.
        time.sleep(4)
        (router.directory / "leases").unlink()
        router.reboot_nat()
        assert "dnat" not in rules(router)
        wait_until(lambda: expiries(router).keys() == {PORT, PORT + 1})


def test_a_firewall_of_ipv6_is_opened_and_closed_again(lab: Lab) -> None:
    assert PORT_MAPPING.behaviour is not None
    router = lab.add_router("home", replace(PORT_MAPPING.behaviour, ipv6=True))
    host = lab.add_host("host", router)
    server = lab.add_host("server", lab.internet)
    with mapping(host, PORT, family=socket.AF_INET6) as mapper:
        assert mapper.mapped is not None, mapper.reason
        assert mapper.mapped.external[:2] == (host.address(6), PORT)
        assert is_reached(host, PORT, server, host.address(6))
        assert f"dport {PORT}" in router.run(FIREWALL).stdout
    assert f"dport {PORT}" not in router.run(FIREWALL).stdout


def test_another_network_means_another_mapping(lab: Lab) -> None:
    home = lab.add_router("home", PORT_MAPPING)
    cafe = lab.add_router("cafe", PORT_MAPPING)
    host = lab.add_host("host", home)
    with LoopIn(host) as loop:
        mapper = loop.run(started(PortMapper(), PORT))
        assert external_host(mapper) == home.address()
        host.move_to(cafe)
        loop.call(mapper.network_changed)
        wait_until(lambda: external_host(mapper) == cafe.address())
        loop.run(mapper.stop())
    assert "dnat" not in rules(cafe)


def test_a_nat_between_host_and_gateway_is_recognised(lab: Lab) -> None:
    outer = lab.add_router("outer", PORT_MAPPING)
    inner = lab.add_router("inner", LINUX, uplink=outer)
    host = lab.add_host("host", inner)
    beyond = Gateway(gateway_of(inner).address, gateway_of(host).local)
    with mapping(host, PORT, find=lambda family: beyond) as mapper:
        assert mapper.mapped is None
        assert mapper.reason == (
            "Another NAT stands between this host and its gateway (double NAT)."
        )
    assert "dnat" not in rules(outer)


def test_a_gateway_that_has_no_public_address_maps_nothing_and_says_so(
    lab: Lab,
) -> None:
    outer = lab.add_router("outer", LINUX)
    inner = lab.add_router("inner", PORT_MAPPING, uplink=outer)
    host = lab.add_host("host", inner)
    with mapping(host, PORT) as mapper:
        assert mapper.mapped is None
        assert "NAT-PMP is refused (it has no external address" in mapper.reason


def test_a_probe_tells_what_is_spoken_and_leaves_nothing_behind(lab: Lab) -> None:
    router = lab.add_router("home", PORT_MAPPING)
    host = lab.add_host("host", router)
    with LoopIn(host) as loop:
        everything = loop.run(probe(PORT))
        assert everything.external is not None
        assert everything.external[:2] == (router.address(), PORT)
        assert everything == PortMappingReport(True, True, True, everything.external)
        assert loop.run(probe()) == PortMappingReport(True, True, True, None)

        restart_daemon(router, enable_natpmp="no")
        upnp = loop.run(probe(PORT))
        assert upnp == PortMappingReport(False, False, True, everything.external)

        restart_daemon(router, enable_upnp="no")
        questions = loop.run(probe(PORT))
        assert questions == PortMappingReport(True, True, False, everything.external)
    assert "dnat" not in rules(router)


def test_a_probe_of_a_network_that_maps_nothing_returns_nothing(lab: Lab) -> None:
    for host in (
        lab.add_host("host", lab.add_router("home", LINUX)),
        lab.add_host("alone", lab.add_switch("cable", "10.0.0.0/24")),
    ):
        with LoopIn(host) as loop:
            assert loop.run(probe(PORT)) == PortMappingReport()


class LoopIn:
    """An event loop in a machine's namespace, driven from outside."""

    def __init__(self, machine: Machine) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=machine.call, args=(self._loop.run_forever,)
        )

    def __enter__(self) -> "LoopIn":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.call(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def call(self, function: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(function)


@contextmanager
def mapping(
    host: Machine,
    port: int,
    *methods: MappingMethod,
    lifetime: int = 7200,
    family: socket.AddressFamily = socket.AF_INET,
    protocol: MappedProtocol = MappedProtocol.UDP,
    find: FindGateway = find_gateway,
) -> Iterator[PortMapper]:
    """Keep a port of a host mapped, once it is known whether that is possible."""
    mapper = PortMapper(
        family=family,
        protocol=protocol,
        methods=frozenset(methods or MappingMethod),
        lifetime=lifetime,
        find=find,
    )
    with LoopIn(host) as loop:
        loop.run(started(mapper, port))
        try:
            yield mapper
        finally:
            loop.run(mapper.stop())


async def started(mapper: PortMapper, port: int) -> PortMapper:
    mapper.start(port)
    await mapper.settled.wait()
    return mapper


def external_host(mapper: PortMapper) -> str | None:
    return mapper.mapped.external.host if mapper.mapped is not None else None


def restart_daemon(router: Router, **settings: str) -> None:
    """Run the router's miniupnpd with other settings."""
    for process in list(router.processes()):
        process.stop()
    lines = (router.directory / "miniupnpd.conf").read_text().splitlines()
    kept = [line for line in lines if line.partition("=")[0] not in settings]
    changed = [f"{name}={value}" for name, value in settings.items()]
    config = router.write_file("changed.conf", "\n".join(changed + kept) + "\n")
    daemon = router.popen(
        ["miniupnpd", "-d", "-f", config, "-P", router.directory / "changed.pid"]
    )
    daemon.wait_for_line("listening" if "enable_natpmp" in settings else "Listening")


def expiries(router: Router) -> dict[int, int]:
    """Return when each mapped port's lease ends, as miniupnpd has written it down."""
    path = router.directory / "leases"
    lines = path.read_text().splitlines() if path.exists() else []
    fields = [line.split(":") for line in lines]
    return {int(port): int(until) for _, port, _, _, until, _ in fields}


def rules(router: Router) -> str:
    return router.run(["nft", "list", "table", "inet", "portmap"]).stdout


def gateway_of(machine: Machine) -> Gateway:
    gateway = machine.call(lambda: find_gateway(socket.AF_INET))
    assert gateway is not None
    return gateway


def is_connected(host: Machine, port: int, server: Machine, external: str) -> bool:
    """Return whether the internet can connect to the host there."""
    listening = host.call(lambda: socket.create_server(("", port)))
    with listening:
        server.call(lambda: socket.create_connection((external, port), 5).close())
        listening.settimeout(5)
        listening.accept()[0].close()
    return True


def is_reached(host: Machine, port: int, server: Machine, external: str) -> bool:
    """Return whether the internet reaches the host there, and is answered from there.

    The answer is what makes the endpoint usable: a peer believes in no other.
    """
    family = socket.AF_INET6 if ":" in external else socket.AF_INET

    def open_socket() -> socket.socket:
        return socket.socket(family, socket.SOCK_DGRAM)

    with host.call(open_socket) as inside, server.call(open_socket) as outside:
        inside.bind(("", port))
        for each in (inside, outside):
            each.settimeout(5)
        outside.sendto(b"hello", (external, port))
        question, stranger = inside.recvfrom(16)
        inside.sendto(question.upper(), stranger)
        answer, answerer = outside.recvfrom(16)
        return answer == b"HELLO" and answerer[:2] == (external, port)


def wait_until(condition: Callable[[], bool], within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
