"""The table of all that can be asked."""

from coordinator.administration.endpoints import ENDPOINTS


def test_every_endpoint_has_a_method_and_path_of_its_own() -> None:
    places = [(each.method, each.path) for each in ENDPOINTS.values()]
    assert len(set(places)) == len(places)


def test_what_changes_something_takes_a_scope_that_writes() -> None:
    for each in ENDPOINTS.values():
        reads = each.method == "GET" or each.name in ("check-policy", "diff-policy")
        assert each.writes is not reads, each.name


def test_every_endpoint_says_what_it_does() -> None:
    for each in ENDPOINTS.values():
        assert each.summary.endswith("."), each.name


def test_placeholders_are_those_of_the_path() -> None:
    assert ENDPOINTS["show-node"].placeholders == ["node"]
    assert ENDPOINTS["list-nodes"].placeholders == []


def test_no_endpoint_hides_behind_a_placeholder_of_another() -> None:
    names = list(ENDPOINTS.values())
    for number, each in enumerate(names):
        fixed = each.path.split("/")
        for other in names[:number]:
            parts = other.path.split("/")
            if other.method != each.method or len(parts) != len(fixed):
                continue
            hides = all(
                there == here or there.startswith("{")
                for there, here in zip(parts, fixed, strict=True)
            )
            assert not hides, f"{other.path} hides {each.path}"
