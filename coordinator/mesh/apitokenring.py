"""The API tokens that one transaction reads and changes."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from coordinator.mesh.apitokens import ApiToken, is_api_token_number
from coordinator.mesh.operations import (
    Accepted,
    CreateApiToken,
    Operation,
    Refused,
    Result,
    RevokeApiToken,
    unwrapped,
)
from meshwg.wire.control import ErrorCode


class DraftedApiTokens:
    """The API tokens that operations mention, with what they change in them.

    :param tokens: as the database has them, by number.
    """

    def __init__(self, tokens: Mapping[str, ApiToken]) -> None:
        self._tokens = dict(tokens)
        self.changed: dict[str, ApiToken] = {}
        """By number."""

    def get(self, number: str) -> ApiToken | None:
        """Return a token that an operation mentions."""
        return self._tokens.get(number)

    def create(self, create: CreateApiToken) -> Result:
        """Add a new token."""
        token = create.api_token
        if token.number in self._tokens:
            return Refused(
                ErrorCode.MALFORMED,
                "The new token's number is already taken; create the token again",
            )
        return Accepted(api_token=self._put(token))

    def revoke(self, revoke: RevokeApiToken) -> Result:
        """Make a token useless."""
        token = self._tokens.get(revoke.number)
        if token is None:
            return Refused(
                ErrorCode.TOKEN_UNKNOWN,
                "There is no such API token; 'meshwg-coordinator apitoken list' shows "
                "all",
            )
        return Accepted(api_token=self._put(replace(token, revoked=True)))

    def _put(self, token: ApiToken) -> ApiToken:
        self._tokens[token.number] = self.changed[token.number] = token
        return token


def mentioned_tokens(operations: Iterable[Operation]) -> list[str]:
    """Return the numbers of the API tokens that operations read or change."""
    numbers = []
    for operation in map(unwrapped, operations):
        if isinstance(operation, CreateApiToken):
            numbers.append(operation.api_token.number)
        elif isinstance(operation, RevokeApiToken):
            numbers.append(operation.number)
    return sorted({number for number in numbers if is_api_token_number(number)})
