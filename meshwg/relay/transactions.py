"""The requests to one TURN server: retransmission, credentials, nonces.

A request is signed as soon as the server has named its realm and nonce, which it does
when it refuses the first one (401). A nonce that got old is replaced in passing (438),
and so are credentials: newer ones wait until the server takes the old ones no longer,
because a server may insist on the user name that an allocation was made with (RFC 8656
section 5).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from meshwg.transmit import Endpoint, Random
from meshwg.wire.stun import (
    TRANSACTION_ID_LENGTH,
    Attribute,
    Class,
    Message,
    Method,
    StunErrorCode,
    check_integrity,
    encode,
)

RETRANSMIT_AFTER = (0.3, 0.6, 1.2, 2.4)
"""Seconds after each transmission over UDP until the next, or until giving up. Begins
below RFC 8489's 500 ms, as section 6.2.1 allows, since a second lost here is a second
without a network; ends far below its 39.5 s, since there are other relays."""

PROBE_AFTER = (0.4, 0.4, 0.4, 0.4, 0.4)
"""The same for a request that asks whether the server is alive: it may get lost four
times, but has to be over after two seconds."""

STREAM_TIMEOUT = (8.0,)
"""The same over a stream, which retransmits by itself."""

MAX_ROUNDS = 4
"""How often one request is signed anew before its refusal is believed."""


class TurnCredentials(NamedTuple):
    """A user name and the password that belongs to it."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"TurnCredentials({self.username!r})"


@dataclass(slots=True)
class Request:
    """A request that may be sent several times, each time signed differently."""

    method: Method
    attributes: dict[Attribute, Any] = field(default_factory=dict)
    peer: Endpoint | None = None
    """Whom it is about."""
    gaps: Sequence[float] = RETRANSMIT_AFTER
    credentials: TurnCredentials | None = None
    """To be signed with these, and no others."""
    started: float = 0.0
    rounds: int = 0


class Answer(NamedTuple):
    """What became of a request."""

    request: Request
    message: Message
    round_trip: float | None
    """Seconds; ``None`` if it was sent more than once, so that nobody can tell."""

    @property
    def error(self) -> StunErrorCode | None:
        """Why the server refuses, ``None`` if it does not."""
        if self.message.cls == Class.SUCCESS:
            return None
        return self.message.error or StunErrorCode(500, "No reason given")


@dataclass(slots=True)
class _Pending:
    """One transaction: a request under one transaction id."""

    request: Request
    datagram: bytes
    nonce: bytes | None
    key: bytes | None
    sent_at: float
    transmissions: int
    due: float


class Transactions:
    """The open requests to one server, and what they are signed with."""

    def __init__(
        self, credentials: TurnCredentials, *, random: Random, reliable: bool
    ) -> None:
        """Begin without knowing realm and nonce.

        :param reliable: whether the requests travel over a stream.
        """
        self._credentials = credentials
        self._newer: TurnCredentials | None = None
        self._random = random
        self._reliable = reliable
        self._realm = ""
        self._nonce: bytes | None = None
        self._pending: dict[bytes, _Pending] = {}
        self._to_send: list[bytes] = []

    def set_credentials(self, credentials: TurnCredentials) -> bool:
        """Use these credentials when the server takes the present ones no longer.

        Returns whether they are others.
        """
        is_known = credentials in (self._credentials, self._newer)
        self._newer = credentials if credentials != self._credentials else None
        return not is_known

    def adopt_credentials(self) -> None:
        """Use the newest credentials from now on: nothing depends on the old ones."""
        if self._newer is not None:
            self._credentials, self._newer = self._newer, None

    def start(self, request: Request, now: float) -> None:
        """Send a request."""
        request.started = now
        if self._reliable:
            request.gaps = STREAM_TIMEOUT
        self._transmit(request, now)

    def has(self, transaction_id: bytes) -> bool:
        """Tell whether a transaction is open."""
        return transaction_id in self._pending

    def is_open(self, method: Method, peer: Endpoint | None = None) -> bool:
        """Tell whether a request of this kind, about this peer, waits for an answer."""
        return any(
            pending.request.method == method and pending.request.peer == peer
            for pending in self._pending.values()
        )

    def receive(self, message: Message, now: float) -> Answer | None:
        """Take a response.

        Returns nothing if it answers no open request, is not signed as it has to be,
        or only made the request be sent again.
        """
        pending = self._pending.get(message.transaction_id)
        if pending is None or message.method != pending.request.method:
            return None
        if not _is_authentic(message, pending.key) or message.unknown_required:
            return None
        del self._pending[message.transaction_id]
        answer = Answer(
            pending.request,
            message,
            now - pending.sent_at if pending.transmissions == 1 else None,
        )
        if answer.error is not None and self._try_again(pending, message, now):
            return None
        return answer

    @property
    def credentials(self) -> TurnCredentials:
        """What requests are signed with now."""
        return self._credentials

    @property
    def can_sign(self) -> bool:
        """Whether the server has sent what requests are signed with."""
        return self._nonce is not None

    def forget_all(self) -> None:
        """Drop all open requests."""
        self._pending.clear()
        self._to_send.clear()

    def handle_timer(self, now: float) -> list[Request]:
        """Retransmit what is due; return what was given up."""
        failed: list[Request] = []
        for transaction_id, pending in list(self._pending.items()):
            if pending.due > now:
                continue
            if pending.transmissions >= len(pending.request.gaps):
                del self._pending[transaction_id]
                failed.append(pending.request)
                continue
            pending.due = now + pending.request.gaps[pending.transmissions]
            pending.transmissions += 1
            self._to_send.append(pending.datagram)
        return failed

    def get_timer(self) -> float | None:
        """Return when the next request is due."""
        return min((pending.due for pending in self._pending.values()), default=None)

    @property
    def oldest(self) -> float | None:
        """When the request that waits longest was first sent."""
        waiting = [pending.request.started for pending in self._pending.values()]
        return min(waiting, default=None)

    def datagrams_to_send(self) -> list[bytes]:
        """Return the messages to send, in order."""
        datagrams, self._to_send = self._to_send, []
        return datagrams

    def _transmit(self, request: Request, now: float) -> None:
        """Send a request under a new transaction id, signed if that is possible."""
        attributes = dict(request.attributes)
        key = None
        credentials = request.credentials or self._credentials
        if self._nonce is not None:
            attributes[Attribute.USERNAME] = credentials.username
            attributes[Attribute.REALM] = self._realm
            attributes[Attribute.NONCE] = self._nonce
            key = _long_term_key(credentials, self._realm)
        transaction_id = self._random(TRANSACTION_ID_LENGTH)
        message = Message(request.method, Class.REQUEST, transaction_id, attributes)
        datagram = encode(message, key)
        due = now + request.gaps[0]
        self._pending[transaction_id] = _Pending(
            request, datagram, self._nonce, key, now, 1, due
        )
        self._to_send.append(datagram)

    def _try_again(self, pending: _Pending, refusal: Message, now: float) -> bool:
        """Sign a refused request anew, if there is anything new to sign it with."""
        code = refusal.error.code if refusal.error else 0
        request = pending.request
        request.rounds += 1
        if code not in (401, 438, 441) or request.rounds > MAX_ROUNDS:
            return False
        renewed = self._learn_challenge(pending, refusal)
        believed = code == 441 or (code == 401 and pending.key is not None)
        if believed and self._newer is not None and request.credentials is None:
            self.adopt_credentials()
        elif not renewed or (believed and request.rounds > 1):
            return False
        self._transmit(request, now)
        return True

    def _learn_challenge(self, pending: _Pending, refusal: Message) -> bool:
        """Remember realm and nonce of a refusal; tell whether they are news."""
        realm = refusal.attributes.get(Attribute.REALM)
        nonce = refusal.attributes.get(Attribute.NONCE)
        if nonce is None:
            return False
        self._realm = realm if realm is not None else self._realm
        self._nonce = nonce
        return bool(nonce != pending.nonce)


def _is_authentic(message: Message, key: bytes | None) -> bool:
    """Tell whether a response may be believed (RFC 8489 section 9.2.5).

    An error needs no signature: a server that takes no credentials cannot make one,
    nor can a server that wants none. What protects us then is the transaction id,
    which nobody off the path knows.
    """
    if message.cls not in (Class.SUCCESS, Class.ERROR):
        return False
    if key is None:
        return True
    if Attribute.MESSAGE_INTEGRITY in message.attributes:
        return check_integrity(message, key)
    return message.cls == Class.ERROR


def _long_term_key(credentials: TurnCredentials, realm: str) -> bytes:
    """Return the key of MESSAGE-INTEGRITY (RFC 8489 section 9.2.2)."""
    text = f"{credentials.username}:{realm}:{credentials.password}"
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()
