"""Phones: other people's WireGuard behind a symmetric NAT, as members of a mesh."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.programs import CACHE
from netlab.lab import Lab
from netlab.machine import Host
from netlab.presets import HOME_ROUTER, OFFICE
from scenarios import fulltunnel
from scenarios.fulltunnel import Tablet
from tests.interop.meshes import Coordinator, Json, Member
from tests.interop.qr import decoded

pytestmark = pytest.mark.netns

HUB_PORT = 51820
OURS = Path(sys.executable).with_name("meshwg-wg")
BORINGTUN = CACHE / "bin" / "boringtun-cli"
POLICY = """
[[allow]]
from = ["tag:mobile"]
to = ["tag:db"]
ports = ["icmp"]
"""
INTERNET_POLICY = """
[[allow]]
from = ["tag:mobile"]
to = ["internet"]
ports = ["udp/53", "tcp/80"]
"""


@dataclass
class Site:
    """A public hub, a node behind a NAT, and a phone's host behind another."""

    coordinator: Coordinator
    hub: Member
    db: Member
    phone: Host

    def add(self, *options: str) -> Json:
        """Add the phone, and put its file where wg-quick finds it."""
        answer = self.coordinator.command("peer", "add", "phone", *options)
        self.phone.write_file("phone.conf", str(answer["config"]))
        return answer

    def up(self, program: Path | str) -> None:
        """Run ``wg-quick up`` with a userspace WireGuard."""
        environment = {
            "PATH": f"{OURS.parent}:{os.environ['PATH']}",
            "WG_QUICK_USERSPACE_IMPLEMENTATION": str(program),
            # boringtun takes on another user by default, who is not there.
            "WG_SUDO": "true",
        }
        path = self.phone.directory / "phone.conf"
        self.phone.run(["wg-quick", "up", path], env=environment)

    def pings(self, address: str) -> bool:
        """Tell whether one of a few echo requests of the phone is answered."""
        request = ["ping", "-n", "-c", "3", "-i", "0.5", "-W", "1", address]
        return self.phone.run(request, check=False).returncode == 0


@pytest.fixture
def site(lab: Lab) -> Site:
    coordinator = Coordinator.on_the_internet(lab, "--no-relay")
    token = coordinator.token(reusable=True)
    hub = Member(lab.add_host("hub", lab.internet))
    db = Member(lab.add_host("db", lab.add_router("office", OFFICE)))
    phone = lab.add_host("phone", lab.add_router("carrier", OFFICE))
    hub.start("--join", token, "--hub", "--listen-port", str(HUB_PORT))
    db.start("--join", token)
    for member in (hub, db):
        member.wait_until_connected()
    coordinator.command("node", "approve", "hub", "--hub")
    hub.wait_until(_is_measured, "the hub knows its network")
    hub.wait_until_sees("db")
    return Site(coordinator, hub, db, phone)


@pytest.mark.parametrize(
    "program",
    [
        "wireguard-go",
        pytest.param(
            BORINGTUN,
            marks=pytest.mark.skipif(
                not BORINGTUN.exists(), reason="cargo has not built boringtun"
            ),
        ),
        OURS,
    ],
    ids=["wireguard-go", "boringtun", "meshwg-wg"],
)
def test_a_phone_reaches_the_mesh_and_is_reached(
    site: Site, program: Path | str
) -> None:
    answer = site.add()
    address = answer["peer"]["addresses"][0]

    site.up(program)

    for each in (*site.db.addresses, *site.hub.addresses):
        site.phone.ping(each)
    for each in answer["peer"]["addresses"]:
        site.db.host.ping(each)
        site.hub.host.ping(each)
    assert site.db.peers()["phone"]["path"]["via"] == "hub"
    assert site.hub.peers()["phone"]["path"]["kind"] == "direct"
    names = {each["name"] for each in site.coordinator.command("peer", "list")["peers"]}
    assert names == {"phone"}
    assert site.db.meshwg("ip", "phone").stdout.split()[0] == address


@pytest.mark.parametrize(
    "program",
    [
        "wireguard-go",
        pytest.param(
            BORINGTUN,
            marks=pytest.mark.skipif(
                not BORINGTUN.exists(), reason="cargo has not built boringtun"
            ),
        ),
        OURS,
    ],
    ids=["wireguard-go", "boringtun", "meshwg-wg"],
)
def test_all_that_a_phone_sends_goes_out_at_its_hub(
    lab: Lab, tmp_path: Path, program: Path | str
) -> None:
    tablet, hub, coordinator, answer = with_full_tunnel(lab)
    if shutil.which("zbarimg") is not None:
        assert decoded(answer["qr"], tmp_path) == answer["config"]

    if program == BORINGTUN:
        program = without_connected_sockets(tablet.host, program)
    fulltunnel.bring_up(tablet.host, answer["config"], "tablet", program)

    fulltunnel.expect_reached_as_hub(tablet)
    fulltunnel.expect_room(tablet)
    fulltunnel.expect_closed(tablet)
    fulltunnel.expect_only_wireguard(tablet, HUB_PORT)

    # It is refused as an exit: the tablet has no way beside it.
    coordinator.command("route", "refuse", "hub", "exit")
    tablet.host.wait_until(
        lambda: not tablet.asked_from(4), "the site is not reached any more"
    )
    fulltunnel.expect_nothing_passes(tablet)
    tablet.host.ping(hub.addresses[0])
    fulltunnel.expect_only_wireguard(tablet, HUB_PORT)


def test_a_policy_says_what_of_the_internet_it_reaches(lab: Lab) -> None:
    tablet, _, coordinator, answer = with_full_tunnel(lab, "--tag", "mobile")
    policy = coordinator.host.write_file("policy.toml", INTERNET_POLICY)
    coordinator.command("policy", "apply", str(policy))
    fulltunnel.bring_up(tablet.host, answer["config"], "tablet")

    # Who may ask name servers of the internet may ask its hub.
    fulltunnel.expect_reached_as_hub(tablet)
    other = f"http://{tablet.site.address()}:{fulltunnel.FILES_PORT}/long"
    assert tablet.fetch(other) == ""
    fulltunnel.expect_only_wireguard(tablet, HUB_PORT)


def with_full_tunnel(
    lab: Lab, *options: str
) -> tuple[Tablet, Member, Coordinator, Json]:
    """Return a tablet that has been added, its hub, and what it is told."""
    public = lab.add_host("hub", lab.internet)
    tablet = fulltunnel.build(lab, public)
    coordinator = Coordinator.on_the_internet(lab, "--no-relay")
    hub = Member(public)
    started = ("--hub", "--exit", "--listen-port", str(HUB_PORT))
    hub.join(coordinator.token(hub=True), *started)
    hub.wait_until(_is_measured, "the hub knows its network")
    coordinator.command("route", "approve", "hub", "exit")
    answer = coordinator.command("peer", "add", "tablet", "--full-tunnel", *options)
    tablet.addresses = tuple(answer["peer"]["addresses"])
    return tablet, hub, coordinator, answer


def without_connected_sockets(host: Host, program: Path | str) -> Path:
    """Return boringtun with one socket: others of it do not get the mark."""
    script = host.write_file(
        "boringtun", f'#!/bin/sh\nexec {program} --disable-connected-udp "$@"\n', 0o700
    )
    return script


def test_the_code_on_the_terminal_is_the_file(site: Site, tmp_path: Path) -> None:
    if shutil.which("zbarimg") is None:
        pytest.skip("zbarimg is not installed (Debian: zbar-tools)")
    answer = site.add()

    text = decoded(answer["qr"], tmp_path)

    assert text == answer["config"]
    site.phone.write_file("phone.conf", text)
    site.up("wireguard-go")
    site.phone.ping(site.db.addresses[0])


def test_a_removed_phone_is_cut_off_at_once(site: Site) -> None:
    site.add()
    site.up("wireguard-go")
    site.phone.ping(site.db.addresses[0])

    site.coordinator.command("peer", "remove", "phone")
    site.hub.wait_until_sees("db")

    assert not site.pings(site.hub.addresses[0])
    assert not site.pings(site.db.addresses[0])
    assert site.coordinator.command("peer", "list")["peers"] == []


def test_a_policy_says_what_a_phone_reaches(site: Site) -> None:
    site.coordinator.command("node", "tag", "db", "db")
    site.add("--tag", "mobile")
    site.up("wireguard-go")
    site.phone.ping(site.hub.addresses[0])
    policy = site.coordinator.host.write_file("policy.toml", POLICY)

    site.coordinator.command("policy", "apply", str(policy))

    site.phone.ping(site.db.addresses[0])
    site.phone.wait_until(
        lambda: not site.pings(site.hub.addresses[0]), "the hub answers no more"
    )
    assert site.pings(site.db.addresses[0])


def test_a_phone_enters_none_of_its_hubs_other_networks(site: Site) -> None:
    answer = site.add()
    lan = "192.168.77.1"
    hub = site.hub.host
    hub.run(["ip", "address", "add", f"{lan}/24", "dev", "lo"])
    more = answer["config"].replace("AllowedIPs = ", f"AllowedIPs = {lan}/32, ")
    site.phone.write_file("phone.conf", more)
    site.up("wireguard-go")

    site.phone.ping(site.hub.addresses[0])

    assert not site.pings(lan)
    drops = site.hub.status()["counters"]["drops"]
    assert drops["forbidden-destination"] >= 3


def test_a_router_fetches_its_configuration_and_syncs_it(site: Site) -> None:
    key = site.phone.run(["wg", "genkey"]).stdout.strip()
    public = site.phone.run(["wg", "pubkey"], stdin=key).stdout.strip()

    answer = site.add("--public-key", public)

    assert answer["qr"] == ""
    assert "\nPrivateKey" not in answer["config"]
    whole = answer["config"].replace("[Interface]", f"[Interface]\nPrivateKey = {key}")
    site.phone.write_file("phone.conf", whole)
    site.up("wireguard-go")
    site.phone.ping(site.db.addresses[0])
    shown = site.coordinator.command("peer", "show", "phone")["config"]
    peer = shown[shown.index("[Peer]") :]
    stdin = f"[Interface]\nPrivateKey = {key}\n{peer}"
    site.phone.run(["wg", "syncconf", "phone", "/dev/stdin"], stdin=stdin)
    assert site.pings(site.db.addresses[0])


def test_a_hub_behind_a_nat_gets_no_phone_until_a_port_is_forwarded(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab, "--no-relay")
    hub = Member(lab.add_host("hub", lab.add_router("home", HOME_ROUTER)))
    hub.start("--join", coordinator.token(), "--hub").wait_until_connected()
    hub.wait_until(_is_measured, "the hub knows its network")
    coordinator.command("node", "approve", "hub", "--hub")
    where = ("--data-dir", str(coordinator.data_dir))
    command = [sys.executable, "-m", "coordinator", "peer", "add", "phone", *where]

    refused = coordinator.host.run(command, check=False)

    assert refused.returncode == 1
    assert "hub cannot be reached from outside: it is behind a NAT" in refused.stderr
    assert "--endpoint HOST:PORT" in refused.stderr
    answer = coordinator.command("peer", "add", "phone", "--endpoint", "a.example:7")
    assert "Endpoint = a.example:7\n" in answer["config"]


def _is_measured(status: Json) -> bool:
    nat = status["self"]["nat"]
    return nat is not None and nat["public"] is not None
