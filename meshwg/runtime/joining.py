"""Joining a mesh without staying in it: no interface, and privileges for files only."""

import asyncio
import os

from meshwg.config import NodeConfig
from meshwg.control.client import ControlClient
from meshwg.control.events import (
    Accepted,
    CoordinatorsChanged,
    MembershipRevoked,
    Refused,
)
from meshwg.errors import NotJoined
from meshwg.proxies import Proxies
from meshwg.runtime import clock
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.control import ControlLink
from meshwg.runtime.membership import MembershipRecord, identity
from meshwg.runtime.offered_routes import OfferedRoutes
from meshwg.runtime.state import StateDirectory
from meshwg.wire.control import Registered


async def join(
    config: NodeConfig, limit: float, *, new_key: bool = False
) -> Registered:
    """Become a member by the token in the configuration; a node then needs none.

    :param limit: seconds to wait for the coordinator.
    :param new_key: whether the coordinator may have another key than before.
    :raises NotJoined: if it refuses, or cannot be reached; all is as before then.
    :raises MeshError: if the state directory cannot be used.
    """
    state = StateDirectory(config.state_dir)
    try:
        return await _Visit(config, state, new_key=new_key).run(limit)
    finally:
        state.close()


class _Visit:
    """One conversation with a coordinator."""

    def __init__(
        self, config: NodeConfig, state: StateDirectory, *, new_key: bool
    ) -> None:
        self._state = state
        self._before = state.membership()
        self._record = MembershipRecord(config, state, new_key=new_key)
        stored, routes = self._record.stored, OfferedRoutes(config.routes, state)
        self._url = stored.url
        self._client = ControlClient(
            identity(config, stored, state.private_key(os.urandom), routes.current),
            now=clock.now(),
            random=os.urandom,
            cache=self._record.cached_netmap(),
        )
        self._link = ControlLink(
            self._client, stored.url, self._turn, proxies=Proxies.read(os.environ)
        )
        self._alarm = Alarm(self._on_alarm)
        self._joined: asyncio.Future[Registered] = asyncio.Future()

    async def run(self, limit: float) -> Registered:
        """Return what the coordinator says of this node.

        :raises NotJoined: if it says nothing, or that it is none.
        """
        self._on_alarm()
        try:
            async with asyncio.timeout(limit):
                registered = await self._joined
        except TimeoutError:
            self._forget()
            why = self._client.error or f"The coordinator at {self._url} is silent"
            raise NotJoined(
                f"{why.rstrip('.')}: see that it runs, and try again"
            ) from None
        except NotJoined:
            self._forget()
            raise
        finally:
            self._alarm.clear()
            await self._link.close()
        cache = self._client.cache()
        assert cache is not None
        self._state.save_netmap(cache)
        self._record.accepted()
        return registered

    def _on_alarm(self) -> None:
        self._client.handle_timer(clock.now())
        self._turn()

    def _turn(self) -> None:
        while (event := self._client.next_event()) is not None:
            match event:
                case Accepted(registered) if not self._joined.done():
                    self._joined.set_result(registered)
                case CoordinatorsChanged(urls):
                    self._record.coordinators_changed(urls)
                case Refused(error) if not self._joined.done():
                    self._joined.set_exception(
                        NotJoined(f"{error.message.rstrip('.')}.")
                    )
                case MembershipRevoked(reason) if not self._joined.done():
                    self._joined.set_exception(NotJoined(f"{reason.rstrip('.')}."))
        self._link.update()
        self._alarm.set(self._client.get_timer(), clock.now())

    def _forget(self) -> None:
        """Be a member of what this node was a member of before, if of anything."""
        if self._before is None:
            self._state.forget_membership()
        else:
            self._state.save_membership(self._before)
