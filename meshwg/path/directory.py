"""Finds the path agent that a STUN message is for, among a thousand of them."""

from collections.abc import Iterator

from meshwg.path.agent import PathAgent
from meshwg.path.check import ROUTE_LENGTH
from meshwg.wire.stun import Attribute, Class, Message


class AgentDirectory:
    """The agents of one node: a check names its peer, an answer names its check."""

    def __init__(self) -> None:
        self._by_tag: dict[str, PathAgent] = {}
        self._by_route: dict[bytes, PathAgent] = {}

    def __iter__(self) -> Iterator[PathAgent]:
        return iter(self._by_route.values())

    def add(self, agent: PathAgent) -> None:
        """Make an agent known; it gets another route if its own is taken."""
        while agent.checks.route in self._by_route:
            agent.checks.draw_route()
        self._by_route[agent.checks.route] = agent
        for tag in agent.checks.keys.tags:
            self._by_tag[tag] = agent

    def remove(self, agent: PathAgent) -> None:
        """Forget an agent."""
        del self._by_route[agent.checks.route]
        for tag in agent.checks.keys.tags:
            del self._by_tag[tag]

    def find(self, message: Message) -> PathAgent | None:
        """Return whom a check, an answer or a STUN server's answer is for."""
        if message.cls is Class.REQUEST:
            return self._by_tag.get(message.attributes.get(Attribute.USERNAME, ""))
        return self._by_route.get(message.transaction_id[:ROUTE_LENGTH])
