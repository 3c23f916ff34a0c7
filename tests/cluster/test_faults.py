"""What pods lose when something around them fails, as a table of figures.

By default the API server and the coordinator are away for some seconds; for longer with
``MESHWG_OUTAGE=600``.
"""

import itertools
import os
import time
from typing import Any

import pytest

from netlab.kubernetes.cluster import Cluster
from tests.cluster.conftest import Pods
from tests.cluster.probes import Beats, Heartbeat

pytestmark = pytest.mark.kubernetes

OUTAGE = 15.0
"""Seconds that something is away by default."""
SETTLE = 3.0
"""Seconds of traffic after a fault, in which its effects show."""


@pytest.fixture
def row(record_property: Any, request: pytest.FixtureRequest) -> Any:
    """Puts a line into the table after the tests."""

    def put(what: str, between: str, beats: Beats) -> None:
        record_property("table", f"  {what:28} {between:16} {beats}")

    return put


def test_an_agent_that_is_killed_costs_pods_of_its_node_nothing(
    cluster: Cluster, pods: Pods, row: Any
) -> None:
    one, two = pods.one["home"], pods.two["home"].address(4)
    with Heartbeat(one, two) as inside, across(pods) as heartbeat:
        cluster.kill_agent("home")
        one.ping(pods.one["office"].address(4))
        time.sleep(SETTLE)

    row("agent killed", "on one node", inside.beats)
    row("agent killed", "home to office", heartbeat.beats)
    assert inside.beats.lost == 0


def test_a_kubelet_that_is_killed_costs_nothing(
    cluster: Cluster, pods: Pods, row: Any
) -> None:
    worker = cluster.workers["home"]
    with across(pods) as heartbeat:
        worker.kill_kubelet()
        time.sleep(SETTLE)
        worker.start_kubelet()
        cluster.wait_until_ready()

    row("kubelet killed", "home to office", heartbeat.beats)
    assert heartbeat.beats.lost == 0


def test_pods_go_on_without_the_api_server(
    cluster: Cluster, pods: Pods, row: Any
) -> None:
    with across(pods) as heartbeat:
        cluster.plane.stop_api_server()
        time.sleep(outage())
        cluster.plane.restart_api_server()
        cluster.wait_until_ready()

    row(f"API server away for {outage():g} s", "home to office", heartbeat.beats)
    assert heartbeat.beats.lost == 0


def test_pods_go_on_without_the_coordinator(
    cluster: Cluster, pods: Pods, row: Any
) -> None:
    with across(pods) as heartbeat:
        cluster.agents.coordinator.process.stop()
        time.sleep(outage())
        cluster.agents.coordinator.start()
        time.sleep(SETTLE)

    row(f"coordinator away for {outage():g} s", "home to office", heartbeat.beats)
    assert heartbeat.beats.lost == 0


def test_pods_reach_each_other_after_a_nat_has_forgotten_them(
    cluster: Cluster, pods: Pods, row: Any
) -> None:
    with across(pods) as heartbeat:
        cluster.lab.router("home-router").reboot_nat()
        pods.one["home"].ping(pods.one["office"].address(4))
        time.sleep(SETTLE)

    row("NAT of home reboots", "home to office", heartbeat.beats)
    assert heartbeat.beats.lost < heartbeat.beats.sent


def test_a_node_that_is_removed_has_no_routes_until_it_is_back(
    cluster: Cluster, pods: Pods, row: Any
) -> None:
    with across(pods) as heartbeat:
        networks = cluster.pod_networks("mobile")
        cluster.remove("mobile")
        cluster.api.wait_until(
            lambda: not routes(cluster, "home") & set(networks),
            "home has no route to the pods of mobile",
        )
        cluster.bring_back("mobile")

    again = Pods(*(cluster.pods_by_node(f"app={name}") for name in ("one", "two")))
    again.one["home"].ping(again.two["mobile"].address())
    again.two["mobile"].ping(again.one["office"].address())
    row("node mobile removed, and back", "home to office", heartbeat.beats)
    assert heartbeat.beats.lost == 0


def test_a_pod_network_that_another_node_gets_leads_to_that_one(
    cluster: Cluster, pods: Pods
) -> None:
    before = renumbered(cluster, "office", "mobile")
    after = renumbered(cluster, "mobile", "office")

    assert after == {"office": before["mobile"], "mobile": before["office"]}
    one = cluster.pods_by_node("app=one")
    for here, there in itertools.permutations(one, 2):
        for version in (4, 6):
            one[here].ping(one[there].address(version))


def renumbered(cluster: Cluster, *names: str) -> dict[str, list[str]]:
    """Remove nodes, and bring them back in this order; return what they have then.

    Controllers that have just started give away the lowest network that is free.
    """
    for name in names:
        cluster.remove(name)
    cluster.plane.restart_controllers()
    for name in names:
        cluster.bring_back(name)
    return {name: cluster.pod_networks(name) for name in names}


def test_a_foreign_network_list_is_an_event_and_no_network_until_it_is_gone(
    cluster: Cluster, pods: Pods
) -> None:
    foreign = cluster.workers["mobile"].etc / "cni" / "net.d" / "05-other.conflist"
    foreign.write_text("{}")
    cluster.api.wait_until(
        lambda: "OtherNetworkList" in cluster.events("mobile"),
        "an Event says that there is another network list",
    )
    own = foreign.with_name("10-meshwg.conflist")
    cluster.api.wait_until(lambda: not own.exists(), "its own list is gone")

    foreign.unlink()

    cluster.api.wait_until(own.exists, "its own list is back")
    pods.one["home"].ping(pods.one["mobile"].address())


def routes(cluster: Cluster, name: str) -> set[str]:
    """Return the networks that a node has routes to, in whatever table."""
    done = cluster.workers[name].host.run(["ip", "route", "show", "table", "all"])
    return {line.split()[0] for line in done.stdout.splitlines()}


def across(pods: Pods) -> Heartbeat:
    return Heartbeat(pods.one["home"], pods.one["office"].address(4))


def outage() -> float:
    """Return how many seconds something is to be away."""
    return float(os.environ.get("MESHWG_OUTAGE", OUTAGE))
