"""Which networks a node offers, over its restarts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwg.errors import ConfigError, MeshError
from meshwg.routeoptions import parse_route
from meshwg.runtime.offered_routes import OfferedRoutes, announced, traits_of
from meshwg.runtime.state import StateDirectory
from meshwg.wire.routes import MAX_ROUTES, RouteTraits

OFFICE, LAB, LAN = "10.1.0.0/16", "10.2.0.0/16", "192.168.1.0/24"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(tmp_path)
    yield made
    made.close()


def test_at_first_they_are_those_of_the_settings(state: StateDirectory) -> None:
    assert shown(OfferedRoutes([OFFICE, LAB], state)) == [OFFICE, LAB]


def test_others_take_the_place_of_those_of_the_settings_but_not_of_what_was_added(
    state: StateDirectory,
) -> None:
    routes = OfferedRoutes([OFFICE], state)
    routes.add(LAN)

    routes.serve([parse_route(f"{LAB},snat=no")])

    assert shown(routes) == [f"{LAB},snat=no", LAN]


def test_what_is_added_and_removed_is_remembered(state: StateDirectory) -> None:
    routes = OfferedRoutes([OFFICE, LAB], state)

    routes.add(f"{LAN},priority=5")
    routes.remove(LAB)

    assert shown(routes) == [OFFICE, f"{LAN},priority=5"]
    assert shown(OfferedRoutes([OFFICE, LAB], state)) == shown(routes)


def test_a_network_may_be_offered_in_another_way_and_as_before(
    state: StateDirectory,
) -> None:
    routes = OfferedRoutes([OFFICE], state)

    routes.add(f"{OFFICE},snat=no")
    assert shown(OfferedRoutes([OFFICE], state)) == [f"{OFFICE},snat=no"]

    routes.add(OFFICE)
    assert state.routes() == {"added": [], "removed": []}


def test_what_the_settings_name_may_be_removed_and_added_again(
    state: StateDirectory,
) -> None:
    routes = OfferedRoutes([OFFICE], state)
    routes.remove(OFFICE)
    assert shown(OfferedRoutes([OFFICE], state)) == []

    routes.add(OFFICE)

    assert shown(OfferedRoutes([OFFICE], state)) == [OFFICE]


@pytest.mark.parametrize("name", ["10.9.1.0/24", LAN, f"{LAN},priority=5"])
def test_a_mapped_network_is_removed_by_either_name(
    state: StateDirectory, name: str
) -> None:
    routes = OfferedRoutes([f"{LAN}=10.9.1.0/24"], state)

    assert routes.remove(name).announced == "10.9.1.0/24"

    assert shown(routes) == []


def test_what_is_wrong_is_said_and_changes_nothing(state: StateDirectory) -> None:
    routes = OfferedRoutes([OFFICE], state)

    for text, named in (("office", "office"), ("0.0.0.0/0", "--exit")):
        with pytest.raises(ConfigError, match=named):
            routes.add(text)
    with pytest.raises(ConfigError, match="'meshwg route list' shows"):
        routes.remove(LAB)
    with pytest.raises(ConfigError, match="host bits"):
        routes.remove("10.1.0.1/16")

    assert shown(routes) == [OFFICE]
    assert state.routes() == {}


def test_there_are_only_so_many(state: StateDirectory) -> None:
    routes = OfferedRoutes([f"10.{each}.0.0/16" for each in range(MAX_ROUTES)], state)

    with pytest.raises(ConfigError, match="at most 64"):
        routes.add("10.200.0.0/16")
    routes.add("10.5.0.0/16,priority=5")

    assert len(routes.current) == MAX_ROUTES


def test_what_cannot_be_remembered_is_not_done(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise MeshError("The disk is full")

    routes = OfferedRoutes([OFFICE], state)
    monkeypatch.setattr(state, "save_routes", fail)

    with pytest.raises(MeshError, match="full"):
        routes.add(LAB)
    with pytest.raises(MeshError, match="full"):
        routes.remove(OFFICE)

    assert shown(routes) == [OFFICE]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"added": ["office"]}', '{"added": 5}', '{"removed": 5}']
)
def test_a_damaged_file_is_named(
    state: StateDirectory, tmp_path: Path, text: str
) -> None:
    (tmp_path / "routes.json").write_text(text)

    with pytest.raises(ConfigError, match=r"routes\.json"):
        OfferedRoutes([], state)


def test_others_are_told_of_what_is_unusual() -> None:
    routes = [
        parse_route(each)
        for each in (f"{OFFICE},snat=no", f"{LAB},priority=5", f"{LAN}=10.9.1.0/24")
    ]

    assert announced(routes) == (OFFICE, LAB, "10.9.1.0/24")
    assert traits_of(routes) == (
        RouteTraits(prefix=LAB, priority=5),
        RouteTraits(prefix="10.9.1.0/24", mapped=LAN),
    )


def shown(routes: OfferedRoutes) -> list[str]:
    return [str(each) for each in routes.current]
