"""A mesh of the real programs: ``meshwg-coordinator`` and ``meshwg node`` on hosts."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

from meshwg.cli.client import DaemonClient
from meshwg.errors import MeshError
from netlab.errors import CommandFailed, LabError
from netlab.lab import Lab
from netlab.machine import Host
from netlab.process import Process

MESHWG = (sys.executable, "-m", "meshwg")
COORDINATOR = (sys.executable, "-m", "coordinator")

PORT = 8443
JOINED_WITHIN = 60.0
"""Seconds; many nodes that start at once on a small machine are slow."""
STARTING_AT_ONCE = 4
"""Daemons started at the same time: importing one takes half a second of one core."""

Json = dict[str, Any]


class Coordinator:
    """The coordination server, with the relay and STUN on two public addresses.

    :param relay: whether it serves as a relay.
    :param approve_routes: networks within which nodes may announce routes.
    :param relays: further relays, which share ``turn_secret`` with it.
    :param settings: more keys of its file.
    """

    def __init__(
        self,
        host: Host,
        *,
        relay: bool = True,
        port: int = PORT,
        approve_routes: Sequence[str] = (),
        relays: Sequence[str] = (),
        turn_secret: str | None = None,
        settings: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self.host = host
        self.data_dir = host.directory / "data"
        known: dict[str, object] = {"approve_routes": approve_routes}
        known["relays"] = relays
        if turn_secret is not None:
            path = host.write_file("turn-secret", turn_secret)
            known["turn_secret_file"] = str(path)
        # Strings and lists are written in TOML as in JSON.
        pairs = {**known, **settings}.items()
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in pairs)
        config = host.write_file("coordinator.toml", "".join(lines))
        options = ["--data-dir", str(self.data_dir), "--listen", f"0.0.0.0:{port}"]
        for address in host.addresses(4):
            options += ["--stun", address]
        options += ["--advertise", host.address(4)]
        options += ["--config", str(config)]
        options += ["--relay" if relay else "--no-relay"]
        self._command = [*COORDINATOR, "serve", *options]
        self.process = self.start()

    def start(self) -> Process:
        """Start the server, also after its end, and wait until it is ready."""
        self.process = self.host.popen(self._command, log="coordinator.log")
        self.process.wait_for_line("ready")
        return self.process

    def public_key(self) -> str:
        """Return the key by which nodes know it."""
        where = ["--data-dir", str(self.data_dir), "--json"]
        done = self.host.run([*COORDINATOR, "key", "show", *where])
        key: str = json.loads(done.stdout)["public_key"]
        return key

    def token(self) -> str:
        """Return a new join token that any number of nodes can use, also hubs."""
        where = ["--data-dir", str(self.data_dir)]
        command = [*COORDINATOR, "token", "create", "--reusable", "--hub", *where]
        done = self.host.run(command)
        return done.stdout.split()[0]


class MeshNode:
    """A node on a host, with the name of the host."""

    def __init__(self, host: Host, token: str, options: Iterable[str] = ()) -> None:
        self.host = host
        self._command = [*MESHWG, "node", "--name", host.name]
        self._command += ["--state-dir", str(host.directory / "state"), *options]
        # The host's own /run, seen from outside.
        self._socket = str(host.directory / "run" / "meshwg" / "meshwg.sock")
        self._addresses: list[str] = []
        self.process = self.start("--join", token)

    def __repr__(self) -> str:
        return f"<MeshNode {self.name}>"

    @property
    def name(self) -> str:
        return self.host.name

    def start(self, *options: str) -> Process:
        """Start the daemon, without waiting until it has joined."""
        command = [*self._command, *options]
        self.process = self.host.popen(command, log="node.log")
        return self.process

    def stop(self) -> None:
        """Run ``meshwg down`` and wait until the daemon has ended.

        :raises CommandFailed: if its exit status is not 0.
        """
        self.meshwg("down")
        status = self.process.wait(timeout=10)
        if status != 0:
            raise CommandFailed(f"The node {self.name} ended with {status}.")

    def meshwg(self, *arguments: str) -> str:
        """Run a command that talks to the daemon, and return what it printed."""
        return self.host.run([*MESHWG, *arguments]).stdout

    def status(self) -> Json:
        """Return what ``meshwg status --json`` prints.

        :raises LabError: if the daemon has ended, or does not answer.
        """
        try:
            return DaemonClient(self._socket).get("/v1/status")
        except MeshError as error:
            raise LabError(f"{self.name}: {error}") from None

    def peer(self, other: "MeshNode") -> Json:
        """Return its status of another node."""
        for peer in self.status()["peers"]:
            if peer["name"] == other.name:
                return dict(peer)
        raise LabError(f"{self.name} does not know {other.name}.")

    def address(self, version: int = 4) -> str:
        """Return its address in the mesh."""
        if not self._addresses:
            self._addresses = self.status()["self"]["addresses"]
        return self._addresses[0 if version == 4 else 1]

    def pings(self, other: "MeshNode") -> Iterator[Json]:
        """Yield the results of echo requests, as ``meshwg ping --json`` prints them.

        Each request waits two seconds for its answer.
        """
        client = DaemonClient(self._socket, timeout=10)
        try:
            yield from client.stream("/v1/ping", {"peer": other.name})
        except MeshError as error:
            raise LabError(f"{self.name}: {error}") from None

    def ping(self, other: "MeshNode", version: int = 4) -> None:
        """Run the system's ping until another node answers."""
        self.host.ping(other.address(version))

    def wait_until(
        self, condition: Callable[[Json], bool], what: str, within: float = 30.0
    ) -> None:
        """Wait until its status meets a condition."""

        def holds() -> bool:
            if self.process.returncode is not None:
                raise CommandFailed(
                    f"The node {self.name} has ended, see {self.process.log_path}."
                )
            try:
                return condition(self.status())
            except LabError:
                return False

        self.host.wait_until(holds, what, within)

    def wait_until_joined(self, *, relay: bool = True) -> None:
        """Wait until it is a member, has measured its NAT, and has a relay."""
        self.wait_until(
            lambda status: _has_joined(status["self"], relay),
            "it has joined the mesh" + (" and has a relay" if relay else ""),
            JOINED_WITHIN,
        )


class Mesh:
    """A coordinator on the internet of a lab, and its nodes by name.

    :param relay: whether the coordinator serves as a relay.
    :param port: its TCP port.
    :param approve_routes: networks within which nodes may announce routes.
    """

    def __init__(
        self,
        lab: Lab,
        *,
        relay: bool = True,
        port: int = PORT,
        approve_routes: Sequence[str] = (),
    ) -> None:
        self._relay = relay
        host = lab.add_host("coordinator", lab.internet, count4=2, ipv6=False)
        self.coordinator = Coordinator(
            host, relay=relay, port=port, approve_routes=approve_routes
        )
        self._token = self.coordinator.token()
        self._is_over = False
        self.nodes: dict[str, MeshNode] = {}

    def join(self, host: Host, *options: str) -> MeshNode:
        """Start a node on a host; return once it has joined."""
        node = self.start(host, *options)
        node.wait_until_joined(relay=self._relay)
        return node

    def start(self, host: Host, *options: str) -> MeshNode:
        """Start a node on a host, without waiting until it has joined."""
        node = MeshNode(host, self._token, options)
        self.nodes[node.name] = node
        if self._is_over:
            node.process.kill()
        return node

    def join_all(self, hosts: Mapping[Host, tuple[str, ...]] | Iterable[Host]) -> None:
        """Start nodes on many hosts, a few at a time.

        :param hosts: optionally with the options of each.
        """
        options = hosts if isinstance(hosts, Mapping) else dict.fromkeys(hosts, ())
        with ThreadPoolExecutor(STARTING_AT_ONCE) as pool:
            try:
                list(pool.map(lambda host: self.join(host, *options[host]), options))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.kill()
                raise

    def kill(self) -> None:
        """Kill all nodes at once, which ends every wait for one of them."""
        self._is_over = True
        for node in list(self.nodes.values()):
            node.process.kill()


def _has_joined(itself: Json, relay: bool) -> bool:
    return (
        itself["coordinator"]["state"] == "connected"
        and len(itself["addresses"]) == 2
        and (itself["nat"] or {}).get("type") not in (None, "unknown")
        and (itself["relay"]["state"] == "allocated" or not relay)
    )
