"""Sees, while many flows are opened, whether the NAT still takes new ones.

Carriers let a customer hold a few ports at once, sometimes a hundred; whoever takes all
of them cuts off everybody behind the same line until the NAT forgets, half a minute
later. Nothing says how many there are. So after growing numbers of new flows a
*canary* asks a STUN server from a socket that nothing was sent from: if that is not
answered, while the socket that asked first still is, there is no room for a new flow.
If neither is answered, the server is gone, and nothing is known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshwg.transmit import Endpoint, Transmit
from meshwg.wire import stun
from meshwg.wire.stun import Message

CANARIES = 9
"""Sockets that are kept for this: one that asks first, and one for each step."""

REPEATS = (0.0, 0.15, 0.3)
PATIENCE = 0.6
"""Seconds at which a canary asks, and after which it is given up."""

FAN_STEPS = (32, 64, 128, 192)
PROBE_STEPS = (128, 512)
"""New flows after which a canary is sent."""


@dataclass(slots=True)
class _CanaryRequest:
    """What is asked from one socket, until it is answered."""

    link: int
    id: bytes
    sent: int = 0
    is_answered: bool = False


class RoomWatch:
    """Watches one barrage; only for as long as there are canaries.

    :param links: fresh sockets, of which the first asks at once.
    :param server: a STUN server.
    :param new_id: returns a new transaction id.
    :param steps: after how many new flows of one kind there is a canary.
    """

    def __init__(
        self,
        links: Sequence[int],
        server: Endpoint,
        new_id: Callable[[], bytes],
        steps: Sequence[int],
        now: float,
    ) -> None:
        self.confirmed = 0
        """New flows for which there was room."""
        self.is_full = False
        self._links = list(links)
        self._server = server
        self._new_id = new_id
        self._steps = steps
        self._opened = 0
        self._questions: list[_CanaryRequest] = []
        """The canary, and then the socket that asked first."""
        self._asked: dict[bytes, _CanaryRequest] = {}
        self._asked_at = now
        self._reference: int | None = None
        self._ask(now, 0)

    @property
    def waits(self) -> bool:
        """Whether no new flow may be opened before an answer comes."""
        return bool(self._questions)

    @property
    def is_roomy(self) -> bool:
        """Whether there was room after the last step."""
        return self.confirmed >= self._steps[-1]

    def opened(self, count: int, now: float) -> None:
        """Note a new flow, the ``count``-th of its kind."""
        if count in self._steps and not self.is_full:
            self._ask(now, count)

    def receive(self, message: Message, source: Endpoint) -> bool:
        """Take an answer; return whether it is one."""
        question = self._asked.get(message.transaction_id)
        if question is None:
            return False
        if source[:3] != self._server._replace(link=question.link)[:3]:
            return False
        question.is_answered = True
        if self._questions and question is self._questions[0]:
            self.confirmed = max(self.confirmed, self._opened)
            self._questions.clear()
        return True

    def handle_timer(self, now: float) -> None:
        """Draw the conclusion from a canary that was not answered."""
        if self._questions and now >= self._asked_at + PATIENCE:
            is_server_there = any(each.is_answered for each in self._questions)
            if len(self._questions) > 1 and is_server_there:
                self.is_full = True
            else:
                # Without a server there is nothing to watch.
                self._links.clear()
            self._questions.clear()

    def datagrams_to_send(self, now: float) -> list[Transmit]:
        """Return the requests that are due."""
        due = []
        for question in self._questions:
            after = REPEATS[question.sent : question.sent + 1]
            if after and now >= self._asked_at + after[0] and not question.is_answered:
                question.sent += 1
                to = self._server._replace(link=question.link)
                due.append(Transmit(to, [stun.binding_request(question.id)]))
        return due

    def get_timer(self) -> float | None:
        """Return when there is something to do."""
        if not self._questions:
            return None
        repeats = [
            REPEATS[question.sent]
            for question in self._questions
            if question.sent < len(REPEATS) and not question.is_answered
        ]
        return self._asked_at + min([*repeats, PATIENCE])

    def _ask(self, now: float, opened: int) -> None:
        if not self._links:
            return
        link = self._links.pop(0)
        self._asked_at, self._opened = now, opened
        links = [link] if self._reference is None else [link, self._reference]
        self._reference = links[-1]
        self._questions = [_CanaryRequest(each, self._new_id()) for each in links]
        self._asked.update((each.id, each) for each in self._questions)
