"""A hub's forwarding: switched on with its table, and undone without a trace."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from meshwg.errors import ConfigError, NotPermitted
from meshwg.forwarding import Forwarded, ForwardedRoute
from meshwg.runtime.forwarding import Forwarding, remove_tables
from meshwg.runtime.state import FORWARDING_FILE, StateDirectory
from netlab.lab import Lab
from netlab.machine import Host

pytestmark = pytest.mark.netns

NET = "198.51.0.0/24"
NONSENSE = ForwardedRoute("10.1.0.0/24 oops", "10.1.0.0/24")
"""What no option can name."""
HUB = Forwarded(members=True)
MASQUERADE = """
table ip mine {
  chain out {
    type nat hook postrouting priority srcnat; policy accept;
    iifname "eth1" oifname "eth2" masquerade
  }
}
"""
SETTINGS = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.eth0.accept_ra",
)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateDirectory]:
    with closing(StateDirectory(tmp_path / "state")) as directory:
        yield directory


@pytest.fixture
def hub(lab: Lab) -> Host:
    return lab.add_host("hub", lab.add_switch("cable", "192.0.2.0/24"))


def test_it_is_switched_on_and_off(hub: Host, state: StateDirectory) -> None:
    hub.namespace.set_sysctl({"net.ipv6.conf.eth0.accept_ra": 1})
    forwarding = Forwarding("meshwg0", state)

    switch_on(hub, forwarding)
    assert settings(hub) == ["1", "1", "2"]
    rules = tables(hub)
    assert 'iifname "meshwg0" oifname "meshwg0" accept' in rules
    assert "tcp option maxseg size set rt mtu" in rules

    run(hub, forwarding.disable)
    assert settings(hub) == ["0", "0", "1"]
    assert tables(hub) == ""


def test_what_was_on_before_stays_on(hub: Host, state: StateDirectory) -> None:
    hub.namespace.set_sysctl({"net.ipv4.ip_forward": 1})
    forwarding = Forwarding("meshwg0", state)

    switch_on(hub, forwarding)
    run(hub, forwarding.disable)

    assert settings(hub) == ["1", "0", "0"]


def test_what_a_killed_hub_left_is_replaced(hub: Host, state: StateDirectory) -> None:
    switch_on(hub, Forwarding("meshwg0", state))
    switch_on(hub, Forwarding("meshwg0", state))

    assert tables(hub).count("table inet") == 1


def test_what_a_killed_hub_left_is_undone_by_whatever_it_is_next(
    hub: Host, state: StateDirectory
) -> None:
    hub.namespace.set_sysctl({"net.ipv6.conf.eth0.accept_ra": 1})
    switch_on(hub, Forwarding("meshwg0", state))

    run(hub, Forwarding("meshwg1", state).recover)

    assert settings(hub) == ["0", "0", "1"]
    assert tables(hub) == ""
    assert state.forwarding() is None


def test_what_was_changed_after_a_hub_was_killed_stays(
    hub: Host, state: StateDirectory
) -> None:
    hub.namespace.set_sysctl({"net.ipv6.conf.eth0.accept_ra": 1})
    switch_on(hub, Forwarding("meshwg0", state))
    hub.namespace.set_sysctl({"net.ipv6.conf.eth0.accept_ra": 0})

    run(hub, Forwarding("meshwg0", state).recover)

    assert settings(hub) == ["0", "0", "0"]


def test_what_a_reboot_has_reset_is_left_as_it_is(
    hub: Host, state: StateDirectory
) -> None:
    switch_on(hub, Forwarding("meshwg0", state))
    note = state.forwarding()
    assert note is not None
    state.save_forwarding(note | {"system": "another"})

    run(hub, Forwarding("meshwg0", state).recover)

    assert settings(hub) == ["1", "1", "0"]
    assert state.forwarding() is None


@pytest.mark.parametrize(
    "note",
    [
        "",
        "{}",
        "[1]",
        '{"table": 7, "changes": {}}',
        '{"system": "SYSTEM", "table": "t", "changes": {"/proc/sys/net/x": 7}}',
        '{"system": "SYSTEM", "table": "t", "changes": {"/etc/passwd": ["1", "2"]}}',
    ],
)
def test_a_damaged_note_harms_nothing(
    hub: Host, state: StateDirectory, tmp_path: Path, note: str
) -> None:
    forwarding = Forwarding("meshwg0", state)
    switch_on(hub, forwarding)
    system = str((state.forwarding() or {})["system"])
    run(hub, forwarding.disable)
    file = tmp_path / "state" / FORWARDING_FILE
    file.write_text(note.replace("SYSTEM", system))

    run(hub, Forwarding("meshwg0", state).recover)

    assert settings(hub) == ["0", "0", "0"]
    assert not file.exists() or note == ""


def test_two_hubs_on_one_machine_do_not_disturb_each_other(
    hub: Host, state: StateDirectory
) -> None:
    one, two = Forwarding("mesh.one", state), Forwarding("mesh-two_2", state)
    switch_on(hub, one)
    switch_on(hub, two)

    run(hub, two.disable)

    assert "meshwg-mesh.one" in tables(hub)
    assert settings(hub)[0] == "1"


@pytest.mark.parametrize("first", ["one", "two"])
def test_the_last_of_two_nodes_undoes_what_the_first_has_switched_on(
    lab: Lab, tmp_path: Path, first: str
) -> None:
    hub, *_ = crossroads(lab)
    hub.namespace.set_sysctl({"net.ipv6.conf.eth0.accept_ra": 1})
    with (
        closing(StateDirectory(tmp_path / "one")) as here,
        closing(StateDirectory(tmp_path / "two")) as there,
    ):
        one, two = Forwarding("eth1", here), Forwarding("eth2", there)
        switch_on(hub, one)
        switch_on(hub, two)
        ends = [one, two] if first == "one" else [two, one]

        run(hub, ends[0].disable)
        assert settings(hub) == ["1", "1", "2"]
        assert here.forwarding() is None or there.forwarding() is None

        run(hub, ends[1].disable)
        assert settings(hub) == ["0", "0", "1"]
        assert tables(hub) == ""


def test_a_killed_node_takes_nothing_from_another_when_it_starts_again(
    lab: Lab, tmp_path: Path
) -> None:
    hub, *_ = crossroads(lab)
    with (
        closing(StateDirectory(tmp_path / "one")) as here,
        closing(StateDirectory(tmp_path / "two")) as there,
    ):
        other = Forwarding("eth2", there)
        switch_on(hub, Forwarding("eth1", here))
        switch_on(hub, other)

        run(hub, Forwarding("eth1", here).recover)

        assert settings(hub)[:2] == ["1", "1"]
        assert "meshwg-eth1" not in tables(hub)
        run(hub, other.disable)
        assert settings(hub)[:2] == ["0", "0"]


def test_other_interfaces_do_not_forward_to_each_other(
    lab: Lab, state: StateDirectory
) -> None:
    hub, one, two, peer = crossroads(lab)
    forwarding = Forwarding("eth2", state)

    switch_on(hub, forwarding)

    assert not reaches(one, two)
    assert not reaches(two, one)
    # What goes between the mesh and a network behind this node is let through.
    assert reaches(peer, two)
    assert reaches(two, peer)

    run(hub, forwarding.disable)
    assert tables(hub) == ""


def test_what_others_come_to_forward_later_passes(
    lab: Lab, state: StateDirectory
) -> None:
    hub, one, two, _ = crossroads(lab, later="eth1")
    switch_on(hub, Forwarding("eth2", state))
    hub.attach(two.attachments["eth0"].uplink, "eth1")
    route(two, one, hub, "eth1")

    assert reaches(one, two)


def test_tables_whose_interface_is_gone_are_removed_with_their_drops(
    lab: Lab, state: StateDirectory
) -> None:
    hub, one, two, _ = crossroads(lab)
    switch_on(hub, Forwarding("meshwg0", state))
    switch_on(hub, Forwarding("eth2", state))
    assert not reaches(one, two)

    run(hub, remove_tables)

    assert "meshwg-meshwg0" not in tables(hub)
    assert "meshwg-eth2" in tables(hub)
    assert reaches(one, two)


def test_tables_about_exits_go_with_their_interface(lab: Lab) -> None:
    hub, *_ = crossroads(lab)
    for name in ("killswitch-eth2", "exit-eth2", "killswitch-meshwg0", "exit-meshwg0"):
        hub.run(["nft", "add", "table", "inet", f"meshwg-{name}"])

    run(hub, remove_tables)

    left = hub.run(["nft", "list", "tables"]).stdout.split()
    assert left[2::3] == ["meshwg-killswitch-eth2", "meshwg-exit-eth2"]


def test_where_forwarding_was_on_nothing_is_dropped(
    lab: Lab, state: StateDirectory
) -> None:
    hub, one, two, _ = crossroads(lab)
    hub.namespace.set_sysctl({"net.ipv4.ip_forward": 1})

    switch_on(hub, Forwarding("eth2", state))

    assert reaches(one, two)
    assert "nfproto ipv6 iifname {" in tables(hub)
    assert "nfproto ipv4 iifname {" not in tables(hub)


def test_switching_off_what_was_never_on_is_not_an_error(
    hub: Host, state: StateDirectory
) -> None:
    run(hub, Forwarding("meshwg0", state).disable)


def test_without_nftables_the_package_is_named(
    hub: Host, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ConfigError, match="install the package nftables"):
        switch_on(hub, Forwarding("meshwg0", state))


def test_rules_that_are_refused_change_nothing(
    hub: Host, state: StateDirectory
) -> None:
    with pytest.raises(ConfigError, match="nftables refuses the hub's rules"):
        switch_on(hub, Forwarding("no such name", state))

    assert settings(hub) == ["0", "0", "0"]
    assert tables(hub) == ""


def test_settings_that_are_read_only_are_explained(
    hub: Host, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    forwarding = Forwarding("meshwg0", state)
    hub.namespace.set_sysctl({"net.ipv4.ip_forward": 0})
    monkeypatch.setattr(Path, "write_text", refuse)

    with pytest.raises(NotPermitted, match="Read-only file system"):
        switch_on(hub, forwarding)

    assert tables(hub) == ""


def test_only_approved_networks_are_reached_and_know_nothing_of_the_mesh(
    lab: Lab, state: StateDirectory
) -> None:
    hub, one, two, peer = crossroads(lab)
    forwarding = Forwarding("eth2", state)
    one.run(["ip", "route", "flush", "exact", address(peer)])
    switch_on(hub, forwarding)
    assert reaches(peer, two)

    switch_on(hub, forwarding, behind(ForwardedRoute(NET, NET)))
    assert reaches(peer, one)
    assert not reaches(peer, two)

    switch_on(hub, forwarding, behind(ForwardedRoute(NET, NET, masquerade=False)))
    assert not reaches(peer, one)
    route(one, peer, hub, "eth0")
    assert reaches(peer, one)
    assert reaches(one, peer)

    run(hub, forwarding.disable)
    assert tables(hub) == ""
    assert settings(hub)[:2] == ["0", "0"]


def test_a_mapped_network_is_reached_by_its_other_addresses_both_ways(
    lab: Lab, state: StateDirectory
) -> None:
    hub, one, _, peer = crossroads(lab)
    forwarding = Forwarding("eth2", state)
    mapped = ForwardedRoute("10.201.1.0/24", NET, masquerade=False)
    switch_on(hub, forwarding, behind(mapped))
    via = address(hub, "eth2")
    peer.run(["ip", "route", "add", "10.201.1.0/24", "via", via])
    peer.run(["ip", "route", "flush", "exact", address(one)])

    there = f"10.201.1.{address(one).rpartition('.')[2]}"
    assert peer.run(["ping", "-n", "-c", "2", "-W", "2", there]).returncode == 0
    # Who is there has the other address here, too.
    assert reaches(one, peer)


def test_rules_that_are_refused_leave_those_before(
    hub: Host, state: StateDirectory
) -> None:
    forwarding = Forwarding("meshwg0", state)
    switch_on(hub, forwarding)
    before = tables(hub)

    with pytest.raises(ConfigError, match="nftables refuses"):
        switch_on(hub, forwarding, behind(ForwardedRoute(NET, NET), NONSENSE))

    assert tables(hub) == before


def test_what_is_approved_no_more_is_undone_and_comes_back_when_it_is_again(
    hub: Host, state: StateDirectory
) -> None:
    forwarding = Forwarding("meshwg0", state)
    for _ in range(2):
        switch_on(hub, forwarding, behind(ForwardedRoute(NET, NET)))
        assert settings(hub)[:2] == ["1", "1"]
        assert NET in tables(hub)

        switch_on(hub, forwarding, Forwarded(mesh=("100.64.0.0/16",)))
        assert settings(hub)[:2] == ["0", "0"]
        assert tables(hub) == ""
        assert state.forwarding() is None


def test_from_beside_it_nobody_begins_to_talk_into_the_mesh(
    lab: Lab, state: StateDirectory
) -> None:
    hub, one, two, peer = crossroads(lab)
    hub.namespace.set_sysctl({"net.ipv4.ip_forward": 1})
    forwarding = Forwarding("eth2", state)
    mesh = ("198.51.2.0/24",)
    switch_on(hub, forwarding, Forwarded(members=True, mesh=mesh))

    assert not reaches(one, peer)
    assert dropped(hub) >= 3
    # Where to a peer may go is not for this table to say, and answers come back.
    assert reaches(peer, one)
    assert reaches(hub, peer)

    route = ForwardedRoute(NET, NET, masquerade=False)
    switch_on(hub, forwarding, Forwarded((route,), members=True, mesh=mesh))
    assert reaches(one, peer)
    assert not reaches(two, peer)

    # What the machine lets out with its own address has that in the mesh, too.
    hub.run(["nft", "-f", "-"], stdin=MASQUERADE)
    assert reaches(two, peer)


def test_whether_the_system_would_forward_is_seen_without_changing_it(
    hub: Host, state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(hub, Forwarding("meshwg0", state).check)

    assert settings(hub) == ["0", "0", "0"]
    assert tables(hub) == ""
    assert state.forwarding() is None
    with pytest.raises(ConfigError, match="nftables refuses the hub's rules"):
        run(hub, Forwarding("no such name", state).check)

    real = Path.open

    def refuse(path: Path, mode: str = "r", **options: Any) -> Any:
        if mode == "r+":
            raise OSError(30, "Read-only file system")
        return real(path, mode, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(NotPermitted, match="Read-only file system"):
        run(hub, Forwarding("meshwg0", state).check)


def behind(*routes: ForwardedRoute) -> Forwarded:
    return Forwarded(routes)


def dropped(hub: Host) -> int:
    """Return how many packets were kept from the mesh."""
    chain = ["nft", "list", "chain", "inet", "meshwg-eth2", "entering"]
    found = re.findall(r"@inside4 counter packets (\d+)", hub.run(chain).stdout)
    return sum(map(int, found))


def crossroads(lab: Lab, later: str = "") -> tuple[Host, Host, Host, Host]:
    """Return a machine with three networks, and a host in each, with routes by it.

    :param later: the interface that it does not have yet.
    """
    switches = [lab.add_switch(f"net{i}", f"198.51.{i}.0/24") for i in range(3)]
    hub = lab.add_host("hub", switches[0])
    for number in (1, 2):
        if f"eth{number}" != later:
            hub.attach(switches[number], f"eth{number}")
    one, two, peer = (lab.add_host(f"host{i}", switches[i]) for i in range(3))
    hosts = one, two, peer
    for number, host in enumerate(hosts):
        for other in hosts:
            if other is not host and f"eth{number}" != later:
                route(host, other, hub, f"eth{number}")
    return hub, one, two, peer


def route(host: Host, other: Host, hub: Host, interface: str) -> None:
    """Have a host reach another one by an interface of the hub."""
    target, via = address(other), address(hub, interface)
    host.run(["ip", "route", "add", target, "via", via])


def address(host: Host, interface: str = "eth0") -> str:
    """Return the IPv4 address of an interface."""
    return next(a for a in host.attachments[interface].addresses if ":" not in a)


def reaches(host: Host, other: Host) -> bool:
    """Send three echo requests."""
    ping = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", address(other)]
    return host.run(ping, check=False).returncode == 0


def switch_on(hub: Host, forwarding: Forwarding, what: Forwarded = HUB) -> None:
    """Have a system forward something."""
    run(hub, lambda: forwarding.want(what))


def run(hub: Host, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Do something in the hub's network."""
    hub.call(lambda: asyncio.run(work()))


def settings(hub: Host) -> list[str]:
    return hub.run(["sysctl", "-n", *SETTINGS]).stdout.split()


def tables(hub: Host) -> str:
    return hub.run(["nft", "list", "ruleset"]).stdout
