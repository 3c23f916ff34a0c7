"""The auth keys that one transaction reads and changes."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.operations import (
    Accepted,
    CreateAuthKey,
    Join,
    Operation,
    Refused,
    Result,
    RevokeAuthKey,
    unwrapped,
)
from meshwg.wire.control import ErrorCode
from meshwg.wire.token import AuthKeyText, is_auth_key_number

_REFUSALS = {
    ErrorCode.TOKEN_UNKNOWN: "This coordinator did not make this join token",
    ErrorCode.TOKEN_EXPIRED: "This join token has expired",
    ErrorCode.TOKEN_USED: "This join token was for one node and has been used",
    ErrorCode.TOKEN_REVOKED: "This join token has been revoked",
}
_MEND = "; ask for a new one ('meshwg-coordinator token create')"


class KeyRing:
    """The auth keys that operations mention, with what they change in them.

    :param auth_keys: as the database has them, by number.
    """

    def __init__(self, auth_keys: Mapping[str, AuthKey], unix_time: float) -> None:
        self._auth_keys = dict(auth_keys)
        self._unix_time = unix_time
        self.changed: dict[str, AuthKey] = {}
        """By number."""

    def check(self, text: str) -> AuthKey | Refused:
        """Return the auth key that a node has shown, or why it lets nobody in."""
        try:
            clear = AuthKeyText.parse(text)
        except ValueError:
            return _refuse(ErrorCode.TOKEN_UNKNOWN)
        key = self._auth_keys.get(clear.number)
        if key is None:
            return _refuse(ErrorCode.TOKEN_UNKNOWN)
        code = key.refusal(clear.secret, self._unix_time)
        if code is ErrorCode.TOKEN_USED and key.reusable:
            text = f"This join token was for {key.limit} nodes, which have used it"
            return Refused(code, text + _MEND)
        return key if code is None else _refuse(code)

    def get(self, number: str) -> AuthKey | None:
        """Return an auth key that an operation mentions."""
        return self._auth_keys.get(number)

    def spend(self, key: AuthKey) -> None:
        """Count one more use of an auth key."""
        self._put(key.spend(self._unix_time))

    def create(self, create: CreateAuthKey) -> Result:
        """Add a new auth key."""
        key = create.auth_key
        if key.number in self._auth_keys:
            return Refused(
                ErrorCode.MALFORMED,
                "The new token's number is already taken; create the token again",
            )
        return Accepted(auth_key=self._put(key))

    def revoke(self, revoke: RevokeAuthKey) -> Result:
        """Make an auth key useless."""
        key = self._auth_keys.get(revoke.number)
        if key is None:
            return Refused(ErrorCode.TOKEN_UNKNOWN, "There is no such token")
        return Accepted(auth_key=self._put(replace(key, revoked=True)))

    def _put(self, key: AuthKey) -> AuthKey:
        self._auth_keys[key.number] = self.changed[key.number] = key
        return key


def mentioned(operations: Iterable[Operation]) -> list[str]:
    """Return the numbers of the auth keys that operations read or change.

    What strangers sent is read here already, so no text of theirs gets to a database.
    """
    numbers = (_number(unwrapped(operation)) for operation in operations)
    return sorted({number for number in numbers if is_auth_key_number(number)})


def _number(operation: Operation) -> str:
    match operation:
        case Join(auth_key=text) if text is not None:
            return _number_in(text)
        case CreateAuthKey(auth_key=key):
            return key.number
        case RevokeAuthKey(number=number):
            return number
        case _:
            return ""


def _number_in(auth_key: str) -> str:
    try:
        return AuthKeyText.parse(auth_key).number
    except ValueError:
        return ""


def _refuse(code: ErrorCode) -> Refused:
    return Refused(code, _REFUSALS[code] + _MEND)
