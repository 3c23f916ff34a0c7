"""``meshwg-wg``, but everything travels through a relay.

``ADDRESS PORT USER PASSWORD [-f] INTERFACE``: a relay, then what ``meshwg-wg`` takes.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from meshwg.cli.wg import main
from meshwg.relay.client import RelayClient
from meshwg.relay.server import RelayServer, RelayUrl, Transport
from meshwg.runtime import wg
from meshwg.transmit import Endpoint, Transmit
from meshwg.wire.stun import Buffer
from meshwg.wireguard.device import Device

LINK = 1 << 16


class RelayedDevice(Device):
    """A WireGuard interface that knows no other way than its relay."""

    server: RelayServer
    _client: RelayClient
    _now: float

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # The fast path knows no relays: all is left to the way of batches.
        self.seal_one = lambda *_: None
        self.open_one = lambda *_: None

    def up(self, now: float) -> None:
        self._now = now
        self._client = RelayClient(self.server, LINK, random=os.urandom)
        self._client.start(now)
        super().up(now)

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None:
        self._now = now
        super().receive_packets(packets, now)

    def receive_datagrams(
        self, datagrams: Iterable[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        self._now = now
        for peer, run in self._client.receive(list(datagrams), now):
            super().receive_datagrams(run, Endpoint(peer.host, peer.port), now)

    def datagrams_to_send(self) -> list[Transmit]:
        if not self.is_up:
            return []
        for transmit in super().datagrams_to_send():
            self._client.send(transmit.destination, transmit.datagrams, self._now)
        return self._client.datagrams_to_send()

    def get_timer(self) -> float | None:
        if not self.is_up:
            return None
        timers = (super().get_timer(), self._client.get_timer())
        return min((due for due in timers if due is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self._now = now
        super().handle_timer(now)
        self._client.handle_timer(now)


if __name__ == "__main__":
    host, port, *user = sys.argv[1:5]
    del sys.argv[1:5]
    url = RelayUrl(host, int(port), Transport.UDP)
    RelayedDevice.server = RelayServer(url, host, *user)
    vars(wg)["Device"] = RelayedDevice
    # The compiled core would carry past what this device does with datagrams.
    os.environ["MESHWG_DATAPATH"] = "python"
    main()
