"""A lease as Kubernetes keeps it: coordination.k8s.io/v1 (KEP-589), in both directions.

The object's resourceVersion is the record's version: the API server stores an update
only if it names the version that is there, else it answers 409. What others have put
into the object, labels for instance, stays as it is.
"""

from collections.abc import Mapping
from typing import Any, Final

from meshwg.kubernetes.election import LeaseRecord

API_VERSION: Final = "coordination.k8s.io/v1"
KIND: Final = "Lease"

Body = dict[str, Any]


def record_of(body: Mapping[str, Any]) -> LeaseRecord:
    """Return what an object says of its holder.

    Whatever is missing or of another type counts as not said: anybody who may write the
    object may write anything.
    """
    spec = _mapping(body.get("spec"))
    version = _mapping(body.get("metadata")).get("resourceVersion")
    holder = spec.get("holderIdentity")
    return LeaseRecord(
        holder=holder if isinstance(holder, str) else "",
        duration=float(_count(spec.get("leaseDurationSeconds"))),
        transitions=_count(spec.get("leaseTransitions")),
        version=version if isinstance(version, str) else "",
    )


def body_of(
    record: LeaseRecord, namespace: str, name: str, before: Mapping[str, Any], at: str
) -> Body:
    """Return the object that says what a record does.

    :param before: the object that it takes the place of, empty for none.
    :param at: the wall clock's time as RFC 3339 with microseconds, which nothing but
        people and their tools look at.
    """
    spec = dict(_mapping(before.get("spec")))
    if spec.get("holderIdentity") != record.holder and record.holder:
        spec["acquireTime"] = at
    spec |= {
        "holderIdentity": record.holder,
        "leaseDurationSeconds": int(record.duration),
        "leaseTransitions": record.transitions,
        "renewTime": at,
    }
    metadata = {**_mapping(before.get("metadata")), "namespace": namespace}
    metadata["name"] = name
    if record.version:
        metadata["resourceVersion"] = record.version
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if is_count and isinstance(value, int) else 0
