"""What the control socket's commands ask of a node (:mod:`meshwg.runtime.admin`)."""

import contextlib
import json
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from meshwg.control.client import ControlState
from meshwg.errors import ConfigError, MeshError, NotJoined
from meshwg.node.why import why
from meshwg.peer import MeshPeer
from meshwg.policy.ports import ICMP, parse_ports
from meshwg.runtime import clock
from meshwg.runtime.echo import Pinger
from meshwg.runtime.host import NodeHost
from meshwg.runtime.known_network import KnownNetwork
from meshwg.runtime.netcheck import measure_lifetime
from meshwg.runtime.route_report import own_routes, peer_routes
from meshwg.status import (
    NO_NAMES,
    SCHEMA,
    own_status,
    peers_status,
    quiet_peers,
    trust_status,
)
from meshwg.wire.token import JoinToken

JOIN_LIMIT = 60.0
NETCHECK_LIMIT = 5.0
MAX_NETCHECKS = 4
"""Looks at the network at once: each of them asks servers and the router."""
MAX_PINGERS = 64
NAMES_SHOWN = 20
PEERS_AT_ONCE = 64
"""Peers in one part of the status: what is said of one takes 20 microseconds."""


class NodeCommands:
    """Answers commands for one host.

    :param shut_down: called when the node is to end.
    """

    def __init__(self, host: NodeHost, shut_down: Callable[[], None]) -> None:
        self._host = host
        self._network = KnownNetwork(host)
        self._shut_down = shut_down
        self._netchecks = 0

    def status(self, *, brief: bool = False) -> Iterator[bytes]:
        """Return ``meshwg status --json`` in parts.

        They are made one by one, so that packets have their turn in a large mesh.

        :param brief: whether most of very many peers are only counted, in ``more``.
        """
        host, now = self._host, clock.now()
        unix_time = clock.unix_time(now)
        report = own_status(
            host.node,
            name=host.name,
            interface=host.interface,
            mtu=host.mtu,
            coordinator_url=host.coordinator_url,
            now=now,
            unix_time=unix_time,
        )
        if host.names is not None:
            report["self"]["dns"] = host.names.status()
        del report["peers"]
        quiet: frozenset[str] = frozenset()
        if brief:
            quiet = quiet_peers(host.node)
            report["more"] = len(quiet)
        yield json.dumps(report).encode().removesuffix(b"}") + b', "peers": ['
        peers = peers_status(host.node, now, unix_time, quiet)
        before = b""
        while some := list(islice(peers, PEERS_AT_ONCE)):
            yield before + ", ".join(map(json.dumps, some)).encode()
            before = b", "
        yield b"]}"

    async def netcheck(self, request: dict[str, Any]) -> dict[str, Any]:
        """Say what is known of the network; return ``meshwg netcheck --json``.

        :raises MeshError: if that is asked for too often at once.
        """
        if self._netchecks >= MAX_NETCHECKS:
            raise MeshError("Too many netchecks at once: wait until others have ended")
        self._netchecks += 1
        try:
            return await self._netcheck(request)
        finally:
            self._netchecks -= 1

    async def _netcheck(self, request: dict[str, Any]) -> dict[str, Any]:
        limit = min(float(request.get("timeout") or NETCHECK_LIMIT), NETCHECK_LIMIT)
        is_fresh = bool(request.get("fresh"))
        report = await self._network.report(limit, fresh=is_fresh)
        server = self._host.node.whereabouts.stun_server()
        if request.get("lifetime") and server is not None and report.ipv4.reachable:
            lifetime = await measure_lifetime(server, self._host.fwmark)
            report.ipv4 = replace(report.ipv4, lifetime=lifetime)
        return report.to_json()

    async def ping(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Send echo requests to a peer and yield what comes of each."""
        host = self._host
        peer = self._find_peer(request)
        if len(host.echo_listeners) >= MAX_PINGERS:
            raise MeshError("Too many pings at once: wait until others have ended")
        identifier = int.from_bytes(os.urandom(2))
        while identifier in host.echo_listeners:
            identifier = int.from_bytes(os.urandom(2))
        pinger = Pinger(host.node, peer, identifier, host.turn)
        host.echo_listeners[identifier] = pinger.receive
        answers = pinger.run(
            request.get("count"),
            bool(request.get("until_direct")),
            request.get("timeout"),
        )
        try:
            async with contextlib.aclosing(answers):
                async for answer in answers:
                    yield answer
        finally:
            del host.echo_listeners[identifier]

    async def join(self, request: dict[str, Any]) -> dict[str, Any]:
        """Join the node's mesh anew; return what the node is in it."""
        token = JoinToken.parse(request.get("token") or "")
        await self._host.join(
            token,
            min(request.get("timeout") or JOIN_LIMIT, JOIN_LIMIT),
            new_key=bool(request.get("new_key")),
        )
        registered = self._host.node.control.registered
        assert registered is not None
        return {"name": registered.name, "addresses": list(registered.addresses)}

    def why(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return ``meshwg why --json``, but for the far end.

        :raises MeshError: if the port is none.
        """
        try:
            wanted = parse_ports(request.get("port") or "icmp")
        except ValueError as error:
            raise ConfigError(f"That is no port: {error}") from None
        number = 0 if wanted.protocol == ICMP else wanted.first
        now = clock.now()
        return why(
            self._host.node,
            request.get("target") or "",
            wanted.protocol,
            number,
            now,
            clock.unix_time(now),
        )

    def trust(self) -> dict[str, Any]:
        """Return ``meshwg trust list --json``."""
        return trust_status(self._host.node.trust)

    def accept(self, request: dict[str, Any]) -> dict[str, Any]:
        """Trust a peer that is held; return which key is its own now.

        :raises MeshError: if no such peer is held.
        """
        members = self._host.node.members
        held = members.accept(
            request.get("name") or "", request.get("key"), clock.now()
        )
        self._host.turn()
        return {
            "name": held.entry.name,
            "public_key": held.entry.public_key,
            "known_key": held.owner,
        }

    def exits(self) -> dict[str, Any]:
        """Return ``meshwg exit list --json``."""
        now = clock.now()
        exits = self._host.node.exits
        return {"schema": SCHEMA, **exits.report(now, clock.unix_time(now))}

    async def use_exit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Reach the internet through a peer; return what is used then.

        :raises MeshError: if there is no such exit, or the system refuses it.
        """
        name = self._short(request.get("name") or "")
        return await self._host.exits.use(name, lan=bool(request.get("lan")))

    async def exit_off(self) -> dict[str, Any]:
        """Use no exit; return which one was used."""
        return await self._host.exits.off()

    def routes(self) -> dict[str, Any]:
        """Return ``meshwg route list --json``."""
        host = self._host
        own = own_routes(host.routes.current, host.node.members.offers.routes())
        return {"schema": SCHEMA, "own": own, "peers": peer_routes(host.node.members)}

    def add_route(self, request: dict[str, Any]) -> dict[str, Any]:
        """Offer a network behind this node; return it as the list has it.

        :raises MeshError: if that is none, or cannot be remembered.
        """
        route = self._host.routes.add(request.get("route") or "")
        self._host.offer_routes()
        (shown,) = own_routes([route], self._host.node.members.offers.routes())
        return shown

    def remove_route(self, request: dict[str, Any]) -> dict[str, Any]:
        """Offer a network no more; return which.

        :raises MeshError: if it is not offered, or that cannot be remembered.
        """
        text = request.get("route") or ""
        route = self._host.held_routes.release(text)
        if route is None:
            route = self._host.routes.remove(text)
            self._host.offer_routes()
        return {"prefix": route.announced}

    def hold_route(self, request: dict[str, Any]) -> dict[str, Any]:
        """Offer an address that this machine has, for a while; return as above.

        :raises MeshError: if that cannot be.
        """
        seconds = float(request.get("seconds") or 0.0)
        route = self._host.held_routes.hold(request.get("route") or "", seconds)
        (shown,) = own_routes([route], self._host.node.members.offers.routes())
        return shown

    async def use_lease(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask the coordinator about a lease, or to have it.

        :raises MeshError: if that is none, or it does not answer, or refuses.
        """
        return await self._host.leases.use(request)

    def dns(self) -> dict[str, Any]:
        """Return ``meshwg dns status --json``."""
        names = self._host.names
        return {"schema": SCHEMA, **NO_NAMES} if names is None else names.report()

    async def dns_query(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask for a name; return ``meshwg dns query --json``.

        :raises MeshError: if it is none, or nobody answers.
        """
        if self._host.names is None:
            raise MeshError(
                "This node was started with --no-dns and answers for no names"
            )
        # A node that leaves names alone has no use for any of it.
        from meshwg.runtime.dns.lookup import look_up

        name, kind = request.get("name") or "", request.get("type")
        return await look_up(self._host.names, name, kind)

    def shut_down(self) -> None:
        """Stop the node cleanly."""
        self._shut_down()

    def go_up(self) -> None:
        """Stay connected."""

    def leave(self) -> dict[str, Any]:
        """Give the membership up, and stop; return whether the mesh is told."""
        self._host.leave()
        state = self._host.node.control.state
        return {"told": state is ControlState.CONNECTED}

    def _find_peer(self, request: dict[str, Any]) -> MeshPeer:
        node = self._host.node
        if node.control.registered is None:
            raise NotJoined(
                "This node has not joined a mesh yet: see 'meshwg status' for why"
            )
        name = self._short(request.get("peer") or "")
        peer = node.members.find(name)
        for held in node.members.held.values() if peer is None else ():
            if name in (held.entry.name, held.entry.public_key, *held.entry.addresses):
                raise MeshError(
                    f"{held.entry.name} is held: {held.reason} See 'meshwg trust list'"
                )
        if peer is None:
            known = sorted(peer.entry.name for peer in node.peers.values())
            raise MeshError(
                f"There is no peer '{name}': use one of {_shortened(known) or 'none'}"
            )
        return peer

    def _short(self, name: str) -> str:
        """Return a name without what the names of this mesh end with."""
        if self._host.names is None:
            return name
        return name.removesuffix(".").removesuffix(f".{self._host.names.domain}")


def _shortened(names: Sequence[str]) -> str:
    """Return names for an error message, which a large mesh must not flood."""
    more = ", ..." if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
