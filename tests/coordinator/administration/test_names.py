"""Records of the zone."""

import pytest

from tests.coordinator.administration.meshes import Office

API = {"name": "API.mesh.internal", "type": "a", "value": "10.0.0.5"}


def test_records_come_and_go() -> None:
    office = Office()
    added = office.ask("add-record", body=API).record
    assert added["records"][0]["full_name"] == "api.mesh.internal"
    assert office.ask("list-records").record == added

    removed = office.ask("remove-records", name="api", query={"type": "a"}).record

    assert removed == added
    assert office.ask("list-records").record["records"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "api", "type": "A", "value": "x"},
        {"name": "api", "type": "A", "value": 1},
        {"name": "a b", "type": "A", "value": "10.0.0.5"},
        {"name": "api", "type": "MX", "value": "x"},
    ],
)
def test_a_record_that_cannot_be_is_refused(body: dict[str, str]) -> None:
    assert Office().problem("add-record", body=body).status == 400


def test_a_name_that_can_be_none_is_told_from_one_that_nobody_has() -> None:
    assert Office().problem("remove-records", name="a b").status == 400
    assert Office().problem("remove-records", name="nothing").status == 404


def test_records_come_in_pages() -> None:
    office = Office()
    for number in range(3):
        office.ask("add-record", body=API | {"value": f"10.0.0.{number}"})
    page = office.ask("list-records", query={"limit": "2"}).record
    query = {"limit": "2", "cursor": page["next"]}
    rest = office.ask("list-records", query=query).record
    assert [each["value"] for each in rest["records"]] == ["10.0.0.2"]
    assert rest["domain"] == "mesh.internal"
