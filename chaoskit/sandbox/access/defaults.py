"""The roles that every cluster has, in a form that fits what is served. Data, and its writing through the registry.

Source: kubernetes.io, Using RBAC Authorization, Default roles and role bindings; k8s.io/kubernetes
plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go, restated for the served kinds. Nothing is aggregated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chaoskit.sandbox.access.identity import AUTHENTICATED, MASTERS

if TYPE_CHECKING:
    from chaoskit.sandbox.registry import Registry

Rule = dict[str, Any]

_GROUP: Final = "rbac.authorization.k8s.io"
_LABELS: Final = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_NOTES: Final = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_READ: Final = ["get", "list", "watch"]
_WRITE: Final = ["create", "delete", "deletecollection", "patch", "update"]
_INFO: Final = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_API: Final = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"]


def _rule(group: str, resources: list[str], verbs: list[str]) -> Rule:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _paths(*paths: str) -> Rule:
    return {"nonResourceURLs": list(paths), "verbs": ["get"]}


_APPS: Final = ["daemonsets", "deployments", "replicasets", "statefulsets"]
_SCALES: Final = ["deployments/scale", "replicasets/scale", "statefulsets/scale"]
_CORE: Final = [
    "configmaps",
    "events",
    "namespaces",
    "persistentvolumeclaims",
    "pods",
    "pods/log",
    "pods/status",
    "serviceaccounts",
    "services",
]
_VIEW: Final = [
    _rule("", _CORE, _READ),
    _rule("apps", ["controllerrevisions", *_APPS, *_SCALES], _READ),
    _rule("batch", ["jobs"], _READ),
    _rule("discovery.k8s.io", ["endpointslices"], _READ),
    _rule("events.k8s.io", ["events"], _READ),
    _rule("policy", ["poddisruptionbudgets"], _READ),
]
_EDIT: Final = [
    *_VIEW,
    _rule("", ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"], _READ),
    _rule("", ["pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"], _WRITE),
    _rule("", ["pods/eviction", "serviceaccounts/token"], ["create"]),
    _rule("", ["configmaps", "events", "persistentvolumeclaims", "secrets", "serviceaccounts", "services"], _WRITE),
    _rule("apps", [*_APPS, *_SCALES], _WRITE),
    _rule("batch", ["jobs"], _WRITE),
    _rule("coordination.k8s.io", ["leases"], [*_READ, *_WRITE]),
    _rule("discovery.k8s.io", ["endpointslices"], _WRITE),
    _rule("policy", ["poddisruptionbudgets"], _WRITE),
]
_ADMIN: Final = [
    *_EDIT,
    _rule("authorization.k8s.io", ["localsubjectaccessreviews"], ["create"]),
    _rule(_GROUP, ["rolebindings", "roles"], [*_READ, *_WRITE]),
]
_REVIEWS: Final = [
    _rule("authorization.k8s.io", ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]),
    _rule("authentication.k8s.io", ["selfsubjectreviews"], ["create"]),
]
_EVERYTHING: Final = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
]
_ROLES: Final[dict[str, list[Rule]]] = {
    "cluster-admin": _EVERYTHING,
    "admin": _ADMIN,
    "edit": _EDIT,
    "view": _VIEW,
    "system:discovery": [_paths(*_API, *_INFO)],
    "system:basic-user": _REVIEWS,
    "system:public-info-viewer": [_paths(*_INFO)],
}
_BINDINGS: Final[dict[str, tuple[str, ...]]] = {
    "cluster-admin": (MASTERS,),
    "system:discovery": (AUTHENTICATED,),
    "system:basic-user": (AUTHENTICATED,),
    "system:public-info-viewer": (AUTHENTICATED, "system:unauthenticated"),
}


def furnish_roles(registry: Registry, actor: str) -> None:
    """Create the default roles and their bindings in a fresh cluster."""
    for name, rules in _ROLES.items():
        registry.create("clusterroles", "", {"metadata": _metadata(name), "rules": rules}, actor=actor)
    for name, groups in _BINDINGS.items():
        subjects = [{"kind": "Group", "apiGroup": _GROUP, "name": group} for group in groups]
        role = {"kind": "ClusterRole", "apiGroup": _GROUP, "name": name}
        binding = {"metadata": _metadata(name), "subjects": subjects, "roleRef": role}
        registry.create("clusterrolebindings", "", binding, actor=actor)


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "labels": dict(_LABELS), "annotations": dict(_NOTES)}
