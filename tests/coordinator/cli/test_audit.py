"""``meshwg-coordinator audit``, without a running server."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from tests.coordinator.cli.meshes import StoppedMesh
from tests.coordinator.programs import Here


def test_what_administrators_did_is_shown_with_before_and_after(
    here: Here, tmp_path: Path
) -> None:
    mesh(here, tmp_path)

    rows = listed(here, tmp_path)

    assert [(row["seq"], row["action"], row["target"]) for row in rows] == [
        (1, "add-user", "alice"),
        (2, "rename", "old"),
        (3, "assign", "new"),
        (4, "apply-policy", "policy"),
        (5, "disable-user", "alice"),
        (6, "remove", "new"),
    ]
    assert rows[0]["before"] is None
    assert (rows[1]["before"]["name"], rows[1]["after"]["name"]) == ("old", "new")
    assert rows[2]["after"]["tags"] == ["db"]
    assert rows[3]["after"]["version"] == 1
    assert rows[5]["after"] is None
    assert all("@" in row["actor"] for row in rows)


def test_what_was_refused_is_not_there(here: Here, tmp_path: Path) -> None:
    StoppedMesh(tmp_path).perform()
    here.fails(tmp_path, "user", "disable", "nobody", status=1, named="no user nobody")

    assert listed(here, tmp_path) == []
    _, output = here.run("audit", "--data-dir", str(tmp_path))
    assert output.out == "Nobody has changed anything yet.\n"


def test_a_log_that_was_changed_is_found_out(here: Here, tmp_path: Path) -> None:
    mesh(here, tmp_path)
    where = ("--data-dir", str(tmp_path))
    status, output = here.run("audit", "--verify", *where)
    assert status == 0
    assert output.out.startswith("The audit log is whole: 6 rows")

    (database,) = tmp_path.glob("*.db")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 3")
    connection.close()

    named = "row 3 is not what it was"
    here.fails(tmp_path, "audit", "--verify", status=1, named=named)


def test_only_what_is_recent_is_shown_if_that_is_wanted(
    here: Here, tmp_path: Path
) -> None:
    mesh(here, tmp_path)

    assert len(listed(here, tmp_path, "--since", "1h")) == 6
    here.fails(tmp_path, "audit", "--since", "x", status=2, named="is not a lifetime")
    _, output = here.run("audit", "--data-dir", str(tmp_path))
    assert output.out.splitlines()[2].split()[0] == "2"


def mesh(here: Here, place: Path) -> None:
    """Make a mesh in which an administrator did this and that."""
    StoppedMesh(place).join("old")
    file = place / "policy.toml"
    file.write_text("# nothing\n")
    for arguments in (
        ("user", "add", "alice"),
        ("node", "rename", "old", "new"),
        ("node", "tag", "new", "db"),
        ("policy", "apply", str(file)),
        ("user", "disable", "alice"),
        ("node", "remove", "new", "--keep-token"),
    ):
        assert here.run(*arguments, "--data-dir", str(place))[0] == 0


def listed(here: Here, place: Path, *options: str) -> list[dict[str, Any]]:
    where = ("--data-dir", str(place))
    status, output = here.run("audit", "--json", *options, *where)
    assert status == 0
    return [json.loads(line) for line in output.out.splitlines()]
