"""The policy: what it is, what another one would change, and why one may reach what."""

from coordinator.administration.asking import Answer, Asked
from coordinator.administration.models import ExplainQuery, PageQuery, PolicyQuery
from coordinator.administration.pages import page
from coordinator.administration.problems import (
    Problem,
    Trouble,
    malformed,
    unknown,
)
from coordinator.mesh.access import inventory_of
from coordinator.mesh.audit import policy_state
from coordinator.mesh.etags import etag_of
from coordinator.mesh.flows import cut_by
from coordinator.mesh.operations import ApplyPolicy
from coordinator.mesh.parties import party_of
from coordinator.mesh.policies import PolicyVersion
from coordinator.mesh.records import (
    cut_record,
    difference_record,
    policy_record,
    rule_records,
)
from coordinator.policy.compile import Policy
from coordinator.policy.diff import differences
from coordinator.policy.explain import explain
from coordinator.policy.load import load_policy
from meshwg.policy.ports import ICMP, parse_ports

NO_POLICY = (
    "There is no policy, so all nodes reach each other; 'meshwg-coordinator policy "
    "apply FILE' sets one"
)
STATE_MISSING = (
    "Say with If-Match which policy this one is to replace: its entity tag is in the "
    "ETag of GET /v1/policy"
)


async def show_policy(asked: Asked) -> Answer:
    """Show the policy in force, ``null`` if there is none."""
    active = (await asked.mesh.registry()).policy
    record = None if active is None else active.record
    shown = None if record is None else {**policy_record(record), "text": record.text}
    return Answer({"policy": shown}, etag_of(policy_state(record)))


async def list_versions(asked: Asked) -> Answer:
    """List all versions of the policy, the newest first, without their texts."""
    versions, wanted = await asked.mesh.policies(), asked.asking(PageQuery)
    shown, more = page(
        versions, lambda each: (-each.version,), wanted.limit, wanted.cursor
    )
    return Answer({"versions": [policy_record(each) for each in shown], **more})


async def show_version(asked: Asked) -> Answer:
    """Show one version of the policy, with its text."""
    text = asked.path["version"]
    versions = await asked.mesh.policies()
    if not versions:
        raise unknown(NO_POLICY)
    for each in versions:
        if text == str(each.version):
            return Answer({"policy": {**policy_record(each), "text": each.text}})
    raise unknown(
        f"There is no version {text} of the policy; 'meshwg-coordinator policy "
        "history' shows all"
    )


async def apply_policy(asked: Asked) -> Answer:
    """Have another policy from now on; it is checked first, and refused whole."""
    if asked.actor.states_what_it_replaces and not asked.expected:
        await _refuse_to_replace(asked)
    comment = asked.asking(PolicyQuery).comment
    operation = ApplyPolicy(asked.text, asked.actor.identity, comment)
    try:
        done = await asked.perform(operation)
    except Problem as problem:
        if problem.trouble is not Trouble.REFUSED:
            raise
        # Whatever is wrong with a policy is wrong with the text that was sent.
        raise malformed(str(problem)) from None
    assert done.policy is not None
    return _applied(done.policy)


async def check_policy(asked: Asked) -> Answer:
    """See whether a policy would be accepted: its form, its names and its tests."""
    document = (await _loaded(asked)).document
    return Answer({"rules": len(document.allows), "tests": len(document.expectations)})


async def diff_policy(asked: Asked) -> Answer:
    """Show what a policy would change between nodes, and which flows it would cut.

    Without a policy nobody tells of flows, and ``cut`` is ``null``.
    """
    new, registry = await _loaded(asked), await asked.mesh.registry()
    old = None if registry.policy is None else registry.policy.policy
    nodes = [node.subject for node in registry.nodes.values() if not node.expired]
    cut = None
    if old is not None:
        found = cut_by(new, old, await asked.mesh.flows(), registry)
        cut = [cut_record(each) for each in found]
    changes = [difference_record(each) for each in differences(old, new, nodes)]
    return Answer({"differences": changes, "cut": cut})


async def explain_policy(asked: Asked) -> Answer:
    """Say whether one may reach another, by which rule, or what is missing."""
    wanted, registry = asked.asking(ExplainQuery), await asked.mesh.registry()
    try:
        ports = parse_ports(wanted.port)
    except ValueError as error:
        raise malformed(f"{wanted.port} is no port: {error}") from None
    active = registry.policy
    if active is None:
        raise unknown(NO_POLICY)
    source = party_of(wanted.source, registry)
    destination = party_of(wanted.destination, registry)
    number = 0 if ports.protocol == ICMP else ports.first
    found = explain(active.policy, source, destination, ports.protocol, number)
    verdict = "allowed" if found.allowed else "denied"
    version = active.record.version
    record = {"verdict": verdict, "version": version, "rules": rule_records(found)}
    return Answer(record)


async def _loaded(asked: Asked) -> Policy:
    """Return the policy that was sent.

    :raises PolicyError: if it would not be accepted.
    """
    mesh = asked.mesh
    registry = await mesh.registry()
    users = {each.name: each for each in await mesh.users()}
    tags = frozenset(t for key in await mesh.auth_keys() for t in key.tags)
    nodes = [node for node in registry.nodes.values() if not node.expired]
    inventory = inventory_of(nodes, users, tags, registry.networks)
    return load_policy(asked.text, inventory, [node.subject for node in nodes])


async def _refuse_to_replace(asked: Asked) -> None:
    """Refuse to replace a policy of which nobody says that he has seen it."""
    if (await asked.mesh.registry()).policy is not None:
        raise Problem(428, Trouble.STATE_MISSING, STATE_MISSING)


def _applied(version: PolicyVersion) -> Answer:
    return Answer({"policy": policy_record(version)}, etag_of(policy_state(version)))
