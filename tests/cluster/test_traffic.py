"""Traffic between pods and between nodes: what arrives, and what others see of it."""

import itertools
import json
from typing import Any

import pytest

from netlab.kubernetes.agents import INTERFACE
from netlab.kubernetes.cluster import KINDS, Cluster
from netlab.kubernetes.controlplane import POD_NETWORKS
from netlab.machine import Host
from netlab.router import WAN
from tests.cluster.conftest import PORT, Pods
from tests.cluster.probes import assert_unseen, deliver, fetch, mtu

pytestmark = pytest.mark.kubernetes

PAIRS = list(itertools.permutations(KINDS, 2))
HEADERS = {4: 20 + 8, 6: 40 + 8}
"""Bytes of an echo request before its data: of IP and of ICMP."""
SECONDS = 3
"""Of each transfer that is measured."""
NARROW = 1320
"""Bytes that pass a link on the way, where 1,500 are usual."""


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("node", KINDS)
def test_pods_on_one_node_never_touch_the_tunnel(
    cluster: Cluster, pods: Pods, node: str, version: int
) -> None:
    one, two = pods.one[node], pods.two[node]
    ends = one.address(version), two.address(version)
    host = cluster.workers[node].host
    tunnel = host.capture(INTERFACE, f"host {ends[0]} or host {ends[1]}")
    outside = host.capture("eth0")

    deliver(one, ends[0], two, ends[1])

    assert tunnel.packets() == []
    assert_unseen(outside, POD_NETWORKS)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("near", "far"), PAIRS)
def test_pods_on_two_nodes_talk_in_ciphertext(
    cluster: Cluster, pods: Pods, near: str, far: str, version: int
) -> None:
    one, two = pods.one[near], pods.two[far]
    one.ping(two.address(version))
    outside = [cluster.workers[each].host.capture("eth0") for each in (near, far)]

    # What arrives comes from the pod's own address.
    deliver(one, one.address(version), two, two.address(version))

    for capture in outside:
        assert capture.datagrams()
        assert_unseen(capture, [*POD_NETWORKS, *cluster.mesh_addresses()])


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("near", "far"), PAIRS)
def test_nodes_talk_in_ciphertext(
    cluster: Cluster, near: str, far: str, version: int
) -> None:
    ends = [cluster.mesh_address(each, version) for each in (near, far)]
    hosts = [cluster.workers[each].host for each in (near, far)]
    hosts[0].ping(ends[1])
    outside = [host.capture("eth0") for host in hosts]

    deliver(hosts[0], ends[0], hosts[1], ends[1])

    for capture in outside:
        assert capture.datagrams()
        assert_unseen(capture, [*POD_NETWORKS, *cluster.mesh_addresses()])


@pytest.mark.parametrize(("near", "far"), PAIRS)
def test_a_node_reaches_pods_of_another(
    cluster: Cluster, pods: Pods, near: str, far: str
) -> None:
    cluster.workers[near].host.ping(pods.one[far].address(4))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("near", "far"), PAIRS)
def test_pods_serve_pods_of_other_nodes(
    pods: Pods, near: str, far: str, version: int
) -> None:
    server = pods.one[far].address(version)
    url = f"http://[{server}]:{PORT}" if version == 6 else f"http://{server}:{PORT}"

    assert fetch(pods.two[near], f"{url}/passwd").startswith(b"root:")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("near", "far"), PAIRS)
def test_the_longest_packet_of_a_pod_fits_into_the_tunnel(
    cluster: Cluster, pods: Pods, near: str, far: str, version: int
) -> None:
    one, two = pods.one[near], pods.two[far]
    longest = mtu(one, "eth0")
    assert longest == mtu(cluster.workers[near].host, INTERFACE)
    fragments = cluster.workers[near].host.capture("eth0", "ip[6:2] & 0x3fff != 0")

    def echo(length: int) -> int:
        data = str(length - HEADERS[version])
        request = ["ping", "-n", "-M", "do", "-c", "3", "-i", "0.2", "-W", "5"]
        command = [*request, "-s", data, two.address(version)]
        return one.run(command, check=False).returncode

    assert echo(longest) == 0
    assert echo(longest + 1) != 0
    assert fragments.packets() == []


@pytest.mark.parametrize(("near", "far"), PAIRS)
def test_figures_of_a_transfer_between_pods(
    pods: Pods, near: str, far: str, record_property: Any
) -> None:
    rate = transfer(pods.one[near], pods.two[far])

    assert rate > 0
    record_property("table", f"  {near:>6} to {far:6} {rate / 1e6:6.0f} Mbit/s, TCP")


def test_a_narrow_link_on_the_way_is_no_black_hole(
    cluster: Cluster, pods: Pods
) -> None:
    router = cluster.lab.router("home-router")
    router.run(["ip", "link", "set", WAN, "mtu", str(NARROW)])
    try:
        one, two = pods.one["home"], pods.one["office"]
        assert transfer(one, two) > 0
        assert transfer(two, one) > 0
    finally:
        router.run(["ip", "link", "set", WAN, "mtu", "1500"])


def transfer(sender: Host, receiver: Host) -> float:
    """Send by TCP for some seconds, and return the bits a second that arrived."""
    server = receiver.popen(["iperf3", "--server", "--one-off", "--forceflush"])
    server.wait_for_line("Server listening")
    options = ["--client", receiver.address(4), "--time", str(SECONDS), "--json"]
    done = sender.run(["iperf3", *options])
    server.wait(timeout=30)
    rate: float = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
    return rate
