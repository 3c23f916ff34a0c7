"""The control plane alone: coordinators, their database, and members without paths."""

from collections.abc import Callable, Iterable

from meshwg.keys import PrivateKey
from tests.sim.network import Network
from tests.world.coordinator import Settings, SimCoordinator
from tests.world.ledger import Ledger
from tests.world.member import SimMember


class ControlWorld:
    """Coordinators on one database, and members that are control clients only.

    :param settings: of all coordinators.
    :param approved_routes: networks of which nodes may announce a part.
    """

    def __init__(
        self,
        seed: int = 1,
        settings: Settings | None = None,
        approved_routes: Iterable[str] = (),
    ) -> None:
        self.network = Network(seed)
        self.random = self.network.random
        self.settings = settings or Settings()
        self.ledger = Ledger(self.network, approved_routes)
        self.key = PrivateKey.generate(self.random.randbytes)
        self.auth_key = self.ledger.add_auth_key()
        """With which whatever is added joins."""
        self.coordinators: list[SimCoordinator] = []
        self.members: list[SimMember] = []

    @property
    def now(self) -> float:
        return self.network.now

    @property
    def unix_time(self) -> float:
        return self.network.unix_time

    @property
    def coordinator(self) -> SimCoordinator:
        """The first one, which in most worlds is the only one."""
        return self.coordinators[0]

    def add_coordinator(self, home: str = "home") -> SimCoordinator:
        """Start one more process on the database."""
        coordinator = SimCoordinator(
            self.network, self.ledger, self.key, self.settings, self.coordinators, home
        )
        self.coordinators.append(coordinator)
        for each in self.coordinators:
            each.introduce()
        return coordinator

    def add_member(
        self, name: str = "node", coordinator: SimCoordinator | None = None
    ) -> SimMember:
        """Add a member that is a control client only, and joins at once."""
        member = SimMember(
            self.network,
            coordinator or self.coordinator,
            name,
            f"192.0.2.{len(self.members) % 250 + 1}",
            lambda: self.auth_key,
        )
        self.members.append(member)
        return member

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._drain()
        self.network.advance(seconds)

    def run(self, until: Callable[[], bool], limit: float = 60.0) -> bool:
        """Let time pass until something is so; return whether it came to that."""
        self._drain()
        return self.network.run(until, limit)

    def took(self, until: Callable[[], bool], limit: float = 120.0) -> float:
        """Let time pass until something is so; return how many seconds that took.

        All else that happens at that very instant has happened then, too.
        """
        begin = self.now
        assert self.run(until, limit), "It never happens"
        self.network.advance(0)
        return self.now - begin

    def _drain(self) -> None:
        """Carry out what a test has asked machines for without draining them."""
        for member in self.members:
            member.run()
        for coordinator in self.coordinators:
            coordinator.drain()
