"""What an agent does when the cluster, the mesh or the machine changes."""

from dataclasses import replace

import pytest

from meshwg.kubernetes.agent import (
    AGAIN,
    PATIENCE,
    REPEAT,
    RETRY,
    Configure,
    OfferNetworks,
    Remember,
    SetCondition,
    Tell,
    Unconfigure,
)
from meshwg.kubernetes.networklist import FILE
from meshwg.kubernetes.verdict import PodSettings
from tests.kubernetes.cluster import LAN, PODS, PODS6, AgentBench, mesh, node

READY = [{"type": "NetworkUnavailable", "status": "False"}]
OTHER = "10.244.9.0/24"


def test_a_node_offers_its_pods_and_gets_its_network_when_the_mesh_routes_them() -> (
    None
):
    bench = AgentBench()
    bench.agent.receive_node(node(PODS, PODS6), 0.0)
    assert bench.actions(OfferNetworks, Configure) == []
    bench.agent.receive_machine(LAN, 0.0)
    assert bench.actions(OfferNetworks, Configure) == [OfferNetworks((PODS, PODS6))]
    bench.agent.receive_mesh(mesh(), 0.0)
    assert bench.actions() == []
    bench.agent.receive_mesh(mesh(PODS, PODS6), 1.0)
    configure, tell, condition = bench.actions()
    assert isinstance(configure, Configure)
    assert configure.network.pod_networks == (PODS, PODS6)
    assert isinstance(tell, Tell)
    assert not tell.is_warning
    assert condition == SetCondition(
        False, "MeshReady", "The mesh routes the pods of this node"
    )


def test_nothing_is_done_twice() -> None:
    bench = AgentBench().ready(PODS)
    bench.actions()
    bench.agent.receive_node(node(PODS, conditions=READY), 2.0)
    bench.agent.receive_mesh(mesh(PODS), 3.0)
    bench.agent.receive_machine(LAN, 4.0)
    bench.advance(10 * REPEAT)
    assert bench.actions() == []
    assert bench.agent.get_timer() is None


def test_a_condition_that_somebody_else_sets_is_put_back_now_and_then() -> None:
    bench = AgentBench().ready(PODS)
    bench.actions()
    unavailable = [{"type": "NetworkUnavailable", "status": "True"}]
    bench.agent.receive_node(node(PODS, conditions=READY), 1.0)
    bench.now = 100.0
    for _ in range(60):
        bench.agent.receive_node(node(PODS, conditions=unavailable), bench.now)
        bench.advance(1.0)
    assert len(bench.actions(SetCondition)) == 60 / AGAIN + 1


def test_a_node_without_pod_network_is_waited_for_and_then_told_of() -> None:
    bench = AgentBench()
    bench.agent.receive_machine(LAN, 0.0)
    bench.agent.receive_node(node(), 0.0)
    bench.advance(PATIENCE - 1)
    assert bench.actions(Tell, Unconfigure, SetCondition) == []
    bench.advance(2)
    undone, told, condition = bench.actions(Tell, Unconfigure, SetCondition)
    assert undone == Unconfigure()
    assert isinstance(told, Tell)
    assert (told.reason, told.is_warning) == ("NoPodCIDR", True)
    assert isinstance(condition, SetCondition)
    assert condition.is_unavailable
    bench.agent.receive_node(node(PODS), bench.now)
    bench.agent.receive_mesh(mesh(PODS), bench.now)
    assert [type(each) for each in bench.actions(OfferNetworks, Configure)] == [
        OfferNetworks,
        Configure,
    ]


def test_a_node_that_changes_its_pod_network_has_the_old_one_until_then() -> None:
    bench = AgentBench().ready(PODS)
    bench.actions()
    bench.agent.receive_node(node(OTHER), 5.0)
    assert bench.actions(OfferNetworks, Unconfigure) == [OfferNetworks((OTHER,))]
    assert bench.agent.network is not None
    bench.agent.receive_mesh(mesh(OTHER), 6.0)
    (configured,) = bench.actions(Configure)
    assert isinstance(configured, Configure)
    assert configured.network.pod_networks == (OTHER,)


def test_a_node_that_is_gone_loses_its_network_and_gets_it_back() -> None:
    bench = AgentBench().ready(PODS)
    bench.actions()
    bench.agent.receive_node(None, 5.0)
    assert bench.actions(OfferNetworks, Unconfigure, SetCondition) == [
        OfferNetworks(()),
        Unconfigure(),
    ]
    bench.agent.receive_node(node(PODS, uid="u2"), 6.0)
    bench.agent.receive_mesh(mesh(), 6.0)
    bench.agent.receive_mesh(mesh(PODS), 7.0)
    assert [type(each) for each in bench.actions(OfferNetworks, Configure)] == [
        OfferNetworks,
        Configure,
    ]


def test_without_api_server_a_restarted_agent_goes_on_with_what_it_knew() -> None:
    bench = AgentBench(remembered=node(PODS))
    bench.agent.receive_machine(LAN, 0.0)
    assert bench.agent.offered == (PODS,)
    bench.agent.receive_mesh(mesh(PODS), 0.0)
    assert len(bench.actions(Configure)) == 1
    bench.advance(3600)
    assert bench.actions() == []


def test_without_coordinator_all_stays_as_it_is() -> None:
    bench = AgentBench().ready(PODS)
    bench.agent.receive_node(node(PODS, conditions=READY), 1.0)
    bench.actions()
    bench.advance(3600)
    assert bench.actions() == []
    assert bench.agent.network is not None


def test_what_the_mesh_refuses_for_a_moment_is_no_obstacle() -> None:
    bench = AgentBench().ready(PODS)
    bench.actions()
    why = "it is no PodCIDR of the cluster's node n1"
    bench.agent.receive_mesh(mesh(refused=PODS, reason=why), 1.0)
    bench.now = 1.0
    bench.advance(PATIENCE - 1)
    assert bench.actions() == []
    bench.agent.receive_mesh(mesh(PODS), bench.now)
    bench.advance(3600)
    assert bench.actions(Unconfigure, Tell) == []


def test_what_the_mesh_goes_on_refusing_is_undone_but_still_offered() -> None:
    bench = AgentBench().ready(PODS)
    bench.actions()
    why = "the cluster gave it to the node n2 as well"
    bench.agent.receive_mesh(mesh(refused=PODS, reason=why), 0.0)
    bench.advance(PATIENCE + 1)
    undone, told, _ = bench.actions()
    assert undone == Unconfigure()
    assert isinstance(told, Tell)
    assert told.reason == "PodCIDRNotApproved"
    assert bench.agent.offered == (PODS,)


@pytest.mark.parametrize("file", ["10-calico.conflist", "00-cilium.conf"])
def test_another_network_list_is_left_alone_and_ours_is_removed(file: str) -> None:
    bench = AgentBench().ready(PODS)
    bench.actions()
    bench.agent.receive_machine(replace(LAN, files=(file,)), 1.0)
    offered, undone, told, _ = bench.actions()
    assert offered == OfferNetworks(())
    assert undone == Unconfigure()
    assert isinstance(told, Tell)
    assert file in told.text
    bench.agent.receive_machine(LAN, 2.0)
    assert bench.agent.network is not None


def test_a_network_list_that_somebody_removes_is_written_again() -> None:
    bench = AgentBench().ready(PODS)
    bench.actions()
    bench.agent.receive_machine(replace(LAN, files=(FILE,)), 5.0)
    assert bench.actions(Configure) == []
    bench.agent.receive_machine(LAN, 10.0)
    assert len(bench.actions(Configure)) == 1


def test_what_the_machine_refuses_is_told_and_tried_again() -> None:
    bench = AgentBench().ready(PODS)
    bench.actions()
    bench.agent.failed("The network list cannot be written: mount it", 0.0)
    told, condition = bench.actions()
    assert isinstance(told, Tell)
    assert told.reason == "Failed"
    assert isinstance(condition, SetCondition)
    assert condition.is_unavailable
    bench.advance(RETRY - 1)
    assert bench.actions(Configure) == []
    bench.advance(2)
    assert len(bench.actions(Configure)) == 1


def test_a_refusal_of_the_coordinator_is_told_and_leaves_nothing() -> None:
    bench = AgentBench().ready(PODS)
    bench.actions()
    bench.agent.refused("The service-account token has expired: mount …", 1.0)
    assert [type(each) for each in bench.actions()] == [Unconfigure, Tell, SetCondition]


def test_the_same_is_told_once_an_hour() -> None:
    bench = AgentBench()
    bench.agent.receive_machine(LAN, 0.0)
    times = []
    for minute in range(180):
        bench.agent.receive_node(None, 60.0 * minute)
        times += [minute] * len(bench.actions(Tell))
    assert times == [0, 60, 120]


def test_hosts_are_offered_only_where_that_is_wanted() -> None:
    bench = AgentBench(PodSettings(encrypts_hosts=True))
    bench.ready(PODS)
    assert bench.agent.offered == (PODS, "192.168.1.7/32")
    assert bench.agent.network is not None
    plain = AgentBench().ready(PODS)
    assert plain.agent.offered == (PODS,)


def test_what_a_later_start_needs_is_remembered_when_it_changes() -> None:
    bench = AgentBench().ready(PODS)
    assert bench.actions(Remember) == [Remember(node(PODS))]
    bench.agent.receive_node(node(PODS, conditions=READY), 1.0)
    assert bench.actions(Remember) == []
    bench.agent.receive_node(None, 2.0)
    assert bench.actions(Remember) == [Remember(None)]
