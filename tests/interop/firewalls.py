"""Firewalls that others wrote, from Debian's packages, on a host of the lab.

They are unpacked, not installed, and run in a mount namespace of their own, in which
the packages lie over this machine's files.
"""

import shlex
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from netlab.machine import Host
from netlab.process import Process
from tests.interop.machines import UNPACKED

PORT = 51820
"""Where the node listens: what comes in is another matter than what is forwarded."""
IPTABLES = ("iptables", "libip4tc2", "libip6tc2", "libxtables12")
UFW = (*IPTABLES, "ufw")
FIREWALLD = (
    *("firewalld", "python3-firewall", "python3-nftables", "libnftables1"),
    *("python3-gi", "gir1.2-glib-2.0", "libgirepository-1.0-1"),
    *("python3-dbus", "python3-cap-ng", *IPTABLES),
)
DOCKERD = (*IPTABLES, "docker.io", "containerd", "runc")
DOCKER = """
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
COMMIT
"""
"""What Docker 28 writes for its default network."""
_NFT_PROGRAMS = """
for each in iptables ip6tables; do
    for what in '' -save -restore; do ln -sf $each-nft$what /usr/sbin/$each$what; done
done
"""
_UFW = f"""
cp /usr/share/ufw/*.rules /usr/share/ufw/*.init /usr/share/ufw/ufw.conf /etc/ufw/
{_NFT_PROGRAMS}
"""


class Packages:
    """Some packages, unpacked, with what they change on a host.

    :param names: of Debian's packages.
    """

    def __init__(self, host: Host, names: Iterable[str]) -> None:
        self._host = host
        trees = [UNPACKED / name for name in names]
        for tree in trees:
            if not tree.is_dir():
                pytest.skip(f"needs Debian's package '{tree.name}': see 'make system'")
        self._lower = {
            top: ":".join([*(str(t / top) for t in trees if (t / top).is_dir()), full])
            for top, full in (("usr", "/usr"), ("etc", "/etc"))
        }
        self._upper = host.directory / "packages"

    def run(self, script: str) -> str:
        """Run a script, and return what it prints."""
        return self._host.run(self._command(script)).stdout

    def start(self, script: str) -> Process:
        """Run one that goes on."""
        return self._host.popen(self._command(script), log="firewall.log")

    def _command(self, script: str) -> list[str]:
        lines = ["set -e", "mount --make-rprivate /"]
        for top, lower in self._lower.items():
            upper, work = (self._upper / top / each for each in ("upper", "work"))
            for folder in (upper, work):
                folder.mkdir(parents=True, exist_ok=True)
            layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
            lines.append(f"mount -t overlay overlay /{top} -o {layers}")
        return ["unshare", "--mount", "sh", "-c", "\n".join([*lines, script])]


def wrappers(host: Host) -> Path:
    """Return a folder with iptables and iptables-legacy, to be run where they are."""
    packages = {name: UNPACKED / name for name in IPTABLES}
    if not all(each.is_dir() for each in packages.values()):
        pytest.skip("needs Debian's package 'iptables': see 'make system'")
    libraries = ":".join(
        str(each) for tree in packages.values() for each in tree.glob("usr/lib/*-gnu")
    )
    plugins = next(packages["libxtables12"].glob("usr/lib/*/xtables"), None) or next(
        packages["iptables"].glob("usr/lib/*/xtables")
    )
    folder = host.directory / "programs"
    folder.mkdir()
    for kind in ("legacy", "nft"):
        for name in ("iptables", "ip6tables"):
            for what in ("", "-restore", "-save"):
                program = folder / f"{name}-{kind}{what}"
                multi = packages["iptables"] / f"usr/sbin/xtables-{kind}-multi"
                program.write_text(
                    "#!/bin/sh\n"
                    f"export LD_LIBRARY_PATH={shlex.quote(libraries)}\n"
                    f"export XTABLES_LIBDIR={shlex.quote(str(plugins))}\n"
                    f'exec {multi} {name}{what} "$@"\n'
                )
                program.chmod(0o755)
    return folder


class Ufw:
    """Ufw, which forwards nothing by default."""

    def __init__(self, host: Host) -> None:
        self._packages = Packages(host, UFW)
        self._packages.run(f"{_UFW}\nufw allow {PORT}/udp\nyes | ufw enable")

    def reload(self) -> None:
        self._packages.run("ufw reload")

    def close(self) -> None:
        """It runs only while it changes something."""


class Firewalld:
    """firewalld with its D-Bus, which rejects what no zone is told to forward."""

    def __init__(self, host: Host) -> None:
        self._packages = Packages(host, FIREWALLD)
        self._host = host
        self._packages.run(f"firewall-offline-cmd --add-port={PORT}/udp")
        self._process = self._packages.start(
            "mount -t tmpfs tmpfs /run\nmkdir -p /run/dbus\n"
            "mount -t tmpfs tmpfs /var/log\n"
            "dbus-daemon --system --nofork --nopidfile &\n"
            "until [ -S /run/dbus/system_bus_socket ]; do sleep 0.1; done\n"
            "exec firewalld --nofork --nopid\n"
        )
        self._wait()

    def reload(self) -> None:
        self._host.run(["nft", "flush", "chain", "inet", "firewalld", "filter_FORWARD"])
        self._process.send_signal(signal.SIGHUP)
        self._wait()

    def close(self) -> None:
        self._process.kill()

    def _wait(self) -> None:
        chain = ["nft", "list", "chain", "inet", "firewalld", "filter_FORWARD"]
        has_loaded = f"{shlex.join(chain)} | grep -q reject"
        self._host.run(["sh", "-c", f"until {has_loaded}; do sleep 0.2; done"])


class Docker:
    """What Docker 28 does when it starts: its own rules before all others."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._iptables = wrappers(host) / "iptables-nft"
        self._host.run([f"{self._iptables}-restore"], stdin=DOCKER)

    def reload(self) -> None:
        for target in ("DOCKER-FORWARD", "DOCKER-USER"):
            self._run("-D", "FORWARD", "-j", target)
            self._run("-I", "FORWARD", "-j", target)

    def close(self) -> None:
        """Its daemon is not here."""

    def _run(self, *arguments: str) -> None:
        self._host.run([str(self._iptables), *arguments])


class Dockerd:
    """Docker's own daemon, with data of its own and no containers."""

    def __init__(self, host: Host) -> None:
        self._packages = Packages(host, DOCKERD)
        self._host = host
        self._data = host.directory / "docker"
        self._process = self._start()

    def reload(self) -> None:
        self._process.stop()
        self._process = self._start()

    def close(self) -> None:
        self._process.stop()

    def _start(self) -> Process:
        started = self._packages.start(
            f"{_NFT_PROGRAMS}\n"
            "mount -t tmpfs tmpfs /run\n"
            "mount -t tmpfs tmpfs /sys/fs/cgroup\n"
            "mount -t cgroup2 none /sys/fs/cgroup\n"
            f"exec dockerd --data-root {self._data} --exec-root /run/docker "
            "--pidfile /run/docker.pid --host unix:///run/docker.sock "
            "--storage-driver vfs\n"
        )
        started.wait_for_line("API listen on", timeout=60)
        return started


class Legacy:
    """A policy that somebody set by iptables-legacy."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._programs = wrappers(host)
        self._load()

    def reload(self) -> None:
        self._run("-F", "FORWARD")

    def close(self) -> None:
        """There is nothing that runs."""

    def _load(self) -> None:
        self._run("-P", "FORWARD", "DROP")

    def _run(self, *arguments: str) -> None:
        for name in ("iptables-legacy", "ip6tables-legacy"):
            self._host.run([str(self._programs / name), *arguments])
