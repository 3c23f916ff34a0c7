"""``meshwg-k8s vip``: the program around a floating address.

What is slow, the arbiter, the checks and the mesh, runs in tasks of its own; the kernel
is told at once. So an address goes in time, whatever hangs.
"""

import asyncio
import logging
from typing import Protocol

from meshwg.errors import MeshError
from meshwg.kubernetes.election import (
    LeaseRead,
    LeaseRecord,
    LeaseRequest,
    LeaseTaken,
    Timing,
)
from meshwg.kubernetes.floatingaddress import (
    AddressUnwanted,
    AddressWanted,
    FloatingAddress,
    HolderNoted,
)
from meshwg.runtime import clock
from meshwg.runtime.alarm import Alarm
from meshwg.runtime.kubernetes.kerneladdresses import KernelAddresses
from meshwg.runtime.kubernetes.lanannouncer import LanAnnouncer
from meshwg.runtime.kubernetes.servicecheck import ServiceCheck
from meshwg.runtime.surprises import Surprises
from meshwg.runtime.tasks import TaskSet

REFRESH = 1.0
"""Seconds between two extensions of what the kernel and the mesh were told: whoever
watches addresses looks at each."""
TOLD_OFTEN = 3
"""Announcements on the link that come with the first extensions: frames get lost."""
TELL_AGAIN = 10.0
"""Seconds between later ones, for machines that come to the link."""
FAREWELL = 2.0
"""Seconds for giving the lease back when the program ends."""

logger = logging.getLogger(__name__)


class LeaseStore(Protocol):
    """Where the lease is kept."""

    async def read(self) -> LeaseRecord | None:
        """Return the record, ``None`` if there is none.

        :raises MeshError: if that is not to be had.
        """

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        """Store a record in place of the version that it names.

        :raises LeaseTaken: if there is another one.
        :raises MeshError: if it could not be stored, as far as is known.
        """

    async def close(self) -> None:
        """Give back what is open."""


class RouteAnnouncer(Protocol):
    """Tells the mesh which addresses are behind this machine."""

    async def hold(self, seconds: int) -> str | None:
        """Have them told for so long from now on; return why they are not.

        :raises MeshError: if the node does not answer.
        """

    async def release(self) -> None:
        """Have them told no more.

        :raises MeshError: if the node does not answer.
        """


class VipProgram:
    """Has the addresses on this machine while it holds the lease.

    :param route: ``None`` to leave the mesh alone.
    :param lan: ``None`` to announce on no link.
    :param check: ``None`` if there is nothing to check.
    """

    def __init__(
        self,
        identity: str,
        timing: Timing,
        store: LeaseStore,
        addresses: KernelAddresses,
        *,
        route: RouteAnnouncer | None = None,
        lan: LanAnnouncer | None = None,
        check: ServiceCheck | None = None,
    ) -> None:
        now = clock.now()
        self._floating = FloatingAddress(
            identity, timing, now, is_checked=check is not None
        )
        self._timing = timing
        self._store = store
        self._addresses = addresses
        self._route, self._lan, self._check = route, lan, check
        self._alarm = Alarm(self._turn)
        self._tasks = TaskSet()
        self._ended = asyncio.Event()
        self._mesh_lock = asyncio.Lock()
        self._extended_at = float("-inf")
        self._told_count, self._told_at = 0, float("-inf")
        self._complaints: dict[str, str] = {}
        self._surprises = Surprises(logger)

    async def run(self, stop: asyncio.Event) -> None:
        """Take part until told to stop, and give everything back then."""
        self._turn()
        try:
            await stop.wait()
        finally:
            self._floating.stop(clock.now())
            self._turn()
            try:
                async with asyncio.timeout(FAREWELL):
                    await self._ended.wait()
                    await self._tasks.wait()
            except TimeoutError:
                logger.warning(
                    "The lease was not given back: others wait until it ends"
                )
            finally:
                self._alarm.clear()
                self._remove()
                self._tasks.cancel()
                await self._store.close()

    def _turn(self) -> None:
        """Do all that there is to do."""
        floating, now = self._floating, clock.now()
        floating.handle_timer(now)
        self._carry_out()
        if self._check is not None and floating.wants_check(now):
            self._tasks.run(self._check_service(self._check))
        request = floating.election.next_request(now)
        if request is not None:
            self._tasks.run(self._ask(request))
        if floating.election.has_ended:
            self._ended.set()
        self._alarm.set(floating.get_timer(), now)

    def _carry_out(self) -> None:
        while (event := self._floating.next_event()) is not None:
            match event:
                case AddressWanted():
                    self._have(event)
                case AddressUnwanted(reason):
                    logger.info("The floating address leaves: %s", reason.value)
                    self._leave()
                case HolderNoted(holder):
                    who = holder or "nobody"
                    logger.info("The lease of the floating address is with %s", who)

    # Here, or not.

    def _have(self, wanted: AddressWanted) -> None:
        now = clock.now()
        if not wanted.is_new and now < self._extended_at + REFRESH:
            return
        self._extended_at = now
        seconds = wanted.seconds(now)
        if wanted.is_new:
            self._told_count = 0
            logger.info("The floating address is here")
        try:
            self._addresses.have(seconds)
        except MeshError as error:
            self._complain("kernel", str(error))
            self._remove()
            return
        self._complain("kernel", "")
        self._announce(now)
        if self._route is not None:
            self._tasks.run(self._hold(self._route, seconds))

    def _announce(self, now: float) -> None:
        is_due = self._told_count < TOLD_OFTEN or now >= self._told_at + TELL_AGAIN
        if self._lan is None or not is_due:
            return
        self._told_count, self._told_at = self._told_count + 1, now
        try:
            self._lan.announce()
        except MeshError as error:
            self._complain("link", str(error))
        else:
            self._complain("link", "")

    def _leave(self) -> None:
        """Have the addresses here no more, and let others have them."""
        if self._remove():
            self._floating.election.withdrawn(clock.now())
        else:
            # Until then the kernel has removed them by itself.
            duration = self._timing.duration
            asyncio.get_running_loop().call_later(duration, self._let_go)
        self._tasks.run(self._withdraw())

    def _let_go(self) -> None:
        self._floating.election.withdrawn(clock.now())
        self._turn()

    def _remove(self) -> bool:
        """Remove the addresses; return whether that was possible."""
        try:
            self._addresses.remove()
        except MeshError as error:
            self._complain("kernel", str(error))
            return False
        return True

    async def _hold(self, route: RouteAnnouncer, seconds: int) -> None:
        async with self._mesh_lock:
            if not self._floating.is_here:
                return
            try:
                self._complain("mesh", await route.hold(seconds) or "")
            except MeshError as error:
                self._complain("mesh", str(error))

    async def _withdraw(self) -> None:
        """Have the mesh send nothing here, where nobody has the address any more."""
        if self._route is not None:
            async with self._mesh_lock:
                try:
                    async with asyncio.timeout(self._timing.patience):
                        await self._route.release()
                except (MeshError, TimeoutError) as error:
                    # The node forgets it by itself.
                    logger.debug("The route is not withdrawn: %s", error)

    # What is asked.

    async def _ask(self, request: LeaseRequest) -> None:
        election = self._floating.election
        try:
            async with asyncio.timeout(self._timing.patience):
                if isinstance(request, LeaseRead):
                    record = await self._store.read()
                else:
                    record = await self._store.write(request.record)
        except LeaseTaken:
            election.conflicted(clock.now())
        except TimeoutError:
            self._complain("lease", "What keeps the lease does not answer in time")
            election.failed(clock.now())
        except MeshError as error:
            self._complain("lease", str(error))
            election.failed(clock.now())
        except Exception as error:
            self._surprises.note(error)
            election.failed(clock.now())
        else:
            self._complain("lease", "")
            election.answered(record, clock.now())
        self._turn()

    async def _check_service(self, check: ServiceCheck) -> None:
        problem: str | None
        try:
            problem = await check.run()
        except Exception as error:
            self._surprises.note(error)
            problem = f"{error}"
        self._floating.checked(problem, clock.now())
        fitness = self._floating.fitness
        if fitness.is_fit:
            self._complain("service", "")
        elif fitness.problem:
            self._complain("service", f"The service is not fit here: {fitness.problem}")
        self._turn()

    def _complain(self, about: str, text: str) -> None:
        """Log what is wrong, once, and that it is well again."""
        before = self._complaints.get(about, "")
        if text == before:
            return
        self._complaints[about] = text
        if text:
            logger.warning("%s", text)
        else:
            logger.info("That is well again: %s", before)
