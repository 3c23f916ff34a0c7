"""An internet with a coordinator, STUN servers, relays, and nodes behind any NAT."""

from collections.abc import Sequence

from meshwg.control.client import ControlState
from tests.sim.host import Host
from tests.sim.kinds import PUBLIC, Kind
from tests.sim.servers import STUN_PORT, add_stun_server
from tests.world.control import ControlWorld
from tests.world.coordinator import Settings
from tests.world.internet import RELAY_HOSTS, STUN_HOSTS
from tests.world.node import SimNode
from tests.world.relay import PORT as RELAY_PORT
from tests.world.relay import SECRET, RelayHost

APPROVED_ROUTES = ("10.0.0.0/8", "192.168.0.0/16")
"""Nodes may announce routes to private networks."""


class World(ControlWorld):
    """One coordinator, two STUN servers, and as many relays and nodes as wanted.

    :param relays: how many, up to two.
    :param transports: by which the coordinator says that relays can be reached.
    :param loss: the share of datagrams, 0 to 1, that each node's wire loses.
    :param latency: seconds that a datagram takes on each node's wire.
    :param tcp: whether the nodes take part in streams.
    """

    def __init__(
        self,
        seed: int = 1,
        *,
        relays: int = 1,
        transports: Sequence[str] = ("udp",),
        loss: float = 0.0,
        latency: float = 0.001,
        tcp: bool = True,
    ) -> None:
        settings = Settings(
            stun=tuple(f"{host}:{STUN_PORT}" for host in STUN_HOSTS),
            relays=tuple(
                f"turn:{host}:{RELAY_PORT}?transport={transport}"
                for host in RELAY_HOSTS[:relays]
                for transport in transports
            ),
            relay_secret=SECRET,
            knows_cluster=True,
        )
        super().__init__(seed, settings, APPROVED_ROUTES)
        self.stun = add_stun_server(self.network, "stun", *STUN_HOSTS)
        self.relays = [RelayHost(self.network, host) for host in RELAY_HOSTS[:relays]]
        self.nodes: dict[str, SimNode] = {}
        self._loss = loss
        self._latency = latency
        self._tcp = tcp
        self.add_coordinator()

    @property
    def loss(self) -> float:
        """The share of datagrams, 0 to 1, that each node's wire loses."""
        return self._loss

    @loss.setter
    def loss(self, loss: float) -> None:
        self._loss = loss
        for node in self.nodes.values():
            self._set_quality(node.host)

    def add(
        self,
        name: str,
        kind: Kind = PUBLIC,
        role: str = "node",
        routes: Sequence[str] = (),
        home: str = "home",
        service_token: str | None = None,
    ) -> SimNode:
        """Run a node in a new network of a kind; it joins at once.

        :param home: the coordinator process that it connects to.
        :param service_token: by which it joins as a node of a cluster.
        """
        host = kind.add_to(self.network, name, len(self.nodes) + 1)
        return self.add_on(host, role, routes, home, service_token)

    def add_on(
        self,
        host: Host,
        role: str = "node",
        routes: Sequence[str] = (),
        home: str = "home",
        service_token: str | None = None,
    ) -> SimNode:
        """Run a node on a host, which may be behind any routers."""
        self._set_quality(host)
        node = self.nodes[host.name] = SimNode(
            self.network,
            next(one for one in self.coordinators if one.home == home),
            host.name,
            host,
            lambda: self.auth_key,
            role=role,
            routes=routes,
            tcp=self._tcp,
            service_token=service_token,
        )
        node.start()
        return node

    def settle(self, seconds: float = 10.0) -> None:
        """Let nodes join and look at their NATs."""
        self.advance(seconds)
        for node in self.nodes.values():
            assert node.client.state is ControlState.CONNECTED, node.client.error

    def _set_quality(self, host: Host) -> None:
        for interface in host.interfaces:
            interface.uplink.loss = self._loss
            interface.uplink.delay = self._latency


def strangers(
    *kinds: Kind, relays: int = 1, seed: int = 1, tcp: bool = True
) -> tuple[World, SimNode, SimNode]:
    """Return two nodes in kinds of networks that have joined and never talked."""
    world = World(seed, relays=relays, tcp=tcp)
    alice, bob = (
        world.add(name, kind)
        for name, kind in zip(("alice", "bob"), kinds or (PUBLIC, PUBLIC), strict=True)
    )
    world.settle()
    return world, alice, bob


def pair(*kinds: Kind, relays: int = 1) -> tuple[World, SimNode, SimNode]:
    """Return two nodes that have talked to each other."""
    world, alice, bob = strangers(*kinds, relays=relays)
    assert alice.reaches(bob)
    return world, alice, bob
