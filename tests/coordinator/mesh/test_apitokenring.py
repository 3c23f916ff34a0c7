"""The API tokens of one transaction."""

from coordinator.mesh.apitokenring import DraftedApiTokens, mentioned_tokens
from coordinator.mesh.apitokens import ApiToken
from coordinator.mesh.operations import (
    Accepted,
    Administered,
    CreateApiToken,
    Refused,
    Remove,
    RevokeApiToken,
)
from meshwg.wire.control import ErrorCode

TOKEN = ApiToken("0123456789ab", "x", "digest", "admin", (), 0.0, 100.0, "carol")


def test_a_token_is_created_once_and_revoked_as_often_as_one_likes() -> None:
    ring = DraftedApiTokens({})
    assert ring.create(CreateApiToken(TOKEN)) == Accepted(api_token=TOKEN)
    assert isinstance(ring.create(CreateApiToken(TOKEN)), Refused)
    for _ in range(2):
        result = ring.revoke(RevokeApiToken(TOKEN.number))
        assert isinstance(result, Accepted)
    gone = ring.get(TOKEN.number)
    assert gone is not None
    assert gone.revoked
    assert ring.changed == {TOKEN.number: gone}


def test_a_token_that_nobody_knows_cannot_be_revoked() -> None:
    result = DraftedApiTokens({}).revoke(RevokeApiToken("x"))
    assert isinstance(result, Refused)
    assert result.code is ErrorCode.TOKEN_UNKNOWN


def test_only_numbers_that_can_be_some_get_to_a_database() -> None:
    operations = (
        Administered(CreateApiToken(TOKEN), "me"),
        RevokeApiToken("\x00"),
        RevokeApiToken("ffffffffffff"),
        Remove("x"),
    )
    assert mentioned_tokens(operations) == ["0123456789ab", "ffffffffffff"]
