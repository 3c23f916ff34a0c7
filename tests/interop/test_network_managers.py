"""An exit beside programs that manage the network, when these are started anew.

They set up the cable as if nothing were there. Programs of a user talk all the time,
and nothing of that may be seen on the cable.
"""

from collections.abc import Callable, Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest

from netlab.lab import Lab
from netlab.machine import Host
from netlab.process import Process
from scenarios import exit as scenario
from scenarios.exit import Travel
from tests.interop.firewalls import Packages

pytestmark = pytest.mark.netns

NETWORKD = Path("/lib/systemd/systemd-networkd")
RESTARTS = 3
NETWORK_MANAGER = ("network-manager", "libndp0")


class Networkd:
    """systemd-networkd, which has the laptop's cable to configure."""

    def __init__(self, host: Host) -> None:
        if not NETWORKD.exists():
            pytest.skip("needs Debian's package 'systemd'")
        self._host = host
        lines = ["[Match]", "Name=eth0", "[Network]", "IPv6AcceptRA=no"]
        lines += [f"Address={each}" for each in addresses(host)]
        lines += [f"Gateway={each}" for each in gateways(host)]
        folder = host.namespace.etc_directory / "systemd/network"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "10-cable.network").write_text("\n".join([*lines, ""]))
        self._process = self._start()

    def restart(self) -> None:
        self._process.stop()
        self._process = self._start()

    def close(self) -> None:
        self._process.kill()

    def _start(self) -> Process:
        # Where /sys is read-only, it does not wait for udev. An address that is there
        # already it sets without end on kernels that are newer than itself.
        script = (
            "ip address flush dev eth0 scope global\n"
            "mount --make-rprivate /; mount -o remount,ro,bind /sys\n"
            "mkdir -p /run/systemd\n"
            f"SYSTEMD_LOG_LEVEL=debug exec {NETWORKD}\n"
        )
        started = self._host.popen(
            ["unshare", "--mount", "sh", "-c", script], log="networkd.log"
        )
        started.wait_for_line("eth0: State changed: configuring -> configured")
        return started


class NetworkManager:
    """NetworkManager with its D-Bus, and the laptop's cable to configure."""

    def __init__(self, host: Host) -> None:
        self._packages = Packages(host, NETWORK_MANAGER)
        self._host = host
        sections = ["[connection]\nid=cable\ntype=ethernet\ninterface-name=eth0\n"]
        for family, address, gateway in zip(
            ("ipv4", "ipv6"), addresses(host), gateways(host), strict=True
        ):
            place = f"method=manual\naddress1={address},{gateway}"
            sections.append(f"[{family}]\n{place}\n")
        self._profile = host.write_file("cable.nmconnection", "\n".join(sections))
        self._process = self._start()

    def restart(self) -> None:
        self._process.stop()
        self._process = self._start()

    def close(self) -> None:
        self._process.kill()

    def _start(self) -> Process:
        where = "/etc/NetworkManager/system-connections"
        started = self._packages.start(
            "mount -o remount,ro,bind /sys\n"
            "mkdir -p /run/dbus /run/NetworkManager\nrm -f /run/dbus/*\n"
            "mount -t tmpfs tmpfs /var/lib\nmkdir -p /var/lib/NetworkManager\n"
            "dbus-daemon --system --nofork --nopidfile &\n"
            "until [ -S /run/dbus/system_bus_socket ]; do sleep 0.1; done\n"
            f"mkdir -p {where}\ncp {self._profile} {where}/\n"
            "NetworkManager --debug --log-level=INFO &\nwait $!\n"
        )
        started.wait_for_line("device (eth0): Activation: successful")
        return started


KINDS: dict[str, Callable[[Host], Networkd | NetworkManager]] = {
    "networkd": Networkd,
    "NetworkManager": NetworkManager,
}


@pytest.fixture
def travel(lab: Lab) -> Travel:
    return scenario.build(lab)


@pytest.fixture(params=KINDS)
def manager(
    request: pytest.FixtureRequest, travel: Travel
) -> Iterator[Networkd | NetworkManager]:
    started = KINDS[request.param](travel.laptop.host)
    yield started
    started.close()


def test_nothing_leaves_beside_an_exit_when_it_is_started_anew(
    manager: Networkd | NetworkManager, travel: Travel
) -> None:
    laptop = travel.laptop
    scenario.begin(travel)
    scenario.wait_until_reached(travel)
    before = rules(laptop.host)

    for _ in range(RESTARTS):
        with scenario.talking(travel):
            manager.restart()
            scenario.wait_until_reached(travel)
        scenario.expect_no_leak(travel)

    laptop.host.wait_until(lambda: rules(laptop.host) == before, "the rules are back")
    laptop.meshwg("exit", "off")
    scenario.expect_reached(travel, from_=travel.home.address())


def addresses(host: Host) -> Iterator[str]:
    """Yield the addresses of the cable with the lengths of their networks."""
    for version in (4, 6):
        shown = host.run(["ip", f"-{version}", "-br", "address", "show", "eth0"]).stdout
        for text in shown.split()[2:]:
            if not ip_interface(text).is_link_local:
                yield text


def gateways(host: Host) -> Iterator[str]:
    """Yield the default gateways."""
    for version in (4, 6):
        shown = host.run(["ip", f"-{version}", "route", "show", "default"]).stdout
        yield shown.split()[2]


def rules(host: Host) -> list[str]:
    shown = host.run(["sh", "-c", "ip rule; ip -6 rule"]).stdout
    return sorted(shown.splitlines())
