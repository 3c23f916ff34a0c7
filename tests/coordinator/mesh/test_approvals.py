"""What nodes offer, and how administrators name it."""

import pytest

from coordinator.mesh.approvals import Announcement, parse_item
from meshwg.wire.routes import RouteTraits

SITE = "10.1.0.0/16"


@pytest.mark.parametrize("item", ["10.1.0.0/16", "fd12::/48", "exit", "hub"])
def test_items_are_networks_and_two_words(item: str) -> None:
    assert parse_item(item) == item


def test_a_network_is_taken_in_any_form() -> None:
    assert parse_item("2001:DB8::0/32") == "2001:db8::/32"


@pytest.mark.parametrize("text", ["", "10.1.0.1/16", "2001:db8::%1/64", "exits", "x/8"])
def test_anything_else_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no network"):
        parse_item(text)


def test_a_later_announcement_says_again_what_it_does_not_mention() -> None:
    traits = (RouteTraits(prefix=SITE, priority=5),)
    routes = Announcement(routes=(SITE,), traits=traits, exit=True)
    role = Announcement(hub=True)

    assert role.after(routes) == Announcement((SITE,), traits, exit=True, hub=True)
    assert routes.after(role) == Announcement((SITE,), traits, exit=True, hub=True)


def test_a_later_announcement_replaces_what_it_mentions() -> None:
    older = Announcement(routes=(SITE,), exit=True, hub=True)
    newer = Announcement(routes=(), exit=False, hub=False)

    assert newer.after(older) == newer
