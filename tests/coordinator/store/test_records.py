"""Records of the zone, in databases and among processes."""

from dataclasses import replace

from coordinator.mesh.dnsrecords import RecordSet
from coordinator.mesh.operations import AddRecord, RemoveRecord
from meshwg.wire.dnsrecords import DnsRecord
from tests.coordinator.store.processes import CONFIG, Process, auth_key, join

API = DnsRecord(name="api", kind="A", value="10.0.0.5")
WWW = DnsRecord(name="www", kind="CNAME", value="api")


async def test_records_outlast_a_restart(process: Process, database_url: str) -> None:
    await process.do(AddRecord(WWW), AddRecord(API))
    await process.do(RemoveRecord("www"))
    await process.do(AddRecord(WWW))

    again = await Process.start(database_url)

    assert again.registry.records == RecordSet((API, WWW), 3)
    assert process.registry.records == again.registry.records
    await again.store.close()


async def test_other_processes_learn_of_records(
    process: Process, other: Process
) -> None:
    await process.do(AddRecord(API))
    key = await auth_key(process)
    await process.do(join("k1", key))

    await other.look()

    assert other.registry.records.records == (API,)
    assert other.registry.version == process.registry.version
    await other.do(RemoveRecord("api"), AddRecord(WWW))
    await process.look()
    assert process.registry.records.records == (WWW,)


async def test_the_domain_is_what_was_said_last(database_url: str) -> None:
    first = await Process.start(database_url)
    assert first.registry.domain == "mesh.internal"
    await first.store.close()

    said = replace(CONFIG, domain="mesh.example.org")
    for config in (said, CONFIG):
        again = await Process.start(database_url, config)
        assert again.registry.domain == "mesh.example.org"
        await again.store.close()
