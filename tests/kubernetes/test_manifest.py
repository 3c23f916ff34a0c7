"""What is to be applied to a cluster, and what its accounts may do."""

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from lightkube import codecs

from coordinator.config import load
from meshwg.kubernetes.manifest import (
    AGENT,
    COORDINATOR,
    NODE_NAME,
    VIP,
    ManifestSettings,
    manifest,
)

KEY = f"{'A' * 43}="
SETTINGS = ManifestSettings(
    image="meshwg:1",
    url="http://203.0.113.7:8443",
    coordinator_key=KEY,
    addresses=(ip_address("10.60.0.10"), ip_address("fd60::10")),
)

Object = dict[str, Any]


def test_accounts_come_before_what_uses_them() -> None:
    kinds = [each["kind"] for each in manifest(SETTINGS)]
    for workload in ("DaemonSet", "Deployment"):
        assert kinds.index("ServiceAccount") < kinds.index(workload)
    names = [(e["kind"], e["metadata"]["name"]) for e in manifest(SETTINGS)]
    assert len(set(names)) == len(names) == 19


def test_without_its_key_only_the_coordinator_can_be_applied() -> None:
    objects = manifest(replace(SETTINGS, coordinator_key=""))
    assert {each["metadata"]["name"] for each in objects} == {COORDINATOR}


def test_a_coordinator_elsewhere_is_left_out() -> None:
    objects = manifest(replace(SETTINGS, has_coordinator=False, addresses=()))
    names = {each["metadata"]["name"] for each in objects}
    assert names == {AGENT, "meshwg"}


def test_the_models_of_kubernetes_know_every_field() -> None:
    for each in manifest(replace(SETTINGS, flannel=True)):
        # A field that they do not know would be lost on the way.
        assert through_models(each) == each
    wrong = manifest(SETTINGS)[-1]
    wrong["spec"]["template"]["spec"]["hostNetworks"] = True
    assert through_models(wrong) != wrong


def test_no_account_may_do_more_than_its_program_needs() -> None:
    granted = {name: list(rules_of(name)) for name in (AGENT, COORDINATOR, VIP)}
    assert granted == {
        COORDINATOR: [("*", "", "nodes", ("get",), ())],
        AGENT: [
            ("*", "", "nodes", ("get", "list", "watch"), ()),
            ("*", "", "nodes/status", ("patch",), ()),
            ("default", "", "events", ("create",), ()),
        ],
        VIP: [
            (
                "kube-system",
                "coordination.k8s.io",
                "leases",
                ("get", "update"),
                ("meshwg-vip",),
            ),
            ("kube-system", "coordination.k8s.io", "leases", ("create",), ()),
        ],
    }


def test_an_agent_changes_no_node_but_its_own() -> None:
    (policy,) = of_kind("ValidatingAdmissionPolicy")
    (binding,) = of_kind("ValidatingAdmissionPolicyBinding")
    spec = policy["spec"]
    assert spec["failurePolicy"] == "Fail"
    (rule,) = spec["matchConstraints"]["resourceRules"]
    assert "nodes/status" in rule["resources"]
    assert f"kube-system:{AGENT}'" in spec["matchConditions"][0]["expression"]
    assert NODE_NAME in spec["validations"][0]["expression"]
    assert binding["spec"] == {
        "policyName": policy["metadata"]["name"],
        "validationActions": ["Deny"],
    }


def test_each_role_is_bound_to_the_account_of_its_name() -> None:
    bindings = of_kind("RoleBinding") + of_kind("ClusterRoleBinding")
    assert len(bindings) == 4
    accounts = {each["metadata"]["name"] for each in of_kind("ServiceAccount")}
    for each in bindings:
        (subject,) = each["subjects"]
        assert subject["name"] == each["roleRef"]["name"] == each["metadata"]["name"]
        assert subject["name"] in accounts
        assert subject["namespace"] == "kube-system"


def test_an_agent_shows_a_token_that_is_good_for_the_mesh_alone() -> None:
    pod = pod_of(AGENT)
    (source,) = [v["projected"] for v in pod["volumes"] if "projected" in v]
    (token,) = source["sources"]
    assert token["serviceAccountToken"]["audience"] == "meshwg"
    assert token["serviceAccountToken"]["expirationSeconds"] == 3600
    (container,) = pod["containers"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts["token"] == "/var/run/secrets/meshwg"


def test_an_agent_runs_on_all_nodes_in_their_own_network() -> None:
    pod = pod_of(AGENT)
    assert pod["hostNetwork"]
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["priorityClassName"] == "system-node-critical"
    (container,) = pod["containers"]
    (name,) = container["env"]
    assert name["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"
    assert container["envFrom"] == [{"configMapRef": {"name": "meshwg"}}]


def test_all_volumes_are_mounted_and_all_mounts_are_volumes() -> None:
    for name in (AGENT, COORDINATOR, VIP):
        pod = pod_of(name)
        (container,) = pod["containers"]
        mounted = [each["name"] for each in container["volumeMounts"]]
        assert mounted == [each["name"] for each in pod["volumes"]]


def test_only_agents_are_privileged() -> None:
    for name in (COORDINATOR, VIP):
        (container,) = pod_of(name)["containers"]
        context = container["securityContext"]
        assert not context["allowPrivilegeEscalation"]
        assert context["readOnlyRootFilesystem"]
        assert context["capabilities"]["drop"] == ["ALL"]


def test_agents_are_told_the_mesh() -> None:
    settings = replace(SETTINGS, flannel=True, api_server="https://203.0.113.7:6443")
    (found,) = [e for e in of_kind("ConfigMap", settings) if name_of(e) == "meshwg"]
    assert found["data"] == {
        "MESHWG_COORDINATOR": "http://203.0.113.7:8443",
        "MESHWG_COORDINATOR_KEY": KEY,
        "MESHWG_API_SERVER": "https://203.0.113.7:6443",
        "MESHWG_FLANNEL": "yes",
    }


def test_the_coordinator_reads_its_settings() -> None:
    assert coordinator_file(SETTINGS) == {
        "listen": "0.0.0.0:8443",
        "advertise": "203.0.113.7",
        "kubernetes_issuer": "https://kubernetes.default.svc.cluster.local",
        "kubernetes_api": "https://kubernetes.default.svc",
        "kubernetes_account": "kube-system/meshwg-agent",
    }


def test_they_are_such_as_it_takes(tmp_path: Path) -> None:
    file = tmp_path / "coordinator.toml"
    for url in ("http://203.0.113.7:9000", "https://mesh.example.org/mesh"):
        (found,) = [
            each
            for each in of_kind("ConfigMap", replace(SETTINGS, url=url))
            if name_of(each) == COORDINATOR
        ]
        file.write_text(found["data"]["coordinator.toml"])
        load(file, {})


def test_a_coordinator_behind_a_proxy_listens_where_it_always_does() -> None:
    behind = coordinator_file(replace(SETTINGS, url="https://mesh.example.org/mesh"))
    assert behind["listen"] == "0.0.0.0:8443"
    assert behind["url"] == "https://mesh.example.org/mesh"
    direct = coordinator_file(replace(SETTINGS, url="http://203.0.113.7:9000"))
    assert direct["listen"] == "0.0.0.0:9000"


def test_the_coordinator_stays_on_the_node_that_has_its_key() -> None:
    settings = replace(SETTINGS, coordinator_node="cloud")
    assert pod_of(COORDINATOR)["nodeSelector"] == {
        "node-role.kubernetes.io/control-plane": ""
    }
    selector = pod_of(COORDINATOR, settings)["nodeSelector"]
    assert selector == {"kubernetes.io/hostname": "cloud"}
    (deployment,) = of_kind("Deployment")
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_floating_addresses_are_where_the_control_plane_is() -> None:
    pod = pod_of(VIP)
    assert pod["nodeSelector"] == {"node-role.kubernetes.io/control-plane": ""}
    (container,) = pod["containers"]
    assert container["command"] == [
        "meshwg-k8s",
        "vip",
        "--address=10.60.0.10",
        "--address=fd60::10",
        "--lease=kube-system/meshwg-vip",
        "--check=https://127.0.0.1:6443/livez",
    ]


def through_models(each: Object) -> Object:
    """Return what is left of an object that Kubernetes' own models have read."""
    made: Any = codecs.from_dict(each)
    left: Object = made.to_dict()
    return left


def rules_of(account: str) -> Iterator[tuple[object, ...]]:
    """Yield what an account may do: where, of which group, what, and to which."""
    for each in of_kind("ClusterRole") + of_kind("Role"):
        if name_of(each) != account:
            continue
        where = each["metadata"].get("namespace", "*")
        for rule in each["rules"]:
            assert set(rule) <= {"apiGroups", "resources", "verbs", "resourceNames"}
            (group,), (resource,) = rule["apiGroups"], rule["resources"]
            names = tuple(rule.get("resourceNames", ()))
            yield where, group, resource, tuple(rule["verbs"]), names


def of_kind(kind: str, settings: ManifestSettings = SETTINGS) -> list[Object]:
    return [each for each in manifest(settings) if each["kind"] == kind]


def pod_of(name: str, settings: ManifestSettings = SETTINGS) -> Object:
    workloads = of_kind("DaemonSet", settings) + of_kind("Deployment", settings)
    (found,) = [each for each in workloads if name_of(each) == name]
    spec = found["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    pod: Object = spec["template"]["spec"]
    return pod


def name_of(each: Object) -> str:
    return str(each["metadata"]["name"])


def coordinator_file(settings: ManifestSettings) -> Object:
    maps = of_kind("ConfigMap", settings)
    (found,) = [each for each in maps if name_of(each) == COORDINATOR]
    return tomllib.loads(found["data"]["coordinator.toml"])
