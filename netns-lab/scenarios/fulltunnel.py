"""A tablet with plain WireGuard, all of whose packets leave the mesh at its hub.

The tablet's own network has IPv4 only, behind a symmetric NAT. Through the hub, which
is an exit, it reaches a site by name over IPv4 and IPv6. Whoever is near it sees
WireGuard and nothing else, and nobody reaches it from outside of the mesh, neither from
the internet nor from beside the hub: plain WireGuard would take what comes.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from netlab.capture import Capture, parse_datagram
from netlab.errors import ScenarioFailed
from netlab.lab import Lab
from netlab.machine import Host, Machine
from netlab.presets import OFFICE
from netlab.wireguard import WIREGUARD_GO, message_type
from scenarios.exit import CURL, NAME, SITE, serve_names

CELLAR = "192.168.88.0/24"
"""A network that the hub is in, and that is none of the mesh's business."""
ALL_BUT_THE_LINKS_OWN = "ip or ( ip6 and not net fe80::/10 and not dst net ff00::/8 )"
MTU = 1280
"""Bytes of the longest packet in a plain peer's tunnel."""
DOWNLOAD = 2_000_000
"""Bytes."""
FILES_PORT = 81
DATA = b"\4\0\0\0"
"""How WireGuard's data messages begin."""

RESOLVCONF = """#!/bin/sh
case $1 in
-a) cp /etc/resolv.conf /etc/resolv.conf.before && cat >/etc/resolv.conf ;;
-d) mv /etc/resolv.conf.before /etc/resolv.conf ;;
esac
"""
"""How wg-quick tells a machine whom to ask for names; phones do that by themselves."""


@dataclass(slots=True)
class Tablet:
    """A tablet, its hub, and those it talks to, or does not."""

    host: Host
    hub: Host
    internet: Machine
    site: Host
    neighbour: Host
    """In the hub's cellar."""
    wire: Capture
    """What the tablet sends and receives outside of its tunnel."""
    addresses: tuple[str, ...] = ()
    """Its own in the mesh, once it is a member."""

    def fetch(self, url: str, *options: str) -> str:
        """Return what curl prints, nothing if it gets nowhere."""
        command = [*CURL, *options, url]
        return self.host.run(command, check=False, timeout=30).stdout.strip()

    def is_reached(self, version: int) -> bool:
        """Tell whether the site is reached by name."""
        return bool(self.asked_from(version))

    def asked_from(self, version: int) -> str:
        """Return the address that the site sees, nothing if it is not reached."""
        return self.fetch(f"http://{NAME}/", f"-{version}")


def build(lab: Lab, hub: Host) -> Tablet:
    """Make a site, a tablet, and what is beside a hub that has not started yet."""
    site = lab.add_host("site", lab.internet)
    site.popen([sys.executable, "-c", SITE % 80], log="site.log").wait_for_line("ready")
    serve_files(site)
    names = serve_names(lab, site)
    cellar = lab.add_switch("cellar", CELLAR)
    hub.attach(cellar, "eth1")
    neighbour = lab.add_host("neighbour", cellar)
    host = lab.add_host("tablet", lab.add_router("hotel", OFFICE))
    for each in (hub, host):
        etc = each.take_own_etc()
        (etc / "resolv.conf").unlink(missing_ok=True)
        (etc / "resolv.conf").write_text(f"nameserver {names.address()}\n")
    wire = host.capture("eth0", ALL_BUT_THE_LINKS_OWN)
    return Tablet(host, hub, lab.internet, site, neighbour, wire)


def serve_files(site: Host) -> None:
    """Let a site have something longer than a packet."""
    folder = site.directory / "files"
    folder.mkdir()
    (folder / "long").write_bytes(bytes(DOWNLOAD))
    options = ["--bind", "::", "--directory", str(folder), str(FILES_PORT)]
    server = [sys.executable, "-m", "http.server", *options]
    site.popen(server, log="files.log").wait_for_line("Serving")


def bring_up(host: Host, config: str, name: str, program: str | Path = "") -> None:
    """Run ``wg-quick up`` with a file, and a userspace WireGuard.

    :param name: of the file, and so of the interface.
    """
    path = host.write_file(f"{name}.conf", config)
    host.run(["wg-quick", "up", path], env=environment(host, program))


def environment(host: Host, program: str | Path = "") -> Mapping[str, str]:
    """Return what wg-quick needs to find WireGuard, and to set name servers."""
    folder = host.directory / "programs"
    folder.mkdir(exist_ok=True)
    script = folder / "resolvconf"
    script.write_text(RESOLVCONF)
    script.chmod(0o755)
    return {
        "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "WG_QUICK_USERSPACE_IMPLEMENTATION": str(program or WIREGUARD_GO[0]),
        # boringtun takes on another user by default, who is not there.
        "WG_SUDO": "true",
    }


def expect_reached_as_hub(tablet: Tablet) -> None:
    """Check that the site is reached by name, and sees the hub."""
    for version in (4, 6):
        tablet.host.wait_until(
            partial(tablet.is_reached, version),
            f"the site is reached over IPv{version}",
        )
        seen, wanted = tablet.asked_from(version), tablet.hub.address(version)
        if seen != wanted:
            raise ScenarioFailed(f"The site was asked from {seen!r}, not {wanted}.")


def expect_room(tablet: Tablet) -> None:
    """Check that the longest packets pass, and downloads, which are cut to fit."""
    for version, headers in ((4, 28), (6, 48)):
        size, address = str(MTU - headers), tablet.site.address(version)
        options = ["-n", "-c", "3", "-i", "0.2", "-W", "5", "-M", "do", "-s", size]
        tablet.host.run(["ping", *options, address])
        host = f"[{address}]" if version == 6 else address
        url = f"http://{host}:{FILES_PORT}/long"
        got = tablet.fetch(
            url, "--output", "/dev/null", "--write-out", "%{size_download}"
        )
        if got != str(DOWNLOAD):
            raise ScenarioFailed(
                f"{got or 0} of {DOWNLOAD} bytes came over IPv{version}."
            )


def expect_only_wireguard(tablet: Tablet, port: int) -> None:
    """Check that on the tablet's cable there was only WireGuard, and only the hub's."""
    hub, seen = (tablet.hub.address(), port), tablet.wire.packets()
    strange = sum(not _is_wireguard(frame, hub) for frame in seen)
    if not seen or strange:
        path = tablet.wire.path
        raise ScenarioFailed(f"{strange} of {len(seen)} are strange, see {path}.")


def _is_wireguard(frame: bytes, end: tuple[str, int]) -> bool:
    """Tell whether a frame is WireGuard to or from an endpoint."""
    datagram = parse_datagram(frame)
    if datagram is None or end not in (datagram.source, datagram.destination):
        return False
    # boringtun does not pad what it sends.
    is_data = datagram.payload.startswith(DATA) and len(datagram.payload) >= 32
    return is_data or message_type(datagram.payload) is not None


def expect_closed(tablet: Tablet) -> None:
    """Check that nobody outside of the mesh reaches the tablet by way of its hub."""
    hub, beside = tablet.hub, tablet.hub.attachments["eth1"].addresses[0]
    tablet.internet.run(
        ["ip", "route", "add", tablet.addresses[0], "via", hub.address()]
    )
    tablet.neighbour.run(["ip", "route", "add", "default", "via", beside])
    for who in (tablet.site, tablet.neighbour):
        before = dropped(hub)
        request = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", tablet.addresses[0]]
        if who.run(request, check=False).returncode == 0:
            raise ScenarioFailed(f"{who.name} reaches the tablet.")
        if dropped(hub) < before + 3:
            raise ScenarioFailed(f"What {who.name} sends does not come to the hub.")


def dropped(hub: Host) -> int:
    """Return how many packets the node's own tables have dropped."""
    shown = hub.run(["nft", "list", "ruleset"]).stdout
    return sum(map(int, re.findall(r"counter packets (\d+) bytes \d+ drop", shown)))


def expect_nothing_passes(tablet: Tablet) -> None:
    """Check that the site is not reached any more, in whatever way."""
    for version in (4, 6):
        if seen := tablet.asked_from(version):
            raise ScenarioFailed(f"The site is still asked, from {seen}.")
