"""What a Lease of Kubernetes says, and what is written into one."""

from typing import Any

import pytest

from meshwg.kubernetes.election import LeaseRecord
from meshwg.kubernetes.lease import body_of, record_of

AT, LATER = "2026-11-30T12:00:00.000000Z", "2026-11-30T12:00:01.000000Z"
RECORD = LeaseRecord("a", 4.0, 2, "17")


def test_a_record_comes_back_as_it_was_written() -> None:
    assert record_of(body_of(RECORD, "kube-system", "vip", {}, AT)) == RECORD


def test_a_new_lease_names_no_version() -> None:
    body = body_of(LeaseRecord("a", 4.0), "kube-system", "vip", {}, AT)
    assert body["metadata"] == {"namespace": "kube-system", "name": "vip"}
    assert body["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 4,
        "leaseTransitions": 0,
        "acquireTime": AT,
        "renewTime": AT,
    }


def test_a_renewal_says_so_and_leaves_when_it_was_acquired() -> None:
    before = body_of(RECORD, "kube-system", "vip", {}, AT)
    spec = body_of(RECORD, "kube-system", "vip", before, LATER)["spec"]
    assert (spec["acquireTime"], spec["renewTime"]) == (AT, LATER)


def test_another_holder_acquires_it() -> None:
    before = body_of(RECORD, "kube-system", "vip", {}, AT)
    taken = LeaseRecord("b", 4.0, 3, "18")
    spec = body_of(taken, "kube-system", "vip", before, LATER)["spec"]
    assert (spec["holderIdentity"], spec["acquireTime"]) == ("b", LATER)


def test_what_others_have_put_into_it_stays() -> None:
    before = body_of(RECORD, "kube-system", "vip", {}, AT)
    before["metadata"]["labels"] = {"team": "sre"}
    before["spec"]["preferredHolder"] = "c"
    after = body_of(RECORD, "kube-system", "vip", before, LATER)
    assert after["metadata"]["labels"] == {"team": "sre"}
    assert after["spec"]["preferredHolder"] == "c"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"spec": None, "metadata": None},
        {"spec": "held", "metadata": []},
        {"spec": {"holderIdentity": 7, "leaseDurationSeconds": "4"}},
        {"spec": {"leaseDurationSeconds": -4, "leaseTransitions": True}},
        {"metadata": {"resourceVersion": 17}},
    ],
)
def test_what_makes_no_sense_says_nothing(body: dict[str, Any]) -> None:
    assert record_of(body) == LeaseRecord()
