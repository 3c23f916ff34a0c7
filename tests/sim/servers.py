"""The project's own servers on the simulated internet."""

from coordinator.stun import StunServer
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire.channeldata import StreamFramer
from tests.sim.host import Host
from tests.sim.network import Network
from tests.sim.tcp import Connection

STUN_PORT = 3478


class StunMachine:
    """A STUN server as a machine that a host can run."""

    def __init__(self, server: StunServer) -> None:
        self.server = server
        self._outbox: list[Transmit] = []

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        """Answer a request."""
        answer = self.server.receive_datagram(data, source, now)
        if answer is not None:
            self._outbox.append(answer)

    def datagrams_to_send(self) -> list[Transmit]:
        """Return the answers."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def get_timer(self) -> float | None:
        """Return ``None``: a STUN server waits for nothing."""
        return None

    def handle_timer(self, now: float) -> None:
        """Do nothing."""


def add_stun_server(
    network: Network, name: str, *hosts: str, port: int = STUN_PORT
) -> Host:
    """Add a public STUN server with one or two addresses of a family, or of both."""
    server = StunServer([Endpoint(host, port) for host in hosts])
    host = network.add_host(name, *hosts)
    for link, local in enumerate(server.sockets):
        host.open(local.port, link, local.host)
    host.run(StunMachine(server))
    host.tcp.listen(port, lambda stream: _serve(server, stream))
    return host


def _serve(server: StunServer, stream: Connection) -> None:
    """Answer the requests on a stream, as the coordinator's TCP port does."""
    framer = StreamFramer()
    local = Endpoint(*stream.local)
    link = next(i for i, each in enumerate(server.sockets) if each.host == local.host)

    def on_data(data: bytes, now: float) -> None:
        for message in framer.receive(data):
            source = Endpoint(*stream.remote, link=link)
            answer = server.receive_datagram(bytes(message), source, now)
            if answer is not None:
                stream.write(b"".join(answer.datagrams))

    stream.on_data = on_data
