"""A TURN client by hand: it builds each message as a test wants it."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from coordinator.credentials import password
from coordinator.turn import Limits, OpenSocket, PeerRules, TurnServer
from coordinator.turn.credentials import long_term_key
from coordinator.turn.rules import Membership
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire.stun import Attribute, Class, Message, Method, encode, parse

SECRET = b"secret"
REALM = "mesh.test"
RELAY4, RELAY6 = "198.51.100.1", "2001:db8::1"
UNIX = 1_700_000_000.0
NOW = 1000.0
ALICE = Endpoint("203.0.113.1", 1111)
PEER = Endpoint("192.0.2.9", 5555)
BOB = Endpoint("203.0.113.2", 2222)
CHANNEL = 0x4000
UDP = {Attribute.REQUESTED_TRANSPORT: 17}


def make_server(
    *,
    limits: Limits | None = None,
    rules: PeerRules | None = None,
    ports: range = range(50000, 50100),
    secrets: Sequence[bytes] = (SECRET,),
    hosts: dict[int, str] | None = None,
    membership: Membership | None = None,
    is_local: Callable[[str], bool] = lambda host: False,
    unix_time: Callable[[float], float] = lambda now: now + UNIX - NOW,
) -> TurnServer:
    """Return a server whose relayed addresses a seed determines."""
    return TurnServer(
        realm=REALM,
        secrets=secrets,
        hosts={4: RELAY4} if hosts is None else hosts,
        random=random.Random(1).randbytes,
        unix_time=unix_time,
        ports=ports,
        rules=rules,
        limits=limits,
        membership=membership,
        is_local=is_local,
    )


class TurnClient:
    """One 5-tuple of one user."""

    def __init__(
        self,
        server: TurnServer,
        endpoint: Endpoint = ALICE,
        *,
        node: str = "alice",
        secret: bytes = SECRET,
        lifetime: float = 86_400,
        stream: bool = False,
        now: Callable[[], float] = lambda: NOW,
    ) -> None:
        self.server = server
        self.endpoint = endpoint
        self.stream = stream
        self.username = f"{int(UNIX + lifetime)}:{node}"
        self.key = long_term_key(self.username, REALM, password(self.username, secret))
        self.nonce = b""
        self.relayed: Endpoint = endpoint
        self.opens_sockets = True
        self.others: list[Transmit] = []
        """What the server sent to others while this client waited."""
        self._now = now
        self._serial = random.Random(str(endpoint))

    def request(
        self,
        method: Method,
        attributes: dict[Attribute, Any] | None = None,
        *,
        transaction_id: bytes | None = None,
        raw: bytes = b"",
    ) -> Message | None:
        """Send a signed request, for which a nonce is fetched first."""
        if not self.nonce:
            challenge = self.send(Message(method, Class.REQUEST, bytes(12)))
            assert challenge is not None
            self.nonce = challenge.attributes[Attribute.NONCE]
        signed = {
            **(attributes or {}),
            Attribute.USERNAME: self.username,
            Attribute.REALM: REALM,
            Attribute.NONCE: self.nonce,
        }
        transaction_id = transaction_id or self._serial.randbytes(12)
        return self.send(
            Message(method, Class.REQUEST, transaction_id, signed), self.key
        )

    def send(self, message: Message, key: bytes | None = None) -> Message | None:
        """Send any message; return the answer, if there is one."""
        return self.send_bytes(encode(message, key))

    def send_bytes(self, *data: bytes) -> Message | None:
        """Send a batch; return the last STUN message that comes back."""
        self.server.receive(list(data), self.endpoint, self._now(), stream=self.stream)
        while event := self.server.next_event():
            if isinstance(event, OpenSocket) and self.opens_sockets:
                self.server.socket_opened(event.relayed, self._now())
            elif isinstance(event, OpenSocket):
                self.server.socket_failed(event.relayed, self._now())
        answers = []
        for transmit in self.server.datagrams_to_send():
            if transmit.destination == self.endpoint:
                answers += transmit.datagrams
            else:
                self.others.append(transmit)
        return parse(answers[-1]) if answers else None

    def allocate(self, **attributes: Any) -> "TurnClient":
        """Get an allocation, which has to be granted."""
        answer = self.request(Method.ALLOCATE, UDP | _named(attributes))
        assert answer is not None
        assert answer.cls is Class.SUCCESS, answer.error
        self.relayed = answer.attributes[Attribute.XOR_RELAYED_ADDRESS]
        return self

    def bind(self, number: int, peer: Endpoint) -> int:
        """Bind a channel; return 0 or the code of the refusal."""
        attributes = {
            Attribute.CHANNEL_NUMBER: number,
            Attribute.XOR_PEER_ADDRESS: peer,
        }
        return code_of(self.request(Method.CHANNEL_BIND, attributes))

    def permit(self, peer: Endpoint) -> int:
        """Ask for a permission; return 0 or the code of the refusal."""
        attributes = {Attribute.XOR_PEER_ADDRESS: peer}
        return code_of(self.request(Method.CREATE_PERMISSION, attributes))

    def refresh(self, lifetime: int | None = None) -> Message:
        """Refresh the allocation."""
        attributes = {} if lifetime is None else {Attribute.LIFETIME: lifetime}
        answer = self.request(Method.REFRESH, attributes)
        assert answer is not None
        return answer

    def indicate(self, peer: Endpoint, data: bytes, **more: Any) -> None:
        """Send a packet by Send indication."""
        attributes = {Attribute.XOR_PEER_ADDRESS: peer, Attribute.DATA: data}
        message = Message(Method.SEND, Class.INDICATION, bytes(12), attributes)
        message.attributes |= _named(more)
        self.server.receive([encode(message)], self.endpoint, self._now())


def signed(
    client: TurnClient, method: Method, attributes: dict[Attribute, object]
) -> bytes:
    """Return a request of a client that has a nonce."""
    signed = {
        **attributes,
        Attribute.USERNAME: client.username,
        Attribute.REALM: REALM,
        Attribute.NONCE: client.nonce,
    }
    return encode(Message(method, Class.REQUEST, b"r" * 12, signed), client.key)


def code_of(answer: Message | None) -> int:
    """Return the error code of an answer, 0 for success."""
    assert answer is not None, "there was no answer"
    return 0 if answer.error is None else answer.error.code


def _named(attributes: dict[str, Any]) -> dict[Attribute, Any]:
    return {Attribute[name.upper()]: value for name, value in attributes.items()}
