"""The daemon as a process: signals, the service manager, and a full disk."""

import random
import shlex
import signal
import socket

import pytest

from meshwg.wire.token import AuthKeyText, JoinToken
from netlab.lab import Lab
from tests.interop.meshes import Coordinator, Member, leftovers

RANDOM = random.Random(6).randbytes
KEY = RANDOM(32)
URL = "http://192.0.2.99:8443"
READY = "is joining its mesh: interface meshwg0"


@pytest.mark.netns
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(lab: Lab, number: signal.Signals) -> None:
    member = lonely_member(lab)
    assert member.process is not None

    member.process.send_signal(number)

    assert member.wait_for_end() == 0
    assert leftovers(member.host) == []


@pytest.mark.netns
def test_a_hangup_reads_the_settings_again(lab: Lab) -> None:
    settings = lab.directory / "node.toml"
    settings.write_text('log_level = "info"\n')
    member = lonely_member(lab, MESHWG_CONFIG=str(settings))
    assert member.process is not None
    for content, said in (
        ('log_level = "info"\nmtu = 1300\n', "a restart only, these take effect: mtu"),
        ("nonsense", "The settings stay as they are: The configuration file"),
    ):
        settings.write_text(content)
        member.process.send_signal(signal.SIGHUP)
        member.process.wait_for_line(said)

    assert member.meshwg("status", check=False).returncode != 3


@pytest.mark.netns
def test_a_hangup_reads_the_guard_again_and_a_wrong_one_changes_nothing(
    lab: Lab,
) -> None:
    settings, guard = lab.directory / "node.toml", lab.directory / "guard.toml"
    guard.write_text("")
    settings.write_text(f'guard = "{guard}"\n')
    member = lonely_member(lab, MESHWG_CONFIG=str(settings))
    assert member.process is not None
    for content, said in (
        ('[[allow]]\nfrom = ["self"]\nto = ["any"]\n', "was read again: one rule"),
        ("nonsense", "The guard stays as it is: The guard"),
    ):
        guard.write_text(content)
        member.process.send_signal(signal.SIGHUP)
        member.process.wait_for_line(said)

    (complaint,) = (
        each for each in member.status()["health"] if each["code"] == "guard-not-taken"
    )
    assert "is not valid TOML" in complaint["text"]
    assert member.status()["self"]["policy"]["guard"]


@pytest.mark.netns
def test_a_closed_terminal_ends_a_hub_and_its_forwarding(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab, "--no-relay")
    host = lab.add_host("host", lab.internet)
    member = Member(host)
    command = shlex.join(member.command("--join", coordinator.token(hub=True), "--hub"))
    forwarding = ["cat", "/proc/sys/net/ipv4/ip_forward"]
    terminal = host.popen(["script", "-qefc", command, "/dev/null"], log="member.log")
    terminal.wait_for_line(READY)
    host.wait_until(lambda: host.run(forwarding).stdout == "1\n", "it is a hub", 60)

    terminal.kill()

    host.wait_until(lambda: leftovers(host) == [], "the hub has ended", 20)
    host.wait_until(
        lambda: host.run(forwarding).stdout == "0\n", "nothing is forwarded", 20
    )


@pytest.mark.netns
def test_the_service_manager_is_told(lab: Lab) -> None:
    path = str(lab.directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(20)
        member = lonely_member(lab, NOTIFY_SOCKET=path)
        assert manager.recv(99).startswith(b"READY=1")

        member.meshwg("down")

        assert manager.recv(99) == b"STOPPING=1"


@pytest.mark.netns
def test_a_full_disk_is_reported_at_startup(lab: Lab) -> None:
    host = lab.add_host("host", lab.add_switch("cable", "192.0.2.0/24"))
    member = Member(host)
    token = str(make_token(URL, KEY))
    # The daemon may write files, but no byte into them.
    command = ["prlimit", "--fsize=0:0", *member.command("--join", token)]

    ended = host.run(command, check=False)

    assert ended.returncode == 1
    assert "cannot be written (File too large): free space on the disk" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert leftovers(host) == []


def lonely_member(lab: Lab, **environment: str) -> Member:
    """Return a node that runs, and whose coordinator is nowhere."""
    host = lab.add_host("host", lab.add_switch("cable", "192.0.2.0/24"))
    member = Member(host)
    member.start("--join", str(make_token(URL, KEY)), env=environment)
    assert member.process is not None
    member.process.wait_for_line(READY)
    return member


def make_token(url: str, key: bytes) -> JoinToken:
    return JoinToken(url, key, AuthKeyText.generate(RANDOM))
