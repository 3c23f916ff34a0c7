"""Which peer has a network that several announce."""

from ipaddress import ip_network

from meshwg.node.claims import CODE, Claims
from meshwg.node.routers import Contender

SITE = "10.1.0.0/16"
MESH = (ip_network("100.64.0.0/16"),)


def test_all_who_announce_a_network_can_have_it_in_the_order_of_their_news() -> None:
    claims = Claims()
    claims.announce("a", (SITE,))
    claims.announce("b", (SITE, "10.2.0.0/16"), {SITE: 50})
    assert claims.settle() == {
        SITE: (Contender("a", 100), Contender("b", 50)),
        "10.2.0.0/16": (Contender("b", 100),),
    }
    assert claims.of("b") == (SITE, "10.2.0.0/16")

    claims.announce("a", ())
    assert claims.settle()[SITE] == (Contender("b", 50),)
    assert claims.of("a") == ()


def test_what_is_this_nodes_own_or_everybodys_is_no_peers() -> None:
    claims = Claims()
    claims.set_mesh(MESH, [SITE])
    claims.announce("a", (SITE, "100.64.0.0/10", "0.0.0.0/1", "10.2.0.0/16"))

    assert claims.settle() == {"10.2.0.0/16": (Contender("a", 100),)}
    complaint = claims.complaint()
    assert complaint is not None
    assert complaint.code == CODE
    assert "0.0.0.0/1" in complaint.text
    assert "nor 1 more" in complaint.text
    claims.announce("a", ())
    claims.settle()
    assert claims.complaint() is None


def test_many_networks_are_not_the_whole_internet_together() -> None:
    claims = Claims()
    claims.announce("a", ("10.0.0.0/8", "9.0.0.0/8"))
    claims.settle()
    wide = tuple(f"{number}.0.0.0/8" for number in range(11, 100))
    claims.announce("b", wide)
    claims.announce("a", ("10.0.0.0/8", "9.0.0.0/8", "8.0.0.0/8"))

    claims.settle()
    assert len(claims.of("b")) < 16
    assert claims.of("a")[:2] == ("10.0.0.0/8", "9.0.0.0/8")
    complaint = claims.complaint()
    assert complaint is not None
    assert "too much of the internet" in complaint.text
    assert claims.settle() == claims.settle()
