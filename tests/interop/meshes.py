"""Meshes of the real programs: a coordinator and nodes on the hosts of a lab."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from meshwg.cli.client import DaemonClient
from meshwg.errors import MeshError
from netlab.errors import CommandFailed
from netlab.lab import Lab
from netlab.machine import Host
from netlab.process import Process

MESHWG = (sys.executable, "-m", "meshwg")
COORDINATOR = (sys.executable, "-m", "coordinator")
PORT = 8443

PATIENCE = 60.0
"""Seconds for what a busy machine may take long to do; reconnecting, above all, whose
pauses grow up to half a minute."""

Json = dict[str, Any]


class Coordinator:
    """A coordination server on a host, and its administration."""

    def __init__(self, host: Host, *options: str) -> None:
        self.host = host
        self.data_dir = host.directory / "data"
        self._where = ("--data-dir", str(self.data_dir))
        self._options = (
            *self._where,
            *("--listen", f"0.0.0.0:{PORT}"),
            *("--advertise", host.address(4)),
            *options,
        )
        self.process: Process | None = None

    @classmethod
    def on_the_internet(cls, lab: Lab, *options: str) -> "Coordinator":
        """Return a running coordinator with a public address."""
        coordinator = cls(lab.add_host("coordinator", lab.internet), *options)
        coordinator.start()
        return coordinator

    def start(self) -> None:
        """Start the server and wait for its ready line."""
        command = [*COORDINATOR, "serve", *self._options]
        self.process = self.host.popen(command, log="coordinator.log")
        self.process.wait_for_line("ready")

    def stop(self) -> None:
        """Stop the server in good order."""
        assert self.process is not None
        assert self.process.stop() == 0

    def kill(self) -> None:
        """Let the server die at once, as in a power cut."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def token(self, **options: bool | str) -> str:
        """Return a new join token, as the administration over HTTP makes it."""
        token: str = self._ask("POST", "/v1/tokens", options)["token"]
        return token

    def revoke(self, number: str) -> None:
        """Make the token of this number useless."""
        self._ask("DELETE", f"/v1/tokens/{number}")

    def nodes(self) -> dict[str, Json]:
        """Return all members by name."""
        return {node["name"]: node for node in self._ask("GET", "/v1/nodes")["nodes"]}

    def command(self, *arguments: str) -> Json:
        """Run a command of the administration and return its JSON."""
        done = self.host.run([*COORDINATOR, *arguments, *self._where, "--json"])
        answer: Json = json.loads(done.stdout)
        return answer

    def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        bearer = (self.data_dir / "admin.token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{PORT}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"},
            method=method,
        )

        def fetch() -> Json:
            with urllib.request.urlopen(request) as response:
                answer: Json = json.load(response)
            return answer

        return self.host.call(fetch)


class Member:
    """A node on a host, whether it runs or not."""

    def __init__(self, host: Host, name: str | None = None, suffix: str = "") -> None:
        self.host = host
        self.name = name or host.name
        self.state_dir = host.directory / f"state{suffix}"
        # The host's own /run, seen from outside.
        self._socket = host.directory / "run" / f"meshwg{suffix}" / "meshwg.sock"
        self.options = [
            *("--state-dir", str(self.state_dir)),
            *("--name", self.name),
            *("--control-socket", f"/run/meshwg{suffix}/meshwg.sock"),
        ]
        self.process: Process | None = None

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of ``meshwg node``."""
        return [*MESHWG, "node", *self.options, *arguments]

    def start(self, *options: str, env: Mapping[str, str] | None = None) -> "Member":
        """Start the daemon; it may not be ready yet."""
        self.process = self.host.popen(
            self.command(*options), log=f"{self.name}.log", env=env
        )
        return self

    def join(self, token: str, *options: str) -> "Member":
        """Start the daemon for the first time and wait until it is a member."""
        self.start("--join", token, *options)
        self.wait_until_connected()
        return self

    def try_to_start(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """Run a daemon that is expected to end by itself, and return how it ended."""
        return self.host.run(self.command(*options), check=False, timeout=20)

    def meshwg(
        self, command: str, *arguments: str, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command that talks to the daemon."""
        socket = ("--control-socket", self.options[-1])
        return self.host.run([*MESHWG, command, *arguments, *socket], check=check)

    def kill(self) -> None:
        """Let the daemon die at once."""
        assert self.process is not None
        self.process.kill()

    def wait_for_end(self) -> int:
        """Wait until the daemon has ended, and return its exit status."""
        assert self.process is not None
        return self.process.wait(timeout=20)

    def log(self) -> str:
        """Return what this run of the daemon has printed."""
        assert self.process is not None
        return self.process.output()

    # What it says of itself.

    def status(self) -> Json:
        """Return what ``meshwg status --json`` would print."""
        return DaemonClient(str(self._socket)).get("/v1/status")

    def peers(self) -> dict[str, Json]:
        """Return what it knows of its peers, by name."""
        return {peer["name"]: peer for peer in self.status()["peers"]}

    def has_joined(self) -> bool:
        """Tell whether the coordinator has acknowledged it once."""
        return "Connected to the coordinator" in self.log()

    @property
    def addresses(self) -> tuple[str, str]:
        """Its IPv4 and its IPv6 address in the mesh."""
        four, six = self.status()["self"]["addresses"]
        return four, six

    def wait_until(self, condition: Callable[[Json], bool], what: str) -> None:
        """Wait until its status fulfils a condition."""

        def holds() -> bool:
            if self.process is not None and self.process.returncode is not None:
                raise CommandFailed(f"{self.name} has ended:\n{self.log()}")
            try:
                return condition(self.status())
            except MeshError:
                return False

        self.host.wait_until(holds, what, PATIENCE)

    def wait_until_connected(self) -> None:
        """Wait until it is a member, and the coordinator is there."""
        self.wait_until(
            lambda status: (
                status["self"]["coordinator"]["state"] == "connected"
                and status["self"]["addresses"] != []
            ),
            f"{self.name} is connected to the coordinator",
        )

    def wait_until_saved(self, *names: str) -> None:
        """Wait until the netmap on its disk holds these peers."""
        netmap = self.state_dir / "netmap.json"
        self.host.wait_until(
            lambda: (
                netmap.exists()
                and all(f'"name":"{name}"' in netmap.read_text() for name in names)
            ),
            f"{self.name} has saved its netmap",
            PATIENCE,
        )

    def wait_until_saved_at(self, public: str) -> None:
        """Wait until the netmap on its disk holds a peer's public address and port."""
        host, _, port = public.rpartition(":")
        where = f'"host":"{host}","port":{port}'
        netmap = self.state_dir / "netmap.json"
        self.host.wait_until(
            lambda: netmap.exists() and where in netmap.read_text(),
            f"{self.name} has saved that a peer is at {public}",
            PATIENCE,
        )

    def wait_until_offline(self) -> None:
        """Wait until it has noticed that the coordinator is gone."""
        self.wait_until(
            lambda status: status["self"]["coordinator"]["state"] != "connected",
            f"{self.name} has lost the coordinator",
        )

    def wait_until_sees(self, *names: str, online: bool = True) -> None:
        """Wait until it has these peers, and no others, in this state."""
        self.wait_until(
            lambda status: (
                {peer["name"] for peer in status["peers"] if peer["online"] is online}
                == set(names)
            ),
            f"{self.name} sees {', '.join(names) or 'nobody'}",
        )

    # Traffic.

    def reaches(self, other: "Member") -> None:
        """Ping a peer's system over IPv4 and IPv6 until it answers."""
        for address in other.addresses:
            self.host.ping(address)

    def ping(self, other: "Member", *options: str) -> Process:
        """Start the system's ping to a peer."""
        return self.host.popen(["ping", "-n", *options, other.addresses[0]])


def leftovers(host: Host, runtime: str = "/run/meshwg") -> list[str]:
    """Return what a daemon that has ended should have taken with it."""
    left = host.run(["sh", "-c", "ip -brief link | grep -v -e ^lo -e ^eth; true"])
    tables = host.run(["nft", "list", "tables"])
    sockets = host.run(["find", runtime, "-type", "s"], check=False)
    rules = host.run(["sh", "-c", "ip rule; ip -6 rule"]).stdout.splitlines()
    return [
        *left.stdout.split(),
        *tables.stdout.split(),
        *sockets.stdout.split(),
        *(rule for rule in rules if not rule.endswith(("local", "main", "default"))),
    ]


def files_holding(directory: Path, secret: str) -> list[str]:
    """Return the names of the files below a directory in which a text occurs."""
    return [
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]
