"""Leases in databases of each kind, which several coordinators may share."""

from coordinator.mesh.leases import Lease
from coordinator.mesh.operations import UseLease
from coordinator.store.engine import transaction
from coordinator.store.leases import read_leases, write_leases
from meshwg.wire.control import LeaseTerm
from tests.coordinator.store.processes import Process

VIP, VIP6, OTHER = "10.60.0.10/32", "fd60::10/128", "10.60.0.11/32"
TERM = LeaseTerm(holder="alice_1", duration=4.0, transitions=2)


async def write(process: Process, *leases: Lease) -> None:
    async with transaction(process.store._engine) as connection:
        await write_leases(connection, {each.prefix: each for each in leases})


async def read(process: Process, *prefixes: str) -> dict[str, object]:
    async with transaction(process.store._engine) as connection:
        uses = [UseLease("k", "s", 1, each) for each in prefixes]
        return await read_leases(connection, uses)


async def test_each_is_there_as_it_was_written_last(process: Process) -> None:
    await write(process, Lease(VIP).after(TERM), Lease(VIP6).after(TERM))
    last = Lease(VIP, 1).after(LeaseTerm(holder="bob_1", duration=4.0))
    await write(process, last)
    await write(process)

    assert await read(process, VIP, OTHER) == {"leases": {VIP: last}, "lease_count": 2}


async def test_where_none_is_mentioned_none_is_read(process: Process) -> None:
    assert await read(process) == {}
    assert await read(process, VIP) == {"leases": {}, "lease_count": 0}
