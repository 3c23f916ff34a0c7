"""What strangers and neighbours break while they attack, and for how long.

Each attack (:mod:`bench.attacks`) is one that once worked. Beside it are two real nodes
and passers-by: before, during and after the attack they do what users do, and memory,
descriptors and log of the attacked program are looked at.
"""

import asyncio
import contextlib
import json
import os
import ssl
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.attacks import Aim, register
from bench.idle import MEGABYTE, resident_bytes
from bench.pinging import Pinging
from bench.targets import NEVER
from meshwg.runtime.websocket import NoWebSocket
from meshwg.wire import control
from netlab import postgres
from netlab.lab import Lab
from netlab.machine import Host
from netlab.mesh import COORDINATOR, MESHWG, PORT, MeshNode
from netlab.process import Process

SOCKET = "/run/meshwg/meshwg.sock"
JOINS = 10
PATIENCE = 10.0
"""Seconds that somebody waits for what takes far less than one."""
RISING = 4.0
"""Seconds from the beginning of an attack until it is looked at."""
FALLING = 20.0
"""Seconds from its end until it is looked at again."""
HANDSHAKE_WITHIN = 20.0
PINGS = 50


@dataclass(frozen=True, slots=True)
class Flood:
    """One attack, and whom it is for."""

    name: str
    attack: str
    words: str
    addresses: int = 1
    """How many the attacker has."""
    is_local: bool = False
    """Whether the attacker is on the attacked machine."""
    at_node: bool = False
    """Whether a node is attacked, and not the coordinator."""


PLAIN = (
    Flood("3: bodies", "bodies", "3,000 requests for the control channel with bodies"),
    Flood("3: streams", "streams", "half-sent streams, 41 addresses", addresses=41),
    Flood("3: door", "door", "silent connections, 33 addresses", addresses=33),
    Flood("4: no text", "letters", "bearer tokens that are no text", is_local=True),
    Flood("6: initiations", "initiations", "700 initiations a second", at_node=True),
    Flood("12: heartbeats", "heartbeats", "one member's heartbeats, without a pause"),
    Flood(
        *("14: control socket", "idle", "1,135 idle connections of a user"),
        is_local=True,
        at_node=True,
    ),
)
WITH_TLS = (Flood("2: silence", "silent", "3,000 silent connections where TLS is"),)
WITH_POSTGRESQL = (
    Flood("1: zero byte", "registrations", "auth keys with a zero byte, 3 a second"),
)


@dataclass(frozen=True, slots=True)
class Look:
    """What users notice, and what the attacked program takes."""

    health: float
    """Median seconds of ``/healthz``."""
    joins: int
    """How many of :data:`JOINS` newcomers got in."""
    handshake: float
    """Seconds from the start of a node until another's pings are answered by it."""
    status: float
    """Seconds of ``meshwg status``."""
    lost: int
    """Of :data:`PINGS` pings between two nodes, while nothing is restarted."""
    resident: float
    """Megabytes."""
    descriptors: int
    log: float
    """Kilobytes, from the beginning."""

    def row(self, when: str) -> str:
        return (
            f"  {when:<7} {_shown(self.health)} {self.joins:>5}/{JOINS} "
            f"{_shown(self.handshake)} {_shown(self.status)} {self.lost:>5}/{PINGS} "
            f"{self.resident:7.1f} MB {self.descriptors:>5} {self.log:8.1f} kB"
        )


HEAD = (
    f"{'':<9} {'healthz':>8} {'joins':>8} {'handshake':>8} {'status':>7} "
    f"{'lost':>8} {'memory':>10} {'files':>5} {'log':>11}"
)


def run() -> dict[str, Any]:
    """Measure, print a table, and return the figures."""
    print(HEAD, flush=True)
    figures = _against(PLAIN, {})
    with Lab(title="bench floods: certificate") as lab:
        host = lab.add_host("authority", lab.internet)
        figures |= _against(WITH_TLS, _certificate(host.directory))
    programs = postgres.programs()
    if programs is None:
        raise SystemExit("PostgreSQL is missing; install Debian's package 'postgresql'")
    with postgres.running(programs) as server:
        figures |= _against(WITH_POSTGRESQL, {"database": server.create("mesh")})
    return figures


def _against(floods: tuple[Flood, ...], settings: dict[str, str]) -> dict[str, Any]:
    """Return the figures of attacks on one mesh, one after the other."""
    figures = {}
    with Lab(title="bench floods") as lab:
        scene = Scene(lab, settings)
        for flood in floods:
            print(f"{flood.name}: {flood.words}", flush=True)
            figures[flood.name] = scene.suffer(flood)
    return figures


def _certificate(directory: Path) -> dict[str, str]:
    """Make a certificate that nobody vouches for; return the settings that name it."""
    certificate, key = directory / "cert.pem", directory / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
    command += f"-nodes -days 2 -subj /CN=mesh -keyout {key} -out {certificate}"
    subprocess.run(command.split(), check=True, stderr=subprocess.DEVNULL)
    return {"tls_cert": str(certificate), "tls_key": str(key)}


class Scene:
    """A coordinator with some settings, two nodes, and somebody who passes by."""

    def __init__(self, lab: Lab, settings: dict[str, str]) -> None:
        self._lab = lab
        self._host = lab.add_host("coordinator", lab.internet, count4=2, ipv6=False)
        self._coordinator = self._start(settings)
        self._token = self._make_token()
        self._nodes = [
            MeshNode(lab.add_host(name, lab.internet), self._token)
            for name in ("alice", "bob")
        ]
        for node in self._nodes:
            node.wait_until_joined()
        alice, bob = self._nodes
        alice.ping(bob)
        self._passer = lab.add_host("passer-by", lab.internet)
        scheme = "https" if "tls_cert" in settings else "http"
        self._health = f"{scheme}://{self._host.address()}:{PORT}/healthz"

    def suffer(self, flood: Flood) -> dict[str, Any]:
        """Attack; return the figures of before, during and after."""
        attacked = self._nodes[0].process if flood.at_node else self._coordinator
        looks = {"before": self._look(attacked, "before")}
        attacker = self._attacker(flood)
        time.sleep(RISING)
        looks["during"] = self._look(attacked, "during")
        attacker.stop()
        done = attacker.output().splitlines()[-1]
        print(f"  it did {done}", flush=True)
        time.sleep(FALLING)
        looks["after"] = self._look(attacked, "after")
        figures = {when: _finite(asdict(look)) for when, look in looks.items()}
        return {"attack": flood.words, "done": json.loads(done), **figures}

    def _start(self, settings: dict[str, str]) -> Process:
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        config = self._host.write_file("coordinator.toml", "".join(lines))
        options = ["--listen", f"0.0.0.0:{PORT}", "--config", str(config)]
        options += ["--advertise", self._host.address(), *self._where()]
        for address in self._host.addresses(4):
            options += ["--stun", address]
        command = [*COORDINATOR, "serve", *options]
        process = self._host.popen(command, log="coordinator.log")
        process.wait_for_line("ready")
        self._settings = ["--config", str(config), *self._where()]
        return process

    def _make_token(self) -> str:
        command = [*COORDINATOR, "token", "create", "--reusable", *self._settings]
        return self._host.run(command).stdout.split()[0]

    def _where(self) -> list[str]:
        return ["--data-dir", str(self._host.directory / "data")]

    def _attacker(self, flood: Flood) -> Process:
        """Begin with an attack."""
        alice = self._nodes[0]
        host = alice.host if flood.at_node else self._host
        aim = Aim(host.address(), PORT, token=self._token)
        if flood.is_local:
            where = host
            aim = Aim("127.0.0.1", PORT, socket=SOCKET if flood.at_node else "")
        else:
            where = self._stranger(flood)
            sources = tuple(where.addresses(4))
            aim = Aim(host.address(), PORT, sources, self._token)
        if flood.attack == "initiations":
            itself = alice.status()["self"]
            port = _udp_port(alice.host, alice.process.pid)
            aim = Aim(host.address(), port, key=itself["public_key"])
        command = [sys.executable, "-m", "bench.attacks", flood.attack, aim.to_json()]
        process = where.popen(command)
        process.wait_for_line("attacking")
        return process

    def _stranger(self, flood: Flood) -> Host:
        name = flood.attack
        internet = self._lab.internet
        return self._lab.add_host(name, internet, count4=flood.addresses, ipv6=False)

    def _look(self, attacked: Process, when: str) -> Look:
        alice, bob = self._nodes
        health = statistics.median(self._ask_for_health() for _ in range(5))
        joins = self._passer.call(lambda: asyncio.run(_join_often(self._token)))
        lost = _lost(alice, bob)
        status = _timed(lambda: alice.host.run([*MESHWG, "status"], timeout=60))
        pid = attacked.pid
        resident = resident_bytes(pid) / MEGABYTE
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        handshake = _handshake(alice, bob)
        log = attacked.log_path.stat().st_size / 1000
        look = Look(
            *(health, joins, handshake, status, lost, resident, descriptors, log)
        )
        print(look.row(when), flush=True)
        return look

    def _ask_for_health(self) -> float:
        return self._passer.call(lambda: _timed(lambda: _fetch(self._health)))


def _fetch(url: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(url, timeout=PATIENCE, context=context) as answer:
        answer.read()


def _timed(do: Callable[[], object]) -> float:
    """Return how long something takes; infinity if it fails."""
    began = time.monotonic()
    try:
        do()
    except Exception:
        return NEVER
    return time.monotonic() - began


async def _join_often(token: str) -> int:
    """Return how many of some newcomers get in."""
    joined = 0
    for _ in range(JOINS):
        with contextlib.suppress(OSError, NoWebSocket, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                answer = await register(token)
                joined += isinstance(answer, control.Registered)
    return joined


def _lost(one: MeshNode, other: MeshNode) -> int:
    """Return how many pings from one node to another are lost."""
    options = ["-n", "-q", "-c", str(PINGS), "-i", "0.05", "-W", "1"]
    done = one.host.run(["ping", *options, other.address()], check=False)
    (received,) = (
        int(line.split()[3])
        for line in done.stdout.splitlines()
        if "packets transmitted" in line
    )
    return PINGS - received


def _handshake(one: MeshNode, other: MeshNode) -> float:
    """Restart a node that another pings; return after how long it answers."""
    one.ping(other)
    with _pinging(one, other) as pinging:
        other.process.kill()
        time.sleep(1)
        other.start()
        began = time.time()
        deadline = time.monotonic() + HANDSHAKE_WITHIN
        while time.monotonic() < deadline:
            if (answered := pinging.answered_after(began)) is not None:
                return answered - began
            time.sleep(0.02)
    return NEVER


@contextlib.contextmanager
def _pinging(one: MeshNode, other: MeshNode) -> Iterator[Pinging]:
    pinging = Pinging(one, other)
    try:
        yield pinging
    finally:
        pinging.stop()


def _udp_port(host: Host, pid: int) -> int:
    """Return the UDP port of a node."""
    lines = host.run(["ss", "-Hlunp4"]).stdout.splitlines()
    found = next(line for line in lines if f"pid={pid}," in line)
    return int(found.split()[3].rpartition(":")[2])


def _shown(seconds: float) -> str:
    return f"{'never':>8}" if seconds == NEVER else f"{seconds:6.2f} s"


def _finite(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if value == NEVER else round(value, 3)
        for name, value in figures.items()
    }
