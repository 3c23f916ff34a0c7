"""Access: four people and two servers, and a policy that says who reaches what.

::

    alice  bob  carol  dave          db   web
       |    |     |      |            |    |
       '----'-----'------'- internet -'----'

All of them are members of one mesh. Without a policy everybody reaches everything. With
one, the servers answer only to those whom it names, the others do not even know that
they are there, and what is taken away while it is in use is cut.
"""

import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from netlab.errors import ScenarioFailed
from netlab.lab import Lab
from netlab.mesh import COORDINATOR, Coordinator, Mesh, MeshNode
from netlab.scenario import Narrator, Scenario
from netlab.topology import Way

PEOPLE = ("alice", "bob", "carol", "dave")
SERVERS: Mapping[str, tuple[int, ...]] = {"db": (22, 5432), "web": (22, 443)}
"""The servers, and the ports at which they listen."""
POLICY = """
[groups]
staff = ["alice", "bob", "carol"]

[[allow]]
from = ["group:staff"]
to = ["tag:web"]
ports = ["tcp/443", "icmp"]

[[allow]]
from = ["alice", "bob"]
to = ["tag:db"]
ports = ["tcp/5432"]

[[allow]]
from = ["alice"]
to = ["tag:db", "tag:web"]
ports = ["tcp/22"]
"""
WITHOUT_BOB = POLICY.replace('from = ["alice", "bob"]', 'from = ["alice"]')
REACHED = {
    "alice": {"db:22", "db:5432", "web:22", "web:443"},
    "bob": {"db:5432", "web:443"},
    "carol": {"web:443"},
    "dave": set(),
}
"""What the policy lets each of them reach."""
PATIENCE = 5.0
CUT_WITHIN = 1.0
"""Seconds from the command to the end of a connection."""
LISTEN = """
import socket, sys, threading
def serve(port):
    server = socket.create_server(("0.0.0.0", port))
    while True:
        threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()
def echo(talk):
    try:
        while data := talk.recv(99):
            talk.sendall(data)
    except OSError:
        pass
for port in sys.argv[1:]:
    threading.Thread(target=serve, args=(int(port),)).start()
print("listening", flush=True)
"""


@dataclass(slots=True)
class Company:
    """The people's machines and the servers."""

    coordinator: Coordinator
    nodes: dict[str, MeshNode]


def build(lab: Lab) -> Company:
    mesh = Mesh(lab)
    mesh.join_all([lab.add_host(name, lab.internet) for name in (*PEOPLE, *SERVERS)])
    for name, ports in SERVERS.items():
        server = mesh.nodes[name].host.popen(
            [sys.executable, "-c", LISTEN, *map(str, ports)], log="server.log"
        )
        server.wait_for_line("listening")
    company = Company(mesh.coordinator, mesh.nodes)
    for name in PEOPLE:
        administer(company, "user", "add", name)
        administer(company, "node", "tag", name, "--owner", name)
    for name in SERVERS:
        administer(company, "node", "tag", name, name)
    return company


def verify(company: Company, narrator: Narrator) -> None:
    everything = {f"{name}:{port}" for name, ports in SERVERS.items() for port in ports}
    with narrator.step("without a policy everybody reaches everything"):
        for name in PEOPLE:
            expect(company, name, everything)
    with narrator.step("a policy is applied, and each node has it"):
        apply(company, POLICY, version=1)
    for name, reached in REACHED.items():
        with narrator.step(f"{name} reaches {', '.join(sorted(reached)) or 'nothing'}"):
            expect(company, name, reached)
    with narrator.step("dave does not know that there are servers"):
        known = {peer["name"] for peer in company.nodes["dave"].status()["peers"]}
        if known:
            raise ScenarioFailed(f"dave knows {', '.join(sorted(known))}.")
    with narrator.step(
        f"what is taken from bob while he uses it is cut in {CUT_WITHIN:g} s"
    ):
        expect_cut(company)
    with narrator.step("bob reaches web:443, and no longer db:5432"):
        expect(company, "bob", {"web:443"})


def administer(company: Company, *arguments: str) -> None:
    """Run a command of the coordinator."""
    coordinator = company.coordinator
    where = ["--data-dir", str(coordinator.data_dir)]
    coordinator.host.run([*COORDINATOR, *arguments, *where])


def apply(company: Company, text: str, version: int) -> None:
    """Have a policy; return once all nodes have it."""
    file = company.coordinator.host.write_file("policy.toml", text)
    administer(company, "policy", "apply", str(file))
    for node in company.nodes.values():
        node.wait_until(
            lambda status: status["self"]["policy"]["version"] == version,
            f"it has version {version} of the policy",
        )


def expect(company: Company, name: str, reached: set[str]) -> None:
    """Check which ports somebody can connect to."""
    found = {
        f"{server}:{port}"
        for server, ports in SERVERS.items()
        for port in ports
        if connects(company.nodes[name], company.nodes[server], port)
    }
    if found != reached:
        raise ScenarioFailed(
            f"{name} reaches {', '.join(sorted(found)) or 'nothing'}, and not "
            f"{', '.join(sorted(reached)) or 'nothing'}."
        )


def connects(node: MeshNode, server: MeshNode, port: int) -> bool:
    """Tell whether a connection can be made."""
    address = server.address()
    try:
        node.host.call(
            lambda: socket.create_connection((address, port), PATIENCE)
        ).close()
    except OSError:
        return False
    return True


def expect_cut(company: Company) -> None:
    """Take away what is in use, and see how long it goes on."""
    address = company.nodes["db"].address()
    talk = company.nodes["bob"].host.call(
        lambda: socket.create_connection((address, 5432), PATIENCE)
    )
    with talk:
        talk.settimeout(PATIENCE)
        exchange(talk)
        file = company.coordinator.host.write_file("policy.toml", WITHOUT_BOB)
        administer(company, "policy", "apply", str(file))
        applied = time.monotonic()
        try:
            while time.monotonic() < applied + PATIENCE:
                exchange(talk)
                time.sleep(0.02)
        except ConnectionResetError:
            took = time.monotonic() - applied
            if took > CUT_WITHIN:
                raise ScenarioFailed(f"It took {took:.1f} s.") from None
            return
    raise ScenarioFailed("It goes on.")


def exchange(talk: socket.socket) -> None:
    """Say something, and hear it again."""
    talk.sendall(b"x")
    if not talk.recv(99):
        raise ScenarioFailed("The server has hung up.")


ACCESS = Scenario(
    "access",
    "Access: who reaches what",
    build,
    verify,
    tuple(
        Way((name, server), "direct")
        for name, reached in REACHED.items()
        for server in SERVERS
        if any(each.startswith(server) for each in sorted(reached))
    ),
)
