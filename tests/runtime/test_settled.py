"""The garbage collector leaves alone what stays, and looks again at what has gone."""

from meshwg.runtime.settled import ENOUGH, SettledObjects


def test_a_small_mesh_is_left_to_the_collector() -> None:
    stage = Stage()
    stage.settled.look(ENOUGH - 1, 0)
    assert stage.done == []


def test_what_a_large_netmap_consists_of_is_left_out_as_it_grows() -> None:
    stage = Stage()
    for peers in range(0, 5 * ENOUGH, ENOUGH // 2):
        stage.settled.look(peers, 0)
    assert stage.done == ["freeze"] * 4


def test_a_mesh_that_stays_as_large_costs_nothing() -> None:
    stage = Stage()
    for _ in range(5):
        stage.settled.look(4 * ENOUGH, 0)
    assert stage.done == ["freeze"]


def test_when_as_many_have_gone_all_is_looked_at_and_what_is_left_settles() -> None:
    stage = Stage()
    stage.settled.look(4 * ENOUGH, 0)
    stage.settled.look(4 * ENOUGH, 4 * ENOUGH - 1)
    assert stage.done == ["freeze"]
    stage.settled.look(4 * ENOUGH, 4 * ENOUGH)
    assert stage.done == ["freeze", "unfreeze"]
    stage.settled.look(4 * ENOUGH, 4 * ENOUGH)
    assert stage.done == ["freeze", "unfreeze", "freeze"]


class Stage:
    """What is done about the collector is written down."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.settled = SettledObjects(
            lambda: self.done.append("freeze"), lambda: self.done.append("unfreeze")
        )
