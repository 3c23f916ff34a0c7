"""An exit: a laptop reaches the internet through another node, and in no other way.

::

    laptop -- home router --.            .-- site, names
     | :         printer     internet ---+
     | '----- cafe router --'            '-- exit
     |                                        |
     '~~~~~~~~~~~~~~~ the mesh ~~~~~~~~~~~~~~~'

Programs on the laptop talk all the time, over IPv4 and IPv6, to a site and its name
server, some of them bound to the laptop's cable. What crosses the two home networks is
looked at, whatever becomes of the node, of routes and rules, and of the network.
"""

import contextlib
import itertools
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from netlab.capture import Capture
from netlab.errors import LabError, ScenarioFailed
from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import COORDINATOR, MESHWG, Mesh, MeshNode
from netlab.nat import Behaviour
from netlab.presets import HOME_ROUTER
from netlab.process import Process
from netlab.router import LAN, Router
from netlab.scenario import Narrator, Scenario
from netlab.topology import Way

NAME = "www.example.org"
ROUNDS = 2
FLUSHES = 5
ASLEEP = 2.0
"""Seconds."""
BASEMENT = "192.168.99.1"
"""The exit's own address in another network that it is in."""
CURL = ("curl", "--silent", "--show-error", "--max-time", "5")
LAPTOP_PORT = 8022
TALK_PORT = 9999

SITE = """
import http.server, socket

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        host = self.client_address[0].removeprefix("::ffff:").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(host)))
        self.end_headers()
        self.wfile.write(host)

    def log_message(self, *arguments):
        pass

print("ready", flush=True)
Server(("::", %d), Handler).serve_forever()
"""
"""A site that says from which address it was asked."""

TALK = """
import itertools, socket, sys, time
place4, place6, names = sys.argv[1:]

def say(family, kind, place, device):
    with socket.socket(family, kind) as sock:
        sock.setblocking(False)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
        sock.connect(place)
        if kind == socket.SOCK_DGRAM:
            sock.send(b"a secret")

print("talking", flush=True)
for round in itertools.count():
    for device in (b"", b"eth0"):
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            for family, place in (
                (socket.AF_INET, (place4, 9999)),
                (socket.AF_INET6, (place6, 9999)),
                (socket.AF_INET, (names, 53)),
            ):
                try:
                    say(family, kind, place, device)
                except OSError:
                    pass
    time.sleep(0.005)
"""
"""A program that talks without end to a site and a name server."""


@dataclass(slots=True)
class Travel:
    """A laptop that travels, its exit, and those it talks to."""

    mesh: Mesh
    laptop: MeshNode
    exit: MeshNode
    home: Router
    cafe: Router
    printer: Host
    site: Host
    names: Host
    wires: tuple[Capture, Capture]
    """What crosses the two home networks of what a user's programs say."""


def build(lab: Lab) -> Travel:
    site = lab.add_host("site", lab.internet)
    names = serve_names(lab, site)
    site.popen([sys.executable, "-c", SITE % 80], log="site.log").wait_for_line("ready")
    behaviour = replace(HOME_ROUTER.behaviour or Behaviour(), ipv6=True)
    home, cafe = (lab.add_router(each, behaviour) for each in ("home", "cafe"))
    leaving = lab.add_host("exit", lab.internet)
    leaving.run(["ip", "link", "add", "basement", "type", "bridge"])
    leaving.run(["ip", "address", "add", f"{BASEMENT}/24", "dev", "basement"])
    leaving.run(["ip", "link", "set", "basement", "up"])
    laptop = lab.add_host("laptop", home)
    printer = lab.add_host("printer", home)
    for host in (leaving, laptop):
        etc = host.take_own_etc()
        (etc / "resolv.conf").unlink(missing_ok=True)
        (etc / "resolv.conf").write_text(f"nameserver {names.address()}\n")
    mesh = Mesh(lab)
    mesh.join_all({leaving: ("--exit",), laptop: ()})
    approve(mesh, "exit")
    wires = (watch(home, site, names), watch(cafe, site, names))
    nodes = mesh.nodes
    nodes["laptop"].wait_until(
        lambda status: is_exit(nodes["laptop"]), "there is an exit"
    )
    return Travel(
        *(mesh, nodes["laptop"], nodes["exit"], home, cafe),
        *(printer, site, names, wires),
    )


def verify(travel: Travel, narrator: Narrator) -> None:
    laptop, leaving = travel.laptop, travel.exit
    with narrator.step("without an exit the site is reached from home"):
        expect_reached(travel, from_=travel.home.address())
        if not leaked(travel):
            raise ScenarioFailed("What programs say is not seen on the cable.")
    with narrator.step("with one the site sees the exit, over IPv4 and IPv6, by name"):
        begin(travel)
        with talking(travel):
            wait_until_reached(travel)
            expect_reached(travel, from_=leaving.host.address())
    with narrator.step("'meshwg why' says who leads there, and that nothing else does"):
        expect_explained(travel)
    with narrator.step("neither the exit's other networks nor the own one are reached"):
        expect_unreachable(travel, BASEMENT)
        expect_unreachable(travel, travel.printer.address())
    with narrator.step("who comes from the local network is answered"):
        expect_served(travel)
    with narrator.step("with --lan the local network is reached as well"):
        laptop.meshwg("exit", "use", "exit", "--lan")
        laptop.host.ping(travel.printer.address())
        laptop.meshwg("exit", "use", "exit")
    for number in range(1, ROUNDS + 1):
        for what, act in disturbances(travel):
            with narrator.step(f"nothing leaves in the clear: {what} ({number})"):
                with talking(travel):
                    act()
                    wait_until_reached(travel)
                expect_no_leak(travel)
    with narrator.step("while the exit is away, nothing leaves and status says why"):
        with talking(travel):
            expect_away(travel)
        expect_no_leak(travel)
    with narrator.step("without it again, the site is reached from home"):
        laptop.meshwg("exit", "off")
        expect_reached(travel, from_=travel.home.address())
    with narrator.step("what a killed node leaves closed is opened by cleanup"):
        expect_freed(travel)


def disturbances(travel: Travel) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what may happen to a laptop, in words and as it is done."""
    host = travel.laptop.host
    yield "the node is killed and started", lambda: kill(travel)
    yield "the node is stopped and started", lambda: restart(travel)
    yield "all rules are flushed", lambda: flush_rules(host)
    yield "all routes are flushed", lambda: flush_routes(host)
    yield "the firewall's rules are flushed", lambda: flush_firewall(host)
    yield "the network is restarted", lambda: bounce(host)
    yield "the laptop sleeps and wakes up", lambda: sleep(travel)
    yield "the laptop roams to the cafe", lambda: host.move_to(travel.cafe)
    yield "and back", lambda: host.move_to(travel.home)


def kill(travel: Travel) -> None:
    """Kill the node, wait a moment, and start it again."""
    travel.laptop.process.kill()
    travel.laptop.process.wait(timeout=10)
    expect_unreachable(travel, travel.site.address())
    travel.laptop.start()


def restart(travel: Travel) -> None:
    """Stop the node as a service manager does, and start it again."""
    travel.laptop.process.stop()
    expect_unreachable(travel, travel.site.address())
    travel.laptop.start()


def flush_rules(host: Host) -> None:
    """Flush rules, and put back those that every machine has."""
    for family in ("-4", "-6"):
        host.run(["ip", family, "rule", "flush"])
        host.run(["ip", family, "rule", "add", "priority", "32766", "table", "main"])


def flush_routes(host: Host) -> None:
    """Flush the routes of all tables, and put back those of the cable."""
    for family in ("-4", "-6"):
        flush = ["ip", family, "route", "flush", "table", "all", "proto", "77"]
        host.run(flush, check=False)


def flush_firewall(host: Host) -> None:
    """Remove the rules of all programs, as firewalls do that are loaded anew."""
    for _ in range(FLUSHES):
        host.run(["nft", "flush", "ruleset"])


def bounce(host: Host) -> None:
    host.set_link(up=False)
    host.set_link(up=True)


def sleep(travel: Travel) -> None:
    """Halt the node, have the network come back first, and then the node."""
    process, host = travel.laptop.process, travel.laptop.host
    process.send_signal(signal.SIGSTOP)
    host.set_link(up=False)
    time.sleep(ASLEEP)
    host.set_link(up=True)
    expect_unreachable(travel, travel.site.address())
    process.send_signal(signal.SIGCONT)


def serve_names(lab: Lab, site: Host) -> Host:
    """Start a name server that knows the site."""
    host = lab.add_host("names", lab.internet)
    addresses = f"{site.address(4)},{site.address(6)}"
    host.popen(
        [
            *("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts"),
            *("--user=root", "--pid-file=", "--conf-file=/dev/null"),
            *("--bind-interfaces", f"--listen-address={host.address(4)}"),
            f"--host-record={NAME},{addresses}",
        ],
        log="dnsmasq.log",
    )
    return host


def approve(mesh: Mesh, name: str) -> None:
    coordinator = mesh.coordinator
    where = ["--data-dir", str(coordinator.data_dir)]
    command = [*COORDINATOR, "route", "approve", name, "exit", *where]
    coordinator.host.run(command)


def is_exit(node: MeshNode) -> bool:
    """Tell whether a node knows an exit."""
    return "exit " in node.meshwg("exit", "list")


def watch(router: Router, *others: Host) -> Capture:
    """Capture what goes between a home network and some hosts."""
    hosts = [address for each in others for address in addresses_of(each)]
    return router.capture(LAN, " or ".join(f"host {each}" for each in hosts))


def addresses_of(host: Host) -> list[str]:
    return [*host.addresses(4), *host.addresses(6)]


def begin(travel: Travel) -> None:
    """Use the exit, and forget what was captured so far."""
    travel.laptop.meshwg("exit", "use", "exit")
    for wire in travel.wires:
        wire.stop()
    travel.wires = (
        watch(travel.home, travel.site, travel.names),
        watch(travel.cafe, travel.site, travel.names),
    )


@contextlib.contextmanager
def talking(travel: Travel) -> Iterator[None]:
    """Have programs talk until the end of the block."""
    site, names = travel.site, travel.names
    places = [site.address(4), site.address(6), names.address(4)]
    program: Process = travel.laptop.host.popen(
        [sys.executable, "-c", TALK, *places], log="talk.log"
    )
    program.wait_for_line("talking")
    try:
        yield
        if program.returncode is not None:
            raise LabError("The program that talks has ended, see talk.log.")
    finally:
        program.stop()


def asked_from(travel: Travel, version: int) -> str:
    """Return the address that the site sees, nothing if it is not reached."""
    done = travel.laptop.host.run(
        [*CURL, f"-{version}", f"http://{NAME}/"], check=False, timeout=30
    )
    return done.stdout.strip()


def is_reached(travel: Travel, version: int) -> bool:
    """Tell whether the site is reached by name."""
    return bool(asked_from(travel, version))


def wait_until_reached(travel: Travel) -> None:
    for version in (4, 6):
        travel.laptop.host.wait_until(
            partial(is_reached, travel, version),
            f"the site is reached over IPv{version}",
            60,
        )


def expect_reached(travel: Travel, from_: str) -> None:
    """Check that the site is reached by name over IPv4 and IPv6."""
    seen = asked_from(travel, 4)
    if seen != from_:
        raise ScenarioFailed(f"The site was asked from {seen!r}, not from {from_}.")
    seen6 = asked_from(travel, 6)
    is_through_exit = seen6 == travel.exit.host.address(6)
    if not seen6 or is_through_exit != (from_ == travel.exit.host.address()):
        raise ScenarioFailed(f"Over IPv6 the site was asked from {seen6!r}.")


def expect_explained(travel: Travel) -> None:
    """Check what the laptop says of a site that it reaches."""
    said = " ".join(travel.laptop.meshwg("why", f"{NAME}:80").split())
    for words in ("through the exit exit", "lets nothing out", "listens at port 80"):
        if words not in said:
            raise ScenarioFailed(f"The laptop does not say {words!r}, but: {said}")


def expect_unreachable(travel: Travel, address: str) -> None:
    request = ["ping", "-n", "-c", "2", "-W", "1", address]
    if travel.laptop.host.run(request, check=False).returncode == 0:
        raise ScenarioFailed(f"The laptop reaches {address}.")


def expect_served(travel: Travel) -> None:
    """Check that another machine of the local network reaches the laptop."""
    laptop = travel.laptop.host
    server = laptop.popen([sys.executable, "-c", SITE % LAPTOP_PORT], log="served.log")
    server.wait_for_line("ready")
    for version, form in ((4, "{}"), (6, "[{}]")):
        host = form.format(laptop.address(version))
        travel.printer.run([*CURL, f"http://{host}:{LAPTOP_PORT}/"])
    server.stop()


def leaked(travel: Travel) -> int:
    """Return how many packets of what programs say were on the cables."""
    return sum(len(wire.packets()) for wire in travel.wires)


def expect_no_leak(travel: Travel) -> None:
    """Check that there were none."""
    if count := leaked(travel):
        paths = ", ".join(str(wire.path) for wire in travel.wires)
        raise ScenarioFailed(f"{count} packets left in the clear, see {paths}.")


def expect_away(travel: Travel) -> None:
    """Check what becomes of an exit that has gone."""
    travel.exit.process.stop()
    travel.laptop.wait_until(
        lambda status: any(each["code"] == "exit-away" for each in status["health"]),
        "the exit is away",
        60,
    )
    using = travel.laptop.status()["self"]["exit"]["using"]
    if using["state"] != "away" or "offline" not in using["reason"]:
        raise ScenarioFailed(f"The laptop says of its exit: {using}.")
    expect_unreachable(travel, travel.site.address())
    command = [*MESHWG, "why", travel.site.address()]
    asked = travel.laptop.host.run(command, check=False)
    if asked.returncode != 1 or "Nothing gets to the internet" not in asked.stdout:
        raise ScenarioFailed(f"The laptop says of the site: {asked.stdout}")


def expect_freed(travel: Travel) -> None:
    laptop = travel.laptop
    travel.exit.start()
    travel.exit.wait_until_joined()
    laptop.meshwg("exit", "use", "exit")
    laptop.process.kill()
    laptop.process.wait(timeout=10)
    expect_unreachable(travel, travel.site.address())
    state = str(laptop.host.directory / "state")
    laptop.host.run([*MESHWG, "cleanup", "--state-dir", state])
    expect_reached(travel, from_=travel.home.address())


def rounds(travel: Travel) -> Iterator[str]:
    """Disturb a laptop without end, one thing after the other; yield what was done.

    :raises ScenarioFailed: if anything left in the clear.
    """
    for _ in itertools.count():
        for what, act in disturbances(travel):
            with talking(travel):
                act()
                wait_until_reached(travel)
            expect_no_leak(travel)
            yield what


EXIT = Scenario(
    "exit",
    "An exit, and nothing beside it",
    build,
    verify,
    (Way(("laptop", "exit"), "direct"),),
)
