"""What an endpoint's handler is given."""

import asyncio

import pytest

from coordinator.administration.asking import Asked
from coordinator.administration.models import NodeChange, PageQuery
from coordinator.administration.problems import Problem
from coordinator.mesh.operations import AddUser, DisableUser
from tests.coordinator.administration.meshes import ADMIN, VirtualMesh


def asked(mesh: VirtualMesh, expected: str = "") -> Asked:
    return Asked(
        mesh,
        ADMIN,
        1000.0,
        mesh.mesh.random,
        str,
        {},
        PageQuery(limit=5),
        NodeChange(name="x"),
        expected,
    )


def test_what_was_read_is_there_in_its_form() -> None:
    given = asked(VirtualMesh())
    assert given.asking(PageQuery).limit == 5
    assert given.sent(NodeChange).name == "x"


def test_an_operation_is_the_actors_and_heeds_what_he_has_seen() -> None:
    mesh = VirtualMesh()
    asyncio.run(asked(mesh).perform(AddUser("alice")))

    with pytest.raises(Problem) as caught:
        asyncio.run(asked(mesh, "old").perform(DisableUser("alice")))

    assert caught.value.status == 412
    assert [row.actor for row in mesh.rows] == [ADMIN.identity]


def test_a_refusal_has_the_status_that_the_handler_wants() -> None:
    for status, wanted in ((409, 404), (400, 400)):
        doing = asked(VirtualMesh()).perform(DisableUser("nobody"), status)
        with pytest.raises(Problem) as caught:
            asyncio.run(doing)
        assert caught.value.status == wanted
