"""A relay with a STUN server: strangers, members with credentials, and peers."""

from collections.abc import Sequence
from random import Random

from coordinator.stun import StunServer
from coordinator.turn import CloseSocket, OpenSocket
from meshwg.errors import InvalidMessage
from meshwg.transmit import Endpoint
from meshwg.wire import channeldata
from meshwg.wire.channeldata import StreamFramer
from meshwg.wire.stun import Attribute, Class, Message, Method, encode, is_stun, parse
from tests.coordinator.turnclient import NOW, TurnClient, make_server
from tests.fuzz import mutation
from tests.fuzz.inputs import Input
from tests.fuzz.target import Target

STREAM_LINK = 1 << 16
SERVER = Endpoint("198.51.100.1", 3478)
PEERS = [Endpoint(f"192.0.2.{number}", 5000 + number) for number in range(8)]
STRANGERS = [
    *(Endpoint(f"203.0.113.{number}", 1000 + number) for number in range(100, 108)),
    Endpoint("2001:db8::9", 9),
    Endpoint("127.0.0.1", 3478),
    Endpoint("0.0.0.0", 0),
]
METHODS = (
    Method.ALLOCATE,
    Method.REFRESH,
    Method.CREATE_PERMISSION,
    Method.CHANNEL_BIND,
)


class RelayTarget(Target):
    """A TURN server with four clients, and the STUN server beside it."""

    name = "relay"
    inputs = 1500
    ways = (
        *("request", "request", "request", "client", "client", "stranger", "peer"),
        *("stream", "stun", "stun", "noise", "time", "socket", "forget"),
    )

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._random = Random(seed)
        self._now = NOW
        self.server = make_server(hosts={4: "198.51.100.1", 6: "2001:db8::1"})
        self.stun = StunServer([SERVER, Endpoint("198.51.100.2", 3478)])
        self._framers: dict[int, StreamFramer] = {}
        self._opening: list[Endpoint] = []
        self.clients = [self._client(number) for number in range(4)]
        self._keys = [client.key for client in self.clients]
        self._overhear()

    def draw(self, random: Random) -> Input:
        way, choice = random.choice(self.ways), random.randrange(1 << 30)
        match way:
            case "request":
                data = random.choice([each for each in self.overheard if is_stun(each)])
                data = mutation.mutate_stun(random, data, self._keys)
                return Input("client", data, choice)
            case "client" | "stranger" | "peer":
                data = mutation.mutate(random, self.pick(random))
            case "stream":
                data = b"".join(self.pick(random) for _ in range(random.randrange(5)))
                data = mutation.mutate(random, data)
            case "stun":
                data = mutation.mutate_stun(random, self.pick(random))
                if random.random() < 0.2:
                    data = data[:4] + random.randbytes(4) + data[8:]
            case "noise":
                return Input("client", mutation.noise(random), choice)
            case _:
                data = b""
        return Input(way, data, choice)

    def apply(self, step: Input) -> None:
        client = self.clients[step.choice % 4]
        match step.way:
            case "client":
                self._receive([step.data], client.endpoint, client.stream)
            case "stranger":
                source = STRANGERS[step.choice % len(STRANGERS)]
                self._receive([step.data], source, step.choice % 2 > 0)
            case "peer":
                peer = PEERS[step.choice % len(PEERS)]
                relayed = client.relayed
                self.server.receive_from_peer(relayed, [step.data], peer, self._now)
            case "stream":
                self._receive_stream(step, client)
            case "stun":
                self._ask_stun(step)
            case "time":
                self._now += (0.1, 1, 30, 400, 700)[step.choice % 5]
                self.server.handle_timer(self._now)
            case "socket":
                self._settle_socket(step)
            case "forget":
                self.server.forget(STRANGERS[step.choice % len(STRANGERS)])
        self._drain()

    def roots(self) -> list[object]:
        return [self.server, self.stun, self._framers]

    def failure(self) -> str | None:
        self._now += 100_000
        self.server.handle_timer(self._now)
        self._drain()
        if self.server.allocations:
            return f"{self.server.allocations} allocations never end"
        client = self._client(50)
        binding = encode(Message(Method.BINDING, Class.REQUEST, bytes(12)))
        if self.stun.receive_datagram(binding, client.endpoint, self._now) is None:
            return "STUN does not answer any more"
        return None

    def _client(self, number: int) -> TurnClient:
        link = STREAM_LINK + number if number % 2 else 0
        endpoint = Endpoint(f"203.0.113.{number + 1}", 4000 + number, link)
        client = TurnClient(
            self.server,
            endpoint,
            node=f"node{number}",
            lifetime=1e6,
            stream=number % 2 > 0,
            now=lambda: self._now,
        ).allocate()
        client.permit(PEERS[0])
        client.bind(0x4000, PEERS[1])
        return client

    def _overhear(self) -> None:
        for client in self.clients:
            for method in METHODS:
                attributes = {
                    Attribute.REQUESTED_TRANSPORT: 17,
                    Attribute.LIFETIME: 600,
                    Attribute.CHANNEL_NUMBER: 0x4001,
                    Attribute.XOR_PEER_ADDRESS: PEERS[2],
                    Attribute.USERNAME: client.username,
                    Attribute.REALM: "mesh.test",
                    Attribute.NONCE: client.nonce,
                }
                request = Message(method, Class.REQUEST, bytes(12), attributes)
                self.overheard.append(encode(request, client.key, fingerprint=True))
        send = Message(Method.SEND, Class.INDICATION, bytes(12))
        send.attributes = {
            Attribute.XOR_PEER_ADDRESS: PEERS[0],
            Attribute.DATA: bytes(40),
        }
        binding = Message(Method.BINDING, Class.REQUEST, bytes(12))
        changing = Message(Method.BINDING, Class.REQUEST, bytes(12))
        changing.attributes = {
            Attribute.PADDING: bytes(100),
            Attribute.RESPONSE_PORT: 77,
            Attribute.CHANGE_REQUEST: 6,
        }
        self.overheard += [encode(each) for each in (send, binding, changing)]
        self.overheard += channeldata.wrap(0x4000, [bytes(100), bytes(1400)])

    def _receive(
        self, messages: Sequence[bytes], source: Endpoint, stream: bool
    ) -> None:
        self.server.receive(messages, source, self._now, stream=stream)

    def _receive_stream(self, step: Input, client: TurnClient) -> None:
        framer = self._framers.setdefault(step.choice % 4, StreamFramer())
        for part in mutation.chunks(Random(step.choice), step.data):
            try:
                messages = framer.receive(part)
            except InvalidMessage:
                # As the listener does, which then closes the connection.
                del self._framers[step.choice % 4]
                self.server.forget(client.endpoint)
                return
            self.server.receive(messages, client.endpoint, self._now, stream=True)

    def _ask_stun(self, step: Input) -> None:
        source = [*STRANGERS, *PEERS][step.choice % (len(STRANGERS) + len(PEERS))]
        source = source._replace(link=step.choice % len(self.stun.sockets))
        answer = self.stun.receive_datagram(step.data, source, self._now)
        if answer is None:
            return
        length = sum(map(len, answer.datagrams))
        assert length <= len(step.data) + 120, "STUN amplifies"
        for datagram in answer.datagrams:
            if is_stun(datagram):
                parse(datagram)

    def _settle_socket(self, step: Input) -> None:
        if not self._opening:
            return
        relayed = self._opening.pop(step.choice % len(self._opening))
        if step.choice % 3:
            self.server.socket_opened(relayed, self._now)
        else:
            self.server.socket_failed(relayed, self._now)

    def _drain(self) -> None:
        while event := self.server.next_event():
            if isinstance(event, OpenSocket):
                self._opening.append(event.relayed)
            elif isinstance(event, CloseSocket) and event.relayed in self._opening:
                self._opening.remove(event.relayed)
        for transmit in self.server.datagrams_to_send():
            self.overheard += [
                bytes(each) for each in transmit.datagrams if len(each) < 2000
            ][:2]
        self.server.relayed_to_send()
        self.server.get_timer()
