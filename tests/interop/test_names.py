"""Names of the mesh with other people's programs: glibc, dig, ping, unbound, dnsmasq.

Hosts have an ``/etc`` of their own, in which the plain file decides about name servers.
What systemd-resolved and resolvconf do is in tests/interop/test_resolved.py.
"""

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from meshwg.dns.server import STRANGER_BURST, STRANGER_RATE
from netlab.lab import Lab
from netlab.machine import Host
from tests.interop.machines import UNPACKED
from tests.interop.meshes import Coordinator, Member

pytestmark = pytest.mark.netns

UNBOUND = """
server:
  interface: {address}
  port: 53
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{directory}"
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  local-zone: "example.org." static
  local-data: "www.example.org. A 203.0.113.80"
  local-data: "nothing.example.org. TXT x"
"""
LONG = 'local-data: "long.example.org. TXT {text}"\n'
SSHD = """
HostKey {own}
AuthorizedKeysFile {authorized}
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
PidFile none
"""
SLEEP = 8.0
"""Seconds: more than passes between two looks at the file."""
PATIENCE = 60.0
QUERIES = 20_000
"""Of a peer that asks without end."""


class Mesh:
    """Two members with names, and name servers of other people's."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.coordinator = Coordinator.on_the_internet(lab)
        self.token = self.coordinator.token(reusable=True)
        self.unbound = serve_unbound(lab)
        self.dnsmasq = serve_dnsmasq(lab)
        self.before = (
            "# by hand\n"
            f"nameserver {self.unbound.address(4)}\n"
            f"nameserver {self.dnsmasq.address(4)}\n"
            "options timeout:1 attempts:3\n"
        )
        self.laptop = self.member("laptop").join(self.token)
        self.db = self.member("db").join(self.token)
        wait_for_names(self.laptop)
        wait_for_names(self.db)
        self.laptop.wait_until_sees("db")

    def member(self, name: str) -> Member:
        """Return a node, which does not run yet, on a host of its own."""
        member = Member(self.lab.add_host(name, self.lab.internet))
        member.host.take_own_etc()
        resolv_conf(member.host).write_text(self.before)
        return member

    def record(self, *arguments: str) -> None:
        self.coordinator.command("dns", *arguments)


def serve_unbound(lab: Lab) -> Host:
    if shutil.which("unbound") is None:
        pytest.skip("needs unbound: install Debian's package")
    host = lab.add_host("unbound", lab.internet)
    text = UNBOUND.format(address=host.address(4), directory=host.directory)
    text += "".join("  " + LONG.format(text="y" * 200 + str(n)) for n in range(20))
    config = host.write_file("unbound.conf", text)
    host.popen(["unbound", "-c", config, "-p"], log="unbound.log")
    wait_for_server(host, "www.example.org")
    return host


def serve_dnsmasq(lab: Lab) -> Host:
    if shutil.which("dnsmasq") is None:
        pytest.skip("needs dnsmasq: install Debian's package 'dnsmasq-base'")
    host = lab.add_host("dnsmasq", lab.internet)
    host.popen(
        [
            *("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts"),
            *(
                "--user=root",
                "--pid-file=",
                "--bind-interfaces",
                "--conf-file=/dev/null",
            ),
            f"--listen-address={host.address(4)}",
            "--address=/www.example.org/203.0.113.81",
        ],
        log="dnsmasq.log",
    )
    wait_for_server(host, "www.example.org")
    return host


def serve_ssh(host: Host) -> Path:
    """Have a host serve SSH; return the key that it lets in."""
    server = UNPACKED / "openssh-server/usr/sbin/sshd"
    library = next((UNPACKED / "libwrap0").glob("usr/lib/*"), None)
    if library is None or not server.exists() or shutil.which("ssh-keygen") is None:
        pytest.skip("needs sshd: 'make system' unpacks it")
    own, key = host.directory / "host_key", host.directory / "login_key"
    for each in (own, key):
        host.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(each)])
    with (host.namespace.etc_directory / "passwd").open("a") as file:
        file.write("sshd:x:64998:65534::/run/sshd:/usr/sbin/nologin\n")
    host.run(["mkdir", "-p", "/run/sshd"])
    config = host.write_file(
        "sshd_config", SSHD.format(own=own, authorized=key.with_suffix(".pub"))
    )
    env = {**os.environ, "LD_LIBRARY_PATH": str(library)}
    host.popen([str(server), "-D", "-e", "-f", str(config)], log="sshd.log", env=env)
    listening = ["ss", "-Hltn", "sport = :22"]
    host.wait_until(
        lambda: host.run(listening).stdout != "", f"{host.name} serves SSH", PATIENCE
    )
    return key


def wait_for_server(host: Host, name: str) -> None:
    command = ["dig", "+short", "+time=1", "+tries=1", f"@{host.address(4)}", name]
    host.wait_until(
        lambda: "203.0.113" in host.run(command, check=False).stdout,
        f"{host.name} answers for {name}",
        PATIENCE,
    )


def wait_for_names(member: Member) -> None:
    member.wait_until(
        lambda status: status["self"]["dns"]["mode"] == "file",
        f"{member.name} knows names",
    )


def stop(member: Member) -> None:
    assert member.process is not None
    assert member.process.stop() == 0


def resolv_conf(host: Host) -> Path:
    return host.namespace.etc_directory / "resolv.conf"


def dig(host: Host, *arguments: str) -> list[str]:
    """Return the answers that dig prints."""
    done = host.run(["dig", "+short", "+time=5", "+tries=2", *arguments], check=False)
    return done.stdout.splitlines()


def found(host: Host, name: str) -> list[str]:
    """Return the addresses that glibc finds, as ssh and browsers ask for them."""
    done = host.run(["getent", "ahosts", name], check=False)
    lines = done.stdout.splitlines()
    return sorted({line.split()[0] for line in lines if line})


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with Lab(title="names") as lab:
        yield Mesh(lab)


def test_programs_find_a_peer_by_its_name(mesh: Mesh) -> None:
    host, (four, six) = mesh.laptop.host, mesh.db.addresses

    for name in ("db", "db.mesh.internal", "DB.Mesh.Internal."):
        assert found(host, name) == sorted([four, six])
    assert dig(host, "db.mesh.internal", "A") == [four]
    assert dig(host, "+tcp", "db.mesh.internal", "AAAA") == [six]
    assert dig(host, f"@{mesh.laptop.addresses[1]}", "db.mesh.internal") == [four]
    for address in (four, six):
        assert dig(host, "-x", address) == ["db.mesh.internal."]
    assert host.run(["getent", "hosts", four]).stdout.split() == [
        *(four, "db.mesh.internal")
    ]
    for version in ("-4", "-6"):
        pinged = host.run(["ping", version, "-c", "1", "-W", "10", "db"]).stdout
        assert "db.mesh.internal" in pinged


def test_names_that_nobody_has_are_not_found(mesh: Mesh) -> None:
    host = mesh.laptop.host

    assert found(host, "web") == []
    answer = host.run(["dig", "+noall", "+comments", "+authority", "web.mesh.internal"])
    assert "status: NXDOMAIN" in answer.stdout
    assert "SOA\tlaptop.mesh.internal. hostmaster.mesh.internal." in answer.stdout
    assert dig(host, "-x", "100.64.255.254") == []


def test_names_of_others_are_found_as_before(mesh: Mesh) -> None:
    host = mesh.laptop.host

    assert found(host, "www.example.org") == ["203.0.113.80"]
    assert found(host, "nothing.example.org") == []
    # Too long for a datagram.
    assert len(dig(host, "long.example.org", "TXT")) == 20


def test_the_next_name_server_answers_for_one_that_is_silent(mesh: Mesh) -> None:
    host = mesh.laptop.host
    mesh.unbound.set_link(up=False)
    try:
        assert found(host, "www.example.org") == ["203.0.113.81"]
    finally:
        mesh.unbound.set_link(up=True)
    assert len(found(host, "www.example.org")) == 1


def test_records_of_administrators_are_found(mesh: Mesh) -> None:
    host, (four, six) = mesh.laptop.host, mesh.db.addresses
    mesh.record("add", "www", "CNAME", "db")
    mesh.record("add", "_postgresql._tcp", "SRV", "10", "5", "5432", "db")
    mesh.record("add", "printer.mesh.internal", "A", "10.1.2.3")

    host.wait_until(lambda: found(host, "printer") == ["10.1.2.3"], "it is told", 60)
    assert found(host, "www") == sorted([four, six])
    assert dig(host, "_postgresql._tcp.mesh.internal", "SRV") == [
        "10 5 5432 db.mesh.internal."
    ]
    mesh.record("remove", "printer")
    host.wait_until(lambda: found(host, "printer") == [], "it is told", 60)
    mesh.record("remove", "www")


def test_a_name_follows_its_node(mesh: Mesh) -> None:
    host = mesh.laptop.host
    mesh.coordinator.command("node", "rename", "db", "data")
    host.wait_until(lambda: found(host, "data") != [], "it has another name", 60)
    assert found(host, "db") == []
    mesh.coordinator.command("node", "rename", "data", "db")
    host.wait_until(lambda: found(host, "db") != [], "it has its name again", 60)


def test_commands_say_what_is_so(mesh: Mesh) -> None:
    laptop, (four, six) = mesh.laptop, mesh.db.addresses

    assert laptop.status()["self"]["dns"] == {
        "mode": "file",
        "domain": "mesh.internal",
        "error": None,
    }
    status = json.loads(laptop.meshwg("dns", "status", "--json").stdout)
    servers = [mesh.unbound.address(4), mesh.dnsmasq.address(4)]
    assert sorted(status["forwards_to"]) == sorted(servers)
    assert f"{laptop.addresses[0]}:53" in status["servers"]
    query = json.loads(laptop.meshwg("dns", "query", "db", "--json").stdout)
    assert [each["value"] for each in query["answers"]] == [four, six]
    assert "203.0.113.8" in laptop.meshwg("dns", "query", "www.example.org").stdout
    assert laptop.meshwg("dns", "query", "web", check=False).returncode == 1
    assert laptop.meshwg("ip", "db.mesh.internal", "-4").stdout == f"{four}\n"
    whois = json.loads(laptop.meshwg("whois", "db", "--json").stdout)
    assert whois["full_name"] == "db.mesh.internal"


def test_dhcp_may_rewrite_the_file(mesh: Mesh) -> None:
    laptop, path = mesh.laptop, resolv_conf(mesh.laptop.host)
    leased = f"nameserver {mesh.dnsmasq.address(4)}\n"
    new = path.with_name("resolv.conf.dhclient-new")
    new.write_text(leased)
    new.replace(path)

    laptop.host.wait_until(
        lambda: path.read_text().startswith("#meshwg"), "ours stands in it again", 60
    )

    assert found(laptop.host, "db") == sorted(mesh.db.addresses)
    assert found(laptop.host, "www.example.org") == ["203.0.113.81"]
    assert leased in path.read_text()
    path.with_name("again").write_text(mesh.before)
    path.with_name("again").replace(path)
    laptop.host.wait_until(
        lambda: (
            path.read_text().startswith("#meshwg") and mesh.before in path.read_text()
        ),
        "it has the servers of before",
        60,
    )


def test_ssh_reaches_a_peer_by_its_name(mesh: Mesh) -> None:
    laptop = mesh.laptop.host
    key, known = serve_ssh(mesh.db.host), laptop.directory / "known_hosts"
    options = (
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=accept-new",
        "BatchMode=yes",
    )
    command = [
        *("ssh", "-F", "none", "-i", str(key), "-o", f"UserKnownHostsFile={known}"),
        *(word for each in options for word in ("-o", each)),
    ]

    for name in ("db", "db.mesh.internal"):
        done = laptop.run([*command, f"root@{name}", "echo", "$SSH_CONNECTION"])
        client, _, server, port = done.stdout.split()
        assert client in mesh.laptop.addresses
        assert (server in mesh.db.addresses, port) == (True, "22")
    assert "db.mesh.internal" in known.read_text()


def test_names_are_there_again_after_a_sleep(mesh: Mesh) -> None:
    laptop, path = mesh.laptop, resolv_conf(mesh.laptop.host)
    assert laptop.process is not None
    laptop.process.send_signal(signal.SIGSTOP)
    try:
        # Whatever else wakes up first finds names by the servers behind.
        assert found(laptop.host, "www.example.org") != []
        time.sleep(SLEEP)
        # A DHCP client was sooner.
        path.with_name("new").write_text(mesh.before)
        path.with_name("new").replace(path)
    finally:
        laptop.process.send_signal(signal.SIGCONT)

    laptop.host.wait_until(
        lambda: found(laptop.host, "db") == sorted(mesh.db.addresses),
        "names are found again",
        PATIENCE,
    )
    assert mesh.before in path.read_text()
    assert found(laptop.host, "www.example.org") != []
    laptop.wait_until_connected()


def test_another_node_that_asks_without_end_is_not_heard(mesh: Mesh) -> None:
    laptop, db = mesh.laptop, mesh.db
    address = laptop.addresses[0]
    query = bytes.fromhex("123401000001000000000000") + b"\x02db\x00\x00\x01\x00\x01"

    def flood() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            sock.connect((address, 53))
            for _ in range(QUERIES):
                sock.send(query)
            sock.settimeout(2.0)
            answers = 0
            with suppress(TimeoutError):
                while sock.recv(512):
                    answers += 1
            return answers

    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        flooding = pool.submit(db.host.call, flood)
        while not flooding.done():
            assert found(laptop.host, "db") == sorted(db.addresses)
        answers = flooding.result()
    took = time.monotonic() - began

    assert 0 < answers <= STRANGER_BURST + STRANGER_RATE * took
    drops = json.loads(laptop.meshwg("dns", "status", "--json").stdout)["drops"]
    assert drops["dns-stranger"] > answers
    laptop.reaches(db)


def test_a_network_that_changes_leaves_names_as_they_are(mesh: Mesh) -> None:
    host = mesh.laptop.host
    host.set_link(up=False)
    # Without a network, names of the mesh are what they were.
    assert dig(host, "db.mesh.internal") == [mesh.db.addresses[0]]
    host.set_link(up=True)

    mesh.laptop.wait_until_connected()
    assert found(host, "db") == sorted(mesh.db.addresses)
    host.wait_until(
        lambda: found(host, "www.example.org") != [], "others' names are found", 60
    )


def test_a_killed_node_leaves_names_of_others(mesh: Mesh) -> None:
    laptop, path = mesh.laptop, resolv_conf(mesh.laptop.host)
    laptop.kill()

    assert path.read_text().startswith("#meshwg")
    assert found(laptop.host, "www.example.org") != []
    assert found(laptop.host, "db") == []

    laptop.start()
    wait_for_names(laptop)
    assert found(laptop.host, "db") == sorted(mesh.db.addresses)
    assert "#meshwg- #meshwg" not in path.read_text()


def test_what_a_killed_node_left_is_cleaned_up(mesh: Mesh) -> None:
    laptop, path = mesh.laptop, resolv_conf(mesh.laptop.host)
    laptop.kill()
    clean = ["cleanup", "--state-dir", str(laptop.state_dir)]

    said = laptop.host.run([*laptop.command()[:3], *clean]).stdout

    assert "the name server in /etc/resolv.conf" in said
    assert path.read_text() == mesh.before
    laptop.start()
    wait_for_names(laptop)


def test_a_machine_whose_power_was_cut_finds_names_elsewhere(mesh: Mesh) -> None:
    laptop = mesh.laptop
    state, text = laptop.state_dir, resolv_conf(laptop.host).read_text()
    laptop.kill()
    again = mesh.member("again")
    resolv_conf(again.host).write_text(text)
    shutil.copytree(state, again.state_dir)

    # Before the node is started, if it ever is.
    assert found(again.host, "www.example.org") != []

    again.start()
    wait_for_names(again)
    again.wait_until_connected()
    assert found(again.host, "db") == sorted(mesh.db.addresses)
    stop(again)
    assert resolv_conf(again.host).read_text() == mesh.before
    laptop.start()
    wait_for_names(laptop)


def test_a_file_that_somebody_else_wrote_is_left_alone(mesh: Mesh) -> None:
    laptop, path = mesh.laptop, resolv_conf(mesh.laptop.host)
    laptop.kill()
    foreign = path.read_text() + "# and this is somebody else's\n"
    path.write_text(foreign)

    clean = ["cleanup", "--state-dir", str(laptop.state_dir)]
    laptop.host.run([*laptop.command()[:3], *clean])

    assert path.read_text() == foreign
    path.write_text(mesh.before)
    laptop.start()
    wait_for_names(laptop)


def test_an_etc_that_cannot_be_written_is_a_line(mesh: Mesh) -> None:
    laptop = mesh.laptop
    stop(laptop)
    read_only = "mount --bind /etc /etc && mount -o remount,bind,ro /etc && exec"
    command = " ".join(laptop.command())
    laptop.process = laptop.host.popen(
        ["unshare", "--mount", "sh", "-c", f"{read_only} {command}"], log="ro.log"
    )
    laptop.wait_until_connected()

    laptop.wait_until(
        lambda status: "Read-only file system" in str(status["self"]["dns"]["error"]),
        "it says why",
    )

    status = laptop.status()
    assert status["self"]["dns"]["mode"] == "none"
    assert "dns-not-set-up" in [each["code"] for each in status["health"]]
    laptop.reaches(mesh.db)
    assert dig(laptop.host, f"@{laptop.addresses[0]}", "db.mesh.internal") == [
        mesh.db.addresses[0]
    ]
    stop(laptop)
    assert resolv_conf(laptop.host).read_text() == mesh.before


def test_names_may_be_left_alone(mesh: Mesh) -> None:
    laptop = mesh.laptop
    stop(laptop)
    laptop.start("--no-dns")
    laptop.wait_until_connected()

    assert resolv_conf(laptop.host).read_text() == mesh.before
    assert laptop.status()["self"]["dns"]["mode"] == "off"
    asked = dig(laptop.host, f"@{laptop.addresses[0]}", "db.mesh.internal")
    assert mesh.db.addresses[0] not in asked
    assert "--no-dns" in laptop.meshwg("dns", "status").stdout
    laptop.reaches(mesh.db)
