"""Coordinator processes that live, and the nodes of those that do not."""

from coordinator.mesh.homes import GRACE, Home, Homes, Roll
from coordinator.mesh.nodes import Node


def test_nodes_of_living_processes_are_left_alone() -> None:
    homes = Homes("own")
    nodes = [node("a", "own"), node("b", "other")]
    assert homes.overdue(nodes, {"other"}, 0.0) == frozenset()
    assert homes.overdue(nodes, {"other"}, 1e6) == frozenset()


def test_nodes_of_a_dead_process_have_time_to_come_back() -> None:
    homes = Homes("own")
    nodes = [node("a", "dead")]
    assert homes.overdue(nodes, (), 10.0) == frozenset()
    assert homes.overdue(nodes, (), 10.0 + GRACE - 0.1) == frozenset()
    assert homes.overdue(nodes, (), 10.0 + GRACE) == {"dead"}


def test_a_process_that_was_only_slow_gets_its_full_time_again() -> None:
    homes = Homes("own")
    nodes = [node("a", "slow")]
    homes.overdue(nodes, (), 0.0)
    homes.overdue(nodes, {"slow"}, 30.0)
    assert homes.overdue(nodes, (), GRACE) == frozenset()
    assert homes.overdue(nodes, (), 2 * GRACE) == {"slow"}


def test_a_dead_process_without_nodes_is_forgotten() -> None:
    homes = Homes("own")
    homes.overdue([node("a", "dead")], (), 0.0)
    homes.overdue([node("a", "own")], (), 20.0)
    assert homes.overdue([node("a", "dead")], (), GRACE) == frozenset()


def test_nodes_that_are_offline_already_do_not_matter() -> None:
    homes = Homes("own")
    offline = Node(key="a", name="a", requested_name="a", number=1, home="dead")
    homes.overdue([offline], (), 0.0)
    assert homes.overdue([offline], (), GRACE) == frozenset()


def test_a_process_tells_of_the_others_and_not_of_its_own_address() -> None:
    own, other = Home("own", "http://own"), Home("other", "http://other")
    shared = Home("behind the same address", "http://own")
    urls = ("http://own", "http://other", "http://away")
    roll = Roll({each.name: each for each in (own, other, shared, Home("old"))}, urls)
    assert roll.others(own) == ("http://other", "http://away")
    assert roll.living(own) == ("http://other",)
    assert Roll({"own": own}).others(own) == Roll({"own": own}).living(own) == ()


def node(key: str, home: str) -> Node:
    return Node(key=key, name=key, requested_name=key, number=1, online=True, home=home)
