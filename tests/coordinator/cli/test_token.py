"""``meshwg-coordinator token``, without a running server."""

import json
from pathlib import Path

import pytest

from meshwg.wire.token import JoinToken
from tests.coordinator.cli.meshes import URL, StoppedMesh
from tests.coordinator.programs import Here

UNKNOWN = "There is no token {}; 'meshwg-coordinator token list' shows all"


@pytest.fixture
def mesh(tmp_path: Path) -> StoppedMesh:
    made = StoppedMesh(tmp_path)
    made.start_once()
    return made


def test_a_token_carries_the_url_of_the_last_start(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    status, output = here.run("token", "create", "--data-dir", str(tmp_path))
    assert (status, output.err) == (0, "")
    assert JoinToken.parse(output.out.strip()).url == URL


def test_a_token_may_carry_another_url(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    url = "https://mesh.example"
    where = ("--data-dir", str(tmp_path))
    _, output = here.run("token", "create", "--url", url, *where)
    assert JoinToken.parse(output.out.strip()).url == url


def test_before_the_first_start_there_is_no_url_and_no_token(
    here: Here, tmp_path: Path
) -> None:
    StoppedMesh(tmp_path).perform()
    named = "The coordinator's address is not known yet"
    here.fails(tmp_path, "token", "create", status=1, named=named)
    assert tokens(here, tmp_path) == []


def test_a_url_that_nodes_cannot_use_makes_no_token(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    arguments = ("token", "create", "--url", "ftp://mesh.example")
    here.fails(tmp_path, *arguments, status=2, named="URL")
    assert tokens(here, tmp_path) == []


def test_a_token_may_be_for_a_number_of_nodes(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    where = ("--data-dir", str(tmp_path))
    _, output = here.run("token", "create", "--uses", "3", "--json", *where)
    made = json.loads(output.out)
    assert (made["reusable"], made["max_uses"], made["uses"]) == (True, 3, 0)
    _, output = here.run("token", "create", "--uses", "1", "--json", *where)
    made = json.loads(output.out)
    assert (made["reusable"], made["max_uses"]) == (False, 1)
    _, output = here.run("token", "list", *where)
    assert "0 of 3" in output.out
    for wrong in ("0", "-1", "many", "1000001"):
        status, _ = here.run("token", "create", "--uses", wrong, *where)
        assert status == 2


def test_tokens_are_listed_without_their_secrets(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    where = ("--data-dir", str(tmp_path))
    _, output = here.run("token", "create", "--reusable", "--ephemeral", *where)
    token = JoinToken.parse(output.out.strip())
    _, output = here.run("token", "list", *where)
    head, row = output.out.splitlines()
    assert head.split() == ["ID", "STATE", "KIND", "USES", "CREATED", "EXPIRES"]
    assert row.startswith(f"{token.auth_key.number}  valid  reusable, ephemeral  0")
    assert token.auth_key.secret.hex() not in output.out


@pytest.mark.parametrize("size", [60, 80, 120])
def test_the_list_fits_the_terminal(
    mesh: StoppedMesh,
    here: Here,
    tmp_path: Path,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(size))
    where = ("--data-dir", str(tmp_path))
    _, output = here.run("token", "create", "--reusable", "--ephemeral", *where)
    token = JoinToken.parse(output.out.strip())
    _, output = here.run("token", "list", *where)
    head, row = output.out.splitlines()
    assert len(row) <= size
    assert row.startswith(f"{token.auth_key.number}  valid  reusable, ephemeral")
    assert head.endswith("EXPIRES")


def test_without_tokens_the_list_says_so(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    _, output = here.run("token", "list", "--data-dir", str(tmp_path))
    assert output.out == "There are no tokens yet.\n"


@pytest.mark.parametrize("whole", [True, False])
def test_a_token_is_revoked_by_its_number_in_any_case_or_by_its_full_text(
    mesh: StoppedMesh, here: Here, tmp_path: Path, whole: bool
) -> None:
    where = ("--data-dir", str(tmp_path))
    text = here.run("token", "create", *where)[1].out.strip()
    number = JoinToken.parse(text).auth_key.number
    given = text if whole else number.upper()
    status, output = here.run("token", "revoke", given, *where)
    shown = number if whole else number.upper()
    assert status == 0
    assert output.out == f"Token {shown} is revoked; nodes that have joined stay.\n"
    assert [token["state"] for token in tokens(here, tmp_path)] == ["revoked"]


@pytest.mark.parametrize("number", ["ffffffffffff", "FFFFFFFFFFFF", "x"])
def test_a_missing_token_is_named(
    mesh: StoppedMesh, here: Here, tmp_path: Path, number: str
) -> None:
    named = UNKNOWN.format(number)
    here.fails(tmp_path, "token", "revoke", number, status=1, named=named)


def tokens(here: Here, data_dir: Path) -> list[dict[str, object]]:
    """Return what ``token list --json`` shows."""
    _, output = here.run("token", "list", "--json", "--data-dir", str(data_dir))
    listed: list[dict[str, object]] = json.loads(output.out)["tokens"]
    return listed
