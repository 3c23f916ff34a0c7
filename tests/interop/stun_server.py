"""The coordinator's STUN server alone, as a program: ``HOST:PORT`` for each address."""

import asyncio
import sys

from coordinator.runtime.udp import UdpService
from coordinator.stun import StunServer
from meshwg.transmit import Endpoint

READY = "ready"


async def serve(addresses: list[Endpoint], rate: int) -> None:
    """Serve until the program is ended."""
    service = UdpService(StunServer(addresses, rate=rate))
    await service.start()
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def _parse(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    return Endpoint(host.strip("[]"), int(port))


if __name__ == "__main__":
    asyncio.run(serve([_parse(text) for text in sys.argv[2:]], int(sys.argv[1])))
