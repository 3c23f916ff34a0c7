"""Users."""

import pytest

from tests.coordinator.administration.meshes import Office


def test_a_user_is_added_shown_disabled_and_enabled_again() -> None:
    office = Office()
    added = office.ask("add-user", user="alice@example.org")
    assert added.record["user"]["disabled"] is False
    assert office.ask("show-user", user="alice@example.org") == added

    disabled = office.ask("disable-user", user="alice@example.org")
    assert disabled.record["user"]["disabled"] is True
    assert disabled.etag != added.etag
    assert office.ask("add-user", user="alice@example.org").etag == added.etag


@pytest.mark.parametrize("name", ["a b", "a/b", "", "x" * 300, "a\x00b", "a\u2028b"])
def test_a_name_that_no_user_can_have_is_refused(name: str) -> None:
    office = Office()
    assert office.problem("add-user", user=name).status == 400
    assert office.ask("list-users").record["users"] == []


def test_a_user_that_there_is_not_is_neither_shown_nor_disabled() -> None:
    assert Office().problem("show-user", user="nobody").status == 404
    assert Office().problem("disable-user", user="nobody").status == 400


def test_users_come_in_pages_by_name() -> None:
    office = Office()
    for name in ("carol", "alice", "bob"):
        office.ask("add-user", user=name)
    page = office.ask("list-users", query={"limit": "2"}).record
    assert [each["name"] for each in page["users"]] == ["alice", "bob"]
    query = {"limit": "2", "cursor": page["next"]}
    rest = office.ask("list-users", query=query).record
    assert [each["name"] for each in rest["users"]] == ["carol"]
