"""What runs packets runs in their loop, and what else does may as well."""

from collections.abc import Mapping

from meshwg.runtime.packetloop import PacketLoop


def pytest_asyncio_loop_factories() -> Mapping[str, type[PacketLoop]]:
    return {"packets": PacketLoop}
