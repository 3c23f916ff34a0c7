"""Which paths lead through tunnels of other programs."""

from meshwg.path.tunnels import OwnTunnels, Tunnels
from meshwg.transmit import Endpoint, Source

FAR = Endpoint("10.9.0.2", 1111)


def test_a_path_that_leaves_over_a_tunnel_leads_through_it() -> None:
    tunnels = Tunnels(OwnTunnels(frozenset({7}), frozenset({"10.9.0.1"})))
    assert tunnels.carry(FAR._replace(source=Source("10.9.0.1", 7)))
    assert tunnels.carry(FAR._replace(source=Source("192.168.1.2", 7)))
    assert not tunnels.carry(FAR._replace(source=Source("10.9.0.1", 2)))
    assert not tunnels.carry(FAR)


def test_what_a_node_learns_of_its_tunnels_holds_for_all_peers() -> None:
    own = OwnTunnels()
    one, other = Tunnels(own), Tunnels(own)
    own.interfaces = frozenset({7})
    assert one.carry(FAR._replace(source=Source("10.9.0.1", 7)))
    assert other.carry(FAR._replace(source=Source("10.9.0.1", 7)))


def test_a_peer_may_say_that_it_has_an_address_in_a_tunnel() -> None:
    tunnels = Tunnels()
    tunnels.peers = frozenset({FAR.host})
    assert tunnels.carry(FAR)
    assert not Tunnels().carry(FAR)
