"""Wrong tokens in a loop: throttled for each address and each account, logged once.

A token has so many random bits that guessing is hopeless; what is bounded is the work
and the noise. So a right token is never refused for the wrong ones of others, who may
be behind the same NAT: that would be a way to lock administrators out.
"""

from typing import Final

from meshwg.limits import RateLimiter, site_of

BURST: Final = 20.0
"""Wrong tokens at once."""
RATE: Final = 1 / 6.0
"""Wrong tokens a second after that."""
MAX_SENDERS: Final = 4096
SILENCE: Final = 3600.0
"""Seconds between two lines of the log about one sender."""
FROM: Final = "from"
FOR: Final = "for"

Sender = tuple[str, str]
"""All that comes from one subscriber, or all that is tried for one account."""


class FailedAttempts:
    """Counts wrong tokens."""

    def __init__(self) -> None:
        self.count = 0
        self._allowed = RateLimiter(RATE, BURST, max_keys=MAX_SENDERS)
        self._lines = RateLimiter(1 / SILENCE, 1.0, max_keys=MAX_SENDERS)

    def note(self, address: str, account: str, now: float) -> Sender | None:
        """Count a wrong token; return of whom there are too many, if there are.

        :param address: from where it came.
        :param account: the number of the token, or another word for what was tried.
        """
        self.count += 1
        senders = (FROM, site_of(address)), (FOR, account)
        # Both are counted, also if one is used up.
        tired = [each for each in senders if not self._allowed.take(each, now)]
        return tired[0] if tired else None

    def is_news(self, sender: Sender, now: float) -> bool:
        """Tell whether to log that a sender has tried too often."""
        return self._lines.take(sender, now)
