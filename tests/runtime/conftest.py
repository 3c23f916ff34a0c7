"""Tests of the packet path run on its event loop; the others may run on it as well."""

from collections.abc import Mapping

from meshwg.runtime.packetloop import PacketLoop


def pytest_asyncio_loop_factories() -> Mapping[str, type[PacketLoop]]:
    return {"packets": PacketLoop}
