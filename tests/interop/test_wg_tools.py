"""``meshwg-wg`` under the tools that people use: wg(8), wg-quick(8) and ip(8)."""

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from meshwg.keys import PrivateKey, format_key
from netlab.lab import Lab
from netlab.machine import Host
from netlab.netns import pids_inside
from netlab.process import Process
from tests import datapaths

pytestmark = pytest.mark.netns

PROGRAM = Path(sys.executable).with_name("meshwg-wg")
# wg-quick(8) looks for its userspace implementation in the PATH.
ENVIRONMENT = {
    "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
    "WG_QUICK_USERSPACE_IMPLEMENTATION": "meshwg-wg",
}
ALICE, BOB, CAROL, SELF = (PrivateKey.from_bytes(bytes([n]) * 32) for n in range(4))
PSK = format_key(bytes(range(32)))


def private(key: PrivateKey) -> str:
    return format_key(key.private_bytes)


def public(key: PrivateKey) -> str:
    return format_key(key.public_bytes)


CONFIGURATION = f"""\
[Interface]
ListenPort = 51820
FwMark = 0x1234
PrivateKey = {private(SELF)}

[Peer]
PublicKey = {public(ALICE)}
PresharedKey = {PSK}
AllowedIPs = 10.0.0.1/32, fd00::1/128
Endpoint = 192.0.2.1:51820
PersistentKeepalive = 25

[Peer]
PublicKey = {public(BOB)}
AllowedIPs = 10.0.0.2/32
Endpoint = [2001:db8::2]:1
"""


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host("host", lab.add_switch("switch", "10.9.0.0/24"))


def test_a_fresh_interface_is_shown_empty(host: Host) -> None:
    start(host)
    assert wg(host, "show", "interfaces") == "wg0\n"
    assert wg(host, "show", "wg0", "dump") == "(none)\t(none)\t0\toff\n"
    assert wg(host, "show") == "interface: wg0\n"


def test_what_is_set_is_shown(host: Host) -> None:
    start(host)
    key = host.write_file("key", private(SELF))
    psk = host.write_file("psk", PSK)
    wg(host, "set", "wg0", "private-key", key, "listen-port", "51820", "fwmark", "7")
    alice = "peer", public(ALICE), "preshared-key", psk, "persistent-keepalive", "25"
    reach = "endpoint", "192.0.2.1:51820", "allowed-ips", "10.0.0.0/24,fd00::/64"
    wg(host, "set", "wg0", *alice, *reach)
    assert dump(host) == [
        [private(SELF), public(SELF), "51820", "0x7"],
        [
            *(public(ALICE), PSK, "192.0.2.1:51820", "10.0.0.0/24,fd00::/64"),
            *("0", "0", "0", "25"),
        ],
    ]


def test_settings_and_peers_can_be_removed_again(host: Host) -> None:
    start(host)
    setconf(host, CONFIGURATION)
    empty = host.write_file("empty", "")
    wg(host, "set", "wg0", "private-key", empty, "fwmark", "off", "listen-port", "0")
    wg(host, "set", "wg0", "peer", public(ALICE), "remove")
    bob = "peer", public(BOB), "allowed-ips", "", "persistent-keepalive", "off"
    wg(host, "set", "wg0", *bob)
    assert dump(host) == [
        ["(none)", "(none)", "0", "off"],
        [public(BOB), "(none)", "[2001:db8::2]:1", "(none)", "0", "0", "0", "off"],
    ]


def test_showconf_gives_back_what_setconf_took(host: Host) -> None:
    start(host)
    setconf(host, CONFIGURATION)
    shown = wg(host, "showconf", "wg0")
    assert sections(shown) == sections(CONFIGURATION)
    setconf(host, shown)
    assert wg(host, "showconf", "wg0") == shown


def test_setconf_replaces_and_addconf_adds(host: Host) -> None:
    start(host)
    setconf(host, CONFIGURATION)
    carol = f"[Peer]\nPublicKey = {public(CAROL)}\nAllowedIPs = 10.0.0.3/32\n"
    wg(host, "addconf", "wg0", host.write_file("more.conf", carol))
    assert peers(host) == [public(ALICE), public(BOB), public(CAROL)]
    setconf(host, f"[Interface]\nPrivateKey = {private(SELF)}\n{carol}")
    assert peers(host) == [public(CAROL)]
    assert dump(host)[0][2:] == ["0", "off"]


def test_syncconf_keeps_the_sessions_of_peers_that_stay(lab: Lab) -> None:
    a, _ = pair(lab)
    ping(a, "10.0.0.2")
    before = dump(a)[1]
    text = wg(a, "showconf", "wg0") + f"[Peer]\nPublicKey = {public(CAROL)}\n"
    wg(a, "syncconf", "wg0", a.write_file("sync.conf", text))
    assert peers(a) == [public(BOB), public(CAROL)]
    assert dump(a)[1] == before
    wg(a, "syncconf", "wg0", a.write_file("sync.conf", text.split("[Peer]")[0]))
    assert peers(a) == []


def test_an_allowed_ip_can_move_between_peers(host: Host) -> None:
    start(host)
    setconf(host, CONFIGURATION)
    wg(host, "set", "wg0", "peer", public(BOB), "allowed-ips", "10.0.0.1/32")
    assert [line[3] for line in dump(host)[1:]] == ["fd00::1/128", "10.0.0.1/32"]


def test_many_allowed_ips_go_through_the_socket(host: Host) -> None:
    start(host)
    networks = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(5000)]
    text = f"[Peer]\nPublicKey = {public(ALICE)}\nAllowedIPs = {', '.join(networks)}\n"
    setconf(host, text)
    assert dump(host)[1][3].split(",") == networks


def test_a_taken_port_is_an_address_in_use_and_the_old_port_stays(host: Host) -> None:
    start(host)
    host.run(["ip", "link", "set", "wg0", "up"])
    wait_for_port(host)
    wg(host, "set", "wg0", "listen-port", "51820")
    start(host, "wg1")
    host.run(["ip", "link", "set", "wg1", "up"])
    port = wait_for_port(host, "wg1")
    failed = refused(host, "set", "wg1", "listen-port", "51820")
    assert "Address already in use" in failed.stderr
    assert wg(host, "show", "wg1", "listen-port") == f"{port}\n"
    wg(host, "set", "wg1", "listen-port", "51821")
    assert udp_ports(host) == {51820, 51821}


def test_a_malformed_configuration_changes_nothing(host: Host) -> None:
    start(host)
    setconf(host, CONFIGURATION)
    before = wg(host, "showconf", "wg0")
    for text in ("nonsense", "[Peer]\n", CONFIGURATION + "AllowedIPs = 1.2.3.4/99\n"):
        path = host.write_file("bad.conf", text)
        failed = refused(host, "setconf", "wg0", path)
        assert "Configuration parsing error" in failed.stderr or text == "[Peer]\n"
    assert wg(host, "showconf", "wg0") == before


@datapaths.over_each
def test_the_link_opens_and_closes_the_port_and_keeps_its_number(host: Host) -> None:
    start(host)
    assert udp_ports(host) == set()
    for _ in range(2):
        host.run(["ip", "link", "set", "wg0", "up"])
        port = wait_for_port(host)
        wait_for_udp_ports(host, {port})
        host.run(["ip", "link", "set", "wg0", "down"])
        wait_for_udp_ports(host, set())
        assert wg(host, "show", "wg0", "listen-port") == f"{port}\n"


def test_a_port_taken_while_the_link_was_down_can_be_changed(host: Host) -> None:
    start(host)
    start(host, "wg1")
    wg(host, "set", "wg0", "listen-port", "51820")
    wg(host, "set", "wg1", "listen-port", "51820")
    host.run(["ip", "link", "set", "wg0", "up"])
    wait_for_udp_ports(host, {51820})
    host.run(["ip", "link", "set", "wg1", "up"])
    wg(host, "set", "wg1", "listen-port", "51821")
    wait_for_udp_ports(host, {51820, 51821})


@datapaths.over_each
def test_wg_quick_makes_a_tunnel_and_removes_it(lab: Lab) -> None:
    a, b = pair(lab)
    ping(a, "10.0.0.2")
    ping(b, "10.0.0.1")
    assert "mtu 1420" in a.run(["ip", "link", "show", "wg0"]).stdout
    quick(a, "down")
    until(lambda: is_clean(a))
    assert not is_clean(b)


@datapaths.over_each
def test_handshakes_and_every_byte_are_shown(lab: Lab) -> None:
    a, _ = pair(lab)
    begin = int(time.time())
    ping(a, "10.0.0.2")
    handshake, received, sent = map(int, dump(a)[1][4:7])
    assert begin <= handshake <= time.time()
    # Response and one padded packet; initiation and one packet.
    assert (received, sent) == (92 + 128, 148 + 128)


def test_wg_quick_can_send_everything_through_the_tunnel(lab: Lab) -> None:
    a, b = pair(lab, allowed_ips="0.0.0.0/0")
    b.run(["ip", "address", "add", "203.0.113.9/32", "dev", "lo"])
    ping(a, "203.0.113.9")
    assert dump(a)[0][3] == "0xca6c"
    assert "lookup 51820" in a.run(["ip", "rule"]).stdout
    quick(a, "down")
    until(lambda: is_clean(a))
    assert "lookup 51820" not in a.run(["ip", "rule"]).stdout


@datapaths.over_each
def test_an_interface_works_on_in_another_namespace(lab: Lab) -> None:
    a, _ = pair(lab)
    inner = lab.add_host("inner", lab.add_switch("empty"))
    # By a process in there: a lab's hosts do not see each other's names.
    resident = inner.popen(["sleep", "60"])
    a.run(["ip", "link", "set", "wg0", "netns", str(resident.pid)])
    inner.run(["ip", "address", "add", "10.0.0.1/24", "dev", "wg0"])
    inner.run(["ip", "link", "set", "wg0", "mtu", "1380", "up"])
    ping(inner, "10.0.0.2")
    assert wg(a, "show", "wg0", "peers") == public(BOB) + "\n"
    inner.run(["ip", "link", "set", "wg0", "down"])
    wait_for_udp_ports(a, set())
    inner.run(["ip", "link", "set", "wg0", "up"])
    ping(inner, "10.0.0.2")
    inner.run(["ip", "link", "delete", "wg0"])
    until(lambda: is_clean(a))


@datapaths.over_each
def test_the_mtu_is_followed_in_another_namespace(lab: Lab) -> None:
    a, _ = pair(lab)
    inner = lab.add_host("inner", lab.add_switch("empty"))
    resident = inner.popen(["sleep", "60"])
    a.run(["ip", "link", "set", "wg0", "netns", str(resident.pid)])
    inner.run(["ip", "address", "add", "10.0.0.1/24", "dev", "wg0"])
    inner.run(["ip", "link", "set", "wg0", "up"])
    ping(inner, "10.0.0.2")

    def is_followed(mtu: int) -> bool:
        return length_of_largest_message(a, inner, mtu) == mtu + 32

    # None is a multiple of 16, so that padding shows what is taken for the MTU.
    for mtu in (1400, 1300):
        inner.run(["ip", "link", "set", "wg0", "mtu", str(mtu)])
        until(partial(is_followed, mtu))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(host: Host, number: signal.Signals) -> None:
    process = start_in_foreground(host)
    process.send_signal(number)
    assert process.wait(10) == 0
    assert is_clean(host)


@datapaths.over_each
@pytest.mark.parametrize("state", ["up", "down"])
def test_removal_of_the_interface_ends_it(host: Host, state: str) -> None:
    process = start_in_foreground(host)
    host.run(["ip", "link", "set", "wg0", state])
    host.run(["ip", "link", "delete", "wg0"])
    assert process.wait(10) == 0
    assert is_clean(host)


def test_removal_of_the_socket_ends_it(host: Host) -> None:
    process = start_in_foreground(host)
    socket_of(host).unlink()
    assert process.wait(10) == 0
    assert is_clean(host)


def test_what_a_killed_process_left_behind_is_no_obstacle(host: Host) -> None:
    process = start_in_foreground(host)
    process.kill()
    assert socket_of(host).exists()
    start(host)
    assert wg(host, "show", "wg0", "dump") == "(none)\t(none)\t0\toff\n"


@datapaths.over_each
def test_a_device_and_a_socket_can_be_handed_over(host: Host) -> None:
    program = """
import os, sys
from meshwg.runtime.tun import TunDevice
from meshwg.runtime.uapi import UapiSocket
tun, uapi = TunDevice.open("wg7"), UapiSocket.open("wg7")
for descriptor in (tun.fileno(), uapi.socket.fileno()):
    os.set_inheritable(descriptor, True)
os.environ.update(WG_TUN_FD=str(tun.fileno()), WG_UAPI_FD=str(uapi.socket.fileno()))
os.execv(sys.argv[1], [sys.argv[1], "--foreground", "any"])
"""
    process = host.popen([sys.executable, "-c", program, PROGRAM])
    until(lambda: socket_of(host, "wg7").exists())
    host.run(["ip", "link", "set", "wg7", "up"])
    wait_for_port(host, "wg7")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert is_clean(host, "wg7")


def test_nothing_is_logged_in_the_background_unless_asked_for(host: Host) -> None:
    assert start(host).stderr == ""
    verbose = host.popen([PROGRAM, "wg1"], env=ENVIRONMENT | {"LOG_LEVEL": "verbose"})
    assert verbose.wait(10) == 0
    host.run(["ip", "link", "set", "wg1", "up"])
    until(lambda: "(wg1) Up, on UDP port" in verbose.output())


def test_an_overlong_name_is_refused(host: Host) -> None:
    failed = fails(host, [PROGRAM, "sixteen-bytes-xx"])
    assert failed.returncode == 2
    assert "must have 1 to 15 bytes: choose a shorter one" in failed.stderr


@pytest.mark.parametrize("name", ["eth0", "lo", "..", "a b", "../x"])
def test_an_unavailable_name_is_refused(host: Host, name: str) -> None:
    failed = fails(host, [PROGRAM, name])
    assert failed.returncode == 2
    assert f"The interface '{name}' cannot be created" in failed.stderr


def test_a_name_in_use_is_refused_without_disturbing_its_owner(host: Host) -> None:
    start(host)
    failed = host.run([PROGRAM, "wg0"], check=False)
    assert failed.returncode == 2
    assert "is used by another program" in failed.stderr
    assert wg(host, "show", "interfaces") == "wg0\n"


def test_a_socket_in_use_is_refused_without_disturbing_its_owner(host: Host) -> None:
    start(host)
    host.run(["ip", "link", "set", "wg0", "name", "other"])
    failed = host.run([PROGRAM, "wg0"], check=False)
    assert failed.returncode == 1
    assert "wg0.sock is served by another process" in failed.stderr
    assert not has_link(host, "wg0")
    assert wg(host, "show", "interfaces") == "wg0\n"


@pytest.mark.parametrize("variable", ["WG_TUN_FD", "WG_UAPI_FD"])
def test_a_descriptor_that_is_not_open_is_refused(host: Host, variable: str) -> None:
    failed = fails(host, ["env", f"{variable}=77", PROGRAM, "wg0"])
    assert failed.returncode == 2
    assert "escriptor 77 is not" in failed.stderr


def test_a_missing_tun_device_is_named(host: Host) -> None:
    hide = f"mount -t tmpfs none /dev/net && exec {PROGRAM} wg0"
    failed = fails(host, ["unshare", "--mount", "sh", "-c", hide])
    assert failed.returncode == 2
    assert "/dev/net/tun is missing" in failed.stderr


def test_a_missing_privilege_is_named(host: Host) -> None:
    drop = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    failed = fails(host, [*drop, PROGRAM, "wg0"])
    assert failed.returncode == 5
    assert "run as root or with CAP_NET_ADMIN" in failed.stderr


def start(host: Host, name: str = "wg0") -> CompletedProcess[str]:
    """Run the program until it has gone into the background."""
    return host.run([PROGRAM, name])


def start_in_foreground(host: Host, name: str = "wg0") -> Process:
    process = host.popen([PROGRAM, "--foreground", name])
    until(lambda: process.returncode is not None or socket_of(host, name).exists())
    wg(host, "show", name)
    return process


def fails(host: Host, arguments: list[str | Path]) -> CompletedProcess[str]:
    """Run what fails with one sentence and leaves nothing behind."""
    result = host.run(arguments, check=False)
    assert result.returncode != 0
    assert result.stdout == ""
    assert result.stderr.startswith("meshwg-wg: ")
    assert result.stderr.count("\n") == 1
    assert is_clean(host)
    return result


def pair(lab: Lab, allowed_ips: str = "10.0.0.2/32") -> tuple[Host, Host]:
    """Return two hosts, 10.0.0.1 and 10.0.0.2, with a tunnel that wg-quick made."""
    switch = lab.add_switch("switch", "10.9.0.0/24")
    a, b = (lab.add_host(name, switch) for name in "ab")
    configure(a, "10.0.0.1/24", ALICE, BOB, f"{b.address()}:51820", allowed_ips)
    configure(b, "10.0.0.2/24", BOB, ALICE, f"{a.address()}:51820", "10.0.0.1/32")
    return a, b


def configure(
    host: Host,
    address: str,
    own: PrivateKey,
    other: PrivateKey,
    endpoint: str,
    allowed_ips: str,
) -> None:
    host.write_file(
        "wg0.conf",
        f"""\
[Interface]
Address = {address}
ListenPort = 51820
PrivateKey = {private(own)}

[Peer]
PublicKey = {public(other)}
Endpoint = {endpoint}
AllowedIPs = {allowed_ips}
""",
    )
    quick(host, "up")


def quick(host: Host, verb: str) -> None:
    host.run(["wg-quick", verb, host.directory / "wg0.conf"], env=ENVIRONMENT)


def wg(host: Host, *arguments: str | Path) -> str:
    return host.run(["wg", *arguments]).stdout


def refused(host: Host, *arguments: str | Path) -> CompletedProcess[str]:
    result = host.run(["wg", *arguments], check=False)
    assert result.returncode == 1
    return result


def setconf(host: Host, text: str) -> None:
    wg(host, "setconf", "wg0", host.write_file("wg.conf", text))


def dump(host: Host, name: str = "wg0") -> list[list[str]]:
    lines = wg(host, "show", name, "dump").splitlines()
    return [line.split("\t") for line in lines]


def peers(host: Host) -> list[str]:
    return wg(host, "show", "wg0", "peers").split()


def sections(text: str) -> list[list[str]]:
    """Return the sections of a configuration, whose lines have no order."""
    return [sorted(filter(None, part.split("\n"))) for part in text.split("[")[1:]]


def ping(host: Host, address: str) -> None:
    host.run(["ping", "-c", "1", "-W", "10", address])


def length_of_largest_message(engine: Host, sender: Host, mtu: int) -> int:
    """Return how many bytes a packet as long as the MTU becomes."""
    before = int(dump(engine)[1][6])
    size = mtu - 28
    sender.run(["ping", "-c", "1", "-W", "10", "-s", str(size), "10.0.0.2"])
    return int(dump(engine)[1][6]) - before


def has_link(host: Host, name: str) -> bool:
    return host.run(["ip", "link", "show", name], check=False).returncode == 0


def socket_of(host: Host, name: str = "wg0") -> Path:
    return host.namespace.run_directory / "wireguard" / f"{name}.sock"


def is_clean(host: Host, name: str = "wg0") -> bool:
    """Return whether there is no link, no socket and no process."""
    return not (has_link(host, name) or socket_of(host, name).exists() or pids(host))


def pids(host: Host) -> list[int]:
    return pids_inside([host.netns])


def udp_ports(host: Host) -> set[int]:
    lines = host.run(["ss", "-Hnul"]).stdout.splitlines()
    return {int(line.split()[3].rpartition(":")[2]) for line in lines}


def wait_for_udp_ports(host: Host, ports: set[int]) -> None:
    until(lambda: udp_ports(host) == ports)


def wait_for_port(host: Host, name: str = "wg0") -> int:
    until(lambda: int(wg(host, "show", name, "listen-port")) != 0)
    return int(wg(host, "show", name, "listen-port"))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "It did not come true within 10 s"
        time.sleep(0.02)
