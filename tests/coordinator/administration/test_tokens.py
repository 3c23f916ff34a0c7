"""Join tokens and API tokens."""

import pytest

from coordinator.administration.rights import Role, Scope, in_role
from coordinator.mesh.apitokens import ApiTokenText
from meshwg.errors import MeshError
from meshwg.wire.token import JoinToken
from tests.coordinator.administration.meshes import KEY, Office, with_scopes


def test_a_join_token_is_made_shown_without_its_secret_and_revoked() -> None:
    office = Office()
    made = office.ask("create-token", body={"uses": 3, "tags": ["db", "db"]})

    token = JoinToken.parse(made.record["token"])

    assert (token.url, token.coordinator_key) == (office.mesh.address, KEY)
    shown = office.ask("show-token", number=token.auth_key.number)
    assert shown.record["max_uses"] == 3
    assert shown.record["tags"] == ["db"]
    assert "token" not in shown.record
    listed = office.ask("list-tokens").record["tokens"]
    assert token.auth_key.secret.hex() not in str(listed)
    gone = office.ask("revoke-token", number=token.auth_key.number)
    assert gone.record["state"] == "revoked"
    assert gone.etag != shown.etag


def test_a_join_token_may_carry_another_url() -> None:
    made = Office().ask("create-token", body={"url": "https://other.example/"})
    assert JoinToken.parse(made.record["token"]).url == "https://other.example"


@pytest.mark.parametrize(
    "body", [{"url": "ftp://x"}, {"expires": "never"}, {"owner": "nobody"}]
)
def test_a_join_token_that_makes_no_sense_is_not_made(body: dict[str, str]) -> None:
    office = Office()
    before = len(office.ask("list-tokens").record["tokens"])
    with pytest.raises(MeshError):
        office.ask("create-token", body=body)
    assert len(office.ask("list-tokens").record["tokens"]) == before


def test_before_the_first_start_there_is_no_url_and_no_token() -> None:
    office = Office()
    office.mesh.address = ""
    with pytest.raises(MeshError, match="address is not known yet"):
        office.ask("create-token", body={})


def test_a_token_that_there_is_not_is_not_found() -> None:
    for name in ("show-token", "revoke-token", "revoke-api-token"):
        assert Office().problem(name, number="ffffffffffff").status == 404


def test_an_api_token_is_made_listed_without_its_secret_and_revoked() -> None:
    office = Office()
    body = {"name": "backup", "role": "auditor", "scopes": ["nodes:write"]}
    made = office.ask("create-api-token", body=body).record
    text = ApiTokenText.parse(made["token"])

    (listed,) = office.ask("list-api-tokens").record["api_tokens"]

    assert (listed["id"], listed["name"], listed["state"]) == (
        text.number,
        "backup",
        "valid",
    )
    assert (listed["role"], listed["scopes"]) == ("auditor", ["nodes:write"])
    assert listed["by"] == "carol@desk"
    kept = office.mesh.tokens[text.number]
    assert text.secret.hex() not in repr(kept)
    assert kept.digest == text.digest
    office.ask("revoke-api-token", number=text.number)
    (listed,) = office.ask("list-api-tokens").record["api_tokens"]
    assert listed["state"] == "revoked"
    actions = [row["action"] for row in office.ask("show-audit").record["rows"]]
    assert actions == ["create-api-token", "revoke-api-token"]


def test_nobody_gives_a_token_more_than_he_may_do_himself() -> None:
    office = Office()
    maker = with_scopes(Scope.API_TOKENS_WRITE, Scope.NODES_READ)

    office.ask("create-api-token", actor=maker, body={"scopes": ["nodes:read"]})
    for body in ({"role": "admin"}, {"scopes": ["nodes:read", "policy:write"]}):
        problem = office.problem("create-api-token", actor=maker, body=body)
        assert problem.status == 403
        assert "policy:write" in str(problem)

    assert len(office.mesh.tokens) == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "may do nothing"),
        ({"role": "member"}, "may do nothing"),
        ({"role": "emperor"}, "no role"),
        ({"scopes": ["nodes:admin"]}, "no scope"),
        ({"role": "admin", "expires": "1000w"}, "not a lifetime"),
        ({"role": "admin", "name": "x" * 101}, "'name' is wrong"),
    ],
)
def test_an_api_token_that_makes_no_sense_is_not_made(
    body: dict[str, str], named: str
) -> None:
    office = Office()
    with pytest.raises(MeshError, match=named):
        office.ask("create-api-token", body=body)
    assert not office.mesh.tokens


def test_only_an_admin_makes_api_tokens() -> None:
    for role in (Role.OPERATOR, Role.AUDITOR):
        actor = in_role("dave", role)
        body = {"scopes": ["nodes:read"]}
        assert (
            Office().problem("create-api-token", actor=actor, body=body).status == 403
        )
