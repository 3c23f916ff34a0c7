"""What changes in the mesh, as events."""

import pytest

from coordinator.administration.events import KEPT, MAX_FOLLOWERS, EventLog
from coordinator.administration.rights import Role, Scope, in_role
from coordinator.mesh.operations import (
    AddRecord,
    ApplyPolicy,
    Changes,
    MarkOffline,
    Operation,
    Remove,
    Rename,
    Update,
)
from meshwg.wire.dnsrecords import DnsRecord
from tests.coordinator.administration.meshes import with_scopes
from tests.coordinator.mesh.drafting import Mesh

ADMIN = in_role("carol", Role.ADMIN)


class Followed:
    """A mesh that somebody follows."""

    def __init__(self, follow: bool = True) -> None:
        self.mesh = Mesh()
        self.mesh.join("k", "web")
        self.log = EventLog("home")
        if follow:
            assert self.log.begin_to_follow(self.mesh.registry)

    def do(self, operation: Operation) -> None:
        draft = self.mesh.draft()
        draft.perform(operation)
        self.note(draft.changes)

    def note(self, changes: Changes) -> None:
        self.mesh.registry.apply(changes)
        self.log.note(changes, self.mesh.registry)

    def kinds(self, after: int, *scopes: Scope) -> list[str]:
        actor = with_scopes(*scopes) if scopes else ADMIN
        return [each.kind for each in self.log.after(after, actor)]


def test_what_changes_is_told_in_order() -> None:
    followed = Followed()
    start = followed.log.number
    followed.do(Rename("web", "shop"))
    followed.do(AddRecord(DnsRecord(name="api", kind="A", value="10.0.0.1")))
    followed.do(ApplyPolicy("# nothing\n", "carol"))
    followed.do(Remove("shop"))

    kinds = followed.kinds(start)

    assert kinds[:2] == ["node", "records"]
    assert kinds[-2:] == ["policy", "node-removed"]
    first = next(followed.log.after(start, ADMIN))
    assert first.record["node"]["name"] == "shop"


def test_nobody_is_told_what_he_may_not_read() -> None:
    followed = Followed()
    start = followed.log.number
    followed.do(Rename("web", "shop"))
    followed.do(AddRecord(DnsRecord(name="api", kind="A", value="10.0.0.1")))

    assert followed.kinds(start, Scope.NAMES_READ) == ["records"]
    assert followed.kinds(start, Scope.EVENTS_READ) == []


def test_a_node_that_only_moves_is_no_news() -> None:
    followed = Followed()
    start = followed.log.number
    followed.do(Update("k", '[{"kind": "host"}]', "null"))
    assert followed.kinds(start) == []
    followed.do(MarkOffline(frozenset({"home"})))
    assert followed.kinds(start) == ["node"]


def test_whoever_comes_back_goes_on_where_he_was() -> None:
    followed = Followed()
    followed.do(Rename("web", "shop"))
    id_ = followed.log.id_of(followed.log.number)
    followed.do(Rename("shop", "store"))

    place = followed.log.place(id_)

    assert place is not None
    assert followed.kinds(place) == ["node"]


@pytest.mark.parametrize(
    "last", ["", "home", "home-", "home-x", "home-99", "other-1", "home-" + "9" * 5000]
)
def test_whoever_tells_nothing_known_begins_anew(last: str) -> None:
    followed = Followed()
    followed.do(Rename("web", "shop"))
    assert followed.log.place(last) is None


def test_whoever_was_away_for_too_long_begins_anew() -> None:
    followed = Followed()
    id_ = followed.log.id_of(followed.log.number)
    for number in range(KEPT + 1):
        name = f"n{number}"
        followed.do(Rename("k", name))
    assert followed.log.place(id_) is None


def test_while_nobody_follows_nothing_is_kept_and_what_was_seen_is_old() -> None:
    followed = Followed()
    id_ = followed.log.id_of(followed.log.number)
    followed.log.end_to_follow()
    followed.do(Rename("web", "shop"))
    assert followed.log.begin_to_follow(followed.mesh.registry)
    assert followed.log.place(id_) is None
    assert followed.kinds(0) == []


def test_there_is_a_limit_to_those_who_follow() -> None:
    followed = Followed(follow=False)
    registry = followed.mesh.registry
    for _ in range(MAX_FOLLOWERS):
        assert followed.log.begin_to_follow(registry)
    assert not followed.log.begin_to_follow(registry)
    followed.log.end_to_follow()
    assert followed.log.begin_to_follow(registry)
