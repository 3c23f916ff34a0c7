"""The auth keys that one transaction reads and changes."""

from collections.abc import Mapping

from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.operations import Refused
from meshwg.wire.control import ErrorCode
from meshwg.wire.token import AuthKeyText

_REFUSALS = {
    ErrorCode.TOKEN_UNKNOWN: "This coordinator has not made this join token",
    ErrorCode.TOKEN_EXPIRED: "This join token has expired",
    ErrorCode.TOKEN_USED: "This join token was for one node, and has been used",
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
        return key if code is None else _refuse(code)

    def spend(self, key: AuthKey) -> None:
        """Count one more use of an auth key."""
        self._put(key.spend(self._unix_time))

    def _put(self, key: AuthKey) -> None:
        self._auth_keys[key.number] = self.changed[key.number] = key


def _refuse(code: ErrorCode) -> Refused:
    return Refused(code, _REFUSALS[code] + _MEND)
