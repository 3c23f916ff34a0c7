"""Leases that members compete for, as the coordinator keeps them."""

import pytest

from coordinator.mesh.leases import MAX_LEASES, DraftedLeases, Lease
from coordinator.mesh.operations import (
    Accepted,
    Approve,
    Expire,
    Refuse,
    Refused,
    UseLease,
)
from coordinator.mesh.routes import Routes
from meshwg.wire.control import LeaseTerm
from tests.coordinator.mesh.drafting import Mesh, join

VIP = "10.60.0.10/32"
ALICE, BOB = (f"{letter * 42}A=" for letter in "AB")
TERM = LeaseTerm(holder="alice_1", duration=4.0)


class LeasingMesh(Mesh):
    """A mesh of two nodes, and the leases of its database."""

    def __init__(self, *, approved: tuple[str, ...] = ()) -> None:
        super().__init__(approved=approved)
        self.leases: dict[str, Lease] = {}
        for key, name in ((ALICE, "alice"), (BOB, "bob")):
            self.do(join(key, name=name, auth_key=str(self.text)))

    def use(
        self, key: str, prefix: str = VIP, base: int = 0, term: LeaseTerm | None = None
    ) -> Accepted | Refused:
        draft = self.draft()
        draft._leases = DraftedLeases(
            self.leases,
            len(self.leases),
            Routes(draft._members, self.approved).may_have,
        )
        result = draft.perform(UseLease(key, "s1", 1, prefix, base, term))
        assert not draft.is_new_version
        self.leases |= draft.leases
        return result

    def accepted(
        self, key: str, base: int = 0, term: LeaseTerm | None = None
    ) -> tuple[int, str, bool]:
        """Return the version, the holder, and whether that was written just now."""
        result = self.use(key, base=base, term=term)
        assert isinstance(result, Accepted), result
        assert result.lease is not None
        return result.lease_version, result.lease.holder, result.is_written


@pytest.fixture
def mesh() -> LeasingMesh:
    made = LeasingMesh()
    made.do(Approve("alice", VIP), Approve("bob", VIP))
    return made


def test_a_lease_that_is_not_there_is_nobodys(mesh: LeasingMesh) -> None:
    assert mesh.accepted(ALICE) == (0, "", False)
    assert mesh.leases == {}


def test_what_was_written_is_read_by_the_others(mesh: LeasingMesh) -> None:
    assert mesh.accepted(ALICE, term=TERM) == (1, "alice_1", True)
    assert mesh.accepted(BOB) == (1, "alice_1", False)
    assert mesh.leases[VIP].term == TERM


def test_of_two_that_write_at_once_one_is_too_late(mesh: LeasingMesh) -> None:
    mesh.accepted(ALICE, term=TERM)
    late = LeaseTerm(holder="bob_1", duration=4.0)
    assert mesh.accepted(BOB, term=late) == (1, "alice_1", False)
    assert mesh.accepted(BOB, base=1, term=late) == (2, "bob_1", True)
    assert mesh.accepted(ALICE, base=1, term=TERM) == (2, "bob_1", False)


def test_and_so_it_is_within_one_transaction(mesh: LeasingMesh) -> None:
    leases = DraftedLeases({}, 0, lambda node, prefix: True)
    first = leases.write(VIP, 0, TERM)
    second = leases.write(VIP, 0, LeaseTerm(holder="bob_1"))
    assert (first[1], second[1]) == (True, False)
    assert second[0] is first[0]


def test_only_who_may_have_the_address_reads_or_writes(mesh: LeasingMesh) -> None:
    mesh.do(Refuse("bob", VIP))
    for term in (None, TERM):
        result = mesh.use(BOB, term=term)
        assert isinstance(result, Refused)
        assert "bob may not have 10.60.0.10/32" in result.message
    assert mesh.leases == {}


def test_the_settings_may_approve_of_it_for_all() -> None:
    mesh = LeasingMesh(approved=("10.60.0.0/24",))
    assert mesh.accepted(ALICE, term=TERM)[2]
    assert isinstance(mesh.use(ALICE, "10.61.0.10/32", term=TERM), Refused)


def test_who_has_expired_uses_none(mesh: LeasingMesh) -> None:
    mesh.do(Expire("alice"))
    assert isinstance(mesh.use(ALICE, term=TERM), Refused)


def test_a_stranger_uses_none(mesh: LeasingMesh) -> None:
    assert isinstance(mesh.use(f"{'C' * 42}A=", term=TERM), Refused)


@pytest.mark.parametrize("prefix", ["10.60.0.0/24", "fd60::/64"])
def test_networks_do_not_float(mesh: LeasingMesh, prefix: str) -> None:
    mesh.do(Approve("alice", prefix))
    result = mesh.use(ALICE, prefix, term=TERM)
    assert isinstance(result, Refused)
    assert "only these float" in result.message


def test_an_address_of_the_mesh_does_not_float(mesh: LeasingMesh) -> None:
    assert isinstance(mesh.use(ALICE, "100.64.0.9/32", term=TERM), Refused)


def test_there_are_only_so_many() -> None:
    mesh = LeasingMesh(approved=("10.60.0.0/16",))
    mesh.leases = {
        prefix: Lease(prefix, 1)
        for prefix in (f"10.60.{n // 256}.{n % 256}/32" for n in range(MAX_LEASES))
    }
    result = mesh.use(ALICE, "10.60.9.9/32", term=TERM)
    assert isinstance(result, Refused)
    assert isinstance(mesh.use(ALICE, "10.60.0.1/32", base=1, term=TERM), Accepted)
    assert isinstance(mesh.use(ALICE, "10.60.9.9/32"), Accepted)
