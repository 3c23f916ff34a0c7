"""Names of the mesh where something else decides about name servers.

That are systemd-resolved, Debian's resolvconf and openresolv, each on a machine of its
own with Debian's systemd, on which the coordinator and a node run.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.interop.machines import ADDRESS, Machine
from tests.interop.test_systemd import (
    COORDINATOR,
    NODE,
    coordinator,
    start,
    status,
    token,
    wait_for_ready,
    wait_until_connected,
)

pytestmark = pytest.mark.netns

UNBOUND = f"""
server:
  interface: {ADDRESS}
  interface: 127.0.0.1
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  module-config: "iterator"
  local-zone: "example.org." static
  local-data: "www.example.org. A 203.0.113.80"
"""
UNBOUND_UNIT = """
[Service]
ExecStart=/usr/sbin/unbound -d -c /etc/test-unbound.conf
"""
READING = "CAP_NET_BIND_SERVICE CAP_DAC_READ_SEARCH"
USER = "systemd-resolve:x:{number}:{number}::/:/usr/sbin/nologin\n"
GROUP = "systemd-resolve:x:{number}:\n"
FREE_NUMBER = 64999


def boot(
    directory: Path, packages: Sequence[str], prepare: Callable[[Machine], None]
) -> Machine:
    """Return a machine on which the coordinator, a name server and a node run.

    :param prepare: called before and after it is booted, with what it is to have.
    """
    if shutil.which("unbound") is None:
        pytest.skip("needs unbound: install Debian's package")
    machine = Machine(directory, packages)
    machine.add_unit(
        COORDINATOR,
        f"AmbientCapabilities={READING}",
        f"CapabilityBoundingSet={READING}",
    )
    machine.add_unit(NODE)
    machine.file("/etc/meshwg/coordinator.toml").write_text(
        f'listen = "0.0.0.0:443"\nadvertise = "{ADDRESS}"\n'
    )
    machine.file("/etc/meshwg/node.toml").write_text(
        'name = "server"\nport_mapping = false\n'
    )
    machine.file("/etc/test-unbound.conf").write_text(UNBOUND)
    machine.file("/etc/systemd/system/unbound-test.service").write_text(UNBOUND_UNIT)
    resolv_conf = machine.file("/etc/resolv.conf")
    resolv_conf.unlink(missing_ok=True)
    prepare(machine)
    machine.boot()
    return machine


def join(machine: Machine) -> None:
    start(machine, "unbound-test.service")
    start(machine, COORDINATOR)
    wait_for_ready(machine)
    joined = machine.run("meshwg join -", text=token(machine))
    assert joined.returncode == 0, joined.stderr
    start(machine, NODE)
    wait_until_connected(machine)


def wait_for_mode(machine: Machine, mode: str) -> None:
    machine.wait_until(
        lambda: ((status(machine).get("self") or {}).get("dns") or {})["mode"] == mode,
        f"names are known by {mode}",
    )


def found(machine: Machine, name: str) -> list[str]:
    lines = machine.run(f"getent ahosts {name}").stdout.splitlines()
    return sorted({line.split()[0] for line in lines if line})


def own_addresses(machine: Machine) -> list[str]:
    addresses: list[str] = status(machine)["self"]["addresses"]
    return sorted(addresses)


def have_resolved(machine: Machine) -> None:
    for name, line in (("passwd", USER), ("group", GROUP)):
        text = Path("/etc", name).read_text() + line.format(number=FREE_NUMBER)
        machine.file(f"/etc/{name}").write_text(text)
    machine.file("/etc/systemd/resolved.conf.d/test.conf").write_text(
        f"[Resolve]\nDNS={ADDRESS}\nDNSSEC=no\n"
    )
    machine.file("/etc/resolv.conf").symlink_to(
        "../run/systemd/resolve/stub-resolv.conf"
    )


@pytest.fixture(scope="module")
def resolved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp("resolved")
    machine = boot(directory, ["systemd-resolved"], have_resolved)
    try:
        start(machine, "systemd-resolved.service")
        join(machine)
        wait_for_mode(machine, "systemd-resolved")
        yield machine
    finally:
        machine.close()


def test_resolved_knows_names_of_the_mesh(resolved: Machine) -> None:
    addresses = own_addresses(resolved)

    answer = resolved.run("resolvectl query server.mesh.internal").stdout
    assert all(address in answer for address in addresses)
    reverse = resolved.run(f"resolvectl query {addresses[0]}").stdout
    assert "server.mesh.internal" in reverse
    assert "server.mesh.internal" in resolved.run(f"dig -x {addresses[0]}").stdout
    assert found(resolved, "server") == addresses
    assert found(resolved, "server.mesh.internal") == addresses
    assert resolved.run("resolvectl query web.mesh.internal").returncode != 0


def test_resolved_asks_the_mesh_for_nothing_else(resolved: Machine) -> None:
    assert found(resolved, "www.example.org") == ["203.0.113.80"]

    link = resolved.run("resolvectl status meshwg0").stdout
    assert "-DefaultRoute" in link
    assert "DNS Domain: mesh.internal ~" in " ".join(link.split())
    assert "127.0.0.1:" in link
    seen = json.loads(resolved.run("meshwg dns status --json").stdout)
    assert (seen["mode"], seen["forwards_to"]) == ("systemd-resolved", [])


def test_resolved_learns_of_records(resolved: Machine) -> None:
    coordinator(resolved, "dns add api A 10.0.0.5")

    resolved.wait_until(
        lambda: "10.0.0.5" in resolved.run("meshwg dns query api").stdout,
        "the node is told",
    )

    resolved.run("resolvectl flush-caches")
    assert found(resolved, "api") == ["10.0.0.5"]


def test_resolved_is_told_again_when_it_was_started_anew(resolved: Machine) -> None:
    # It remembers what it was told; here it does not.
    resolved.run("systemctl stop systemd-resolved.service")
    resolved.run("find /run/systemd/resolve -type f -delete")
    start(resolved, "systemd-resolved.service")

    resolved.wait_until(
        lambda: found(resolved, "server") == own_addresses(resolved), "it knows names"
    )


def test_resolved_forgets_a_node_that_is_killed_or_stopped(resolved: Machine) -> None:
    resolved.run(f"systemctl kill --signal=KILL {NODE}")
    resolved.wait_until(lambda: found(resolved, "server") != [], "it was started again")

    resolved.run(f"systemctl stop {NODE}")

    assert found(resolved, "www.example.org") == ["203.0.113.80"]
    assert resolved.run("resolvectl query server.mesh.internal").returncode != 0
    start(resolved, NODE)
    wait_until_connected(resolved)
    wait_for_mode(resolved, "systemd-resolved")
    assert found(resolved, "server") == own_addresses(resolved)


def test_the_node_may_be_asked_for_everything(resolved: Machine) -> None:
    settings = resolved.file("/etc/meshwg/node.toml")
    before = settings.read_text()
    settings.write_text(f'{before}nameserver = ["{ADDRESS}"]\n')
    resolved.run("rm -r /etc/systemd/resolved.conf.d")
    resolved.run("systemctl restart systemd-resolved.service")
    resolved.run(f"systemctl restart {NODE}")
    wait_until_connected(resolved)
    wait_for_mode(resolved, "systemd-resolved")

    assert found(resolved, "www.example.org") == ["203.0.113.80"]
    assert "+DefaultRoute" in resolved.run("resolvectl status meshwg0").stdout
    report = json.loads(resolved.run("meshwg dns status --json").stdout)
    assert report["forwards_to"] == [ADDRESS]


def have_resolvconf(machine: Machine) -> None:
    machine.file("/etc/resolv.conf").symlink_to("/run/resolvconf/resolv.conf")
    machine.file("/etc/resolvconf/run").symlink_to("/run/resolvconf")


def have_openresolv(machine: Machine) -> None:
    machine.file("/etc/resolv.conf").write_text("")


@pytest.fixture(scope="module", params=["resolvconf", "openresolv"])
def collected(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Machine, str]]:
    """A machine with one of the two, and which one."""
    package: str = request.param
    prepare = have_resolvconf if package == "resolvconf" else have_openresolv
    machine = boot(tmp_path_factory.mktemp(package), [package], prepare)
    try:
        machine.run("mkdir -p /run/resolvconf/interface")
        if package == "resolvconf":
            machine.run("resolvconf --enable-updates")
        machine.run("resolvconf -a eth0.inet", text=f"nameserver {ADDRESS}\n")
        join(machine)
        wait_for_mode(machine, package)
        yield machine, package
    finally:
        machine.close()


def test_resolvconf_puts_the_mesh_first(collected: tuple[Machine, str]) -> None:
    machine, _ = collected

    assert found(machine, "server") == own_addresses(machine)
    assert found(machine, "www.example.org") == ["203.0.113.80"]
    servers = [
        line.split()[1]
        for line in machine.run("cat /etc/resolv.conf").stdout.splitlines()
        if line.startswith("nameserver")
    ]
    assert servers[0] in own_addresses(machine)
    assert ADDRESS in servers


def test_resolvconf_forgets_a_node_that_has_ended(
    collected: tuple[Machine, str],
) -> None:
    machine, mode = collected
    machine.run(f"systemctl kill --signal=KILL {NODE}")
    machine.wait_until(
        lambda: "the name server that resolvconf was told of" in machine.log(NODE),
        "it has forgotten",
    )
    machine.wait_until(
        lambda: found(machine, "server") != [], "the node was started again"
    )
    wait_for_mode(machine, mode)

    machine.run(f"systemctl stop {NODE}")

    assert "mesh.internal" not in machine.run("cat /etc/resolv.conf").stdout
    assert found(machine, "www.example.org") == ["203.0.113.80"]
