"""What is to be done is the same, whoever wants it."""

from coordinator.mesh.operations import Accepted, Administered, Rename, unwrapped
from tests.coordinator.mesh.drafting import Mesh


def test_an_administrators_operation_is_what_is_in_it() -> None:
    rename = Rename("a", "b")

    assert unwrapped(Administered(rename, "me")) is rename
    assert unwrapped(rename) is rename


def test_it_is_noted_with_who_wants_it_and_from_where_if_it_is_accepted() -> None:
    mesh = Mesh()
    mesh.join("k", "old")
    draft = mesh.draft()

    wanted = Administered(Rename("old", "new"), "me", "192.0.2.1")
    assert isinstance(draft.perform(wanted), Accepted)
    draft.perform(Administered(Rename("nobody", "x"), "me"))

    (entry,) = draft.audited
    assert (entry.actor, entry.address) == ("me", "192.0.2.1")
    assert (entry.action, entry.target) == ("rename", "old")
    assert '"name":"old"' in entry.before
    assert '"name":"new"' in entry.after
