"""The interface is followed: in its own namespace, in others, and until removal."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future
from ipaddress import ip_address
from threading import Thread
from typing import Self, TypeVar

import pytest

from meshwg.runtime import links
from meshwg.runtime.links import LinkState, LinkWatcher
from meshwg.runtime.tun import TunDevice
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns

T = TypeVar("T")


@pytest.fixture
def host(lab: Lab) -> Host:
    return lab.add_host("host", lab.add_switch("cable", "10.7.0.0/24"))


@pytest.fixture
def container(lab: Lab, host: Host) -> Host:
    return lab.add_host("container", lab.add_switch("empty"))


def test_the_first_state_is_reported_at_once(host: Host) -> None:
    with Followed(host) as wg0:
        assert wg0.states == [LinkState(is_up=False, mtu=1420, name="wg0")]


def test_up_down_mtu_and_name_are_followed(host: Host) -> None:
    with Followed(host) as wg0:
        ip(host, "link set wg0 up")
        wg0.wait_for_state(is_up=True)
        ip(host, "link set wg0 mtu 1280")
        wg0.wait_for_state(is_up=True, mtu=1280)
        ip(host, "link set wg0 down")
        wg0.wait_for_state(is_up=False, mtu=1280)
        ip(host, "link set wg0 name office")
        wg0.wait_for_state(is_up=False, mtu=1280, name="office")
        assert wg0.tun.name == "office"


def test_other_interfaces_do_not_matter(host: Host) -> None:
    with Followed(host) as wg0:
        ip(host, "link set eth0 down")
        ip(host, "link set eth0 mtu 1300")
        ip(host, "link set wg0 up")
        wg0.wait_for_state(is_up=True)
        assert len(wg0.states) == 2


def test_the_addresses_of_all_interfaces_are_known(host: Host) -> None:
    with Followed(host) as wg0:
        ip(host, "address add 10.0.0.1/24 dev wg0")
        ip(host, "address add fd00::1/64 dev eth0")
        wg0.wait_for_address("10.0.0.1")
        wg0.wait_for_address("fd00::1")
        ip(host, "address delete 10.0.0.1/24 dev wg0")
        wg0.wait_for_address("10.0.0.1", known=False)


def test_removal_is_reported_once(host: Host) -> None:
    with Followed(host) as wg0:
        ip(host, "link delete wg0")
        wg0.wait_for_end()
        ip(host, "link set eth0 mtu 1300")
        wg0.call(lambda: None)
        assert wg0.ends == 1


def test_the_interface_is_followed_into_another_namespace(
    host: Host, container: Host
) -> None:
    with Followed(host) as wg0:
        ip(host, "link set wg0 up")
        wg0.wait_for_state(is_up=True)
        move(host, container)
        ip(container, "address add 10.0.0.1/24 dev wg0")
        ip(container, "link set wg0 mtu 1380 up")
        wg0.wait_for_state(is_up=True, mtu=1380)
        wg0.wait_for_address("10.0.0.1")
        wg0.wait_for_address(host.address(4), known=False)
        ip(container, "link set wg0 mtu 1280")
        wg0.wait_for_state(is_up=True, mtu=1280)
        ip(container, "link set wg0 down")
        wg0.wait_for_state(is_up=False, mtu=1280)


def test_a_move_takes_no_interface_down(host: Host, container: Host) -> None:
    with Followed(host) as wg0:
        ip(host, "link set wg0 up")
        wg0.wait_for_state(is_up=True)
        for source, target in (host, container), (container, host):
            move(source, target)
            ip(target, "address add 10.0.0.1/24 dev wg0")
            wg0.wait_for_address("10.0.0.1")
            ip(target, "link set wg0 up")
        ip(host, "link set wg0 mtu 1300")
        wg0.wait_for_state(is_up=True, mtu=1300)
        assert [state.is_up for state in wg0.states] == [False, True, True]


def test_an_interface_that_is_moved_to_be_brought_up_counts_as_up(
    host: Host, container: Host
) -> None:
    with Followed(host) as wg0:
        move(host, container)
        wg0.wait_for_state(is_up=True)


@pytest.mark.parametrize("times", [1, 2], ids=["away", "and-back"])
def test_an_interface_that_is_moved_and_left_down_does_not_stay_up(
    host: Host, container: Host, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(links, "MOVING", 0.5)
    with Followed(host) as wg0:
        ip(host, "link set wg0 up")
        wg0.wait_for_state(is_up=True)
        for source, target in [(host, container), (container, host)][:times]:
            move(source, target)
        wg0.wait_for_state(is_up=False)


def test_it_is_followed_back_home(host: Host, container: Host) -> None:
    with Followed(host) as wg0:
        move(host, container)
        ip(container, "link set wg0 up")
        wg0.wait_for_state(is_up=True)
        move(container, host)
        ip(host, "link set wg0 mtu 1300 up")
        wg0.wait_for_state(is_up=True, mtu=1300)
        ip(host, "link set wg0 down")
        wg0.wait_for_state(is_up=False, mtu=1300)


def test_removal_in_another_namespace_is_reported(host: Host, container: Host) -> None:
    with Followed(host) as wg0:
        move(host, container)
        ip(container, "link delete wg0")
        wg0.wait_for_end()


def test_a_namespace_that_ends_is_not_kept_alive(host: Host) -> None:
    with Followed(host) as wg0:
        guest = host.popen(["unshare", "--net", "sleep", "60"])
        home = host.call(namespace)
        host.wait_until(lambda: namespace(guest.pid) != home, "the guest has moved in")
        ip(host, f"link set wg0 netns {guest.pid}")
        wg0.wait_for_state(is_up=True)
        guest.kill()
        wg0.wait_for_end()


def test_the_thread_of_the_loop_never_leaves_its_namespace(
    host: Host, container: Host
) -> None:
    with Followed(host) as wg0:
        move(host, container)
        ip(container, "link set wg0 up")
        wg0.wait_for_state(is_up=True)
        assert wg0.call(namespace) == host.call(namespace)


def test_an_interface_in_an_inaccessible_namespace_counts_as_up(
    host: Host, container: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(namespace: int) -> None:
        raise PermissionError

    monkeypatch.setattr(links, "_enter", refuse)

    with Followed(host) as wg0:
        ip(host, "link set wg0 mtu 1300")
        wg0.wait_for_state(is_up=False, mtu=1300)
        move(host, container)
        wg0.wait_for_state(is_up=True, mtu=1300)


def test_nothing_is_reported_after_the_end(host: Host) -> None:
    with Followed(host) as wg0:
        wg0.stop_watching()
        ip(host, "link set wg0 up")
        wg0.call(lambda: None)
        assert len(wg0.states) == 1


class Followed:
    """A TUN device wg0 on a host, followed by an event loop in a thread there."""

    def __init__(self, host: Host) -> None:
        self.states: list[LinkState] = []
        self.ends = 0
        self._host = host
        self._started: Future[None] = Future()
        self._thread = Thread(
            target=lambda: host.call(lambda: asyncio.run(self._run()))
        )

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            self.tun = TunDevice.open("wg0", 1420)
            self._watcher = LinkWatcher(self.tun, self.states.append, self._end)
            await self._watcher.start()
        except BaseException as error:
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        await self._stop.wait()
        self._watcher.close()
        self.tun.close()

    def _end(self) -> None:
        self.ends += 1

    def call(self, function: Callable[[], T]) -> T:
        """Return what a function returns in the loop's thread."""
        result: Future[T] = Future()
        self._loop.call_soon_threadsafe(lambda: result.set_result(function()))
        return result.result()

    def stop_watching(self) -> None:
        self.call(self._watcher.close)

    def wait_for_state(self, is_up: bool, mtu: int = 1420, name: str = "wg0") -> None:
        expected = LinkState(is_up, mtu, name)
        self._wait(lambda: self.states[-1] == expected, f"{expected}")

    def wait_for_address(self, address: str, known: bool = True) -> None:
        packed = ip_address(address).packed
        self._wait(
            lambda: (packed in self.tun.local_addresses) == known, f"{address} {known}"
        )

    def wait_for_end(self) -> None:
        self._wait(lambda: self.ends == 1, "the interface has gone")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        self._host.wait_until(condition, what)


def ip(host: Host, command: str) -> None:
    host.run(["ip", *command.split()])


def move(source: Host, target: Host) -> None:
    """Move wg0 to another host, which needs a process there to be named by."""
    resident = target.popen(["sleep", "60"])
    ip(source, f"link set wg0 netns {resident.pid}")


def namespace(process: int | str = "thread-self") -> str:
    return os.readlink(f"/proc/{process}/ns/net")
