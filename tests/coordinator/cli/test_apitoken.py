"""``meshwg-coordinator apitoken``, without a running server."""

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.mesh.apitokens import ApiTokenText
from tests.coordinator.cli.meshes import StoppedMesh
from tests.coordinator.programs import Here


@pytest.fixture
def place(tmp_path: Path) -> Path:
    StoppedMesh(tmp_path).perform()
    return tmp_path


def said(here: Here, place: Path, *arguments: str) -> str:
    status, output = here.run("apitoken", *arguments, "--data-dir", str(place))
    assert (status, output.err) == (0, "")
    return output.out


def listed(here: Here, place: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said(here, place, "list", "--json"))[
        "api_tokens"
    ]
    return found


def test_a_token_is_made_listed_and_revoked(here: Here, place: Path) -> None:
    scopes = ("--scope", "nodes:read", "--scope", "policy:write")
    text = said(here, place, "create", "deploy", *scopes, "--expires", "7d").strip()
    token = ApiTokenText.parse(text)

    (shown,) = listed(here, place)

    assert (shown["id"], shown["name"]) == (token.number, "deploy")
    assert shown["scopes"] == ["nodes:read", "policy:write"]
    assert shown["expires"] - shown["created"] == 7 * 86400
    assert "@" in shown["by"]
    assert token.secret.hex() not in said(here, place, "list")
    row = said(here, place, "list").splitlines()[1]
    assert row.split()[:3] == [token.number, "deploy", "valid"]
    gone = said(here, place, "revoke", token.number)
    assert gone == f"API token {token.number} is revoked.\n"
    assert listed(here, place)[0]["state"] == "revoked"


def test_a_token_is_revoked_by_its_whole_text_too(here: Here, place: Path) -> None:
    text = said(here, place, "create", "x", "--role", "auditor").strip()
    said(here, place, "revoke", text)
    assert listed(here, place)[0]["state"] == "revoked"


def test_the_secret_is_nowhere_but_in_the_answer(here: Here, place: Path) -> None:
    text = said(here, place, "create", "x", "--role", "admin").strip()
    secret = ApiTokenText.parse(text).secret
    for path in place.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert secret.hex().encode() not in data
        assert secret not in data


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (("create", "x"), 2, "may do nothing"),
        (("create", "x", "--role", "member"), 2, "is not one of"),
        (("create", "x", "--scope", "nodes:all"), 2, "is not one of"),
        (("create", "x", "--role", "admin", "--expires", "x"), 2, "not a lifetime"),
        (("create", "x" * 101, "--role", "admin"), 2, "'name' is wrong"),
        (("create",), 2, "Missing argument"),
        (("revoke", "ffffffffffff"), 1, "no such API token"),
        (("revoke", "mwa1-nonsense"), 1, "no such API token"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    here: Here, place: Path, arguments: tuple[str, ...], status: int, named: str
) -> None:
    here.fails(place, "apitoken", *arguments, status=status, named=named)
    assert listed(here, place) == []


def test_without_tokens_the_list_says_so(here: Here, place: Path) -> None:
    assert said(here, place, "list") == "There are no API tokens yet.\n"
