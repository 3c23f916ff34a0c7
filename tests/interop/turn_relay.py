"""The coordinator's relay alone, as a program: ``ADDRESS PORT REALM SECRET``."""

import asyncio
import os
import sys
import time

from coordinator.runtime.relay import Relay
from coordinator.runtime.udp import UdpService
from coordinator.stun import StunServer
from coordinator.turn import TurnServer
from meshwg.transmit import Endpoint

READY = "ready"


async def serve(address: str, port: int, realm: str, secret: str) -> None:
    """Serve until the program is ended."""
    server = TurnServer(
        realm=realm,
        secrets=[secret.encode()],
        hosts={4: address},
        random=os.urandom,
        unix_time=lambda _: time.time(),
    )
    udp = UdpService(StunServer([Endpoint(address, port)]))
    relay = Relay(server, udp.send)
    udp.on_relay = relay.receive
    await udp.start()
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
