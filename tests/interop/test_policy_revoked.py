"""What a policy revokes ends at once: of TCP and UDP, direct and through a hub.

On each data path, real programs speak all the time, and say when they last heard
something. The core carries their packets without asking anybody, until it is told.
"""

import sys
import time
import urllib.request
from collections.abc import Callable

import pytest

from netlab.lab import Lab
from netlab.presets import OFFICE
from netlab.process import Process
from tests import datapaths
from tests.interop.meshes import PORT, Coordinator, Member

pytestmark = pytest.mark.netns

SERVICE = 22
POLICY = """
[[allow]]
from = ["alice@example.org", "bob@example.org"]
to = ["tag:db"]
ports = ["tcp/{port}", "udp/{port}"]
"""
SERVE = """
import socket, threading
def serve():
    server = socket.create_server(("", {port}))
    while True:
        talk, _ = server.accept()
        threading.Thread(target=echo, args=(talk,), daemon=True).start()
def echo(talk):
    try:
        while data := talk.recv(99):
            talk.sendall(data)
    except OSError as error:
        print("cut:", error.strerror, flush=True)
threading.Thread(target=serve, daemon=True).start()
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", {port}))
print("listening", flush=True)
while True:
    sock.sendto(*sock.recvfrom(99))
"""
TALK = """
import socket, time
kind = socket.{kind}
talk = socket.socket(socket.AF_INET, kind)
last = 0.0
try:
    talk.connect(("{address}", {port}))
    talk.settimeout(0.1 if kind is socket.SOCK_DGRAM else None)
    while True:
        talk.send(b"x")
        try:
            assert talk.recv(99)
        except TimeoutError:
            continue
        if not last:
            print("talking", flush=True)
        last = time.monotonic()
        time.sleep(0.02)
except OSError as error:
    print("last", last, error.strerror or error, flush=True)
"""
ENDS = {
    "SOCK_STREAM": "Connection reset by peer",
    "SOCK_DGRAM": "No route to host",
}
"""What a program is told, by the kind of its socket."""


@pytest.mark.parametrize("datapath", list(datapaths.MAKERS))
def test_what_is_revoked_is_cut_at_once(
    datapath: str, lab: Lab, record_property: Callable[[str, object], None]
) -> None:
    coordinator = Coordinator.on_the_internet(lab, "--no-relay")
    alice, bob, db = mesh(lab, coordinator, datapath)
    address = db.addresses[0]
    server = db.host.popen(
        [sys.executable, "-c", SERVE.format(port=SERVICE)], log="server.log"
    )
    server.wait_for_line("listening")
    talks = {
        (member.name, kind): talking(member, address, kind)
        for member in (alice, bob)
        for kind in ENDS
    }
    assert alice.peers()["db"]["path"]["via"] == "hub"
    bob.wait_until(
        lambda status: any(
            peer["name"] == "db" and peer["path"]["kind"] == "direct"
            for peer in status["peers"]
        ),
        "Bob reaches the server directly",
    )
    assert db.status()["self"]["datapath"] == datapath

    begun = put_policy(coordinator, POLICY.format(port=SERVICE + 1))

    lines = [f"revoked while in use ({datapath}):"]
    for (name, kind), talk in talks.items():
        _, last, why = talk.wait_for_line("last").split(maxsplit=2)
        assert why == ENDS[kind]
        lines.append(f"  {name:<6} {kind:<12} {float(last) - begun:6.3f} s  {why}")
    server.wait_for_line("cut: Connection reset by peer")
    record_property("table", "\n".join(lines))


def mesh(
    lab: Lab, coordinator: Coordinator, datapath: str
) -> tuple[Member, Member, Member]:
    """Return Alice, who reaches the server through a hub, Bob, and the server."""
    for name in ("alice", "bob"):
        coordinator.command("user", "add", f"{name}@example.org")
    identities = {
        "alice": ("--owner", "alice@example.org"),
        "bob": ("--owner", "bob@example.org"),
        "db": ("--tag", "db"),
        "hub": ("--hub",),
    }
    tokens = {
        name: coordinator.command("token", "create", *words)["token"]
        for name, words in identities.items()
    }
    put_policy(coordinator, POLICY.format(port=SERVICE))
    members = {}
    for name, token in tokens.items():
        is_inside = name in ("alice", "db")
        office = lab.add_router(f"{name}s-office", OFFICE) if is_inside else None
        host = lab.add_host(name, office or lab.internet)
        member = members[name] = Member(host)
        options = ["--hub"] if name == "hub" else []
        environment = {"MESHWG_DATAPATH": datapath}
        member.start("--join", token, *options, env=environment)
    for member in members.values():
        member.wait_until_connected()
    members["alice"].wait_until_sees("hub", "db")
    members["bob"].wait_until_sees("hub", "db")
    return members["alice"], members["bob"], members["db"]


def talking(member: Member, address: str, kind: str) -> Process:
    """Have a program speak with the server, over and over until it is answered."""
    text = TALK.format(kind=kind, address=address, port=SERVICE)
    while True:
        talk = member.host.popen(
            [sys.executable, "-c", text], log=f"{kind}-{time.monotonic()}.log"
        )
        if talk.wait_for_line("a", timeout=60).startswith("talking"):
            return talk


def put_policy(coordinator: Coordinator, text: str) -> float:
    """Have the coordinator take a policy; return when it was asked to."""
    bearer = (coordinator.data_dir / "admin.token").read_text().strip()
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/v1/policy",
        text.encode(),
        {"Authorization": f"Bearer {bearer}", "Content-Type": "application/toml"},
        method="PUT",
    )

    def ask() -> float:
        begun = time.monotonic()
        urllib.request.urlopen(request).close()
        return begun

    return coordinator.host.call(ask)
