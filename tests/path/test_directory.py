"""Whom a STUN message is for."""

from meshwg.keys import PrivateKey
from meshwg.path.agent import PathAgent
from meshwg.path.candidate import Kind
from meshwg.path.check import CheckKeys
from meshwg.path.directory import AgentDirectory
from meshwg.transmit import Endpoint
from meshwg.wire import stun
from meshwg.wire.stun import Class, Message, Method

ENDPOINT = Endpoint("203.0.113.1", 1111)
OWN = PrivateKey.from_bytes(bytes([1] * 32))
PEERS = [PrivateKey.from_bytes(bytes([n] * 32)) for n in range(2, 12)]


def test_a_check_is_for_the_agent_of_its_sender() -> None:
    directory, agents = ten_agents()
    for peer, agent in zip(PEERS, agents, strict=True):
        theirs = agent_of(peer, OWN)
        check = theirs.checks.ask(ENDPOINT, Kind.HOST, 0.0)
        assert directory.find(stun.parse(check)) is agent


def test_an_answer_is_for_the_agent_that_asked() -> None:
    directory, agents = ten_agents()
    for agent in agents:
        transaction_id = agent.checks.transaction_id()
        answer = Message(Method.BINDING, Class.SUCCESS, transaction_id)
        assert directory.find(answer) is agent


def test_an_own_check_that_comes_back_finds_its_agent() -> None:
    directory, agents = ten_agents()
    check = stun.parse(agents[3].checks.ask(ENDPOINT, Kind.HOST, 0.0))
    assert directory.find(check) is agents[3]


def test_a_message_of_a_stranger_is_for_nobody() -> None:
    directory, _ = ten_agents()
    assert directory.find(Message(Method.BINDING, Class.REQUEST, bytes(12))) is None
    assert directory.find(Message(Method.BINDING, Class.SUCCESS, bytes(12))) is None


def test_a_removed_agent_gets_nothing_any_more() -> None:
    directory, agents = ten_agents()
    check = agent_of(PEERS[0], OWN).checks.ask(ENDPOINT, Kind.HOST, 0.0)
    directory.remove(agents[0])
    assert directory.find(stun.parse(check)) is None
    assert list(directory) == agents[1:]


def test_agents_that_drew_the_same_route_get_different_ones() -> None:
    # All agents here draw the same numbers.
    _, agents = ten_agents()
    assert len({agent.checks.route for agent in agents}) == len(agents)


def ten_agents() -> tuple[AgentDirectory, list[PathAgent]]:
    directory = AgentDirectory()
    agents = [agent_of(OWN, peer) for peer in PEERS]
    for agent in agents:
        directory.add(agent)
    return directory, agents


def agent_of(own: PrivateKey, peer: PrivateKey) -> PathAgent:
    keys = CheckKeys.derive(own, peer.public_bytes)
    assert keys is not None
    draws = iter(range(1, 1000))
    return PathAgent(keys, random=lambda count: next(draws).to_bytes(count))
