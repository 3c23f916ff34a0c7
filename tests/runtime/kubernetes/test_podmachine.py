"""What an agent has on its machine: a network list, rules, forwarding; and no more."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from meshwg.errors import MeshError
from meshwg.kubernetes.networklist import BRIDGE, FILE
from meshwg.kubernetes.verdict import PodNetwork, PodSettings, pod_network
from meshwg.runtime.kubernetes.podmachine import FORWARDING, PodMachine, forward
from netlab.lab import Lab
from netlab.machine import Host
from tests.kubernetes.cluster import PODS, PODS6, mesh, node

pytestmark = pytest.mark.netns


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host("n1", lab.add_switch("cable", "192.0.2.0/24"))


def test_a_list_and_rules_come_and_go_without_a_trace(
    host: Host, tmp_path: Path
) -> None:
    directory = tmp_path / "net.d"
    machine = PodMachine(directory, BRIDGE, "meshwg0")
    run(host, lambda: machine.configure(network()))
    assert [each.name for each in directory.iterdir()] == [FILE]
    assert json.loads((directory / FILE).read_text())["name"] == "meshwg"
    rules = host.run(["nft", "list", "ruleset"]).stdout
    (stays,) = (line for line in rules.splitlines() if line.endswith("return"))
    assert f'"{BRIDGE}"' in stays
    assert '"meshwg0"' in stays
    assert f"elements = {{ {PODS} }}" in rules
    assert f"elements = {{ {PODS6} }}" in rules

    run(host, machine.unconfigure)
    assert list(directory.iterdir()) == []
    assert host.run(["nft", "list", "ruleset"]).stdout == ""
    run(host, machine.unconfigure)


def test_what_is_as_it_should_be_is_not_written_again(
    host: Host, tmp_path: Path
) -> None:
    machine = PodMachine(tmp_path, BRIDGE, "meshwg0")
    run(host, lambda: machine.configure(network()))
    before = (tmp_path / FILE).stat()
    run(host, lambda: machine.configure(network()))
    assert (tmp_path / FILE).stat().st_ino == before.st_ino


def test_the_bridge_keeps_no_address_of_networks_that_the_node_had_before(
    host: Host, tmp_path: Path
) -> None:
    own, former = (
        ("10.244.1.1/24", "fd00:10:244:1::1/64"),
        ("10.9.0.1/24", "fd00:9::1/64"),
    )
    machine = PodMachine(tmp_path, BRIDGE, "meshwg0")
    run(host, lambda: machine.configure(network()))
    host.run(["ip", "link", "add", BRIDGE, "up", "type", "bridge"])
    for address in (*own, *former):
        host.run(["ip", "address", "add", address, "dev", BRIDGE, "nodad"])

    run(host, lambda: machine.configure(network()))

    shown = host.run(["ip", "address", "show", "dev", BRIDGE]).stdout
    assert all(address in shown for address in own)
    assert not any(address in shown for address in former)
    assert "fe80:" in shown


def test_a_list_that_cannot_be_written_leaves_no_rules(
    host: Host, tmp_path: Path
) -> None:
    place = tmp_path / "file"
    place.write_text("")
    machine = PodMachine(place, BRIDGE, "meshwg0")
    with pytest.raises(MeshError, match="--cni-dir"):
        run(host, lambda: machine.configure(network()))
    assert host.run(["nft", "list", "ruleset"]).stdout == ""


def test_another_list_is_put_aside_and_back(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "10-flannel.conflist"
    other.write_text("{}")
    machine = PodMachine(tmp_path, "cni0", "meshwg0", [other.name])
    run(host, lambda: machine.configure(network()))
    assert not other.exists()
    run(host, machine.unconfigure)
    assert other.read_text() == "{}"


def test_the_pods_own_networks_are_none_that_the_machine_is_in(
    host: Host, tmp_path: Path
) -> None:
    (tmp_path / "10-x.conflist").write_text("{}")
    host.run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    host.run(["ip", "address", "add", "10.244.1.1/24", "dev", BRIDGE])
    host.run(["ip", "link", "set", BRIDGE, "up"])
    view = host.call(PodMachine(tmp_path, BRIDGE, "meshwg0").look)
    assert view.networks == ("192.0.2.0/24",)
    assert view.files == ("10-x.conflist",)
    assert host.call(PodMachine(tmp_path / "none", BRIDGE, "m").look).files == ()


def test_the_ends_of_pods_are_no_links_to_others(tmp_path: Path) -> None:
    machine = PodMachine(tmp_path, BRIDGE, "meshwg0")
    inside = ["meshwg0", BRIDGE, "veth0a1b2c3d"]
    assert [each for each in [*inside, "eth0", "veth0"] if machine.is_inside(each)] == (
        inside
    )


def test_the_system_forwards_and_keeps_its_own_address(host: Host) -> None:
    host.namespace.set_sysctl({"net.ipv6.conf.eth0.accept_ra": 1})

    def read() -> list[str]:
        return [path.read_text().strip() for path in FORWARDING]

    assert host.call(read) == ["0", "0"]
    host.call(forward)
    assert host.call(read) == ["1", "1"]
    accepts = Path("/proc/sys/net/ipv6/conf/eth0/accept_ra")
    assert host.call(accepts.read_text).strip() == "2"


def network() -> PodNetwork:
    found = pod_network(node(PODS, PODS6), mesh(PODS, PODS6), PodSettings())
    assert found is not None
    return found


def run(host: Host, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Run a coroutine in a host's namespace."""
    host.call(lambda: asyncio.run(work()))
