"""The command for floating addresses: its options, the node, the coordinator."""

from typing import Any, cast

import pytest
from click.testing import CliRunner

from meshwg.cli.client import DaemonClient
from meshwg.cli.kubernetes.group import meshwg_k8s
from meshwg.cli.kubernetes.vip import (
    CoordinatorLeases,
    DaemonAnnouncer,
    parse_lease,
)
from meshwg.errors import ConfigError
from meshwg.kubernetes.election import LeaseRecord, LeaseTaken
from meshwg.kubernetes.floatingaddress import parse_addresses
from meshwg.node.approvals import NOT_SAID

BOTH = parse_addresses(("10.60.0.10", "fd60::10"))
VIP = "10.60.0.10/32"


class StandInDaemon:
    """A node's control socket."""

    def __init__(self, **answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((path, body))
        prefix = str(body.get("route", "")).partition(",")[0]
        return {"prefix": prefix, **self.answer}


def client(daemon: StandInDaemon) -> DaemonClient:
    return cast(DaemonClient, daemon)


async def test_the_node_is_to_announce_each_address_for_a_while() -> None:
    daemon = StandInDaemon(state="approved", reason="")
    announcer = DaemonAnnouncer(client(daemon), BOTH)
    assert await announcer.hold(3) is None
    await announcer.release()
    assert daemon.asked == [
        ("/v1/routes/hold", {"route": "10.60.0.10/32,snat=no", "seconds": 3}),
        ("/v1/routes/hold", {"route": "fd60::10/128,snat=no", "seconds": 3}),
        ("/v1/routes/remove", {"route": "10.60.0.10/32"}),
        ("/v1/routes/remove", {"route": "fd60::10/128"}),
    ]


@pytest.mark.parametrize("state", ["advertised", "refused"])
async def test_what_nobody_has_approved_is_told_of(state: str) -> None:
    daemon = StandInDaemon(state=state, reason="nobody has approved it")
    why = await DaemonAnnouncer(client(daemon), BOTH[:1]).hold(3)
    assert why is not None
    assert "10.60.0.10/32: nobody has approved it" in why
    assert "route approve" in why


async def test_what_the_coordinator_has_not_answered_yet_is_no_complaint() -> None:
    daemon = StandInDaemon(state="advertised", reason=NOT_SAID)
    assert await DaemonAnnouncer(client(daemon), BOTH).hold(3) is None


async def test_a_lease_of_the_coordinator_is_read_and_written() -> None:
    daemon = StandInDaemon(
        version=7, holder="a_1", duration=4.0, transitions=2, written=True
    )
    leases = CoordinatorLeases(client(daemon), VIP)
    record = LeaseRecord("a_1", 4.0, 2, "7")

    assert await leases.read() == record
    assert await leases.write(LeaseRecord("a_1", 4.0, 2, "6")) == record
    await leases.close()

    assert daemon.asked[0] == ("/v1/lease", {"prefix": VIP})
    term = {"holder": "a_1", "duration": 4.0, "transitions": 2}
    assert daemon.asked[1] == ("/v1/lease", {"prefix": VIP, "base": 6, "term": term})


async def test_one_that_is_not_there_is_made() -> None:
    daemon = StandInDaemon(
        version=0, holder="", duration=0.0, transitions=0, written=False
    )
    leases = CoordinatorLeases(client(daemon), VIP)
    assert await leases.read() is None
    with pytest.raises(LeaseTaken):
        await leases.write(LeaseRecord("a_1", 4.0))
    assert daemon.asked[1][1]["base"] == 0


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--address", "10.60.0.0/24"), "is no address"),
        (("--address", "127.0.0.1"), "cannot float"),
        (("--lease-duration", "0.5"), "whole seconds"),
        (("--renew-deadline", "4"), "less a second"),
        (("--retry", "2"), "at least two"),
        (("--check", "6443"), "cannot be checked"),
        (("--lease", "vip"), "names no Lease"),
        (("--interface", "nonesuch0"), "There is no interface nonesuch0"),
    ],
)
def test_what_cannot_work_is_refused_at_once(words: tuple[str, ...], what: str) -> None:
    usual = () if "--address" in words else ("--address", "10.60.0.10")
    arguments = ["vip", "--arbiter", "coordinator", *usual, *words]
    result = CliRunner().invoke(meshwg_k8s, arguments)
    assert isinstance(result.exception, ConfigError), result.output
    assert what in str(result.exception)


def test_an_address_has_to_be_named() -> None:
    result = CliRunner().invoke(meshwg_k8s, ["vip"])
    assert result.exit_code == 2
    assert "--address" in result.output


def test_a_lease_has_a_namespace_and_a_name() -> None:
    assert parse_lease("kube-system/my-vip.2") == ("kube-system", "my-vip.2")
    for text in ("", "vip", "/vip", "kube-system/", "Kube/vip", "a/b/c", "a/b c"):
        with pytest.raises(ConfigError, match="names no Lease"):
            parse_lease(text)
