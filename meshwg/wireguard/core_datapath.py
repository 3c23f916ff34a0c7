"""The compiled data path, as a device uses it.

Everything that it is told is told to a :class:`PythonDatapath` as well, which carries
nothing. So if the core has a bug, and panics, the other one knows all that there is,
and carries from then on: peers keep their sessions. Counters go on far beyond those
that the core may have used, and no counter is taken that it may have seen.
"""

from collections.abc import Iterable, Sequence

from meshwg.transmit import Endpoint, Source, Transmit
from meshwg.wireguard.allowedips import AllowedIPs, Network
from meshwg.wireguard.constants import REJECT_AFTER_MESSAGES
from meshwg.wireguard.core import (
    CompiledCore,
    CompiledSession,
    CoreEndpoint,
    CoreFlow,
)
from meshwg.wireguard.datapath import Note
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.filtering import KnownFlows, PacketFilter
from meshwg.wireguard.lane import Lane
from meshwg.wireguard.python_datapath import PythonDatapath
from meshwg.wireguard.session import Buffer, Session

EXCEPTIONS_AT_ONCE = 128
"""Datagrams that are taken up by one call."""
JUDGED_AT_ONCE = 128
"""Packets that are judged by one call, where threads carry."""
WHATEVER_WAITS = (1 << 31) - 1
"""Stands for as many of them as there are."""
SKIPPED_COUNTERS = 1 << 20
"""Counters left out when a session is taken from the core: far more than threads can
use between the moment they are counted and the moment they end."""


class CoreDatapath:
    """A :class:`~meshwg.wireguard.datapath.Datapath` over the compiled core.

    :ivar failure: what the core said when it panicked, ``None`` while it carries.
    :ivar taken: how much was taken up: datagrams that the core did not know, and
        packets to be judged.
    :ivar unknown: how many of these were such datagrams.
    :param roaming: as of :class:`PythonDatapath`.
    """

    def __init__(self, core: CompiledCore, *, roaming: bool = True) -> None:
        self.core = core
        self.failure: str | None = None
        self.taken = self.unknown = 0
        self._told = PythonDatapath(roaming=roaming)
        self._told.allowed_ips = _MirroredIPs(self)
        self._lanes: dict[int, Lane] = {}
        self._numbers: dict[Lane, int] = {}
        self._sessions: dict[int, CoreSession] = {}
        # Removed ones, of which there may be notes that were not taken yet.
        self._removed: dict[int, CoreSession] = {}
        self._flows: _MirroredFlows | None = None
        core.set_mtu(self.mtu)

    def fall_back(self, why: str) -> None:
        """Leave the core, and carry in Python from now on."""
        if self.failure is None:
            self.failure = why
            for session in self._sessions.values():
                session.leave_core()

    # What it is told.

    @property
    def kind(self) -> str:
        """What carries: the core, if it has not failed."""
        return "core" if self.failure is None else self._told.kind

    @property
    def is_up(self) -> bool:
        """Whether packets are taken from the interface."""
        return self._told.is_up

    @is_up.setter
    def is_up(self, is_up: bool) -> None:
        self._told.is_up = is_up
        self.core.set_up(is_up)

    @property
    def mtu(self) -> int:
        """The MTU of the interface in bytes."""
        return self._told.mtu

    @mtu.setter
    def mtu(self, mtu: int) -> None:
        self._told.mtu = mtu
        self.core.set_mtu(mtu)

    @property
    def allowed_ips(self) -> AllowedIPs[Lane]:
        """Which lane each network belongs to."""
        return self._told.allowed_ips

    @property
    def drops(self) -> dict[Drop, int]:
        """How many packets and messages went no further, by reason."""
        drops = dict(self._told.drops)
        for name, count in self.core.drops():
            drops[Drop(name)] += count
        drops[Drop.QUEUE_FULL] += self.core.overflows()
        return drops

    def number_of(self, lane: Lane) -> int:
        """Return what the core calls a lane."""
        return self._numbers[lane]

    def add_lane(self) -> Lane:
        lane = self._told.add_lane()
        number = self.core.add_lane()
        self._lanes[number], self._numbers[lane] = lane, number
        return lane

    def remove_lane(self, lane: Lane) -> None:
        self._told.remove_lane(lane)
        number = self._numbers.pop(lane)
        del self._lanes[number]
        self.core.remove_lane(number)

    def steer(
        self, lane: Lane, endpoint: Endpoint | None, second: Endpoint | None = None
    ) -> None:
        self._told.steer(lane, endpoint, second)
        self.core.steer(self._numbers[lane], endpoint, second)

    def limit(self, lane: Lane, longest: int) -> None:
        if longest != lane.longest:
            self._told.limit(lane, longest)
            self.core.limit(self._numbers[lane], longest)

    def let_forward(self, lane: Lane, forwards: bool) -> None:
        self._told.let_forward(lane, forwards)
        self.core.let_forward(self._numbers[lane], forwards)

    def let_come_by(self, lane: Lane, hub: Lane | None) -> None:
        self._told.let_come_by(lane, hub)
        number = None if hub is None else self._numbers.get(hub)
        self.core.let_come_by(self._numbers[lane], number)

    def accept_from(self, networks: Iterable[tuple[Network, Sequence[Lane]]]) -> None:
        networks = [(network, tuple(lanes)) for network, lanes in networks]
        self._told.accept_from(networks)
        self.core.accept_from(
            [
                (*_plain(network), [self._numbers[each] for each in lanes])
                for network, lanes in networks
            ]
        )

    def deliver_only(self, networks: Iterable[Network], *, members: bool) -> None:
        networks = list(networks)
        self._told.deliver_only(networks, members=members)
        self.core.deliver_only([*map(_plain, networks)], members)

    def make_session(
        self,
        keys: tuple[bytes, bytes],
        *,
        local_index: int,
        remote_index: int,
        is_initiator: bool,
        now: float,
    ) -> Session:
        session = CoreSession(
            self.core,
            keys,
            local_index=local_index,
            remote_index=remote_index,
            is_initiator=is_initiator,
            now=now,
        )
        if self.failure is not None:
            session.leave_core()
        return session

    def add_session(self, lane: Lane, session: Session) -> None:
        assert isinstance(session, CoreSession), "sessions are made by their data path"
        self._told.add_session(lane, session)
        self._sessions[session.compiled.id] = session
        self.core.add_session(self._numbers[lane], session.compiled)

    def seal_with(self, lane: Lane, session: Session | None) -> None:
        self._told.seal_with(lane, session)
        compiled = session.compiled if isinstance(session, CoreSession) else None
        self.core.seal_with(self._numbers[lane], compiled)

    def remove_session(self, session: Session) -> None:
        assert isinstance(session, CoreSession), "sessions are made by their data path"
        self._told.remove_session(session)
        number = session.compiled.id
        if self._sessions.pop(number, None) is not None:
            self._removed[number] = session
        self.core.remove_session(session.compiled)

    def set_channel(self, peer: Endpoint, server: Endpoint, number: int | None) -> None:
        self._told.set_channel(peer, server, number)
        self.core.set_channel(peer, server, number)

    def intercept_echoes(self, identifiers: frozenset[int]) -> None:
        self._told.intercept_echoes(identifiers)
        self.core.intercept_echoes(sorted(identifiers))

    def set_filter(self, packet_filter: PacketFilter | None) -> None:
        self._flows = None
        if packet_filter is not None:
            self._flows = _MirroredFlows(packet_filter, self.core)
        self._told.use(self._flows)
        self.core.set_filter(packet_filter is not None)
        if packet_filter is None:
            self._judge(WHATEVER_WAITS)  # It passes.

    # Packets and datagrams.

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None:
        if self.failure is None:
            self._follow_filter()
            try:
                self.core.receive_packets(packets, now)
            except RuntimeError as error:
                self.fall_back(str(error))
            else:
                if self._flows is not None:
                    self._judge(WHATEVER_WAITS)
                return
        self._told.receive_packets(packets, now)

    def receive_datagrams(
        self, datagrams: Sequence[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        if self.failure is None:
            self._follow_filter()
            try:
                batch = [*map(bytes, datagrams)]
                self.core.receive_datagrams(batch, endpoint, now)
            except RuntimeError as error:
                self.fall_back(str(error))
            else:
                if self._flows is not None:
                    self._judge(WHATEVER_WAITS)
                return
        self._told.receive_datagrams(datagrams, endpoint, now)

    def seal(
        self, lane: Lane, packets: Sequence[Buffer], now: float
    ) -> tuple[int, int]:
        if self.failure is None:
            try:
                batch = [*map(bytes, packets)]
                return self.core.seal(self._numbers[lane], batch, now)
            except RuntimeError as error:
                self.fall_back(str(error))
        return self._told.seal(lane, packets, now)

    def send(self, lane: Lane, message: bytes, to: Endpoint | None = None) -> None:
        if self.failure is None:
            self.core.send(self._numbers[lane], message, to)
        else:
            self._told.send(lane, message, to)

    def seal_to(self, lane: Lane, endpoint: Endpoint, now: float) -> int:
        if self.failure is None:
            try:
                return self.core.seal_to(self._numbers[lane], endpoint, now)
            except RuntimeError as error:
                self.fall_back(str(error))
        return self._told.seal_to(lane, endpoint, now)

    def seal_one(self, packet: bytes, now: float, /) -> tuple[Endpoint, bytes] | None:
        if self.failure is None:
            return None  # There is no call that would cost less than that for batches.
        return self._told.seal_one(packet, now)

    def open_one(
        self, datagram: bytes, endpoint: Endpoint, now: float, /
    ) -> bytes | None:
        if self.failure is None:
            return None
        return self._told.open_one(datagram, endpoint, now)

    def datagrams_to_send(self) -> list[Transmit]:
        if self.failure is None:
            try:
                return [
                    Transmit(_endpoint(to), datagrams)
                    for to, datagrams in self.core.datagrams_to_send()
                ]
            except RuntimeError as error:
                self.fall_back(str(error))
        return self._told.datagrams_to_send()

    def packets_to_write(self) -> list[bytes]:
        return self.core.packets_to_write() + self._told.packets_to_write()

    # What goes up. What the core has left behind is as good as what it brings.

    def take_notes(self) -> list[Note]:
        # What is not allowed any more has to end soon, also where nothing else is new.
        self._follow_filter()
        notes: list[Note] = []
        for number, heard, length, is_data, at in self.core.take_notes():
            lane = self._lanes.get(number)
            if lane is None:
                continue
            if heard is None:
                notes.append((lane, None, None, length, is_data, at))
                continue
            session = self._sessions.get(heard[0]) or self._removed.get(heard[0])
            if session is not None:
                endpoint = _known(lane, heard[1])
                notes.append((lane, session, endpoint, length, is_data, at))
        self._removed.clear()
        return notes + self._told.take_notes()

    def take_unsent(self) -> list[tuple[Lane, Sequence[Buffer], float]]:
        unsent: list[tuple[Lane, Sequence[Buffer], float]] = [
            (self._lanes[number], packets, at)
            for number, packets, at in self.core.take_unsent()
            if number in self._lanes
        ]
        return unsent + self._told.take_unsent()

    def take_exceptions(self) -> list[tuple[Sequence[Buffer], Endpoint]]:
        exceptions: list[tuple[Sequence[Buffer], Endpoint]] = [
            (datagrams, _endpoint(endpoint))
            for datagrams, endpoint in self.core.take_exceptions(EXCEPTIONS_AT_ONCE)
        ]
        count = sum(len(datagrams) for datagrams, _ in exceptions)
        self.taken += count
        self.unknown += count
        if self._flows is not None:
            self._judge(JUDGED_AT_ONCE)
        return exceptions + self._told.take_exceptions()

    def take_echoes(self) -> list[bytes]:
        return self.core.take_echoes() + self._told.take_echoes()

    # What waits to be judged.

    def _follow_filter(self) -> None:
        if self._flows is not None:
            self._flows.follow()

    def _judge(self, most: int) -> None:
        """Judge packets that the core holds, and send on those that pass."""
        waiting = self.core.take_unjudged(most)
        if not waiting:
            return
        self.taken += len(waiting)
        now = waiting[-1][2]
        outbound: list[bytes] = []
        inbound: list[bytes] = []
        for packet, is_inbound, at in waiting:
            if self._told.passes(packet, at, inbound=is_inbound):
                (inbound if is_inbound else outbound).append(packet)
        self._send_judged(outbound, now)
        self.core.deliver_judged(inbound)
        if self._flows is not None:
            # Now, so that what the core lets pass by itself overtakes none of these.
            self._flows.tell()
            to_interface, to_peers = self._flows.filter.take_answers()
            self.core.deliver_judged(to_interface)
            self._send_judged(to_peers, now)

    def _send_judged(self, packets: list[bytes], now: float) -> None:
        if not packets:
            return
        if self.failure is None:
            try:
                self.core.send_judged(packets, now)
                return
            except RuntimeError as error:
                self.fall_back(str(error))
        self._told.send_judged(packets, now)


class CoreSession(Session):
    """A session whose keys and counters the core has, too.

    :ivar compiled: the core's half of it.
    """

    __slots__ = ("_in_core", "_sent", "compiled")

    def __init__(
        self,
        core: CompiledCore,
        keys: tuple[bytes, bytes],
        *,
        local_index: int,
        remote_index: int,
        is_initiator: bool,
        now: float,
    ) -> None:
        self._in_core = False
        super().__init__(
            keys,
            local_index=local_index,
            remote_index=remote_index,
            is_initiator=is_initiator,
            now=now,
        )
        self.compiled: CompiledSession = core.make_session(
            keys, (local_index, remote_index), (self.usable_until, self.expires_at)
        )
        self._in_core = True

    @property
    def sent(self) -> int:
        """Messages sealed so far."""
        return self.compiled.sent if self._in_core else self._sent

    @sent.setter
    def sent(self, sent: int) -> None:
        if self._in_core:
            self.compiled.sent = sent
        else:
            self._sent = sent

    def leave_core(self) -> None:
        """Go on in Python, with counters that the core has surely not used or seen."""
        if self._in_core:
            sent = self.compiled.sent
            self._in_core = False
            self.sent = min(sent + SKIPPED_COUNTERS, REJECT_AFTER_MESSAGES)
            self.replay.expected = self.compiled.expected

    def retire(self) -> None:
        super().retire()
        self.compiled.retire()


class _MirroredIPs(AllowedIPs[Lane]):
    """Allowed IPs that the core knows, too."""

    def __init__(self, datapath: CoreDatapath) -> None:
        super().__init__()
        self._datapath = datapath

    def insert(self, network: Network, peer: Lane) -> None:
        super().insert(network, peer)
        number = self._datapath.number_of(peer)
        self._datapath.core.insert_network(*_plain(network), number)

    def remove(self, network: Network, peer: Lane) -> None:
        if network in self.of(peer):
            self._datapath.core.remove_network(*_plain(network))
        super().remove(network, peer)

    def clear(self, peer: Lane) -> None:
        for network in self.of(peer):
            self._datapath.core.remove_network(*_plain(network))
        super().clear(peer)


class _MirroredFlows(KnownFlows):
    """Known flows that the core knows, too, once it is told."""

    def __init__(self, packet_filter: PacketFilter, core: CompiledCore) -> None:
        super().__init__(packet_filter)
        self._core = core
        self._changes: list[CoreFlow] = []

    def tell(self) -> None:
        """Tell the core what was learned and forgotten."""
        if self._changes:
            self._core.change_flows(self._changes)
            self._changes = []

    def _learn(self, key: bytes, until: float, *, inbound: bool) -> None:
        super()._learn(key, until, inbound=inbound)
        self._changes.append((key, inbound, until))

    def _forget(self, key: bytes, *, inbound: bool) -> None:
        super()._forget(key, inbound=inbound)
        self._changes.append((key, inbound, None))

    def _clear(self, *, inbound: bool) -> None:
        super()._clear(inbound=inbound)
        self._changes = [each for each in self._changes if each[1] is not inbound]
        self._core.clear_flows(inbound)


def _plain(network: Network) -> tuple[str, int]:
    return str(network.network_address), network.prefixlen


def _endpoint(plain: CoreEndpoint) -> Endpoint:
    host, port, link, source = plain
    return Endpoint(host, port, link, None if source is None else Source(*source))


def _known(lane: Lane, plain: CoreEndpoint) -> Endpoint:
    """Return an endpoint, the lane's own object if it is that one."""
    for endpoint in (lane.endpoint, lane.second):
        if endpoint == plain:
            return endpoint
    return _endpoint(plain)
