"""A client of the API server, as an administrator uses it from one machine of a lab."""

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from netlab.errors import LabError, NotReady
from netlab.machine import Machine

Json = dict[str, Any]

TIMEOUT = 10.0
"""Seconds for one request."""
POLL = 0.2
"""Seconds between two looks at something that is waited for."""
MANAGER = "netlab"
"""Who the API server notes as the owner of what is applied."""
READY_WITHIN = 120.0
"""Seconds that something in the cluster may take on a busy machine."""

_RESOURCES = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "ConfigMap": "configmaps",
    "DaemonSet": "daemonsets",
    "Deployment": "deployments",
    "Namespace": "namespaces",
    "Pod": "pods",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
_OF_NO_NAMESPACE = (
    "ClusterRole",
    "ClusterRoleBinding",
    "Namespace",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)


class ApiError(LabError):
    """The API server refuses something, or cannot be reached."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status
        """HTTP's, 0 if there was no answer."""


class Api:
    """Requests with one bearer token.

    :param machine: from which they are made.
    :param url: of the API server.
    :param ca: the certificate that it must be signed with.
    :param token: ``None`` to be anonymous.
    """

    def __init__(self, machine: Machine, url: str, ca: Path, token: str | None) -> None:
        self._machine, self._url, self._ca = machine, url, ca
        self._token = token

    def as_bearer(self, token: str | None) -> "Api":
        """Return a client for somebody else."""
        return Api(self._machine, self._url, self._ca, token)

    def get(self, path: str) -> Json:
        return self.ask("GET", path)

    def post(self, path: str, body: Json) -> Json:
        return self.ask("POST", path, body)

    def merge(self, path: str, body: Json) -> Json:
        """Change some fields of an object."""
        return self.ask("PATCH", path, body, "application/merge-patch+json")

    def delete(self, path: str) -> Json:
        return self.ask("DELETE", path)

    def apply(self, manifests: Iterable[Json]) -> None:
        """Make or change objects, as ``kubectl apply --server-side`` does."""
        for each in manifests:
            path = f"{path_of(each)}?fieldManager={MANAGER}&force=true"
            self.ask("PATCH", path, each, "application/apply-patch+yaml")

    def ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        kind: str = "application/json",
    ) -> Json:
        """Make one request and return the answer.

        :raises ApiError: if it is not granted, with the reason that is given.
        """
        headers = {"Content-Type": kind, "Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        answer: Json = json.loads(self._machine.call(lambda: self._fetch(request)))
        return answer

    def wait_until(
        self, condition: Callable[[], bool], what: str, within: float = READY_WITHIN
    ) -> None:
        """Wait for something to become true, also over times without an answer."""

        deadline = time.monotonic() + within
        while not _holds(condition):
            if time.monotonic() > deadline:
                raise NotReady(f"It is not true within {within:g} s that {what}.")
            time.sleep(POLL)

    def _fetch(self, request: urllib.request.Request) -> bytes:
        context = ssl.create_default_context(cafile=str(self._ca))
        try:
            with urllib.request.urlopen(
                request, timeout=TIMEOUT, context=context
            ) as response:
                content: bytes = response.read()
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            raise ApiError(_reason(text), error.code) from None
        except OSError as error:
            raise ApiError(f"The API server does not answer: {error}.") from None
        return content if content.startswith(b"{") else json.dumps({}).encode()


def path_of(manifest: Json) -> str:
    """Return where an object is found."""
    version, kind, meta = (manifest[key] for key in ("apiVersion", "kind", "metadata"))
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if kind not in _OF_NO_NAMESPACE:
        root += f"/namespaces/{meta.get('namespace', 'default')}"
    return f"{root}/{_RESOURCES[kind]}/{meta['name']}"


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except ApiError:
        return False


def _reason(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()
