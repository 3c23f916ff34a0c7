"""Access policies between whole programs, and what kernels at both ends make of it."""

import json
import sys
import time

import pytest

from netlab.lab import Lab
from netlab.process import Process
from tests.interop.meshes import Coordinator, Json, Member

pytestmark = pytest.mark.netns

PORTS = (22, 80, 5432)
POLICY = """
[[allow]]
from = ["alice@example.org"]
to = ["tag:db"]
ports = ["tcp/22", "tcp/5432", "icmp"]
note = "ticket 4711"
"""
RULE = """
[[allow]]
from = ["alice@example.org"]
to = ["tag:db"]
ports = ["tcp/{port}"]
note = "{note}"
"""
MANY = POLICY + "".join(
    RULE.format(port=10_000 + number, note="n" * 90) for number in range(4_999)
)
LISTEN = """
import socket, threading
def serve(port):
    server = socket.create_server(("0.0.0.0", port), backlog=64)
    while True:
        talk, _ = server.accept()
        threading.Thread(target=echo, args=(talk,), daemon=True).start()
def echo(talk):
    try:
        while data := talk.recv(99):
            talk.sendall(data)
    except OSError as error:
        print("cut:", error.strerror, flush=True)
for port in {ports}:
    threading.Thread(target=serve, args=(port,)).start()
print("listening", flush=True)
"""
TALK = """
import socket, time
talk = socket.create_connection(("{address}", {port}), 5)
print("connected", flush=True)
try:
    while True:
        talk.sendall(b"x")
        assert talk.recv(99)
        time.sleep(0.05)
except OSError as error:
    print("cut:", error.strerror, flush=True)
"""
SCAN = """
import json, socket, time
found = {{}}
for port in {ports}:
    begun = time.monotonic()
    try:
        socket.create_connection(("{address}", port), 5).close()
        found[port] = "open"
    except OSError as error:
        found[port] = error.strerror or "silent"
    found[f"{{port}} took"] = time.monotonic() - begun
print(json.dumps(found))
"""


def test_a_policy_opens_its_ports_and_cuts_what_it_revokes(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    for user in ("alice@example.org", "bob@example.org"):
        coordinator.command("user", "add", user)
    alice = joined(lab, coordinator, "alice", "--owner", "alice@example.org")
    bob = joined(lab, coordinator, "bob", "--owner", "bob@example.org")
    db = joined(lab, coordinator, "db", "--tag", "db")
    listening(db)
    alice.reaches(db)
    assert alice.status()["self"]["policy"]["default"] == "allow"
    address = db.addresses[0]

    apply(coordinator, lab, POLICY)
    alice.wait_until_sees("db")
    bob.wait_until_sees()
    assert scanned(alice, address) == {22: "open", 80: "No route to host", 5432: "open"}
    assert scanned(bob, address)[22] != "open"
    assert alice.status()["self"]["policy"]["version"] == 1
    found = asked(alice, "db:5432")
    assert found["verdict"] == "allowed"
    assert "ticket 4711" in found["steps"][1]["text"]
    assert found["steps"][-1] == {
        "layer": "far-end",
        "ok": True,
        "text": "listens at port 5432",
        "mend": None,
    }
    assert asked(alice, "db:80")["verdict"] == "denied"

    session = talking(alice, address, 22)
    kept = talking(alice, address, 5432)
    apply(coordinator, lab, POLICY.replace('"tcp/22", ', ""))
    session.wait_for_line("cut:")
    assert "Connection reset by peer" in session.output()
    time.sleep(0.5)
    assert "cut:" not in kept.output()
    kept.kill()


def test_a_policy_that_is_wrong_changes_nothing_and_outlives_no_restart(
    lab: Lab,
) -> None:
    coordinator, alice, db = alice_and_db(lab)
    apply(coordinator, lab, POLICY)
    alice.wait_until_sees("db")

    wrong = lab.directory / "wrong.toml"
    wrong.write_text(POLICY.replace("tag:db", "tag:nobody"))
    refused = coordinator.host.run(
        [
            *(sys.executable, "-m", "coordinator", "policy", "apply", str(wrong)),
            *("--data-dir", str(coordinator.data_dir)),
        ],
        check=False,
    )
    assert refused.returncode == 2
    assert "Line 4 of the policy: no node and no token has the tag" in refused.stderr

    # Whoever disappears meanwhile does not keep the coordinator from starting.
    coordinator.stop()
    coordinator.command("user", "disable", "alice@example.org")
    coordinator.start()
    db.wait_until_connected()
    assert db.status()["self"]["policy"]["version"] == 1


def test_thousands_of_rules_are_kept_and_a_damaged_copy_of_them_denies_all(
    lab: Lab,
) -> None:
    coordinator, alice, db = alice_and_db(lab)
    listening(db)
    alice.reaches(db)

    apply(coordinator, lab, MANY)
    db.wait_until(
        lambda status: status["self"]["policy"]["version"] == 1, "the policy is there"
    )
    alice.wait_until_sees("db")
    address = db.addresses[0]
    assert scanned(alice, address) == {22: "open", 80: "No route to host", 5432: "open"}

    # Without the coordinator the copy on the disk counts, and only a whole one.
    assert db.process is not None
    coordinator.stop()
    db.process.stop()
    db.start()
    db.wait_until(
        lambda status: status["self"]["policy"]["version"] == 1, "the copy is read"
    )
    db.process.stop()
    copy = db.state_dir / "netmap.json"
    copy.write_text(copy.read_text()[:-1000])
    db.start()
    db.wait_until(
        lambda status: "policy-lost" in [each["code"] for each in status["health"]],
        "it is said that it is lost",
    )
    assert db.status()["self"]["policy"]["default"] == "deny"
    assert scanned(alice, address)[22] != "open"

    coordinator.start()
    db.wait_until(
        lambda status: status["self"]["policy"]["version"] == 1, "it is told again"
    )
    assert db.status()["health"] == []
    alice.wait_until_connected()
    alice.host.wait_until(
        lambda: scanned(alice, address)[22] == "open", "alice gets in again", 60
    )


def alice_and_db(lab: Lab) -> tuple[Coordinator, Member, Member]:
    coordinator = Coordinator.on_the_internet(lab)
    coordinator.command("user", "add", "alice@example.org")
    alice = joined(lab, coordinator, "alice", "--owner", "alice@example.org")
    return coordinator, alice, joined(lab, coordinator, "db", "--tag", "db")


def joined(lab: Lab, coordinator: Coordinator, name: str, *identity: str) -> Member:
    token = coordinator.command("token", "create", *identity)["token"]
    return Member(lab.add_host(name, lab.internet)).join(token)


def apply(coordinator: Coordinator, lab: Lab, text: str) -> None:
    file = lab.directory / "policy.toml"
    file.write_text(text)
    coordinator.command("policy", "apply", str(file))


def listening(member: Member) -> Process:
    server = member.host.popen(
        [sys.executable, "-c", LISTEN.format(ports=PORTS)], log="server.log"
    )
    server.wait_for_line("listening")
    return server


def talking(member: Member, address: str, port: int) -> Process:
    """Say something all the time."""
    text = TALK.format(address=address, port=port)
    talk = member.host.popen([sys.executable, "-c", text], log=f"talk-{port}.log")
    talk.wait_for_line("connected")
    return talk


def scanned(member: Member, address: str) -> dict[int, str]:
    """Return what becomes of connections to some ports."""
    text = SCAN.format(address=address, ports=PORTS)
    found = json.loads(member.host.run([sys.executable, "-c", text]).stdout)
    return {port: found[str(port)] for port in PORTS}


def asked(member: Member, target: str) -> Json:
    found: Json = json.loads(member.meshwg("why", target, "--json", check=False).stdout)
    return found
