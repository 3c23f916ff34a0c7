"""How long an idle mapping lives (RFC 5780 section 4.6): minutes of waiting.

One fresh socket for every age asks the server and then keeps silent. When its age has
come, another socket asks the server to answer to *its* port (RESPONSE-PORT). If the
answer reaches it, the mapping has lived that long. All ages run side by side, and the
first that is dead ends the search, so it takes little longer than the lifetime itself.

The test needs a server that knows RESPONSE-PORT and a NAT that keeps one public address
for the host. Both are proven first, on a mapping that is new.
"""

from collections.abc import Sequence

from meshwg.nat.probe import DENSE_REPEATS, Probe, Probes
from meshwg.transmit import Endpoint, Random, Transmit
from meshwg.wire.stun import Attribute, Buffer

AGES = (14.0, 19.0, 28.0, 43.0, 58.0, 88.0, 118.0, 178.0, 298.0)
"""Seconds of silence that are tried: each a little less than routers use."""

PROOF = 0.0
"""The age that proves that the test works, and nothing else."""

PATIENCE = 1.5
"""Seconds that an answer may take."""


class LifetimeSearch:
    """One search; it begins at once.

    :param server: a STUN server that knows RESPONSE-PORT.
    :param links: fresh sockets. The first asks for the others, of which the second is
        spent on the proof that the test works, and each other one on an age.
    """

    def __init__(
        self,
        server: Endpoint,
        links: Sequence[int],
        *,
        random: Random,
        now: float,
        ages: Sequence[float] = AGES,
    ) -> None:
        self.is_done = False
        self.lifetime: float | None = None
        """The longest age that a mapping was found alive at."""
        self.error: str | None = None
        """Why no lifetime was found."""
        self._probes = Probes(random)
        self._server = server
        self._asking_link = links[0]
        self._now = self._started = now
        self._waiting = list(zip((PROOF, *ages), links[1:], strict=False))
        self._mappings = {
            link: self._probes.start(server._replace(link=link), now, now + PATIENCE)
            for link in links
        }
        self._checks: dict[float, Probe] = {}

    def receive_stun(self, data: Buffer, source: Endpoint, now: float) -> bool:
        """Take a STUN message; return whether it belongs to this search."""
        is_ours = self._probes.receive(data, source, now)
        if is_ours:
            self._advance(now)
        return is_ours

    def handle_timer(self, now: float) -> None:
        """Repeat requests, and look at mappings whose age has come."""
        self._probes.handle_timer(now)
        self._advance(now)

    def datagrams_to_send(self) -> list[Transmit]:
        """Return the requests to send, in order."""
        return self._probes.datagrams_to_send()

    def get_timer(self) -> float | None:
        """Return when to call :meth:`handle_timer`."""
        if self.is_done:
            return None
        due = self._probes.get_timer(self._now)
        if self._are_mappings_made(self._now) and self._waiting:
            next_check = self._due(*self._waiting[0])
            return next_check if due is None else min(due, next_check)
        return due

    def _advance(self, now: float) -> None:
        self._now = now
        if self.is_done or not self._are_mappings_made(now):
            return
        while self._waiting and self._due(*self._waiting[0]) <= now:
            self._check(*self._waiting.pop(0), now)
        self._judge(now)

    def _are_mappings_made(self, now: float) -> bool:
        return not any(probe.is_open(now) for probe in self._mappings.values())

    def _due(self, age: float, link: int) -> float:
        """Return when the mapping of a link has been silent for its age."""
        return age + (self._mappings[link].answered or self._started)

    def _check(self, age: float, link: int, now: float) -> None:
        """Have the server answer to a mapping that was silent for its age."""
        silent = self._mappings[link].mapped
        if silent is None:
            return
        self._checks[age] = self._probes.start(
            self._server._replace(link=self._asking_link),
            now,
            now + PATIENCE,
            answers_from=self._server._replace(link=link),
            attributes={Attribute.RESPONSE_PORT: silent.port},
            repeats=DENSE_REPEATS,
        )

    def _judge(self, now: float) -> None:
        """End the search at the first mapping that is dead, or at the last one."""
        for age, probe in self._checks.items():
            if probe.is_open(now):
                return
            if probe.answered is None:
                self._end()
                return
            self.lifetime = age or None
        if not self._waiting or PROOF not in self._checks:
            self._end()

    def _end(self) -> None:
        self.is_done = True
        proof = self._checks.get(PROOF)
        if proof is None or proof.answered is None:
            self.error = "the server cannot be asked to answer to another port"
        elif self.lifetime is None:
            self.error = "an idle mapping does not live as long as the shortest test"
