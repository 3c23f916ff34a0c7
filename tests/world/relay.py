"""The project's relay on the simulated internet."""

from itertools import count

from coordinator.credentials import password
from coordinator.turn import (
    CloseSocket,
    Limits,
    OpenSocket,
    PeerRules,
    TurnServer,
)
from meshwg.transmit import UDP, Endpoint, Transmit
from meshwg.wire.channeldata import StreamFramer
from tests.sim.network import Network
from tests.sim.stream import Stream
from tests.sim.tcp import Connection

SECRET = b"only relay and coordinator know"
REALM = "mesh.test"
PORT = 3478
RELAY_LINKS = 100_000
STREAM_LINKS = 200_000


def mint(network: Network, node: str, lifetime: float = 86_400) -> tuple[str, str]:
    """Return a user name and its password, good for some seconds from now."""
    username = f"{int(network.unix_time + lifetime)}:{node}"
    return username, password(username, SECRET)


class RelayHost:
    """A host that runs a :class:`TurnServer` on UDP and streams."""

    def __init__(
        self,
        network: Network,
        address: str = "198.51.100.1",
        *,
        limits: Limits | None = None,
        rules: PeerRules | None = None,
        ports: range = range(49152, 65536),
        delay: float = 0.005,
        loss: float = 0.0,
    ) -> None:
        self.network = network
        self.address = address
        self.limits = limits
        self.rules = rules
        self.ports = ports
        self.host = network.add_host(
            f"relay-{address}", address, delay=delay, loss=loss
        )
        self.fails_to_bind = False
        self.is_dead = False
        self.opened = 0
        self._sockets: dict[int, Endpoint] = {}
        self._streams: dict[int, Stream | Connection] = {}
        self._links = count(STREAM_LINKS)
        self.server = self.new_server()
        self.host.run(self, PORT)
        self.host.listen(PORT, self._accept)
        self.host.tcp.listen(PORT, self._accept)

    def new_server(self) -> TurnServer:
        """Return a server that knows of nothing that happened before."""
        return TurnServer(
            realm=REALM,
            secrets=[SECRET],
            hosts={6 if ":" in self.address else 4: self.address},
            random=self.network.random.randbytes,
            unix_time=lambda _: self.network.unix_time,
            ports=self.ports,
            rules=self.rules,
            limits=self.limits,
        )

    def restart(self) -> None:
        """Lose all state."""
        for link in self._sockets:
            self.host.close(link)
        for stream in list(self._streams.values()):
            stream.close()
        self._sockets.clear()
        self._streams.clear()
        self.server = self.new_server()

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        if self.is_dead:
            return
        if source.link == UDP:
            self.server.receive([data], source, now)
        elif source.link in self._sockets:
            self.server.receive_from_peer(
                self._sockets[source.link], [data], source, now
            )

    def datagrams_to_send(self) -> list[Transmit]:
        while event := self.server.next_event():
            self._manage(event)
        ready: list[Transmit] = []
        for transmit in self.server.datagrams_to_send():
            stream = self._streams.get(transmit.destination.link)
            if stream is not None:
                stream.write(b"".join(transmit.datagrams))
            elif transmit.destination.link == UDP:
                ready.append(transmit)
        for relayed, transmit in self.server.relayed_to_send():
            link = RELAY_LINKS + relayed.port
            destination = transmit.destination._replace(link=link)
            ready.append(Transmit(destination, transmit.datagrams))
        return ready

    def get_timer(self) -> float | None:
        return self.server.get_timer()

    def handle_timer(self, now: float) -> None:
        self.server.handle_timer(now)

    def _manage(self, event: OpenSocket | CloseSocket) -> None:
        link = RELAY_LINKS + event.relayed.port
        if isinstance(event, CloseSocket):
            self.host.close(link)
            self._sockets.pop(link, None)
        elif self.fails_to_bind:
            self.server.socket_failed(event.relayed, self.network.now)
        else:
            self.opened += 1
            self.host.open(event.relayed.port, link)
            self._sockets[link] = event.relayed
            self.server.socket_opened(event.relayed, self.network.now)

    def _accept(self, stream: Stream | Connection) -> None:
        link = next(self._links)
        client = Endpoint(*stream.remote, link=link)
        framer = StreamFramer()
        self._streams[link] = stream

        def on_data(data: bytes, now: float) -> None:
            if not self.is_dead:
                self.server.receive(framer.receive(data), client, now, stream=True)

        def on_close(now: float) -> None:
            if self._streams.pop(link, None) is not None:
                self.server.forget(client)

        stream.on_data, stream.on_close = on_data, on_close
