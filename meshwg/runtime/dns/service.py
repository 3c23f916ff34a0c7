"""The names of the mesh, for the programs of this machine.

A name server answers at the node's own addresses, and whoever decides which servers
this machine's programs ask is told of it. Whatever goes wrong with that is said in
``status`` and ``health``, and tried again; it never ends a node.
"""

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from meshwg.config import NodeConfig
from meshwg.dns import resolvconf
from meshwg.dns.forwarder import Asker
from meshwg.dns.server import NameServer
from meshwg.dns.zone import Zone
from meshwg.errors import MeshError
from meshwg.health import Complaint, Severity
from meshwg.node import Node
from meshwg.runtime import clock
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.dns.file import RESOLV_CONF, read
from meshwg.runtime.dns.integration import Integration, Registration
from meshwg.runtime.dns.recovery import recover_names
from meshwg.runtime.dns.stub import DNS_PORT, Place, Stub
from meshwg.runtime.dns.system import NotAlone, find_integration
from meshwg.runtime.dns.upstream import Upstream
from meshwg.runtime.dns.zones import make_plain_zone, make_zone, own_name
from meshwg.runtime.state import StateDirectory
from meshwg.runtime.tasks import TaskSet
from meshwg.wire.dnsrecords import DEFAULT_DOMAIN

LOOK_INTERVAL = 5.0
"""Seconds between two looks at whether something else has changed what was set."""
RETRY_INTERVAL = 30.0
"""Seconds until something that failed is tried again."""
LONGEST_PAUSE = 300.0
"""Seconds between two looks while another program changes it all the time."""
LOOPBACKS = tuple(f"127.0.77.{number}" for number in range(53, 61))
"""Where the server is for programs that read resolv.conf: at the first that is free. At
an address of this machine nobody has to wait for a server that is dead."""
RESOLVED_HOST = "127.0.0.1"
QUERY_LIMIT = 5.0
CODE = "dns-not-set-up"
DOMAIN_CODE = "dns-domain-changed"
NONE = "none"

logger = logging.getLogger(__name__)


class MeshNames:
    """The name server of one node.

    :param interface: the name and the number of the node's interface.
    :param coordinator_url: whose host cannot have a name in the mesh.
    """

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        state: StateDirectory,
        interface: tuple[str, int],
        coordinator_url: str,
    ) -> None:
        self._node = node
        self._config = config
        self._state = state
        self._interface = interface
        self._coordinator = urlsplit(coordinator_url).hostname or ""
        self.server = NameServer(os.urandom, clock.now())
        self._upstream = Upstream(self.server.forwarder, self._turn)
        self._stub = Stub(self._receive, self._turn)
        self._integration: Integration | None = None
        self._error: str | None = None
        self._told: tuple[object, ...] = ()
        """What the system was told of."""
        self._pinned: str | None = None
        self._is_stale = True
        self._plain_zones: dict[str, Zone] = {}
        """Of this node's plain peers that have asked, by address."""
        self.server.serve_plain(self._zone_of)
        self._is_turning = self._is_closed = False
        self._pause = LOOK_INTERVAL
        self._timer = Alarm(self._on_timer)
        self._next_look = Alarm(self.look)
        self._lock = asyncio.Lock()
        self._tasks = TaskSet()

    # What the node tells.

    async def start(self) -> None:
        """Undo what a node that was killed has left, and begin."""
        for undone in await recover_names(self._state):
            logger.info("Undone, after a node that was killed: %s", undone)
        self.look()

    def changed(self) -> None:
        """The netmap, or this node's addresses, may be others."""
        self._is_stale = True
        if self._to_tell() != self._told:
            self.look()

    def look(self) -> None:
        """See whether everything is as it should be, and mend it."""
        if not self._is_closed:
            self._tasks.run(self._settle())

    async def close(self) -> None:
        """Put back what was there, and stop answering."""
        self._is_closed = True
        self._timer.clear()
        self._next_look.clear()
        async with self._lock:
            await self._leave()
        self._tasks.cancel()
        self._stub.close()
        self._upstream.close_all()

    # What is asked of it.

    @property
    def domain(self) -> str:
        """What names of the mesh end with: what the coordinator said first.

        Whoever decides about it decides who speaks for all names there.
        """
        said = self._said_domain()
        if self._pinned is None and said:
            self._pinned = self._state.domain(said)
        return self._pinned or DEFAULT_DOMAIN

    def status(self) -> dict[str, Any]:
        """Return ``dns`` in ``meshwg status --json``."""
        integration = self._integration
        return {
            "mode": NONE if integration is None or not self._told else integration.mode,
            "domain": self.domain,
            "error": self._error,
        }

    def report(self) -> dict[str, Any]:
        """Return ``meshwg dns status --json``."""
        self._refresh()
        zone, server = self.server.zone, self.server
        return {
            "schema": 1,
            **self.status(),
            "servers": [_shown(place) for place in self._stub.places],
            "forwards_to": server.forwarder.servers if server.forwards else [],
            "reverse_zones": [] if zone is None else zone.reverse_zones,
            "records": len(self._node.control.records.records),
            "drops": {drop.value: n for drop, n in server.drops.items() if n},
        }

    async def query(self, message: bytes) -> bytes:
        """Return the answer to a question of this node's own commands.

        :raises MeshError: if there is none.
        """
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._receive(message, Asker(RESOLVED_HOST, True, future))
        self._turn()
        try:
            async with asyncio.timeout(QUERY_LIMIT):
                return await future
        except TimeoutError:
            raise MeshError("Nobody answers this question: try again later") from None

    # Carrying.

    def _receive(self, message: bytes, asker: Asker) -> None:
        self._refresh()
        self.server.receive_query(message, asker, clock.now())

    def _refresh(self) -> None:
        """Have the zone as the netmap is now: it is made when somebody asks."""
        if self._is_stale:
            self._is_stale = False
            self._plain_zones.clear()
            self.server.zone = make_zone(self._node, self.domain)

    def _zone_of(self, address: str) -> Zone | None:
        """Return what a plain peer of this node may see."""
        zone = self._plain_zones.get(address)
        if zone is None:
            zone = make_plain_zone(self._node, self.domain, address)
            if zone is not None:
                self._plain_zones[address] = zone
        return zone

    def _turn(self) -> None:
        """Send what the server has to say, until nothing is left."""
        if self._is_turning or self._is_closed:
            return
        self._is_turning = True
        try:
            while self._send_all():
                pass
        finally:
            self._is_turning = False
        self._timer.set(self.server.get_timer(), clock.now())

    def _send_all(self) -> bool:
        """Send what there is; return whether there was anything."""
        forwarder = self.server.forwarder
        answers, asked = self.server.answers_to_send(), forwarder.asked()
        for asker, answer in answers:
            if not isinstance(asker.way, asyncio.Future):
                self._stub.send(asker, answer)
            elif not asker.way.done():
                asker.way.set_result(answer)
        for query in asked:
            self._upstream.ask(query)
        self._upstream.close(forwarder.closed())
        return bool(answers or asked)

    def _on_timer(self) -> None:
        self.server.handle_timer(clock.now())
        self._turn()

    # What the system is told.

    def _to_tell(self) -> tuple[object, ...]:
        """Return what the system has to be told anew if it changes."""
        node = self._node
        return (
            self.domain,
            self._said_domain(),
            node.members.own_addresses(),
            own_name(node),
            node.exits.name_servers(),
            node.members.is_exit,
        )

    async def _settle(self) -> None:
        """Answer where that is due, and have the system ask there."""
        async with self._lock:
            told = self._to_tell()
            addresses = self._node.members.own_addresses()
            if self._is_closed or not addresses:
                return
            before, is_alone = self._integration, True
            try:
                await self._set_up(addresses, is_news=told != self._told)
                self._told, self._error = told, None
                pause = self._pause
                if self._integration is not None and not self._integration.forwards:
                    # It tells by itself when it has lost what it was told.
                    pause = max(pause, RETRY_INTERVAL)
            except (MeshError, OSError) as error:
                self._told, self._error = (), str(error)
                pause, is_alone = RETRY_INTERVAL, not isinstance(error, NotAlone)
            if is_alone:
                self._tell(before)
            self._next_look.set(clock.now() + pause, clock.now())

    async def _set_up(self, addresses: Sequence[str], *, is_news: bool) -> None:
        """See to it that names are answered, and asked for.

        :raises MeshError: if the system refuses something.
        """
        domain = self.domain
        if f".{self._coordinator}".endswith(f".{domain}"):
            raise MeshError(
                f"The coordinator's own name {self._coordinator} is one of the mesh's "
                f"domain {domain}, where nobody would find it"
            )
        self.server.serve(addresses)
        if self._integration is not None and not is_news:
            has_changed = await self._integration.has_changed()
            self._note_change(has_changed)
            if not has_changed:
                return
            # It may be another one that decides now.
            await self._choose()
        elif self._integration is None:
            # Who asks at the node's own address is answered, whatever comes of it.
            await self._stub.listen([(each, DNS_PORT) for each in addresses])
            await self._choose()
        await self._register(addresses, domain)

    def _note_change(self, has_changed: bool) -> None:
        """Look less often where something else changes things all the time."""
        if has_changed:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        else:
            self._pause = max(self._pause / 2, LOOK_INTERVAL)

    async def _choose(self) -> None:
        """Find out what decides about name servers here."""
        name, _ = self._interface
        found = await find_integration(self._state, name, self._on_return)
        present = self._integration
        if present is not None and found.mode == present.mode and not present.is_lost:
            # Nothing was done by the one that was found.
            await found.undo()
            return
        await self._leave()
        self._integration = found

    def _on_return(self) -> None:
        """What decides was started anew, and knows nothing."""
        self._told = ()
        self.look()

    async def _register(self, addresses: Sequence[str], domain: str) -> None:
        integration = self._integration
        assert integration is not None
        place = await self._listen(addresses, integration)
        server, config = self.server, self._config
        self._refresh()
        zones = () if server.zone is None else tuple(server.zone.reverse_zones)
        host, port = place
        exits = self._node.exits.name_servers()
        takes_all = bool(config.nameservers) or exits is not None
        wanted = Registration(*self._interface, host, port, domain, zones, takes_all)
        servers = await integration.apply(wanted)
        server.forwards = integration.forwards or takes_all
        is_exit = self._node.members.is_exit
        server.serve_members(self._node.members.mesh if is_exit else ())
        if exits is not None:
            # Who is near would hear what is asked for; if the exit is away, nobody is.
            server.use_servers(config.nameservers or exits)
            return
        others = _others(servers, host)
        if is_exit and not others:
            text = await asyncio.to_thread(read, RESOLV_CONF)
            others = resolvconf.read(text or "").servers
        server.use_servers(config.nameservers or others)

    async def _listen(
        self, addresses: Sequence[str], integration: Integration
    ) -> Place:
        """Answer at all places; return the one that the system is to ask.

        :raises MeshError: if that one cannot be had.
        """
        public: list[Place] = [(each, DNS_PORT) for each in addresses]
        if integration.mode == "systemd-resolved":
            place: Place = (RESOLVED_HOST, 0)
            refused = await self._stub.listen([*public, place])
            if place not in refused:
                return RESOLVED_HOST, self._stub.port_of(place)
            raise MeshError(f"No port of {RESOLVED_HOST} is free ({refused[place]})")
        if integration.mode == "file":
            kept = [(h, DNS_PORT) for h in LOOPBACKS if self._stub.is_at((h, DNS_PORT))]
            for place in kept or [(host, DNS_PORT) for host in LOOPBACKS]:
                refused = await self._stub.listen([*public, place])
                if place not in refused:
                    return place
        refused = await self._stub.listen(public)
        for place in public:
            if place not in refused:
                return place
        host, port = public[0]
        raise MeshError(
            f"Port {port} of {host} cannot be had ({refused[public[0]]}): see which "
            "program listens there, for example with 'ss -lp sport = :53'"
        )

    async def _leave(self) -> None:
        """Put back what was there before."""
        integration, self._integration = self._integration, None
        if integration is not None:
            try:
                await integration.undo()
            except (MeshError, OSError) as error:
                logger.warning("Names: %s", error)

    def _tell(self, before: Integration | None) -> None:
        """Tell the user what came of it, if that is news."""
        integration, error = self._integration, self._error
        if error is None and integration is not None and integration is not before:
            logger.info("Names in %s are known (%s)", self.domain, integration.mode)
        complaint = None
        if error is not None:
            complaint = Complaint(
                CODE,
                Severity.WARNING,
                f"Programs of this machine do not find names of the mesh: {error}.",
                "Mend that, or start the node with --no-dns; addresses work all the "
                "same.",
            )
            if complaint not in self._node.health:
                logger.warning("%s", complaint.text)
        self._node.health.put(CODE, complaint)
        self._node.health.put(DOMAIN_CODE, self._other_domain())

    def _said_domain(self) -> str:
        """Return what the coordinator says, nothing if it does not."""
        registered = self._node.control.registered
        return "" if registered is None else registered.domain

    def _other_domain(self) -> Complaint | None:
        """Return what the user should know of a domain that was another before."""
        said = self._said_domain()
        if said in ("", self.domain):
            return None
        return Complaint(
            DOMAIN_CODE,
            Severity.WARNING,
            f"The coordinator lets names of the mesh end with {said} now, and not with "
            f"{self.domain} as before; here they are what they were.",
            "If that is right, remove the file 'domain' in the node's state directory, "
            "and start it again.",
        )


def _others(servers: Sequence[str], own: str) -> Sequence[str]:
    """Return whom to ask for names of others.

    :param servers: whom the system asks, nobody if it passes only ours on.
    """
    # A server of another mesh asks the others by itself.
    meshes = [each for each in servers if each in LOOPBACKS and each != own]
    return meshes or [each for each in servers if each != own]


def _shown(place: Place) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
