"""A lab gives working networks and leaves the machine as it found it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from netlab import netns, registry
from netlab.errors import CommandFailed, LabError, NotReady
from netlab.lab import Lab

pytestmark = pytest.mark.netns

PING = ["ping", "-n", "-c", "1", "-W", "5"]
LISTENER = """
import socket
sock = socket.create_server(("", 7))
print("listening", flush=True)
sock.accept()
"""


def test_hosts_on_one_switch_reach_each_other_over_both_families(lab: Lab) -> None:
    bridge = lab.add_switch("bridge", "172.18.0.0/24", "fd00:18::/64")
    alice = lab.add_host("alice", bridge)
    bob = lab.add_host("bob", bridge, address="172.18.0.9")

    assert alice.address(4) == "172.18.0.2"
    assert bob.address(4) == "172.18.0.9"
    alice.run([*PING, bob.address(4)])
    alice.run([*PING, bob.address(6)])


def test_a_bridge_keeps_its_hardware_address_when_hosts_are_added(lab: Lab) -> None:
    bridge = lab.add_switch("bridge", "172.18.0.0/24")
    show = ["cat", "/sys/class/net/br0/address"]
    before = bridge.run(show).stdout
    for number in range(4):
        lab.add_host(f"host{number}", bridge)
        assert bridge.run(show).stdout == before


def test_hosts_on_the_internet_are_one_router_hop_apart(lab: Lab) -> None:
    alice = lab.add_host("alice", lab.internet)
    bob = lab.add_host("bob", lab.internet)

    for version in (4, 6):
        alice.run([*PING, "-t", "2", bob.address(version)])
        expired = alice.run([*PING, "-t", "1", bob.address(version)], check=False)
        assert "Time to live exceeded" in expired.stdout or (
            "Hop limit" in expired.stdout
        )


def test_a_server_with_two_addresses_has_them_in_two_ranges(lab: Lab) -> None:
    server = lab.add_host("server", lab.internet, count4=2)
    client = lab.add_host("client", lab.internet)

    first, second = server.addresses(4)
    assert first.rpartition(".")[0] != second.rpartition(".")[0]
    client.run([*PING, first])
    client.run([*PING, second])
    server.run([*PING, "-I", second, client.address(4)])


def test_a_host_may_have_more_addresses_than_there_are_ranges(lab: Lab) -> None:
    many = lab.add_host("many", lab.internet, count4=7)
    client = lab.add_host("client", lab.internet)

    assert len(set(many.addresses(4))) == 7
    for address in many.addresses(4):
        client.run([*PING, address])


def test_a_capture_holds_every_datagram_that_crossed_the_wire(lab: Lab) -> None:
    bridge = lab.add_switch("bridge", "172.18.0.0/24", "fd00:18::/64")
    alice, bob = lab.add_host("alice", bridge), lab.add_host("bob", bridge)
    capture = bridge.capture("br0", "udp port 5000")

    for version in (4, 6):
        sender = alice.udp_socket(alice.address(version))
        for number in range(100):
            sender.sendto(b"%d" % number, (bob.address(version), 5000))

    payloads = [datagram.payload for datagram in capture.datagrams()]
    assert payloads == [b"%d" % number for number in range(100)] * 2
    assert {each.destination for each in capture.datagrams()} == {
        (bob.address(4), 5000),
        (bob.address(6), 5000),
    }


def test_a_function_runs_inside_the_namespace_and_its_errors_come_back(
    lab: Lab,
) -> None:
    host = lab.add_host("host", lab.internet)

    def interfaces() -> set[str]:
        return {name for _, name in socket.if_nameindex()}

    outside = interfaces()
    assert host.call(interfaces) == {"lo", "eth0"}
    assert set(host.call(lambda: os.listdir("/sys/class/net"))) == {"lo", "eth0"}
    assert interfaces() == outside
    with pytest.raises(ZeroDivisionError):
        host.call(lambda: 1 / 0)


def test_hosts_do_not_see_each_others_run_directory(lab: Lab) -> None:
    alice = lab.add_host("alice", lab.internet)
    bob = lab.add_host("bob", lab.internet)

    alice.run(["mkdir", "/run/wireguard"])

    assert alice.run(["ls", "/run"]).stdout == "wireguard\n"
    assert bob.run(["ls", "/run"]).stdout == ""


def test_a_roaming_host_gets_an_address_of_its_new_network(lab: Lab) -> None:
    server = lab.add_host("server", lab.internet)
    bridge = lab.add_switch("bridge", "172.18.0.0/24")
    host = lab.add_host("host", bridge)

    host.move_to(lab.internet)

    host.run([*PING, server.address(4)])
    assert host.address(4).startswith(("203.0.113.", "198.51.100."))
    assert lab.add_host("next", bridge).address(4) == "172.18.0.2"


def test_a_pulled_cable_carries_nothing_until_it_is_plugged_in_again(lab: Lab) -> None:
    server = lab.add_host("server", lab.internet)
    host = lab.add_host("host", lab.internet)

    host.set_link(up=False)
    assert host.run([*PING, server.address(4)], check=False).returncode != 0
    host.set_link(up=True)
    host.run([*PING, server.address(4)])
    host.run([*PING, server.address(6)])


def test_a_failing_command_says_what_it_printed_last(lab: Lab) -> None:
    host = lab.add_host("host", lab.internet)

    with pytest.raises(CommandFailed, match=r"ended with 3.\n  no luck"):
        host.run(["sh", "-c", "echo no luck; exit 3"])
    with pytest.raises(CommandFailed, match=r"did not end within 0.2 s.\n  waiting"):
        host.run(["sh", "-c", "echo waiting; sleep 60"], timeout=0.2)
    with pytest.raises(FileNotFoundError):
        host.run(["no-such-program"])


def test_a_process_is_waited_for_and_stopped(lab: Lab) -> None:
    host = lab.add_host("host", lab.internet)

    process = host.popen([sys.executable, "-c", LISTENER])
    assert process.wait_for_line("listening") == "listening"
    host.call(lambda: socket.create_connection(("127.0.0.1", 7)).close())
    assert process.wait(10) == 0

    stubborn = host.popen(["sh", "-c", "trap '' TERM; echo ready; sleep 60 & wait"])
    stubborn.wait_for_line("ready")
    assert stubborn.stop(grace=0.1) == -signal.SIGKILL


def test_a_process_that_ends_too_early_is_reported_with_its_log(lab: Lab) -> None:
    host = lab.add_host("host", lab.internet)

    process = host.popen(["sh", "-c", "echo cannot bind; exit 1"])
    with pytest.raises(NotReady, match=r"ended with 1 .*\n  cannot bind\n.*sh-1.log"):
        process.wait_for_line("listening")
    silent = host.popen(["sleep", "60"])
    with pytest.raises(NotReady, match=r"did not print 'ready' within 0.1 s"):
        silent.wait_for_line("ready", timeout=0.1)


def test_nothing_is_left_after_the_end_nor_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Lab() as lab:
        host = lab.add_host("host", lab.internet)
        daemon = host.run(["sh", "-c", "setsid sleep 600 >&- 2>&- & echo $!"])
    assert_gone(lab)
    assert not is_running(int(daemon.stdout))

    broken = Lab()
    with pytest.raises(CommandFailed):
        run_failing_scenario(broken)
    assert_gone(broken)


def test_logs_of_a_failed_lab_stay_and_it_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lab = Lab()
    with pytest.raises(CommandFailed):
        run_failing_scenario(lab)

    assert str(lab.directory) in capsys.readouterr().err
    log = lab.directory / "host" / "echo.log"
    assert log.read_text() == "last words\n"
    assert lab.directory.parent == tmp_path


def test_labs_run_side_by_side_without_seeing_each_other() -> None:
    with Lab() as one, Lab() as other:
        first = one.add_host("host", one.internet, address="203.0.113.9")
        second = other.add_host("host", other.internet, address="203.0.113.9")
        first.run(["mkdir", "/run/mine"])
        assert second.run(["ls", "/run"]).stdout == ""


def test_invalid_or_taken_names_are_refused(lab: Lab) -> None:
    lab.add_host("host", lab.internet)
    for name, complaint in (("host", "already"), ("Bad Name", "cannot be a name")):
        with pytest.raises(LabError, match=complaint):
            lab.add_host(name, lab.internet)
    with pytest.raises(LabError, match=r"203.0.113.2 is taken"):
        lab.add_host("other", lab.internet, address="203.0.113.2")
    with pytest.raises(LabError, match=r"10.0.0.1 is not in"):
        lab.add_host("third", lab.internet, address="10.0.0.1")
    with pytest.raises(LabError, match=r"is running already \(process \d+\)"):
        Lab(prefix=lab.prefix).__enter__()
    with pytest.raises(LabError, match="cannot be a prefix"):
        Lab(prefix="../etc")
    with pytest.raises(LabError, match="named nobody; there are: host, internet"):
        lab.machine("nobody")


def test_ctrl_c_while_a_lab_is_registered_leaves_no_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def register_and_interrupt(prefix: str, directory: Path, title: str) -> None:
        register(prefix, directory, title)
        signal.raise_signal(signal.SIGINT)

    register = registry.register
    monkeypatch.setattr(registry, "register", register_and_interrupt)
    lab = Lab()
    with pytest.raises(KeyboardInterrupt):
        lab.__enter__()

    assert registry.read(lab.prefix) is None
    assert not lab.directory.exists()


def test_a_foreign_namespace_is_never_touched(lab: Lab) -> None:
    foreign = f"{lab.prefix}-host"
    subprocess.run(["ip", "netns", "add", foreign], check=True)
    try:
        with pytest.raises(LabError, match="Somebody else's"):
            lab.add_host("host", lab.internet)
        lab.__exit__(None, None, None)
        assert (netns.NAMESPACES / foreign).exists()
    finally:
        netns.delete(foreign)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_lab_that_is_told_to_stop_stops_cleanly(number: signal.Signals) -> None:
    program, prefix = start_lab_program()
    program.send_signal(number)
    assert program.wait(30) != 0
    assert registry.read(prefix) is None
    assert not list(netns.NAMESPACES.glob(f"{prefix}-*"))


def test_a_lab_that_has_ended_handles_no_signals_any_more() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with Lab():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL

    assert [signal.getsignal(number) for number in numbers] == before


def test_a_network_of_another_program_is_a_host_until_the_end() -> None:
    with Lab() as lab:
        owner = lab.add_host("owner", lab.add_switch("bridge", "172.18.0.0/24"))
        process = owner.popen(["sleep", "100"])

        guest = lab.adopt("guest", Path(f"/proc/{process.pid}/ns/net"))

        shown = ["ip", "address"]
        assert guest.run(shown).stdout == owner.run(shown).stdout
        # It outlives the process by which it was found.
        process.kill()
        guest.run([*PING, "172.18.0.1"])
    assert_gone(lab)


def test_what_is_deferred_happens_once_all_machines_are_gone() -> None:
    left: list[list[str]] = []
    with Lab() as lab:
        lab.add_switch("bridge")
        lab.defer(lambda: left.append(list(lab.machines)))
        assert left == []

    assert left == [[]]


def test_what_a_killed_lab_left_is_cleaned_and_a_running_one_is_not(lab: Lab) -> None:
    host = lab.add_host("host", lab.internet)
    program, prefix = start_lab_program()
    program.kill()
    program.wait(30)
    record = registry.read(prefix)
    assert record is not None
    assert netns.pids_inside(record.namespaces)

    assert prefix in Lab.clean()

    assert not netns.pids_inside(record.namespaces)
    assert not list(netns.NAMESPACES.glob(f"{prefix}-*"))
    assert not Path(record.owner.directory).exists()
    host.run([*PING, host.address(4)])


def test_a_killed_labs_prefix_can_be_used_again() -> None:
    program, prefix = start_lab_program()
    program.kill()
    program.wait(30)

    with Lab(prefix=prefix) as lab:
        lab.add_host("host", lab.internet)
    assert_gone(lab)


def run_failing_scenario(lab: Lab) -> None:
    with lab:
        host = lab.add_host("host", lab.internet)
        host.popen(["echo", "last words"], log="echo.log").wait(10)
        host.run(["false"])


def is_running(pid: int) -> bool:
    """Return whether a process exists that is more than a zombie."""
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True
    )
    return shown.stdout.strip() not in ("", "Z", "Zs")


PROGRAM = """
import time
from netlab.lab import Lab
with Lab() as lab:
    lab.add_host("host", lab.internet).popen(["sleep", "600"])
    print(lab.prefix, flush=True)
    time.sleep(600)
"""


def start_lab_program() -> tuple["subprocess.Popen[str]", str]:
    """Start a program that runs a lab; return it and the lab's prefix."""
    path = os.pathsep.join(each for each in sys.path if each)
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert program.stdout is not None
    with program.stdout as output:
        return program, output.readline().strip()


def assert_gone(lab: Lab) -> None:
    assert registry.read(lab.prefix) is None
    assert not list(netns.NAMESPACES.glob(f"{lab.prefix}-*"))
