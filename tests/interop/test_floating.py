"""A floating address without Kubernetes: the coordinator keeps the lease."""

import signal

import pytest

from netlab.lab import Lab
from tests.interop.floating import VIP, Site, names_of

pytestmark = pytest.mark.netns

ARBITER = ("--arbiter", "coordinator")


@pytest.fixture
def site(lab: Lab) -> Site:
    return Site.build(lab)


def test_the_address_is_where_the_service_works_whatever_breaks(site: Site) -> None:
    one, two = site.contenders
    one.compete(*ARBITER)
    site.wait_for("one")
    two.compete(*ARBITER)
    asking = site.keep_asking()
    asking.wait_for_line(" one")

    # Politely.
    assert one.vip is not None
    assert one.vip.stop() == 0
    site.wait_for("two")
    assert site.holders() == ["two"]
    assert "The floating address leaves: this program stops" in one.vip.output()

    # By force.
    one.compete(*ARBITER)
    assert one.vip is not None
    one.vip.wait_for_line("is with two")
    assert two.vip is not None
    two.vip.send_signal(signal.SIGKILL)
    two.vip.wait()
    site.wait_for("one")
    assert site.holders() == ["one"]

    # The service ends.
    two.compete(*ARBITER)
    assert one.service is not None
    one.service.kill()
    site.wait_for("two")
    assert "the check fails" in one.vip.output()
    one.serve()

    # The whole node dies, program and all.
    two.vip.send_signal(signal.SIGKILL)
    two.vip.wait()
    two.member.kill()
    site.wait_for("one")
    asking.kill()
    assert names_of(asking) == ["one", "two", "one", "two", "one"]


def test_a_program_that_stands_still_has_the_address_no_more(site: Site) -> None:
    one, two = site.contenders
    one.compete(*ARBITER)
    site.wait_for("one")
    two.compete(*ARBITER)
    assert one.vip is not None

    one.vip.send_signal(signal.SIGSTOP)
    site.wait_for("two")
    assert site.holders() == ["two"]
    one.vip.send_signal(signal.SIGCONT)
    one.vip.wait_for_line("could not be renewed in time")
    assert site.holders() == ["two"]
    assert site.ask() == "two"


def test_without_an_approval_it_is_said_and_nobody_competes(site: Site) -> None:
    one = site.contenders[0]
    site.coordinator.command("route", "refuse", "one", f"{VIP}/32")
    one.compete(*ARBITER)
    assert one.vip is not None
    one.vip.wait_for_line("one may not have 10.60.0.10/32 behind it")
    assert site.holders() == []
