"""Operations on their way to the database: in order, bounded, never lost."""

from coordinator.control.pending import BATCH, RETRY_INTERVAL, PendingOperations
from coordinator.mesh.approvals import Announcement
from coordinator.mesh.operations import Disconnect, Join, Operation, Sweep, Update


def test_operations_keep_their_order() -> None:
    pending = filled(join("a"), Update("a", "1", ""), Disconnect("a", "s", left=True))
    assert pending.take(0.0) == [
        join("a"),
        Update("a", "1", ""),
        Disconnect("a", "s", left=True),
    ]
    assert len(pending) == 0


def test_only_the_last_update_of_a_node_counts() -> None:
    pending = filled(*(Update("a", str(number), "") for number in range(100)))
    assert pending.take(0.0) == [Update("a", "99", "")]


def test_the_same_sweep_is_done_once() -> None:
    assert filled(Sweep(), Sweep()).take(0.0) == [Sweep()]


def test_a_transaction_has_a_bounded_size() -> None:
    pending = filled(*(Update(str(n), "", "") for n in range(BATCH + 3)))
    assert len(pending.take(0.0)) == BATCH
    assert len(pending.take(0.0)) == 3


def test_what_failed_is_tried_again_before_what_came_later() -> None:
    pending = filled(Update("a", "old", ""), Update("b", "b", ""))
    failed = pending.take(0.0)
    pending.add(Update("c", "c", ""))
    pending.add(Update("a", "new", ""))
    pending.put_back(failed, 5.0)
    assert pending.take(5.0) == []
    assert pending.take(5.0 + RETRY_INTERVAL) == [
        Update("b", "b", ""),
        Update("c", "c", ""),
        Update("a", "new", ""),
    ]


def filled(*operations: Operation) -> PendingOperations:
    pending = PendingOperations(0.0)
    for operation in operations:
        pending.add(operation)
    return pending


def join(key: str) -> Join:
    return Join(key, "s", "home", "name")


def test_an_update_says_again_what_the_one_before_announced() -> None:
    routes, role = Announcement(routes=("10.1.0.0/16",)), Announcement(hub=True)
    pending = filled(
        Update("a", "1", "", routes), Update("a", "2", ""), Update("a", "3", "", role)
    )
    together = Announcement(routes=("10.1.0.0/16",), hub=True)
    assert pending.take(0.0) == [Update("a", "3", "", together)]
