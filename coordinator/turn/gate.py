"""Who may ask a relay for anything: the long-term credential mechanism."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from coordinator.turn.allocation import Refusal
from coordinator.turn.credentials import Authenticator
from coordinator.turn.nonce import NonceMint
from meshwg.transmit import Endpoint, Random
from meshwg.wire.stun import Attribute, Message, check_integrity


class Proof(NamedTuple):
    """A request was signed by someone who knows a password."""

    node: str
    key: bytes


class Gate:
    """Checks requests in the order of RFC 8489 section 9.2.4, and keeps no state."""

    def __init__(
        self,
        realm: str,
        secrets: Sequence[bytes],
        random: Random,
        unix_time: Callable[[float], float],
    ) -> None:
        """Check against time-limited credentials.

        :param unix_time: returns the Unix time of a moment; clocks may be set.
        """
        self._realm = realm
        self._authenticator = Authenticator(secrets, realm)
        self._nonces = NonceMint(random)
        self._unix_time = unix_time

    def admit(self, request: Message, client: Endpoint, now: float) -> Proof:
        """Return the proof that a request carries.

        :raises Refusal: 401 or 438, which a :meth:`challenge` goes with, or 400.
        """
        attributes = request.attributes
        if Attribute.MESSAGE_INTEGRITY not in attributes:
            raise Refusal(401, "Unauthorized")
        try:
            username: str = attributes[Attribute.USERNAME]
            nonce: bytes = attributes[Attribute.NONCE]
            realm: str = attributes[Attribute.REALM]
        except KeyError:
            raise Refusal(400, "Bad Request") from None
        if not self._nonces.check(nonce, client, now):
            raise Refusal(438, "Stale Nonce")
        if realm == self._realm:
            for key in self._authenticator.keys(username, self._unix_time(now)):
                if check_integrity(request, key):
                    node = self._authenticator.node_of(username, key)
                    return Proof(node, key)
        raise Refusal(401, "Unauthorized")

    def challenge(self, client: Endpoint, now: float) -> dict[Attribute, object]:
        """Return the attributes that tell a client how to prove itself."""
        return {
            Attribute.REALM: self._realm,
            Attribute.NONCE: self._nonces.make(client, now),
        }
