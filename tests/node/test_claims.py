"""Which peer has a network that several announce."""

from ipaddress import ip_network

from meshwg.node.claims import CODE, Claims

SITE = "10.1.0.0/16"
MESH = (ip_network("100.64.0.0/16"),)


def test_the_first_has_it_and_then_the_next() -> None:
    claims = Claims()
    claims.announce("a", (SITE,))
    claims.announce("b", (SITE, "10.2.0.0/16"))
    assert claims.settle() == {"a": (SITE,), "b": ("10.2.0.0/16",)}
    assert claims.settle() == {}

    claims.announce("a", ())
    assert claims.settle() == {"a": (), "b": (SITE, "10.2.0.0/16")}
    claims.announce("a", (SITE,))
    assert claims.settle() == {}


def test_all_who_have_it_are_owners_and_the_preferred_one_is_sent_to() -> None:
    claims = Claims()
    claims.announce("a", (SITE,), {SITE: 200})
    claims.announce("b", (SITE,))
    claims.announce("c", (SITE,), {SITE: 100})

    assert claims.settle() == {"b": (SITE,)}
    assert claims.owners == {SITE: ("b", "c", "a")}
    claims.announce("a", (SITE,), {SITE: 5})
    assert claims.settle() == {"a": (SITE,), "b": ()}
    claims.announce("b", (SITE,), {SITE: 5})
    # Who has it keeps it, as long as nobody is better.
    assert claims.settle() == {}
    assert claims.owners == {SITE: ("a", "b", "c")}


def test_what_is_this_nodes_own_or_everybodys_is_no_peers() -> None:
    claims = Claims()
    claims.set_mesh(MESH, [SITE])
    claims.announce("a", (SITE, "100.64.0.0/10", "0.0.0.0/1", "10.2.0.0/16"))

    assert claims.settle() == {"a": ("10.2.0.0/16",)}
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

    had = {key: len(routes) for key, routes in claims.settle().items()}
    assert had["b"] < 16
    assert claims.of("a")[:2] == ("10.0.0.0/8", "9.0.0.0/8")
    complaint = claims.complaint()
    assert complaint is not None
    assert "too much of the internet" in complaint.text
    assert claims.settle() == {}
