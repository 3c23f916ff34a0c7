"""Which handshake messages may cost curve operations (paper, sections 5.3, 5.4.7)."""

from meshwg.limits import site_of
from meshwg.transmit import Endpoint, Random, Transmit
from meshwg.wireguard.cookie import CookieChecker
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.load import LoadMeter, handshake_limiter


class Admission:
    """Looks at the MACs of handshake messages, and at how many there are.

    :param public_key: the device's own, which proves who a message is meant for.
    """

    def __init__(self, public_key: bytes, random: Random) -> None:
        self._checker = CookieChecker(public_key)
        self._random = random
        self.load = LoadMeter()
        self._limiter = handshake_limiter()
        self._replies: list[Transmit] = []

    def refusal(self, message: bytes, endpoint: Endpoint, now: float) -> Drop | None:
        """Return why a message is not worth any work, ``None`` if it is.

        Under load, one without a valid cookie is answered with a cookie.
        """
        if not self._checker.check_mac1(message):
            return Drop.INVALID_MAC1
        if not self.load.handshake_arrived(now):
            return None
        if not self._checker.check_mac2(message, endpoint, now):
            reply = self._checker.reply(message, endpoint, now, self._random)
            self._replies.append(Transmit(endpoint, [reply]))
            return Drop.UNDER_LOAD
        if not self._limiter.take(site_of(endpoint.host), now):
            return Drop.RATE_LIMITED
        return None

    def take_replies(self) -> list[Transmit]:
        """Return the cookie replies to send, and forget them."""
        replies, self._replies = self._replies, []
        return replies
