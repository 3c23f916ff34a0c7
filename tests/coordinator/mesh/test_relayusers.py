"""Members as a relay sees them, through all that changes in the mesh."""

from coordinator.credentials import user
from coordinator.mesh.operations import Expire, Remove, Update
from coordinator.mesh.relayusers import RelayUsers
from tests.coordinator.mesh.drafting import Mesh

SECRET = b"north"


def test_members_have_a_name_at_relays_as_long_as_they_are_members() -> None:
    mesh = Mesh()
    users = RelayUsers(mesh.registry, SECRET)
    assert not users.has_user(user("a", SECRET))
    mesh.join("a", "a")
    mesh.join("b", "b")
    assert users.has_user(user("a", SECRET))
    assert not users.has_user(user("a", b"south"))
    assert not users.has_user("a")
    mesh.do(Remove("a"))
    assert not users.has_user(user("a", SECRET))
    mesh.do(Expire("b"))
    assert not users.has_user(user("b", SECRET))


def test_their_addresses_are_those_that_they_reported_last() -> None:
    mesh = Mesh()
    users = RelayUsers(mesh.registry, SECRET)
    mesh.join("a", "a")
    assert not users.has_host("192.0.2.1")
    mesh.do(Update("a", candidates("192.0.2.1", "2001:db8::1"), "null"))
    assert users.has_host("192.0.2.1")
    assert users.has_host("2001:db8::1")
    mesh.do(Update("a", candidates("192.0.2.2"), "null"))
    assert not users.has_host("192.0.2.1")
    assert users.has_host("192.0.2.2")
    mesh.do(Remove("a"))
    assert not users.has_host("192.0.2.2")


def test_an_administrator_may_let_members_send_anywhere() -> None:
    users = RelayUsers(Mesh().registry, SECRET, anywhere=True)
    assert users.has_host("192.0.2.1")
    assert not users.has_user("a")


def candidates(*hosts: str) -> str:
    listed = (f'{{"kind":"host","host":"{host}","port":7}}' for host in hosts)
    return f"[{','.join(listed)}]"
