"""``meshwg-coordinator user``, without a running server."""

import json
from pathlib import Path

from tests.coordinator.cli.meshes import StoppedMesh
from tests.coordinator.programs import Here


def test_users_are_added_listed_and_disabled(here: Here, tmp_path: Path) -> None:
    StoppedMesh(tmp_path).perform()
    where = ("--data-dir", str(tmp_path))

    assert here.run("user", "add", "alice@example.org", *where)[0] == 0
    assert here.run("user", "add", "bob@example.org", *where)[0] == 0
    assert here.run("user", "disable", "bob@example.org", *where)[0] == 0
    _, output = here.run("user", "list", "--json", *where)

    users = json.loads(output.out)["users"]
    assert [(each["name"], each["disabled"]) for each in users] == [
        ("alice@example.org", False),
        ("bob@example.org", True),
    ]
    _, output = here.run("user", "list", *where)
    assert output.out.splitlines()[2].split()[:2] == ["bob@example.org", "disabled"]


def test_a_name_that_no_user_can_have_is_refused(here: Here, tmp_path: Path) -> None:
    StoppedMesh(tmp_path).perform()

    here.fails(tmp_path, "user", "add", "a b", status=1, named="is no name of a user")
    here.fails(tmp_path, "user", "disable", "x", status=1, named="There is no user x")
