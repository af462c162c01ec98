"""The kinds this cluster serves, as one table. Knows names and capabilities; holds no objects and no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Kind:
    """One served resource. `plural` is the key by which the registry knows it."""

    plural: str
    kind: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    generation: bool = False
    """Whether metadata.generation counts changes of the spec."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def resource(self) -> str:
        """The name in messages: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified(self) -> str:
        """The kind in messages: `Pod`, `Deployment.apps`."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def prefix(self) -> bytes:
        """How the encoded form of every object of this kind begins."""
        return f'{{"kind":"{self.kind}","apiVersion":"{self.api_version}",'.encode()


_ALL: Final = (
    Kind("namespaces", "Namespace", namespaced=False, short_names=("ns",), subresources=("finalize", "status")),
    Kind("nodes", "Node", namespaced=False, short_names=("no",), subresources=("status",)),
    Kind(
        "pods",
        "Pod",
        short_names=("po",),
        categories=("all",),
        subresources=("binding", "eviction", "exec", "log", "proxy", "status"),
        generation=True,
    ),
    Kind("services", "Service", short_names=("svc",), categories=("all",), subresources=("status",)),
    Kind("configmaps", "ConfigMap", short_names=("cm",)),
    Kind("secrets", "Secret"),
    Kind("events", "Event", short_names=("ev",)),
    Kind("serviceaccounts", "ServiceAccount", short_names=("sa",), subresources=("token",)),
    Kind(
        "deployments",
        "Deployment",
        "apps",
        short_names=("deploy",),
        categories=("all",),
        subresources=("scale", "status"),
        generation=True,
    ),
    Kind(
        "replicasets",
        "ReplicaSet",
        "apps",
        short_names=("rs",),
        categories=("all",),
        subresources=("scale", "status"),
        generation=True,
    ),
    Kind(
        "statefulsets",
        "StatefulSet",
        "apps",
        short_names=("sts",),
        categories=("all",),
        subresources=("scale", "status"),
        generation=True,
    ),
    Kind(
        "daemonsets",
        "DaemonSet",
        "apps",
        short_names=("ds",),
        categories=("all",),
        subresources=("status",),
        generation=True,
    ),
    Kind("controllerrevisions", "ControllerRevision", "apps"),
    Kind("jobs", "Job", "batch", categories=("all",), subresources=("status",), generation=True),
    Kind(
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        "policy",
        short_names=("pdb",),
        subresources=("status",),
        generation=True,
    ),
    Kind("persistentvolumeclaims", "PersistentVolumeClaim", short_names=("pvc",), subresources=("status",)),
    Kind("endpointslices", "EndpointSlice", "discovery.k8s.io", generation=True),
    Kind("leases", "Lease", "coordination.k8s.io"),
    Kind("roles", "Role", "rbac.authorization.k8s.io"),
    Kind("rolebindings", "RoleBinding", "rbac.authorization.k8s.io"),
    Kind("clusterroles", "ClusterRole", "rbac.authorization.k8s.io", namespaced=False),
    Kind("clusterrolebindings", "ClusterRoleBinding", "rbac.authorization.k8s.io", namespaced=False),
)
EVENTS_VIEW: Final = Kind("events", "Event", "events.k8s.io", short_names=("ev",))
"""The same events under their newer name and shape; they are stored once, as the core group's."""

KINDS: Final[dict[str, Kind]] = {kind.plural: kind for kind in _ALL}
BY_PATH: Final[dict[tuple[str, str, str], Kind]] = {(k.group, k.version, k.plural): k for k in (*_ALL, EVENTS_VIEW)}
BY_OBJECT: Final[dict[tuple[str, str], Kind]] = {(k.api_version, k.kind): k for k in _ALL}

UPSTREAM_GROUPS: Final = frozenset(
    {
        "",
        "apps",
        "batch",
        "autoscaling",
        "policy",
        "events.k8s.io",
        "discovery.k8s.io",
        "coordination.k8s.io",
        "networking.k8s.io",
        "rbac.authorization.k8s.io",
        "authorization.k8s.io",
        "authentication.k8s.io",
        "storage.k8s.io",
        "scheduling.k8s.io",
        "node.k8s.io",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "certificates.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "resource.k8s.io",
    }
)
"""Groups of a real cluster: what is not served of them answers 501, anything else 404."""


def groups() -> dict[tuple[str, str], list[Kind]]:
    """The served kinds by (group, version), the core group first."""
    found: dict[tuple[str, str], list[Kind]] = {}
    for kind in (*_ALL, EVENTS_VIEW):
        found.setdefault((kind.group, kind.version), []).append(kind)
    return found
